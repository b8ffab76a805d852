"""Answers from the store at once, everything else once it is there: one fetch for all who wait for the same thing.

All of it runs on one thread, the server's loop; fetching is done elsewhere and comes back through `arrived`. That is why
nothing here is locked, and why nothing here may wait.
"""

from __future__ import annotations

import sys

from extension_kit.aws import AwsError
from extension_kit.protocol.values import Value, set_field
from extensions.secret_cache.asks import ParameterAsk, PathAsk, SecretAsk
from extensions.secret_cache.found import Parameters
from extensions.secret_cache.store import HIT, MISS, NEGATIVE, STALE, Entry

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Protocol

    from extension_kit.io.clock import Clock
    from extensions.secret_cache.asks import Ask
    from extensions.secret_cache.found import Found, Secret
    from extensions.secret_cache.permits import Permits
    from extensions.secret_cache.policy import Policy
    from extensions.secret_cache.store import Store

    class Fetches(Protocol):
        """Who asks AWS: `Fetcher`."""

        def submit(self, orders: Iterable[Order]) -> None: ...

    class Cancels(Protocol):
        def cancel(self) -> None: ...


__all__ = ["Cache", "Order", "Outcome"]

_MARGIN_MS = 100  # kept free before the deadline, so that the answer and the function's reaction to it have time
_PATIENCE_MS = 1_000  # how long a caller waits for news where a value that would do is in hand
_LEAST_MS = 500  # that must be left for another try
_UNKNOWN_LIMIT_MS = 10_000  # where no invocation is known that the caller could belong to


class Outcome(Value):
    """``state``: hit, miss (fetched now), stale, negative (an error from memory) or error. ``age_ms`` of the value.

    ``entry`` is None where nothing came in time; ``limited``: ms until a refresh that was refused may be asked for again.
    """

    __slots__ = ("age_ms", "entry", "error", "found", "limited_ms", "state")

    state: str
    entry: Entry | None
    found: Found | None
    error: AwsError | None
    age_ms: int
    limited_ms: int

    def __init__(
        self, state: str, entry: Entry | None, error: AwsError | None = None, now: int = 0, limited_ms: int = 0
    ) -> None:
        set_field(self, "state", state)
        set_field(self, "entry", entry)
        set_field(self, "found", entry.found if entry is not None and error is None else None)
        set_field(self, "error", error)
        set_field(self, "age_ms", max(0, now - entry.fetched_ms) if entry is not None else 0)
        set_field(self, "limited_ms", limited_ms)


class Order(Value):
    """What to fetch, by when (epoch ms), and the value that is in hand.

    ``key`` is what it was known as when it was ordered, ``life`` which restore of the environment it belongs to. With `probe`
    only the version is asked for.
    """

    __slots__ = ("ask", "deadline_ms", "key", "life", "previous", "probe")

    ask: Ask
    key: Ask
    deadline_ms: int
    previous: Found | None
    life: int
    probe: bool

    def __init__(
        self, ask: Ask, key: Ask, deadline_ms: int, previous: Found | None = None, life: int = 0, probe: bool = False
    ) -> None:
        set_field(self, "ask", ask)
        set_field(self, "key", key)
        set_field(self, "deadline_ms", deadline_ms)
        set_field(self, "previous", previous)
        set_field(self, "life", life)
        set_field(self, "probe", probe)


class _Waiter:
    __slots__ = ("answer", "arrived_ms")

    def __init__(self, answer: Callable[[Outcome], object], arrived_ms: int) -> None:
        self.answer = answer
        self.arrived_ms = arrived_ms


class _Flight:
    __slots__ = ("order", "waiters")

    def __init__(self, order: Order) -> None:
        self.order = order
        self.waiters: list[_Waiter] = []


