"""A telemetry stream, read in order: batches become records, each stamped with the request that it belongs to.

Whose a line is, the stream alone says: lines after ``platform.start`` belong to that request, those after its
``platform.runtimeDone`` too but are late, those of an init to none. INVOKE says nothing about it: it arrives by another way,
sooner or later than the lines (peers that stamp by INVOKE give lines to the wrong request). Where requests interleave (Managed
Instances) a line's place says nothing, and its own ``requestId``, if it has one, is all there is.
"""

from __future__ import annotations

from extension_kit import records
from extension_kit.protocol.telemetry import HEAD, TAIL, cut, is_json, scan_all, type_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from extension_kit.records import Record, Request

__all__ = ["Stream"]

# where the type stands in an envelope of the usual form, its head taken off
_AT = 25
_KIND_AT = 34
_REPORT = b'platform.report","record":{"requestId":"'
_START = b'platform.start","record":{"requestId":"'
_DONE = b'platform.runtimeDone","record":{"requestId":"'
# behind the UUID
_REPORT_END, _START_END, _DONE_END = (_KIND_AT + len(one) + 36 for one in (_REPORT, _START, _DONE))
_FUNCTION = b',"type":"function","record":'
_TEXT = b',"type":"function","record":"'
_REMEMBERED = 64  # requests
_TURNS = frozenset(
    (b"platform.start", b"platform.runtimeDone", b"platform.report", b"platform.initStart", b"platform.end")
)
_NONE = records.NO_REQUEST


