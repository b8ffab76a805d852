"""Where the spool keeps its bytes: files in a folder under /tmp.

``NNNNNNNNNNNN.seg``  batches one behind the other, each with a header of 20 bytes: mark, length, CRC-32, sequence number. A
                      number that comes again replaces what came before; with a length of 0 it removes it. Written with one
                      call per batch and never synchronised: the page cache outlives this process, and nothing in an
                      execution environment outlives the environment.
``state``             cursors and counters as text, twice: two slots that are written in turn, each with its own checksum, so
                      that one of them is whole whenever the process is killed.
``malformed-N``       what could not be read, for whoever wants to look.

A batch that was being written when the process was killed has not been answered with 200 either: it is cut off, and the
platform posts it again.
"""

from __future__ import annotations

import posix
from zlib import crc32

__all__ = ["Folder", "Stored"]

SEGMENT_BYTES = 1_048_576
FREE_FLOOR_BYTES = 16 * 1_048_576  # /tmp belongs to the function: this much of it is never taken
_MARK = b"LEK1"
_HEADER = 20
_SLOT = 16_384
_SET_ASIDE = 8  # files
_SET_ASIDE_BYTES = 262_144


class Stored:
    """Where one batch lies. ``segment``: -1 where it is in memory only, as ``body``."""

    __slots__ = ("body", "crc", "length", "offset", "segment", "seq")

    def __init__(self, seq: int, length: int, crc: int, segment: int, offset: int, body: bytes | None = None) -> None:
        self.seq = seq
        self.length = length
        self.crc = crc
        self.segment = segment
        self.offset = offset
        self.body = body


