"""Bytes from one socket to another, no faster than they are taken: by the kernel alone where it can (splice through a pipe),
else through a buffer of fixed size.

Nothing here has a time limit: an environment may be frozen at any point for as long as the platform likes.
"""

from __future__ import annotations

import _socket
import posix
import select

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["ANSWERED", "IGNORE", "WATCH", "Ended", "linger_reset", "offer", "relay", "relay_pieces", "tunnel"]

_PIECE = 65_536  # bytes that are read at once where they pass through this process
_SPLICED = 131_072  # bytes that must still come for a pipe to be worth it
_PIPE = 1_048_576  # bytes that a pipe holds, where that is allowed
_F_SETPIPE_SZ = 1031
_IN, _OUT, _BAD = select.POLLIN, select.POLLOUT, select.POLLERR | select.POLLHUP


#: What is to become of a sink that has spoken: it is heard on; no more; no more, and what it does not take at once is
#: thrown away.
WATCH, IGNORE, ANSWERED = range(3)


class Ended(Exception):
    """The source was closed, in order, before all had come."""


class Pipe:
    """A pipe that bytes are spliced through; empty between two uses, else it is closed."""

    __slots__ = ("held", "into", "out")

    kept: list[Pipe] = []  # a few are kept for the next body  # noqa: RUF012
    usable = hasattr(posix, "splice")

    def __init__(self) -> None:
        self.out, self.into = posix.pipe()
        self.held = 0
        try:
            import fcntl

            fcntl.fcntl(self.into, _F_SETPIPE_SZ, _PIPE)
        except (ImportError, OSError):
            pass  # the usual size will do

    @staticmethod
    def any() -> Pipe:
        """One that was kept, or a new one. OSError where none can be had."""
        try:
            return Pipe.kept.pop()
        except IndexError:
            return Pipe()

    def done(self) -> None:
        if not self.held and len(Pipe.kept) < 4:
            Pipe.kept.append(self)
        else:
            posix.close(self.out)
            posix.close(self.into)


def relay(
    source: _socket.socket, sink: _socket.socket, left: int, spoken: Callable[[], int], pending: bytes = b""
) -> bool:
    """`pending`, then `left` bytes from `source`, to `sink`; False where some were thrown away. `Ended`; OSError of either.

    ``spoken()`` is called when bytes, or the end, have come from the *sink*: `WATCH`, `IGNORE` or `ANSWERED`.
    """
    source.setblocking(False)
    sink.setblocking(False)
    try:
        mover = _Mover(source, sink, spoken)
        mover.write(pending)
        if left > _SPLICED and Pipe.usable:
            left = mover.splice(left)
        mover.copy(left)
        return not mover.unwanted
    finally:
        _blocking_again(source, sink)


def relay_pieces(
    more: Callable[[], bytes], source: _socket.socket, sink: _socket.socket, spoken: Callable[[], int]
) -> bool:
    """What ``more()`` reads from `source` until it returns b""; otherwise like `relay`."""
    source.setblocking(False)
    sink.setblocking(False)
    try:
        mover = _Mover(source, sink, spoken)
        while True:
            try:
                data = more()
            except BlockingIOError:
                mover.wait_for_input()
                continue
            if not data:
                return not mover.unwanted
            mover.write(data)
    finally:
        _blocking_again(source, sink)


def offer(sink: _socket.socket, data: bytes | memoryview, spoken: Callable[[], int]) -> bool:
    """`data` to `sink`; False where it has `ANSWERED` before it has taken all. OSError. ``spoken()``: see `relay`."""
    view = memoryview(data)
    poll = select.poll()
    poll.register(sink, _OUT | _IN)
    sink.setblocking(False)
    try:
        while view:
            if poll.poll()[0][1] & _IN:
                sink.setblocking(True)
                verdict = spoken()
                sink.setblocking(False)
                if verdict == ANSWERED:
                    return False
                if verdict == IGNORE:
                    poll.modify(sink, _OUT)
                continue
            try:
                view = view[sink.send(view) :]
            except BlockingIOError:
                pass
        return True
    finally:
        _blocking_again(sink)


def _blocking_again(*socks: _socket.socket) -> None:
    for sock in socks:
        if sock.fileno() >= 0:
            sock.setblocking(True)


