"""What an experiment has done in this environment: how often it has injected, and how invocations fare that it leaves alone.

It outlives the experiment's extension and its coming back. For several threads.
"""

from __future__ import annotations

import _thread

TYPE_CHECKING = False
if TYPE_CHECKING:
    from extensions.chaos_injector.plan import Guard, Limits

__all__ = ["Book", "Books"]

_MINUTE_NS = 60_000_000_000
_MOST_BOOKS = 32
_MOST_ENDS = 10_000  # of invocations, that the guard looks at


class Book:
    """``aborted``: why the guard has ended the experiment, "" where it has not. Times are monotonic nanoseconds."""

    __slots__ = ("_bad", "_ends", "_lock", "_recent", "aborted", "injections", "until_ms")

    def __init__(self) -> None:
        self.injections = 0
        self.until_ms = 0  # the latest end that was written in its experiment, epoch ms
        self.aborted = ""
        self._recent: list[int] = []  # injections of the last minute
        self._ends: list[tuple[int, bool]] = []  # of invocations without an injection: when, and whether they failed
        self._bad = 0  # of those, failures
        self._lock = _thread.allocate_lock()

    def take(self, limits: Limits, now_ns: int) -> str:
        """One injection off the limits; the reason where they are reached."""
        with self._lock:
            if self.injections >= limits.max_injections:
                return "max_injections"
            recent = self._recent
            del recent[: next((at for at, one in enumerate(recent) if now_ns - one < _MINUTE_NS), len(recent))]
            if len(recent) >= limits.max_per_minute:
                return "max_per_minute"
            self.injections += 1
            recent.append(now_ns)
        return ""

    def ended(self, guard: Guard, now_ns: int, failed: bool) -> str:
        """An invocation without an injection has ended; why that ends the experiment, "" where it goes on."""
        with self._lock:
            ends = self._ends
            ends.append((now_ns, failed))
            self._bad += failed
            oldest = now_ns - guard.window_ms * 1_000_000
            gone = next((at for at, end in enumerate(ends) if end[0] >= oldest), len(ends))
            gone = max(gone, len(ends) - _MOST_ENDS)
            self._bad -= sum(end[1] for end in ends[:gone])
            del ends[:gone]
            asked = len(ends)
            if guard.abort_error_rate and asked >= guard.min_requests and self._bad >= guard.abort_error_rate * asked:
                self.aborted = f"{self._bad} of {asked} invocations failed into which nothing was injected"
            return self.aborted


class Books:
    """Of an environment's experiments, by their ids. One that still counts is kept: its limits would begin anew."""

    def __init__(self) -> None:
        self._books: dict[str, Book] = {}
        self._lock = _thread.allocate_lock()

    def of(self, id: str, until_ms: int, now_ms: int) -> Book | None:
        """The book of an experiment that ends at `until_ms`; None where there are too many that must be kept."""
        with self._lock:
            book = self._books.get(id)
            if book is None:
                self._make_room(now_ms)
                if len(self._books) >= _MOST_BOOKS:
                    return None
                book = self._books[id] = Book()
            book.until_ms = max(book.until_ms, until_ms)
            return book

    def _make_room(self, now_ms: int) -> None:
        over = [id for id, book in self._books.items() if not book.aborted and book.until_ms <= now_ms]
        for id in over[: max(0, len(self._books) - _MOST_BOOKS + 1)]:
            del self._books[id]
