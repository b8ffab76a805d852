"""The body of a message whose head has been read: piped on as it comes, or read, whole or in pieces, where a hook wants it."""

from __future__ import annotations

from extension_kit.errors import RemoteProtocolError
from extension_kit.io.relay import Ended, relay, relay_pieces
from extension_kit.protocol import http1

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket
    from collections.abc import Callable, Iterator

__all__ = ["Incoming"]

_PIECE = 65_536


class Incoming:
    """``length``: bytes, or None where `reader` knows the body (in chunks, or until the connection ends).

    `begun`: what came of it together with the head. ``extra``: what came after it, once it is complete. ``broken``: its framing
    cannot be read: whoever passes it on passes on everything that follows.
    """

    __slots__ = (
        "_before", "_chunked", "_last", "_pieces", "_raw", "_reader", "_source", "broken", "extra", "failure", "left",
        "length", "touched", "trailers",
    )  # fmt: skip

    def __init__(
        self,
        source: _socket.socket,
        length: int | None,
        begun: bytes,
        reader: http1.Reader | None = None,
        chunked: bool = False,
    ) -> None:
        self._source = source
        self._before: Callable[[], object] | None = None
        self._reader = reader
        self._chunked = chunked
        self._pieces: list[bytes] = []  # decoded, for whoever sends it on
        self._raw = self._last = b""  # of a body that the reader knows: as it came, on its way
        self.length = length
        self.extra = b""
        self.broken = False
        self.failure: Exception | None = None  # of the connection, while a hook read from it
        self.touched = False  # it is no longer as it came
        self.trailers = http1.Headers()
        if length is None:
            self._raw = self._last = begun
            self.left = -1
        else:
            self.left = max(0, length - len(begun))
            if len(begun) > length:
                begun, self.extra = begun[:length], begun[length:]
            if begun:
                self._pieces.append(begun)

    def before_reading(self, call: Callable[[], object]) -> None:
        """`call` once, before anything more is read by a hook: ``100 Continue``, for which the peer waits."""
        self._before = call

    # read

    def read(self, limit: int) -> bytes:
        """All of it; RemoteProtocolError above `limit` bytes: then what has come is kept. `Ended`, OSError."""
        held = sum(map(len, self._pieces))
        if held + max(0, self.left) > limit:
            raise RemoteProtocolError(f"the body is larger than {limit} bytes", 413)
        for piece in self._more():
            self._pieces.append(piece)
            held += len(piece)
            if held > limit:
                raise RemoteProtocolError(f"the body is larger than {limit} bytes", 413)
        if len(self._pieces) > 1:
            self._pieces = [b"".join(self._pieces)]
        return self._pieces[0] if self._pieces else b""

    def chunks(self) -> Iterator[bytes]:
        """Decoded, as it comes; each piece once."""
        while self._pieces:
            yield self._pieces.pop(0)
        yield from self._more()

    def drain(self) -> None:
        """Throw it away."""
        for _ in self.chunks():
            pass

    def _more(self) -> Iterator[bytes]:
        if not self.left:
            return
        self.touched = True
        if self._before is not None:
            before, self._before = self._before, None
            before()
        if self._reader is not None:
            yield from self._decoded(self._reader)
            return
        while self.left:
            try:
                data = self._source.recv(min(self.left, _PIECE))
                if not data:
                    raise Ended
            except (Ended, OSError) as error:
                self.failure = error
                raise
            self.left -= len(data)
            yield data

    def _decoded(self, reader: http1.Reader) -> Iterator[bytes]:
        while self.left:
            try:
                event = reader.next_event()
                if isinstance(event, http1.Sentinel):
                    self._receive(reader)
            except RemoteProtocolError:
                self.failure = Ended()  # it can neither be read nor passed on
                raise self.failure from None
            except OSError as error:
                self.failure = error
                raise
            if isinstance(event, http1.Data):
                yield event.data
            elif isinstance(event, http1.EndOfMessage):
                self._over(reader, event)

    def _receive(self, reader: http1.Reader) -> bytes:
        self._last = self._source.recv(_PIECE)
        if self._last:
            reader.receive(self._last)
        else:
            reader.receive_eof()
        return self._last

    def _over(self, reader: http1.Reader, event: http1.EndOfMessage) -> None:
        self.left = 0
        self.trailers = event.trailers
        self.extra = self._last[len(self._last) - reader.buffered :]

    # on its way

    def begun(self) -> bytes:
        """What can leave together with the head: as it came, or encoded anew where it has been read."""
        pieces, self._pieces = self._pieces, []
        if self._reader is None or (self.touched and not self._chunked):
            return b"".join(pieces)
        if self.touched:
            end = b"" if self.left else http1.encode_last_chunk(self.trailers)
            return b"".join(map(http1.encode_chunk, pieces)) + end
        raw, self._raw = self._raw, b""
        self._scan(self._reader)
        return raw[: len(raw) - len(self.extra)]

    def pass_on(self, sink: _socket.socket, spoken: Callable[[], int]) -> bool:
        """What is left after `begun`; False where some was not wanted. `Ended`; OSError of either end."""
        if not self.left or self.broken:
            return True
        if self._reader is None:
            left, self.left = self.left, 0
            return relay(self._source, sink, left, spoken)
        if self.touched:
            for piece in self._decoded(self._reader):
                sink.sendall(http1.encode_chunk(piece) if self._chunked else piece)
            if self._chunked:
                sink.sendall(http1.encode_last_chunk(self.trailers))
            return True
        return relay_pieces(self._next_raw, self._source, sink, spoken)

    def _next_raw(self) -> bytes:
        """The next bytes of it, as they come; b"" when it is over. BlockingIOError where there are none now."""
        reader = self._reader
        if not self.left or self.broken or reader is None:
            return b""
        data = self._receive(reader)
        self._scan(reader)
        if not data and self.left:
            raise Ended
        return data[: len(data) - len(self.extra)]

    def _scan(self, reader: http1.Reader) -> None:
        """Look for the end in what has come."""
        try:
            while self.left:
                event = reader.next_event()
                if isinstance(event, http1.EndOfMessage):
                    self._over(reader, event)
                elif not isinstance(event, http1.Data):
                    return
        except RemoteProtocolError:
            self.broken = True
