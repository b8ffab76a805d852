"""A telemetry stream, read in order: batches become records, each stamped with the request that it belongs to.

Whose a line is, the stream alone says: lines after ``platform.start`` belong to that request, those after its
``platform.runtimeDone`` too but are late, those of an init to none. INVOKE says nothing about it: it arrives by another way,
sooner or later than the lines (peers that stamp by INVOKE give lines to the wrong request). Where requests interleave (Managed
Instances) a line's place says nothing, and its own ``requestId``, if it has one, is all there is.
"""

from __future__ import annotations

from extension_kit import records
from extension_kit.protocol.telemetry import split

TYPE_CHECKING = False
if TYPE_CHECKING:
    from extension_kit.records import Record, Request

__all__ = ["Stream"]

_FUNCTION = b',"type":"function","record":'
_AT = 34
_REMEMBERED = 64  # requests
_NONE = records.NO_REQUEST


class Stream:
    """Reads batches in the order of their arrival; again too, for a plug-in that lags behind. ``interleaved``: requests run
    side by side.

    ``started``, ``ended``, ``reported``: ids of the latest requests of which each was seen. ``platform_dropped``: records that
    the platform says it has lost.
    """

    def __init__(self, interleaved: bool = False, context: str = "") -> None:
        """``context``: what `context` of an earlier process returned."""
        self.interleaved = interleaved
        self.started: list[str] = []
        self.ended: list[str] = []
        self.reported: list[str] = []
        self.platform_dropped = 0
        self._request = _NONE
        self._begins: dict[int, Request] = {}  # batch: whose its first line is
        number, late, request_id, trace = (*context.split(" ", 3), "", "", "", "")[:4]
        if number.isdigit():
            self._request = records.Request(request_id, trace, late == "late")

    def context(self, seq: int) -> str:
        """Whose the first line of batch `seq` is, as text for another process that will read it."""
        request = self._begins.get(seq, self._request)
        return f"{seq} {'late' if request.late else '-'} {request.request_id} {request.trace}"

    def read(self, seq: int, body: bytes) -> tuple[list[Record], bytes | None]:
        """The records of batch number `seq`; and what could not be read of it, None where all could."""
        batch = split(body)
        fresh = seq not in self._begins
        request = self._begins.setdefault(seq, self._request)
        found: list[Record] = []
        new, line, add = tuple.__new__, records.FunctionLine, found.append
        for index, piece in enumerate(batch.pieces):
            if piece.startswith(_FUNCTION, _AT):  # nearly all of a busy stream
                add(new(line, (piece, request, seq, index)))
            else:
                record = records.make(piece, request, seq, index)
                add(record)
                if record.type.startswith("platform."):
                    request = self._platform(record, request, fresh)
        if fresh:
            self._request = request
        if not batch.whole:
            add(new(records.Malformed, (batch.rest, _NONE, seq, len(batch.pieces))))
        return found, None if batch.whole else batch.rest

    def forget(self, seq: int) -> None:
        """Batches before `seq` will not be read again."""
        while self._begins and (first := next(iter(self._begins))) < seq:
            del self._begins[first]

    def _platform(self, record: Record, request: Request, fresh: bool) -> Request:
        """Whose the lines after this event are."""
        kind = type(record)
        if fresh:
            self._note(record, kind)
        if self.interleaved:
            return _NONE
        if kind is records.Start:
            return records.Request(record.request_id, record.trace)
        if kind is records.RuntimeDone and record.request_id == request.request_id:
            return records.Request(request.request_id, request.trace, late=True)
        return _NONE if kind is records.InitStart else request

    def _note(self, record: Record, kind: type[Record]) -> None:
        if kind is records.Start:
            _remember(self.started, record.request_id)
        elif kind is records.RuntimeDone:
            _remember(self.ended, record.request_id)
        elif kind is records.Report:
            _remember(self.reported, record.request_id)
        elif isinstance(record, records.LogsDropped):
            self.platform_dropped += int(record.dropped_records or 0)


def _remember(known: list[str], request_id: str) -> None:
    """Keep the id of one more request, and let the oldest go."""
    known.append(request_id)
    del known[:-_REMEMBERED]
