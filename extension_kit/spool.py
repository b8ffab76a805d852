"""What has been accepted and not yet been delivered: kept on disk, counted, bounded.

A batch is stored before the platform is told 200. From then on it is this spool's to answer for: every record of it is in the
end *acknowledged* by each plug-in that wants it, *dropped* for a reason that is counted and reported, or *pending*. The numbers
and each plug-in's place stand beside the batches under /tmp, so they go on after the process was killed.

Threads: `store` is called by the listener's thread, everything else by the loop's; a lock guards what they share, and is
held for microseconds. Nothing here parses, but what thins out batches when there is no more room: a little at each `store`,
no more than is read in some milliseconds, since the platform waits for its 200 and throws lines away where that takes long.

Bounds: bytes (``EXTENSION_KIT_SPOOL_MAX_BYTES``, at most a quarter of what was free in /tmp), batches, and a floor of free
space that is the function's. Where /tmp is full or read-only a few megabytes of memory must do, and the accounting says so.
"""

from __future__ import annotations

import _thread
from posix import urandom
from zlib import crc32

from extension_kit.segments import Folder, Stored

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from extension_kit.cursor import Cursor

__all__ = ["Spool"]

MAX_BATCHES = 16_384
_RETRY_DISK = 64  # batches that go to memory before the disk is tried again
FULL = "spool full"
_THINNED_AT_A_TIME = (262_144, 64)  # bytes beside four times those of the body that comes, and batches
_PROTECTED = (b'"type":"platform.', b"ERROR", b"FATAL", b"CRITICAL", b"Traceback", b"Exception", b"panic", b"timed out")