class Folder:
    """The files. Every method may raise OSError: the disk is full, read-only, or gone."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._writing = -1  # descriptor of the segment that is written, its number and length
        self._number = -1
        self._length = 0
        self._reading: tuple[int, int] = (-1, -1)  # number and descriptor of the segment that was read last
        self._newest = 0
        self._segments: dict[int, int] = {}  # number: batches that are still wanted
        self._hides: dict[int, set[int]] = {}  # number: segments that hold what it replaces, and would bring it back
        self._generation = 0
        _make_directories(path)
        self._state = posix.open(
            f"{path}/state", posix.O_RDWR | posix.O_CREAT | posix.O_CLOEXEC | posix.O_NOFOLLOW, 0o600
        )
        _lock(self._state)

    # opening

    def recover(self) -> dict[int, Stored]:
        """The batches of an earlier process of this environment by number; what was half written is cut off."""
        found: dict[int, Stored] = {}
        for name in sorted(posix.listdir(self.path)):
            if not name.endswith(".seg") or not name[:-4].isdigit():
                continue
            self._newest = number = int(name[:-4])
            self._segments[number] = 0
            for stored in self._scan(number):
                before = found.pop(stored.seq, None)
                if before is not None:
                    self._segments[before.segment] -= 1
                    self._hides.setdefault(number, set()).add(before.segment)
                if stored.length:
                    found[stored.seq] = stored
                    self._segments[number] += 1
        return dict(sorted(found.items()))

    def _scan(self, number: int) -> list[Stored]:
        fd = posix.open(self._name(number), posix.O_RDWR | posix.O_CLOEXEC | posix.O_NOFOLLOW)
        try:
            size, at, found = posix.fstat(fd).st_size, 0, []
            while at + _HEADER <= size:
                head = posix.pread(fd, _HEADER, at)
                length, crc, seq = (int.from_bytes(head[a:b], "big") for a, b in ((4, 8), (8, 12), (12, 20)))
                if head[:4] != _MARK or at + _HEADER + length > size:
                    break
                found.append(Stored(seq, length, crc, number, at + _HEADER))
                at += _HEADER + length
            if at != size:
                posix.ftruncate(fd, at)
        finally:
            posix.close(fd)
        return found

    def clear(self) -> None:
        """Forget everything: it belongs to another environment."""
        for name in posix.listdir(self.path):
            if name.endswith(".seg") or name.startswith("malformed-"):
                posix.unlink(f"{self.path}/{name}")
        self._segments.clear()

    # batches

    def append(self, seq: int, crc: int, body: bytes, instead: Stored | None = None) -> Stored:
        """Write one batch; on an error nothing of it stays. ``instead``: a larger one that it replaces (no floor then)."""
        if self._writing < 0 or self._length >= SEGMENT_BYTES:
            self._rotate()
        if instead is None and self.free_bytes() < FREE_FLOOR_BYTES + len(body):
            raise OSError(28, "too little is free in /tmp")
        head = _MARK + len(body).to_bytes(4, "big") + crc.to_bytes(4, "big") + seq.to_bytes(8, "big")
        before = self._length
        try:
            if posix.writev(self._writing, (head, body)) != _HEADER + len(body):
                raise OSError(28, "no space left in /tmp")
        except OSError:
            posix.ftruncate(self._writing, before)
            raise
        self._length = before + _HEADER + len(body)
        self._segments[self._number] += 1 if body else 0
        if instead is not None and instead.segment != self._number:
            self._hides.setdefault(self._number, set()).add(instead.segment)
        return Stored(seq, len(body), crc, self._number, before + _HEADER)

    def _rotate(self) -> None:
        """A new file, also after a restart: nothing is ever written behind what another process has left."""
        number = self._newest + 1
        flags = posix.O_RDWR | posix.O_CREAT | posix.O_EXCL | posix.O_APPEND | posix.O_CLOEXEC | posix.O_NOFOLLOW
        fd = posix.open(self._name(number), flags, 0o600)
        if self._writing >= 0:
            posix.close(self._writing)
        self._writing, self._number, self._length, self._newest = fd, number, 0, number
        self._segments[number] = 0

    def read(self, stored: Stored) -> bytes:
        """The bytes of a batch; OSError where they are no longer what was written."""
        body = posix.pread(self._open(stored.segment), stored.length, stored.offset)
        if len(body) != stored.length or crc32(body) != stored.crc:
            raise OSError(5, f"batch {stored.seq} has been changed on disk")
        return body

    def _open(self, number: int) -> int:
        if number == self._number:
            return self._writing
        if self._reading[0] != number:
            fd = posix.open(self._name(number), posix.O_RDONLY | posix.O_CLOEXEC | posix.O_NOFOLLOW)
            self._close_reading()
            self._reading = (number, fd)
        return self._reading[1]

    def _close_reading(self) -> None:
        if self._reading[1] >= 0:
            posix.close(self._reading[1])
        self._reading = (-1, -1)

    def forget(self, stored: Stored) -> None:
        """One batch is no longer wanted."""
        self._segments[stored.segment] -= 1

    def sweep(self) -> list[int]:
        """Remove segments of which nothing is wanted; their numbers.

        The newest two stay: a batch that is posted again is compared with what they hold.
        """
        gone = []
        for number in sorted(self._segments)[:-2]:
            if self._segments[number] <= 0 and not any(one in self._segments for one in self._hides.get(number, ())):
                if self._reading[0] == number:
                    self._close_reading()
                posix.unlink(self._name(number))
                del self._segments[number]
                self._hides.pop(number, None)
                gone.append(number)
        return gone

    def free_bytes(self) -> int:
        """What is free on this file system for somebody who is not root."""
        disk = posix.statvfs(self.path)
        return disk.f_bavail * disk.f_frsize

    def _name(self, number: int) -> str:
        return f"{self.path}/{number:012d}.seg"

    # state

    def save(self, text: str) -> None:
        """Keep `text` as the state; the one before it stays until this one is whole."""
        body = text.encode("utf-8", "surrogateescape")
        self._generation += 1
        head = b"%016x %08x %08x\n" % (self._generation, crc32(body), len(body))
        if len(head) + len(body) > _SLOT:
            raise OSError(27, "the state is too large")
        posix.pwrite(self._state, head + body, self._generation % 2 * _SLOT)

    def load(self) -> str:
        """The newest state that is whole, "" where there is none."""
        best = ""
        for slot in (0, 1):
            data = posix.pread(self._state, _SLOT, slot * _SLOT)
            head, _, rest = data.partition(b"\n")
            try:
                generation, crc, length = (int(part, 16) for part in head.split())
            except ValueError:
                continue
            body = rest[:length]
            if len(body) == length and crc32(body) == crc and generation > self._generation:
                self._generation, best = generation, body.decode("utf-8", "surrogateescape")
        return best

    # what could not be read

    def set_aside(self, number: int, data: bytes) -> None:
        """Keep `data` (cut) as one of a few files, the oldest of which is overwritten."""
        name = f"{self.path}/malformed-{number % _SET_ASIDE}"
        fd = posix.open(
            name, posix.O_WRONLY | posix.O_CREAT | posix.O_TRUNC | posix.O_CLOEXEC | posix.O_NOFOLLOW, 0o600
        )
        try:
            if self.free_bytes() >= FREE_FLOOR_BYTES:
                posix.write(fd, data[:_SET_ASIDE_BYTES])
        finally:
            posix.close(fd)


def _make_directories(path: str) -> None:
    at = 1
    while at:
        at = path.find("/", at + 1)
        try:
            posix.mkdir(path if at < 0 else path[:at], 0o700)
        except FileExistsError:
            pass
        except OSError:
            if at < 0:
                raise
        if at < 0:
            return


def _lock(fd: int) -> None:
    """Ours alone. Two of us meet only where several environments share one /tmp, which Lambda's never do."""
    from fcntl import LOCK_EX, LOCK_NB, flock

    flock(fd, LOCK_EX | LOCK_NB)