class _Mover:
    def __init__(self, source: _socket.socket, sink: _socket.socket, spoken: Callable[[], int]) -> None:
        self._source = source
        self._sink = sink
        self._spoken = spoken
        self._watched = True  # the sink
        self._answered = False
        self.unwanted = False  # what still comes
        self._for_input = select.poll()
        self._for_output = select.poll()
        self._for_input.register(source, _IN)
        self._for_input.register(sink, _IN)
        self._for_output.register(sink, _OUT | _IN)
        self._for_output.register(source, 0)

    def wait_for_input(self) -> None:
        self.wait(self._for_input)

    def wait(self, poll: select.poll) -> None:
        sink = self._sink.fileno()
        for fd, events in poll.poll():
            if fd == sink and self._watched and events & _IN:
                self._listen()
            elif fd == sink:
                if events & _BAD and poll is self._for_input:
                    raise ConnectionResetError("the connection was reset")
            elif events & _BAD and poll is self._for_output:
                if events & select.POLLERR:
                    raise ConnectionResetError("the connection was reset")
                poll.unregister(fd)  # closed in order; what it has sent is still to be read

    def _listen(self) -> None:
        _blocking_again(self._sink, self._source)
        verdict = self._spoken()
        self._sink.setblocking(False)
        self._source.setblocking(False)
        if verdict != WATCH:
            self._watched = False
            self._for_input.modify(self._sink, 0)
            self._for_output.modify(self._sink, _OUT)
        self._answered = verdict == ANSWERED

    def write(self, data: bytes | memoryview) -> None:
        view = memoryview(data)
        while view and not self.unwanted:
            try:
                view = view[self._sink.send(view) :]
            except BlockingIOError:
                self.wait_for_output()

    def wait_for_output(self) -> None:
        if not self._answered:
            self.wait(self._for_output)
        # Else who has answered does not read on: its peer, which may have gone behind all that it has sent, is not held up.
        self.unwanted = self._answered

    def copy(self, left: int) -> None:
        buffer = memoryview(bytearray(min(left, _PIECE)))
        while left:
            try:
                count = self._source.recv_into(buffer[: min(left, len(buffer))])
            except BlockingIOError:
                self.wait(self._for_input)
                continue
            if not count:
                raise Ended
            left -= count
            self.write(buffer[:count])

    def splice(self, left: int) -> int:
        """All of it; or some, where the kernel cannot: how much is left."""
        try:
            pipe = Pipe.any()
        except OSError:
            return left
        try:
            while left and not self.unwanted:
                try:
                    pipe.held = self._spliced(self._source.fileno(), pipe.into, left, self.wait_for_input)
                except OSError as error:
                    if error.errno not in (22, 38):  # EINVAL, ENOSYS: not between these two, or not at all
                        raise
                    Pipe.usable = False
                    return left
                if not pipe.held:
                    raise Ended
                left -= pipe.held
                self._empty(pipe)
        finally:
            pipe.done()
        return left

    def _empty(self, pipe: Pipe) -> None:
        try:
            while pipe.held and not self.unwanted:
                pipe.held -= self._spliced(pipe.out, self._sink.fileno(), pipe.held, self.wait_for_output)
        except OSError as error:
            if error.errno not in (22, 38):
                raise
            Pipe.usable = False
            while pipe.held:
                data = posix.read(pipe.out, min(pipe.held, _PIECE))
                pipe.held -= len(data)
                self.write(data)

    def _spliced(self, source: int, sink: int, count: int, wait: Callable[[], object]) -> int:
        while not self.unwanted:
            try:
                return posix.splice(source, sink, count, flags=2)  # SPLICE_F_NONBLOCK
            except BlockingIOError:
                wait()
        return 0


def tunnel(one: _socket.socket, other: _socket.socket, pending: bytes) -> None:
    """Both ways, whatever it is, until both have closed; `pending` goes to `other` first. OSError of either."""
    socks = {one.fileno(): one, other.fileno(): other}
    peers = {one.fileno(): other.fileno(), other.fileno(): one.fileno()}
    held = {one.fileno(): b"", other.fileno(): pending}  # for whom
    open_ends = set(socks)  # who may still send
    hung_up = (
        set()
    )  # whose both ways have ended, while something of theirs may still be unread: poll would say it again and again
    one.setblocking(False)
    other.setblocking(False)
    while open_ends or any(held.values()):
        poll = select.poll()
        for fd in socks:
            wanted = _IN if fd in open_ends and not held[peers[fd]] else 0
            wanted |= _OUT if held[fd] else 0
            if wanted or fd not in hung_up:
                poll.register(fd, wanted)
        for fd, events in poll.poll():
            peer = peers[fd]
            if events & _OUT and held[fd]:
                held[fd] = held[fd][socks[fd].send(held[fd]) :]
                if not held[fd] and peer not in open_ends:
                    socks[fd].shutdown(_socket.SHUT_WR)
            elif events & (_IN | _BAD) and fd in open_ends and not held[peer]:
                held[peer] = socks[fd].recv(_PIECE)
                if not held[peer]:
                    open_ends.discard(fd)
                    socks[peer].shutdown(_socket.SHUT_WR)
            elif events & select.POLLERR:
                raise ConnectionResetError("the connection was reset")
            elif events & select.POLLHUP:
                hung_up.add(fd)


def linger_reset(sock: _socket.socket) -> None:
    """Closing `sock` will reset the connection, rather than end it in order."""
    sock.setsockopt(_socket.SOL_SOCKET, _socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
