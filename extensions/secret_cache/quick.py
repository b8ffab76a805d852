"""Answers to requests that have been answered before, byte for byte the same, without reading them again.

A function asks for the same thing with the same bytes as long as it lives. Such a request was found to be in order once, its
token included; while the entry is fresh and the same, its answer differs in its age alone. Whoever sends other bytes gets the
long way. The dictionary's hash is keyed by a secret of the process, so that the time of a look-up tells nothing of a token.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from extensions.secret_cache.store import Entry, Store

__all__ = ["Quick"]

_MOST = 1_000  # requests
_MOST_BYTES = 2_097_152  # of all of them with their answers
_LONGEST = 4_096  # bytes of one
_LARGEST = 32_768  # bytes of an answer: what is larger is not worth the memory, and goes the long way
_AGE = b"\r\nAge: "


class Quick:
    """``now()``: wall clock in ms; ``hits``: answers so far, which whoever counts takes from here."""

    __slots__ = ("_memo", "_now", "_size", "_store", "hits")

    def __init__(self, now: Callable[[], int], store: Store) -> None:
        self._memo: dict[bytes, tuple[Entry, int, bytes, bytes]] = {}
        self._now = now
        self._store = store
        self._size = 0  # bytes
        self.hits = 0

    def __call__(self, data: bytes) -> bytes | None:
        """The whole answer to the bytes `data`; None where they must be read."""
        known = self._memo.get(data)
        if known is None:
            return None
        entry, revision, before, after = known
        now = self._now()
        if entry.revision != revision:
            del self._memo[data]
            self._size -= len(data) + len(before) + len(after)
            return None
        if not entry.fetched_ms <= now < entry.fresh_ms or now >= entry.ahead_ms != entry.fresh_ms:
            return None
        self.hits += 1
        self._store.touch(entry)
        return b"%s%d%s" % (before, (now - entry.fetched_ms) // 1000, after)

    def remember(self, data: bytes, entry: Entry, answer: bytes) -> None:
        """`data` was answered from `entry` with `answer`, which has a field ``Age``."""
        before, found, rest = answer.partition(_AGE)
        size = len(data) + len(answer)
        if not found or len(data) > _LONGEST or len(answer) > _LARGEST or data in self._memo:
            return
        if len(self._memo) >= _MOST or self._size + size > _MOST_BYTES:
            self.forget()
        before += _AGE
        after = rest[rest.index(b"\r\n") :]
        self._memo[data] = (entry, entry.revision, before, after)
        self._size += len(data) + len(before) + len(after)

    def forget(self) -> None:
        """Tokens may have changed, or there is too much."""
        self._memo.clear()
        self._size = 0

    def __repr__(self) -> str:
        return f"Quick({len(self._memo)} requests)"
