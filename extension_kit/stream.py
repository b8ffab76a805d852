"""A telemetry stream, read in order: batches become records, each stamped with the request that it belongs to.

Whose a line is, the stream alone says: lines after ``platform.start`` belong to that request, those after its
``platform.runtimeDone`` too but are late, those of an init to none. INVOKE says nothing about it: it arrives by another way,
sooner or later than the lines (peers that stamp by INVOKE give lines to the wrong request). Where requests interleave (Managed
Instances) a line's place says nothing, and its own ``requestId``, if it has one, is all there is.
"""

from __future__ import annotations

from extension_kit import records
from extension_kit.protocol.telemetry import split, type_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from extension_kit.records import Record, Request

__all__ = ["Stream"]

_FUNCTION = b',"type":"function","record":'
_AT = 34
_REMEMBERED = 64  # requests
_TURNS = frozenset((b"platform.start", b"platform.runtimeDone", b"platform.report", b"platform.initStart"))
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
        self._known = {
            b"platform.start": self.started, b"platform.runtimeDone": self.ended, b"platform.report": self.reported,
        }  # fmt: skip
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
        new, line, add, classes = tuple.__new__, records.FunctionLine, found.append, records.CLASSES
        for index, piece in enumerate(batch.pieces):
            if piece.startswith(_FUNCTION, _AT):  # nearly all of a busy stream
                add(new(line, (piece, request, seq, index)))
                continue
            kind = type_of(piece)
            record = new(
                classes.get(kind) or (records.Record if kind else records.Malformed), (piece, request, seq, index)
            )
            add(record)
            if kind in _TURNS:
                request = self._turn(kind, record, request, fresh)
        if fresh:
            self._request = request
            self._tidy()
            self.platform_dropped += sum(_lost(one) for one in found if type(one) is records.LogsDropped)
        if not batch.whole:
            add(new(records.Malformed, (batch.rest, _NONE, seq, len(batch.pieces))))
        return found, None if batch.whole else batch.rest

    def forget(self, seq: int) -> None:
        """Batches before `seq` will not be read again."""
        while self._begins and (first := next(iter(self._begins))) < seq:
            del self._begins[first]

    def _turn(self, kind: bytes, record: Record, request: Request, fresh: bool) -> Request:
        """Whose the lines after this event are; what it says of its request is noted once."""
        if kind == b"platform.initStart":
            return _NONE
        request_id = record.request_id
        if fresh:
            self._known[kind].append(request_id)
        if self.interleaved or kind == b"platform.report":
            return request
        if kind == b"platform.start":
            return records.Request(request_id, record[0])
        return records.Request(request_id, request[1], True) if request_id == request[0] else request

    def _tidy(self) -> None:
        """Let the oldest ids go."""
        for known in self._known.values():
            del known[:-_REMEMBERED]


def _lost(record: Record) -> int:
    return int(getattr(record, "dropped_records", None) or 0)