class Cache:
    """``call_later(seconds, call)`` runs on the same thread; ``count(name, n)`` adds to a counter; ``limit_ms``: when what
    goes on now (Lambda's init) ends; ``keeps``: false until `restored`, so that no snapshot holds what was fetched before it.
    """

    def __init__(
        self,
        store: Store,
        policy: Policy,
        fetcher: Fetches,
        clock: Clock,
        *,
        call_later: Callable[..., Cancels],
        count: Callable[[str, int], object],
        tell: Callable[[Ask, AwsError, bool], object],
        permits: Permits,
        limit_ms: int,
        probe_ms: int = 0,
        keeps: bool = True,
    ) -> None:
        self.store = store
        self._policy = policy
        self._fetcher = fetcher
        self._clock = clock
        self._call_later = call_later
        self._count = count
        self._tell = tell
        self._permits = permits
        self.limit_ms = limit_ms
        self._probe_ms = probe_ms
        self._keeps = keeps
        self._life = 0
        self._held: list[Order] | None = None  # orders that wait for others, to be submitted together
        self._flights: dict[Ask, _Flight] = {}
        self._timer: Cancels | None = None
        self._timer_ms = 0  # when it is due
        self.on_kept: Callable[[Ask, Found], object] = lambda _ask, _found: None

    # what callers ask

    def get(self, ask: Ask, answer: Callable[[Outcome], object], *, refresh: bool = False) -> None:
        """Call ``answer(outcome)`` once, now or when there is one. `refresh`: what is in hand is not believed any more."""
        now = self._clock.wall_ms()
        if not self._permits.asking(ask):
            answer(Outcome("error", None, self._refused(ask)))
            return
        entry = self.store.look(ask)
        state = entry.state(now) if entry is not None else MISS
        limited = 0
        if refresh and entry is not None and state != NEGATIVE:
            # Neither more often than that, nor while AWS wants to be left alone.
            limited = max(entry.fetched_ms + self._policy.refresh_least_ms, entry.retry_ms) - now
            if limited <= 0 or state == MISS:
                state, limited = MISS, 0
        if state == MISS or entry is None:
            self._wait(ask, entry, answer, now)
            return
        self._count(state, 1)
        if state == HIT and now >= entry.ahead_ms:
            self._count("refresh", 1)
            self.fetch([entry.ask])
        answer(Outcome(state, entry, entry.error if state == NEGATIVE else None, now, limited))

    def _wait(self, ask: Ask, entry: Entry | None, answer: Callable[[Outcome], object], now: int) -> None:
        flight = self._flights.get(self.store.key(ask))
        self._count("coalesced" if flight is not None else "miss", 1)
        if flight is None:
            flight = self._prepare(ask, entry, now)
            if self._held is None:
                self._fetcher.submit([flight.order])
            else:
                self._held.append(flight.order)
        flight.waiters.append(_Waiter(answer, now))
        # A timer that should have run is one from before a freeze: its clock has stood still.
        if self._timer is None or not now < self._timer_ms <= self._patience(now, entry, now):
            self._look_at_the_time()

    def collect(self, asks: list[Ask], answer: Callable[[list[Outcome]], object], *, refresh: bool = False) -> None:
        """Call ``answer`` with the outcomes of all `asks`, in their order, once the last is there. Misses share calls."""
        outcomes: dict[int, Outcome] = {}

        def arrived(at: int, outcome: Outcome) -> None:
            outcomes[at] = outcome
            if len(outcomes) == len(asks):
                answer([outcomes[one] for one in range(len(asks))])

        self._held = []
        try:
            for at, ask in enumerate(asks):
                self.get(ask, lambda outcome, at=at: arrived(at, outcome), refresh=refresh)  # type: ignore[misc]
        finally:
            held, self._held = self._held, None
            if held:
                self._fetcher.submit(held)

    def fetch(self, asks: Iterable[Ask]) -> None:
        """Fetch all of `asks` that nobody fetches yet, with nobody waiting; together, so that they can share calls."""
        now = self._clock.wall_ms()
        orders = []
        for ask in asks:
            if self.store.key(ask) not in self._flights and self._permits.asking(ask):
                entry = self.store.peek(ask)
                orders.append(self._prepare(ask, entry, now).order)
                if entry is not None:
                    entry.ahead_ms = entry.fresh_ms  # once is enough
        if orders:
            self._fetcher.submit(orders)

    def _prepare(self, ask: Ask, entry: Entry | None, now: int) -> _Flight:
        key = self.store.key(ask)
        previous = entry.found if entry is not None else None
        flight = self._flights[key] = _Flight(Order(ask, key, self._limit(now), previous, self._life))
        return flight

    def take(self, secret: Secret) -> None:
        """`secret` was fetched for another reason than that somebody asked for it."""
        ask = SecretAsk(secret.name)
        found = self._permits.answering(secret)
        if found is not None and self._keeps:
            self.store.keep(ask, found, self._clock.wall_ms())

    # what comes back

    def arrived(self, order: Order, result: Found | AwsError, ttl_ms: int | None = None) -> None:
        """The end of a fetch."""
        flight = self._flights.get(order.key)
        if flight is None or flight.order is not order:
            return  # from before a restore; whoever waited for it waits for another one now
        del self._flights[order.key]
        now = self._clock.wall_ms()
        if not isinstance(result, Exception):
            result = self._permits.answering(result) or self._refused(order.ask)
        if isinstance(result, Exception):
            if self._is_worth_another(flight, result, now):
                another = self._prepare(order.ask, None, now)
                another.waiters = flight.waiters
                self._fetcher.submit([another.order])
                return
            outcome = self._failed(order.ask, result, now)
        else:
            entry = self.store.keep(order.ask, result, now, ttl_ms if self._keeps else 0)
            outcome = Outcome(MISS, entry, now=now)
            if self._keeps:
                self._keep_items(order.ask, result, now)
                self.on_kept(order.ask, result)
        for waiter in flight.waiters:
            self._give(waiter, outcome)

    def _keep_items(self, ask: Ask, found: Found, now: int) -> None:
        """What lies below a path may be asked for by itself."""
        if isinstance(ask, PathAsk) and isinstance(found, Parameters):
            for item in found.items:
                self.store.keep(ParameterAsk(item.name, "", ask.decrypt, ask.role), item, now)

    def _failed(self, ask: Ask, error: AwsError, now: int) -> Outcome:
        entry = self.store.fail(ask, error, now)
        usable = entry.is_usable(now)
        self._count("errors", 1)
        self._tell(ask, error, usable)
        return Outcome(STALE, entry, now=now) if usable else Outcome("error", entry, error, now)

    def _refused(self, ask: Ask) -> AwsError:
        error = AwsError("AccessDeniedException", "SECRET_CACHE_ALLOW does not name it", kind="denied")
        self._count("not_allowed", 1)
        self._tell(ask, error, False)
        return error

    def _is_worth_another(self, flight: _Flight, error: AwsError, now: int) -> bool:
        """Whether a fetch was cut off by the end of an invocation that is not the one its callers belong to."""
        cut = error.kind == "timeout" and flight.order.deadline_ms <= now
        return cut and bool(flight.waiters) and now < self._limit(now) - _LEAST_MS

    def _give(self, waiter: _Waiter, outcome: Outcome) -> None:
        """A mistake in one answer must not keep the others from theirs."""
        if outcome.state == STALE:
            self._count(STALE, 1)
        try:
            waiter.answer(outcome)
        except Exception:  # noqa: BLE001 - whatever it is; the traceback names no value
            self._count("internal_errors", 1)
            sys.excepthook(*sys.exc_info())

    # versions

    def _probe(self, now: int) -> None:
        """Ask for the versions of secrets in use, where that is wanted: their values may have changed before they end."""
        orders = []
        for entry in self.store:
            key = entry.key
            if not isinstance(key, SecretAsk) or not key.is_current or not entry.used or entry.state(now) != HIT:
                continue
            if now >= max(entry.fetched_ms, entry.probed_ms) + self._probe_ms:
                entry.probed_ms = now
                orders.append(Order(entry.ask, key, self._limit(now), entry.found, self._life, probe=True))
        if orders:
            self._count("probes", len(orders))
            self._fetcher.submit(orders)

    def probed(self, order: Order, version: str) -> None:
        """`version` is the current one; "" where that cannot be told."""
        entry = self.store.peek(order.ask)
        if version and entry is not None and entry.found is not None and entry.found.version != version:
            self.store.expire(entry, self._clock.wall_ms())
            self.fetch([order.ask])

    # time

    def invoked(self, deadline_ms: int) -> None:
        """An invocation has begun: what is in use and near its end is fetched beside it."""
        self.limit_ms = deadline_ms - _MARGIN_MS
        if self._flights:
            self._look_at_the_time()
        now = self._clock.wall_ms()
        due = self.store.due(now)
        if due:
            self._count("refresh", len(due))
            self.fetch([entry.ask for entry in due])
        if self._probe_ms:
            self._probe(now)

    def restored(self) -> None:
        """A snapshot was resumed: what was known belongs to another time, and to other copies of this environment too."""
        self._life += 1
        self._keeps = True
        wanted = {entry.key: entry.ask for entry in self.store if entry.found is not None}
        flights, self._flights = self._flights, {}
        self.store.clear()
        wanted.update({flight.order.ask: flight.order.ask for flight in flights.values()})
        self.fetch(wanted.values())
        for flight in flights.values():
            self._flights[flight.order.ask].waiters += flight.waiters

    def _limit(self, now: int) -> int:
        """When a caller of now must have an answer. Its request may be here before news of its invocation is."""
        return self.limit_ms if now < self.limit_ms else now + _UNKNOWN_LIMIT_MS

    def _patience(self, arrived_ms: int, entry: Entry | None, now: int) -> int:
        """Until when a caller may be kept waiting: not long where there is a value that would do."""
        limit = self._limit(arrived_ms)
        return min(limit, arrived_ms + _PATIENCE_MS) if entry is not None and entry.is_usable(now) else limit

    def _look_at_the_time(self) -> None:
        """Answer those who cannot wait longer; come back when the next one is due."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None
        now = self._clock.wall_ms()
        soonest = 0  # epoch ms
        for key, flight in self._flights.items():
            entry = self.store.peek(key) if flight.waiters else None
            usable = entry is not None and entry.is_usable(now)
            waiting, flight.waiters = flight.waiters, []
            for waiter in waiting:
                limit = self._patience(waiter.arrived_ms, entry, now)
                if limit > now:
                    flight.waiters.append(waiter)
                    soonest = min(soonest or limit, limit)
                elif usable:
                    self._give(waiter, Outcome(STALE, entry, now=now))
                else:
                    self._count("late", 1)
                    late = AwsError("TimeoutError", "AWS has not answered in time", kind="timeout")
                    self._give(waiter, Outcome("error", None, late))
        if soonest:
            self._timer_ms = soonest
            self._timer = self._call_later(max(0.001, (soonest - now) / 1000), self._look_at_the_time)
