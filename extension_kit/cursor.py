"""One plug-in's place in the spool, and its account: what it was handed, what it has acknowledged, what was dropped."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Cursor", "stream_of"]

_LOST = "dropped: "  # outcomes that count as lost begin so
_MOST_OUTCOMES = 24  # different ones: the state that is kept of them has a fixed size


class Cursor:
    """One plug-in's place in the spool, and its account.

    ``seq``, ``index``: the first record that it has not acknowledged (an index counts the records of its own streams);
    ``next_seq``, ``next_index``: the first that it has not been handed. ``dropped``: reason: (records, bytes). ``outcomes``:
    what became of acknowledged records that were not delivered; see `Flushed`.
    """

    def __init__(self, name: str, streams: tuple[str, ...]) -> None:
        self.name = name
        self.streams = streams
        self.seq = self.index = 0
        self.next_seq = self.next_index = 0
        self.acknowledged = 0
        self.dropped: dict[str, tuple[int, int]] = {}
        self.outcomes: dict[str, int] = {}
        self.earlier_outcomes: dict[str, int] = {}  # of the processes before this one
        self.told: dict[str, int] = {}  # reason: how many of the dropped records the plug-in has been told about
        self.held = 0  # records that were handed over and are not acknowledged
        self.held_bytes = 0
        self.in_hand = 0  # the batch that is being read for it
        self._chunks: list[_Chunk] = []

    @property
    def dropped_records(self) -> int:
        return sum(records for records, _bytes in self.dropped.values())

    def sums(self, waiting: int) -> str:
        """What has become of every record, as a sum in words; ``waiting``: how many nothing has become of yet."""
        lost = {reason: records for reason, (records, _bytes) in self.dropped.items()}
        parts = []
        delivered = self.acknowledged
        for name, records in self.outcomes.items():
            delivered -= records
            if name.startswith(_LOST):
                lost[name[len(_LOST) :]] = lost.get(name[len(_LOST) :], 0) + records
            elif records:
                parts.append(f"{records} {name}")
        why = ", ".join(f"{reason}: {records}" for reason, records in lost.items() if records)
        parts = [f"{delivered} delivered", *parts, f"{sum(lost.values())} dropped{f' ({why})' if why else ''}"]
        received = self.acknowledged + self.dropped_records + waiting
        return f"{received} records = {' + '.join(parts)} + {waiting} pending"

    def wants(self, piece: bytes) -> bool:
        """Whether an event belongs to one of its streams."""
        return stream_of(piece) in self.streams

    def untouched(self, seq: int) -> bool:
        """Whether nothing of batch `seq` has come to the plug-in."""
        return self.in_hand != seq and (self.next_seq < seq or (self.next_seq == seq and self.next_index == 0))

    def hand(self, seq: int, first: int, records: int, size: int, last: bool) -> None:
        """`records` of batch `seq` are with the plug-in now; `last`: none of the batch is left."""
        self._chunks.append(_Chunk(seq, first, records, size, last))
        self.held += records
        self.held_bytes += size
        self.next_seq, self.next_index = (seq + 1, 0) if last else (seq, first + records)

    def take_back(self) -> None:
        """What was handed over last did not arrive: it will be handed over again."""
        chunk = self._chunks.pop()
        self.held -= chunk.records
        self.held_bytes -= chunk.size
        self.next_seq, self.next_index = chunk.seq, chunk.first

    def lose(self, reason: str, everything: bool = False) -> None:
        """What was handed over last, or all that is held, cannot be delivered any more."""
        for chunk in self._chunks if everything else self._chunks[-1:]:
            self.drop(reason, chunk.records, chunk.size)
            self.held -= chunk.records
            self.held_bytes -= chunk.size
            chunk.records = chunk.size = 0
        self.acknowledge(self.held)

    def drop(self, reason: str, records: int, size: int) -> None:
        if records:
            before = self.dropped.get(reason, (0, 0))
            self.dropped[reason] = (before[0] + records, before[1] + size)

    def acknowledge(self, pending: int = 0, outcomes: Mapping[str, int] | None = None) -> None:
        """All that was handed over is done with, but for the newest `pending` records. ``outcomes``: see `Flushed`."""
        if outcomes:
            totals = dict(self.earlier_outcomes)
            for name, records in outcomes.items():
                if name not in totals and len(totals) >= _MOST_OUTCOMES:
                    name = f"{_LOST}others" if name.startswith(_LOST) else "others"
                totals[name] = totals.get(name, 0) + records
            self.outcomes = totals
        done = max(0, self.held - pending)
        while self._chunks and (done or not self._chunks[0].records):
            chunk = self._chunks[0]
            taken = min(done, chunk.records)
            size = chunk.size * taken // chunk.records if chunk.records else 0
            done -= taken
            self.held -= taken
            self.held_bytes -= size
            self.acknowledged += taken
            if taken < chunk.records:
                chunk.shrink(taken, size)
                self.seq, self.index = chunk.seq, chunk.first
                return
            self.seq, self.index = (chunk.seq + 1, 0) if chunk.last else (chunk.seq, chunk.first + chunk.span)
            del self._chunks[0]


class _Chunk:
    """Records of one batch that were handed over together. ``span``: how far they reach, also when none of them is left."""

    __slots__ = ("first", "last", "records", "seq", "size", "span")

    def __init__(self, seq: int, first: int, records: int, size: int, last: bool) -> None:
        self.seq = seq
        self.first = first
        self.records = self.span = records
        self.size = size
        self.last = last

    def shrink(self, records: int, size: int) -> None:
        self.first += records
        self.records -= records
        self.span -= records
        self.size -= size


def stream_of(piece: bytes) -> str:
    """``platform``, ``function`` or ``extension``: which subscription an event comes from."""
    from extension_kit.protocol.telemetry import type_of

    kind = type_of(piece)
    return kind.decode() if kind in (b"function", b"extension") else "platform"