class Stream:
    """Reads batches in the order of their arrival; again too, for a plug-in that lags behind. ``interleaved``: requests run
    side by side.

    ``started``, ``ended``, ``reported``: ids of the latest requests of which each was seen; of one that is tried again (a
    failed asynchronous invocation keeps its id) since its latest start. ``platform_dropped``: records that the platform says it
    has lost.
    """

    def __init__(self, interleaved: bool = False, context: str = "") -> None:
        """``context``: what `context` of an earlier process returned."""
        self.interleaved = interleaved
        self.started: list[str] = []
        self.ended: list[str] = []
        self.reported: list[str] = []
        self.platform_dropped = 0
        self.last_done: records.RuntimeDone | None = None
        self._known: dict[bytes, list[str]] = {
            b"platform.start": self.started, b"platform.runtimeDone": self.ended, b"platform.report": self.reported,
            b"platform.initStart": [],
            b"platform.end": self.ended,  # of the Logs API
        }  # fmt: skip
        self._request = _NONE
        self._due: list[str] = []  # ids of which INVOKE has come and the start has not
        self._early: list[str] = []  # and the other way round
        self._again = ""  # id of a request that was invoked again, until its new start comes
        self._owed: list[str] = []  # ids with an earlier run whose report is still to come
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
        fresh = seq not in self._begins
        request = self._begins.setdefault(seq, self._request)
        middles, rest = cut(body), None
        found = self._read_usual(middles, seq, request, fresh) if middles is not None else None
        if found is None:
            batch = scan_all(body)
            found = self._read_any(batch.pieces, seq, request, fresh)
            if not batch.whole:
                rest = batch.rest
                found.append(tuple.__new__(records.Malformed, (rest, _NONE, seq, len(batch.pieces))))
        if fresh:
            self._tidy()
        return found, rest

    def _read_usual(self, middles: list[bytes], seq: int, request: Request, fresh: bool) -> list[Record] | None:
        """A batch as Lambda writes it; None where it turns out to be none. The loop that every event goes through."""
        found: list[Record] = []
        turns: list[tuple[bytes, str]] = []
        done: Record | None = None
        new, line, add, classes = tuple.__new__, records.FunctionLine, found.append, records.CLASSES
        for index, middle in enumerate(middles):
            piece = HEAD + middle + TAIL
            if middle.startswith(_TEXT, _AT):  # nearly all of a busy stream
                add(new(line, (piece, request, seq, index)))
            elif middle.startswith(_FUNCTION, _AT):  # a line in JSON
                if b"[" in middle and not is_json(piece):
                    return None
                add(new(line, (piece, request, seq, index)))
            elif middle.startswith(_REPORT, _KIND_AT) and middle[_REPORT_END : _REPORT_END + 1] == b'"':
                add(new(records.Report, (piece, request, seq, index)))
                turns.append((b"platform.report", middle[_REPORT_END - 36 : _REPORT_END].decode("latin-1")))
            elif middle.startswith(_START, _KIND_AT) and middle[_START_END : _START_END + 1] == b'"':
                add(new(records.Start, (piece, request, seq, index)))
                request_id = middle[_START_END - 36 : _START_END].decode("latin-1")
                turns.append((b"platform.start", request_id))
                request = _NONE if self.interleaved else new(records.Request, (request_id, piece, False))
            elif middle.startswith(_DONE, _KIND_AT) and middle[_DONE_END : _DONE_END + 1] == b'"':
                add(done := new(records.RuntimeDone, (piece, request, seq, index)))
                request_id = middle[_DONE_END - 36 : _DONE_END].decode("latin-1")
                turns.append((b"platform.runtimeDone", request_id))
                if request_id == request[0]:
                    request = new(records.Request, (request_id, request[1], True))
            else:
                kind = middle[_KIND_AT : middle.find(b'"', _KIND_AT)]
                if not kind.startswith(b"platform.") and b"[" in middle and not is_json(piece):
                    return None
                one = classes.get(kind)
                record = new(one, (piece, request, seq, index)) if one else records.make(piece, request, seq, index)
                add(record)
                if kind in _TURNS:
                    turns.append((kind, record.request_id))
                    request = self._turn(kind, record.request_id, piece, request)
                    done = record if kind == b"platform.runtimeDone" else done
                elif kind == b"platform.logsDropped" and fresh:
                    self.platform_dropped += _lost(record)
        if fresh:
            self._keep(request, turns, done)
        return found

    def _read_any(self, pieces: list[bytes], seq: int, request: Request, fresh: bool) -> list[Record]:
        """Envelopes of any form, in the way of a parser."""
        found: list[Record] = []
        turns: list[tuple[bytes, str]] = []
        done: Record | None = None
        for index, piece in enumerate(pieces):
            record = records.make(piece, request, seq, index)
            found.append(record)
            kind = type_of(piece)
            if kind in _TURNS:
                turns.append((kind, record.request_id))
                request = self._turn(kind, record.request_id, piece, request)
                done = record if kind == b"platform.runtimeDone" else done
            elif kind == b"platform.logsDropped" and fresh:
                self.platform_dropped += _lost(record)
        if fresh:
            self._keep(request, turns, done)
        return found

    def invoked(self, request_id: str) -> None:
        """INVOKE has come. What is known of this id is of an earlier run of it, and so is what comes before its next start.

        Unless a start has been read that no INVOKE had told of: that is this run's.
        """
        if request_id in self._early:
            self._early.remove(request_id)
            if request_id in self.started and request_id not in self.ended:
                return
        self._due.append(request_id)
        del self._due[:-_REMEMBERED]
        if any(request_id in known for known in (self.started, self.ended, self.reported)):
            self._forget_run(request_id)
            self._again = request_id

    def forget(self, seq: int) -> None:
        """Batches before `seq` will not be read again."""
        while self._begins and (first := next(iter(self._begins))) < seq:
            del self._begins[first]

    def _turn(self, kind: bytes, request_id: str, piece: bytes, request: Request) -> Request:
        """Whose the lines after this event are."""
        if kind == b"platform.report" or self.interleaved:
            return request
        if kind == b"platform.start":
            return tuple.__new__(records.Request, (request_id, piece, False))
        if kind == b"platform.initStart":
            return _NONE
        return tuple.__new__(records.Request, (request_id, request[1], True)) if request_id == request[0] else request

    def _keep(self, request: Request, turns: list[tuple[bytes, str]], done: Record | None) -> None:
        """What a batch that was read for the first time says about its requests."""
        self._request = request
        for kind, request_id in turns[-_REMEMBERED:]:
            if kind == b"platform.start":
                self._forget_run(request_id)
                if request_id == self._again:
                    self._again = ""
                if request_id in self._due:
                    self._due.remove(request_id)
                elif request_id not in self._early:
                    self._early.append(request_id)
            elif kind == b"platform.report" and request_id in self._owed:
                self._owed.remove(request_id)
                continue
            elif request_id and request_id == self._again:
                continue  # the end of the run before
            self._known[kind].append(request_id)
        if isinstance(done, records.RuntimeDone):
            self.last_done = done

    def _forget_run(self, request_id: str) -> None:
        """A request begins anew under the same id: what is known of its earlier run says nothing of this one."""
        has_run = request_id in self.started or request_id in self.ended
        if has_run and request_id not in self.reported:
            self._owed.append(request_id)
        for known in (self.started, self.ended, self.reported):
            while request_id in known:
                known.remove(request_id)

    def _tidy(self) -> None:
        """Let the oldest ids go."""
        for known in (*self._known.values(), self._owed, self._early):
            del known[:-_REMEMBERED]


def _lost(record: Record) -> int:
    return int(getattr(record, "dropped_records", None) or 0)