class Spool:
    """Batches in the order in which they came, numbered from 1."""

    def __init__(self, path: str, owner: str, cursors: list[Cursor], max_bytes: int, memory_bytes: int) -> None:
        """``owner``: what tells this environment from others that share its /tmp; what another left there is removed."""
        self.cursors = cursors
        self.duplicates = 0
        self.malformed = 0
        self.why_memory = ""  # why not all of it is safe from a crash
        self.context: Callable[[int], str] = lambda _seq: ""  # what the state says beside, about the oldest batch
        self.restored_context = ""
        self.life = urandom(8).hex()  # what tells its numbers from those of any other spool
        self._owner = owner
        self._max_bytes = max_bytes
        self._memory_bytes = memory_bytes
        self._batches: dict[int, Stored] = {}
        self._recent: dict[tuple[int, int], list[Stored]] = {}
        self._next = 1
        self._on_disk = 0  # bytes
        self._in_memory = 0
        self._changed = False
        self._thinned = 0  # up to this one all batches have been thinned out that could be
        self._failures = 0  # batches since the disk failed; 0: it works
        self._hot: tuple[int, bytes] = (0, b"")  # the newest batch and its number: most often it is read at once
        self._lock = _thread.allocate_lock()
        self._folder: Folder | None = None
        try:
            self._open(path)
        except OSError as error:
            self._folder = None
            self._disk_failed(error)

    @property
    def received(self) -> int:
        """Batches that were stored, by this process and those before it."""
        return self._next - 1

    @property
    def size(self) -> int:
        """Bytes that are kept at the moment."""
        return self._on_disk + self._in_memory

    def _open(self, path: str) -> None:
        folder = Folder(path)
        state = folder.load()
        if state and not state.startswith(f"owner {self._owner}\n"):
            folder.clear()
            state = ""
        found = folder.recover()
        # The quarter is of what was free before we took any of it.
        self._max_bytes = min(self._max_bytes, (folder.free_bytes() + sum(one.length for one in found.values())) // 4)
        for stored in found.values():
            self._add(stored)
            self._next = stored.seq + 1
        self._folder = folder
        self._restore(state)
        self._release()
        if not state:
            self._save()  # what is sent before the first commit must have the same name after a crash

    def renew(self) -> None:
        """Take another name: a snapshot was resumed, and others of it go on with the same numbers."""
        with self._lock:
            self.life = urandom(8).hex()
            self._save()

    # the listener's thread

    def store(self, body: bytes) -> bool:
        """Keep a batch; False where it is one that was posted before. Never raises, never waits for anybody."""
        crc = crc32(body)
        with self._lock:
            if self._is_repeated(body, crc):
                self.duplicates += 1
                self._save()
                return False
            seq, self._next = self._next, self._next + 1
            kept = self._fit(body, seq)
            if kept is not body:
                crc = crc32(kept)
            if kept:
                self._add(self._write(seq, crc, kept))
                self._hot = (seq, kept)
            return True

    def _is_repeated(self, body: bytes, crc: int) -> bool:
        for stored in self._recent.get((len(body), crc), ()):
            try:
                if self._read(stored) == body:
                    return True
            except OSError:
                continue
        return False

    def _fit(self, body: bytes, seq: int) -> bytes:
        """`body`, or what of it is protected where the spool is full, or nothing."""
        if self._has_room(len(body)):
            return body
        kept = body
        self._make_room(len(body), self._most_of_all_kinds, self._thin)
        if not self._has_room(len(body)):
            kept = self._thin(body, seq)
            self._make_room(len(kept), self._most, self._nothing)
            if kept and not self._has_room(len(kept), self._most):
                self._count_dropped(kept, seq)
                kept = b""
        self._save()
        return kept

    @property
    def _most(self) -> int:
        """Bytes that there is room for, where they go at the moment."""
        return self._memory_bytes if self._failures else self._max_bytes

    @property
    def _most_of_all_kinds(self) -> int:
        """The same without a sixteenth that is for what is protected: a plug-in may hold all the rest when an error comes."""
        return self._most - self._most // 16

    def _has_room(self, length: int, most: int | None = None) -> bool:
        if len(self._batches) >= MAX_BATCHES:
            return False
        return self._used() + length <= (self._most_of_all_kinds if most is None else most)

    def _used(self) -> int:
        return self._in_memory if self._failures else self._on_disk

    def _write(self, seq: int, crc: int, body: bytes, instead: Stored | None = None) -> Stored:
        """To disk, or where that fails to memory; the disk is tried again now and then."""
        if self._folder is not None and self._failures % _RETRY_DISK == 0:
            try:
                stored = self._folder.append(seq, crc, body, instead)
                self._failures = 0
                return stored
            except OSError as error:
                self._disk_failed(error)
        self._failures += 1
        return Stored(seq, len(body), crc, -1, 0, body)

    def _disk_failed(self, error: OSError) -> None:
        self.why_memory = self.why_memory or error.strerror or str(error)
        self._failures = max(self._failures, 1)

    def _add(self, stored: Stored) -> None:
        self._batches[stored.seq] = stored
        self._recent.setdefault((stored.length, stored.crc), []).append(stored)
        if stored.segment < 0:
            self._in_memory += stored.length
        else:
            self._on_disk += stored.length

    # the loop's thread

    def next_batch(self, cursor: Cursor, known: int = 0) -> tuple[int, bytes] | None:
        """The first batch that `cursor` has not been handed wholly, and its bytes; None where there is none.

        The bytes of batch `known` are with the caller already: b"" stands for them.
        Bytes that cannot be read any more are dropped and counted: by then it is too late for anything else.
        """
        with self._lock:
            while cursor.next_seq < self._next:
                stored = self._batches.get(cursor.next_seq)
                if stored is not None:
                    try:
                        body = b"" if stored.seq == known else self._take(stored)
                        cursor.in_hand = stored.seq
                        return stored.seq, body
                    except OSError as error:
                        self.why_memory = self.why_memory or error.strerror or str(error)
                        cursor.drop("unreadable batch", 1, stored.length)
                cursor.hand(cursor.next_seq, cursor.next_index, 0, 0, True)
            return None

    def hand(self, cursor: Cursor, seq: int, first: int, records: int, size: int, last: bool) -> None:
        """See `Cursor.hand`."""
        with self._lock:
            cursor.in_hand = 0
            cursor.hand(seq, first, records, size, last)

    def take_back(self, cursor: Cursor) -> None:
        """See `Cursor.take_back`."""
        with self._lock:
            cursor.take_back()

    def acknowledge(self, cursor: Cursor, pending: int = 0, outcomes: Mapping[str, int] | None = None) -> None:
        """See `Cursor.acknowledge`; a process that comes after us knows of it once `commit` was called."""
        with self._lock:
            cursor.acknowledge(pending, outcomes)
            self._changed = self._changed or cursor.name != "" or len(self.cursors) == 1

    def lose(self, cursor: Cursor, reason: str, everything: bool = False) -> None:
        """See `Cursor.lose`."""
        with self._lock:
            cursor.lose(reason, everything)
            self._changed = True

    def commit(self) -> None:
        """Write the state, and let go of what nobody needs any more, where anything has changed."""
        with self._lock:
            if self._changed:
                self._changed = False
                self._release()
                self._save()

    @property
    def oldest(self) -> int:
        """The number of the oldest batch that somebody may still want."""
        return min((cursor.seq for cursor in self.cursors), default=self._next)

    def behind(self, cursor: Cursor) -> bool:
        """Whether there are batches that `cursor` has not been handed."""
        return cursor.next_seq < self._next

    def set_aside(self, data: bytes) -> None:
        """Count and keep what could not be read."""
        with self._lock:
            self.malformed += 1
            try:
                if self._folder is not None:
                    self._folder.set_aside(self.malformed, data)
            except OSError:
                pass  # the count is what matters
            self._save()

    def _take(self, stored: Stored) -> bytes:
        """As `_read`; the newest batch is still in memory, once."""
        seq, body = self._hot
        if seq != stored.seq or len(body) != stored.length:
            return self._read(stored)
        self._hot = (0, b"")
        return body

    def _read(self, stored: Stored) -> bytes:
        if stored.body is not None:
            return stored.body
        assert self._folder is not None
        return self._folder.read(stored)

    def _release(self) -> None:
        """Let go of the batches that every plug-in is done with."""
        wanted = self.oldest
        while self._batches and (seq := next(iter(self._batches))) < wanted:
            self._remove(self._batches.pop(seq))
        self._sweep()

    def _remove(self, stored: Stored) -> None:
        if stored.segment < 0:
            self._in_memory -= stored.length
            self._forget_digest(stored)
        else:
            self._on_disk -= stored.length
            assert self._folder is not None
            self._folder.forget(stored)

    def _sweep(self) -> None:
        if self._folder is None:
            return
        try:
            gone = self._folder.sweep()
        except OSError:
            return  # it is tried again
        if gone:
            for known in [known for same in self._recent.values() for known in same if known.segment in gone]:
                self._forget_digest(known)

    def _forget_digest(self, stored: Stored) -> None:
        key = (stored.length, stored.crc)
        same = [known for known in self._recent.get(key, ()) if known is not stored]
        if same:
            self._recent[key] = same
        else:
            self._recent.pop(key, None)

    # when there is no more room

    def _make_room(self, length: int, most: int, thin: Callable[[bytes, int], bytes]) -> None:
        """Thin the oldest batches with `thin` until there is room for so many bytes; a few at a time."""
        more, batches = _THINNED_AT_A_TIME
        size = 4 * length + more if 0 < length <= most else 0
        for _ in range(batches):
            stored = None if size <= 0 or self._has_room(length, most) else self._next_to_thin(thin == self._thin)
            if stored is None:
                break
            size -= stored.length
            self._replace(stored, thin)
        self._sweep()

    def _next_to_thin(self, once: bool) -> Stored | None:
        """The oldest batch that may be; ``once``: that has not been yet."""
        if not once:
            return next(filter(self._may_go, self._batches.values()), None)
        first = next(iter(self._batches), self._next)
        for seq in range(max(first, self._thinned + 1), self._next):
            self._thinned = seq
            stored = self._batches.get(seq)
            if stored is not None and self._may_go(stored):
                return stored
        return None

    def _may_go(self, stored: Stored) -> bool:
        """Whether nobody has begun with a batch, and it lies where room is wanted."""
        if (stored.segment < 0) != (self._failures > 0) and len(self._batches) < MAX_BATCHES:
            return False
        return all(cursor.seq > stored.seq or cursor.untouched(stored.seq) for cursor in self.cursors)

    def _replace(self, stored: Stored, thin: Callable[[bytes, int], bytes]) -> None:
        try:
            body = self._read(stored)
        except OSError:
            return  # whoever comes to read it counts it
        kept = thin(body, stored.seq)
        if len(kept) == len(body):
            return
        self._remove(stored)
        self._hot = (0, b"")
        if stored.segment >= 0:
            replacement = self._write(stored.seq, crc32(kept), kept, stored)
        else:
            replacement = Stored(stored.seq, len(kept), crc32(kept), -1, 0, kept)
        if kept:
            self._add(replacement)
        else:
            del self._batches[stored.seq]

    def _thin(self, body: bytes, seq: int) -> bytes:
        """The protected events of a batch (platform events, lines that look like errors); the others are counted."""
        from extension_kit.protocol.telemetry import split

        marks = [mark for mark in _PROTECTED if mark in body]  # of eight there is one at most, most often
        kept: list[bytes] = []
        lost: list[bytes] = []
        for piece in split(body).pieces:
            (kept if any(mark in piece for mark in marks) else lost).append(piece)
        if not lost:
            return body
        self._count(lost, seq)
        return b"[" + b",".join(kept) + b"]" if kept else b""

    def _nothing(self, body: bytes, seq: int) -> bytes:
        self._count_dropped(body, seq)
        return b""

    def _count_dropped(self, body: bytes, seq: int) -> None:
        from extension_kit.protocol.telemetry import split

        self._count(split(body).pieces, seq)

    def _count(self, pieces: list[bytes], seq: int) -> None:
        for cursor in self.cursors:
            if cursor.untouched(seq):
                mine = [len(piece) for piece in pieces if cursor.wants(piece)]
                cursor.drop(FULL, len(mine), sum(mine))

    # state

    def _save(self) -> None:
        if self._folder is None:
            return
        lines = [
            f"owner {self._owner}",
            f"life {self.life}",
            f"next {self._next}",
            f"context {self.context(self.oldest)}",
        ]
        lines += [f"count {name} {getattr(self, name)}" for name in ("duplicates", "malformed")]
        for cursor in self.cursors:  # a cursor without a name is the kit's own: it begins anew with what is left
            if not cursor.name:
                continue
            lines.append(f"cursor {cursor.seq} {cursor.index} {cursor.acknowledged} {cursor.name}")
            for reason, (records, size) in cursor.dropped.items():
                lines.append(f"dropped {records} {size} {cursor.told.get(reason, 0)} {cursor.name} {reason}")
            lines += [f"outcome {records} {cursor.name} {outcome}" for outcome, records in cursor.outcomes.items()]
        try:
            self._folder.save("\n".join(lines) + "\n")
        except OSError as error:
            self._disk_failed(error)

    def _restore(self, state: str) -> None:
        """What `_save` wrote; a plug-in that is not in it begins with the oldest batch that is there."""
        first = min(self._batches, default=self._next)
        for cursor in self.cursors:
            cursor.seq = cursor.next_seq = first
        by_name = {cursor.name: cursor for cursor in self.cursors}
        for line in state.splitlines()[1:]:
            kind, *fields = line.split(" ")
            if kind == "context":
                self.restored_context = " ".join(fields)
            elif kind == "life":
                self.life = fields[0]
            elif kind == "next":
                self._next = max(self._next, int(fields[0]))
            elif kind == "count":
                setattr(self, fields[0], int(fields[1]))
            elif kind == "cursor" and fields[3] in by_name:
                cursor = by_name[fields[3]]
                cursor.seq, cursor.index, cursor.acknowledged = (int(field) for field in fields[:3])
                cursor.next_seq, cursor.next_index = cursor.seq, cursor.index
            elif kind == "dropped" and fields[3] in by_name:
                cursor, reason = by_name[fields[3]], " ".join(fields[4:])
                cursor.dropped[reason] = (int(fields[0]), int(fields[1]))
                cursor.told[reason] = int(fields[2])
            elif kind == "outcome" and fields[1] in by_name:
                cursor, outcome = by_name[fields[1]], " ".join(fields[2:])
                cursor.outcomes[outcome] = cursor.earlier_outcomes[outcome] = int(fields[0])
