"""Environments with the secret cache: the real cache, store, policy, fetcher and retries; only its calls take virtual time.

Aggregated: an invocation that cannot change anything (every value fresh, nothing in flight) is counted, not run. The next one
that is run is the first at which the state of any entry is another one, by the times that the entries themselves hold.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from extension_kit.aws import AwsError
from extension_kit.aws.retry import Retries
from extensions.secret_cache import options
from extensions.secret_cache.cache import Cache
from extensions.secret_cache.fetcher import Fetcher
from extensions.secret_cache.permits import Permits
from extensions.secret_cache.policy import Policy
from extensions.secret_cache.service import _INIT_MS
from extensions.secret_cache.settings import SecretCacheSettings
from extensions.secret_cache.store import HIT, MISS, STALE, Store
from tests.benchmarks.fleet.asks import known
from tests.benchmarks.fleet.world import Loop, LoopClock, Upstream

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from random import Random

    from extensions.secret_cache.asks import Ask
    from extensions.secret_cache.cache import Order, Outcome

HOME = ("us-east-1", "111122223333")
_TRY_S = 3.0  # `Aws`: a second to connect, two for the answer
_ATTEMPTS = 3  # `Aws`: of a call, the first included
_INIT_TAKES_MS = (100.0, 400.0)  # of the function's runtime; drawn evenly
_SECRETS = {True: "BatchGetSecretValue", False: "GetSecretValue"}
_PARAMETERS = {True: "GetParameters", False: "GetParameter"}


class Setting:
    """``variables``: what an operator sets. ``refuses``: the function asks with ``refreshNow`` once an old value is refused.

    ``documented``: the policy of AWS's own extension as far as its documentation goes: 300 s, no jitter, nothing ahead of the
    end, no old value for an error, errors not remembered. Retries as ours: of its own it is only known that there are three.
    """

    def __init__(
        self, name: str, variables: dict[str, str] | None = None, *, refuses: bool = False, documented: bool = False
    ) -> None:
        self.name = name
        self.refuses = refuses
        self.documented = documented
        mine = {"SECRET_CACHE_JITTER": "0", "SECRET_CACHE_REFRESH_AHEAD": "0", "SECRET_CACHE_STALE_MAX_S": "0"}
        self.parsed, wrong = SecretCacheSettings.parse({**(mine if documented else {}), **(variables or {})})
        assert not wrong, wrong

    def policy(self, draw: Callable[[], float]) -> Policy:
        made = options.policy(self.parsed, 45_000, draw, print)
        if self.documented:
            return _Forgetful(draw, jitter_percent=0, ahead_percent=0, stale_ms=0, previous_ms=0)
        return made


class _Forgetful(Policy):
    """Remembers no error: who asks again, asks AWS."""

    def negative_ms(self, error: AwsError) -> int:  # noqa: ARG002
        return 0


class VirtualFetcher(Fetcher):
    """The real lanes and batches; instead of a thread, each call is a chain of events."""

    def __init__(self, fleet: CacheFleet) -> None:
        super().__init__(None, None, None, fleet.setting.parsed.max_connections)  # type: ignore[arg-type]
        self.fleet = fleet
        self.retries = Retries(_ATTEMPTS, fleet.random.random)

    def bind(self, cache: Cache) -> None:
        self._arrived = cache.arrived
        self._probed = cache.probed

    def _staff(self) -> None:
        for service, waiting in self._waiting.items():
            if waiting:
                for _ in range(min(self._most - self.running[service], self._calls_for(service, waiting))):
                    self.running[service] += 1
                    self._work(service)

    def _work(self, service: str) -> None:
        batch = self._take(service)
        if batch:
            _Call(self, service, batch).begin()
        else:
            self.running[service] -= 1

    def ended(self, service: str, batch: list[Order], error: AwsError | None) -> None:
        upstream, now = self.fleet.upstream, self.fleet.loop.now
        if len(batch) > 1:
            found = {order.ask: upstream.value(order.ask, now) for order in batch}
            self._hand_out(service, batch, error or found)  # type: ignore[arg-type]
        elif batch[0].probe:
            self._probed(batch[0], "" if error else upstream.value(batch[0].ask, now).version)
        else:
            self._end(batch[0], error or upstream.value(batch[0].ask, now))
        self._work(service)


class _Call:
    """`Aws._attempts` as events: the same questions to the same `Retries`, in the same order."""

    __slots__ = ("attempt", "batch", "deadline_ms", "fetcher", "operation", "service")

    def __init__(self, fetcher: VirtualFetcher, service: str, batch: list[Order]) -> None:
        self.fetcher = fetcher
        self.service = service
        self.batch = batch
        self.deadline_ms = max(order.deadline_ms for order in batch)
        self.attempt = 0
        several = len(batch) > 1
        self.operation = _PARAMETERS[several] if service == "ssm" else _SECRETS[several]
        if batch[0].probe:
            self.operation = "DescribeSecret"

    def begin(self) -> None:
        now = self.fetcher.fleet.clock.wall_ms()
        self._later(self.fetcher.retries.wait_first(self.service, now), None)

    def _later(self, seconds: float, error: AwsError | None) -> None:
        fleet = self.fetcher.fleet
        if not seconds:
            self._try()
        elif fleet.clock.wall_ms() + seconds * 1000 >= self.deadline_ms:
            self._end(error or AwsError("ThrottlingException", "AWS has throttled, and no time is left to wait"))
        else:
            fleet.loop.at(fleet.loop.now + seconds * 1000, self._try)

    def _try(self) -> None:
        fleet = self.fetcher.fleet
        self.attempt += 1
        most_ms = min(_TRY_S * 1000, self.deadline_ms - fleet.clock.wall_ms())
        if most_ms <= 0:
            self._answered(AwsError("TimeoutError", "no time is left to ask AWS"))
            return
        takes_ms, error = fleet.ask(self.operation)
        if takes_ms > most_ms:
            takes_ms, error = most_ms, AwsError("TimeoutError", "AWS has not answered in time")
        fleet.loop.at(fleet.loop.now + takes_ms, self._answered, error)

    def _answered(self, error: AwsError | None) -> None:
        retries = self.fetcher.retries
        if error is None:
            retries.succeeded(self.service, self.attempt)
            self._end(None)
            return
        retries.failed(self.service, error, self.fetcher.fleet.clock.wall_ms())
        wait = retries.wait_again(self.attempt, error)
        if wait is None:
            self._end(error)
        else:
            self._later(wait, error)

    def _end(self, error: AwsError | None) -> None:
        self.fetcher.ended(self.service, self.batch, error)


class Environment:
    """One execution environment: a function that asks for all its values in each invocation, one after the other."""

    __slots__ = (
        "at",
        "began",
        "cache",
        "failed",
        "first",
        "fleet",
        "healthy_ms",
        "inside",
        "is_waiting",
        "life",
        "next_tick",
        "renewed",
        "renewed_ms",
        "retried",
        "started",
    )  # fmt: skip

    def __init__(self, fleet: CacheFleet) -> None:
        self.fleet = fleet
        self.life = 0
        self.renewed_ms = 0.0  # when it had every value in its latest version
        self.healthy_ms = 0.0  # when an invocation had every value for the first time, in this life

    def start(self) -> None:
        """A cold start, of a new environment or of one that takes the place of another."""
        fleet = self.fleet
        self.close()
        self.life += 1
        self.healthy_ms = 0.0
        self.renewed: set[str] = set()
        fetcher = VirtualFetcher(fleet)
        self.cache = Cache(
            Store(fleet.policy, HOME), fleet.policy, fetcher, fleet.clock, call_later=fleet.loop.call_later,
            count=fleet.count, tell=_tell, permits=fleet.permits, limit_ms=fleet.clock.wall_ms() + _INIT_MS,
            probe_ms=fleet.setting.parsed.probe_s * 1000,
        )  # fmt: skip
        self.cache.on_kept = self._kept
        fetcher.bind(self.cache)
        if fleet.ahead:
            self.cache.fetch(fleet.ahead)
        self.first = fleet.loop.now + fleet.random.uniform(*_INIT_TAKES_MS)
        self.next_tick = 0
        fleet.loop.at(self.first, self._invoke, self.life)
        if fleet.lives_ms:
            fleet.loop.at(fleet.loop.now + fleet.lives_ms, self.start)

    def _invoke(self, life: int) -> None:
        if life != self.life:
            return
        self.began = self.fleet.loop.now
        self.failed = False
        self.at = 0
        deadline_ms = self.fleet.clock.wall_ms() + self.fleet.timeout_ms
        if self.fleet.setting.documented:
            self.cache.limit_ms = deadline_ms  # nothing is fetched beside an invocation: who asks first, waits
        else:
            self.cache.invoked(deadline_ms)
        self._go_on()

    def _go_on(self) -> None:
        while self.at < len(self.fleet.asks):
            self.retried = False
            if not self._ask(refresh=False):
                return
        self._ended()

    def _ask(self, refresh: bool) -> bool:
        """Whether the answer was there at once."""
        self.is_waiting, self.inside = True, True
        life = self.life
        self.cache.get(self.fleet.asks[self.at], lambda outcome: self._answer(outcome, life), refresh=refresh)
        self.inside = False
        return not self.is_waiting

    def _answer(self, outcome: Outcome, life: int) -> None:
        if life != self.life:
            return
        inside = self.inside
        fleet = self.fleet
        old = outcome.found is not None and outcome.found is not fleet.upstream.value(
            fleet.asks[self.at], fleet.loop.now
        )
        if old and fleet.setting.refuses and not self.retried:
            self.retried = True
            fleet.asked_again += 1
            if self._ask(refresh=True) and not inside:
                self._go_on()
            self.inside = inside
            return
        self.is_waiting = False
        self.failed = self.failed or outcome.found is None
        self.at += 1
        if not inside:
            self._go_on()

    def _kept(self, ask: Ask, _found: object) -> None:
        """A value has come; where it is the latest of the last that was old, this environment is up to date."""
        fleet = self.fleet
        if fleet.rotated_ms and fleet.loop.now >= fleet.rotated_ms and not self.renewed_ms:
            self.renewed.add(ask.id)
            if len(self.renewed) == len(fleet.asks):
                self.renewed_ms = fleet.loop.now

    def _ended(self) -> None:
        """The invocation's end; the next one that is run."""
        fleet = self.fleet
        now = fleet.loop.now
        fleet.invocations += 1
        fleet.note(now - self.began, self.failed)
        if not self.failed and not self.healthy_ms:
            self.healthy_ms = now
            fleet.healthy(now)
        fleet.most_bytes = max(fleet.most_bytes, self.cache.store.bytes)
        ticks = int((now - self.first) // fleet.gap_ms) + 1
        self.next_tick = ticks
        if fleet.aggregates and not self.cache._flights:
            self.next_tick = max(ticks, self._first_of_interest(now))
        fleet.loop.at(self.first + self.next_tick * fleet.gap_ms, self._resume, self.life, ticks)

    def _first_of_interest(self, now: float) -> int:
        """The number of the first invocation that may be another than this one, by what the entries say of themselves."""
        fleet, wall = self.fleet, self.fleet.clock.wall_ms()
        soonest = float("inf")
        for ask in fleet.asks:
            entry = self.cache.store.peek(ask)
            if entry is None or entry.state(wall) not in (HIT, STALE) or not entry.used:
                return 0
            times = [entry.ahead_ms, entry.fresh_ms, entry.retry_ms, entry.stale_ms]
            if fleet.setting.parsed.probe_s:
                times.append(max(entry.fetched_ms, entry.probed_ms) + fleet.setting.parsed.probe_s * 1000)
            soonest = min(soonest, *(at for at in times if at > wall))
        if fleet.setting.refuses and fleet.rotated_ms > now:
            soonest = min(soonest, fleet.rotated_ms)
        return -int((self.first - soonest) // fleet.gap_ms)

    def _resume(self, life: int, after: int) -> None:
        if life == self.life:
            self._count_skipped(after, self.next_tick)
            self._invoke(life)

    def _count_skipped(self, first: int, next_one: int) -> None:
        """The invocations from `first` up to `next_one`: as the last one was run, so they would have been."""
        skipped = max(0, next_one - first)
        self.fleet.invocations += skipped
        for ask in self.fleet.asks if skipped else ():
            entry = self.cache.store.peek(ask)
            assert entry is not None
            self.fleet.count(entry.state(int(self.first + first * self.fleet.gap_ms)), skipped)

    def close(self) -> None:
        """Count what would have been invoked until now."""
        if self.life and self.next_tick and self.fleet.loop.now < self.first + self.next_tick * self.fleet.gap_ms:
            ticks = int((self.began - self.first) // self.fleet.gap_ms) + 1
            until = -int((self.first - self.fleet.loop.now) // self.fleet.gap_ms)
            self._count_skipped(ticks, until)


class CacheFleet:
    """Some environments, all with one setting. Times in ms.

    ``starts``: when each begins; ``gap_ms``: between two invocations of one environment; ``lives_ms``: after how long one is
    replaced by a new one, 0 for never; ``rotated_ms``: when the values become others, 0 for never.
    """

    timeout_ms = 30_000  # the function's

    def __init__(
        self, setting: Setting, upstream: Upstream, asks: Sequence[Ask], random: Random, *, gap_ms: float,
        lives_ms: float = 0.0, rotated_ms: float = 0.0, aggregates: bool = True,
    ) -> None:  # fmt: skip
        self.setting = setting
        self.upstream = upstream
        self.asks = asks
        self.random = random
        self.gap_ms = gap_ms
        self.lives_ms = lives_ms
        self.rotated_ms = rotated_ms
        self.aggregates = aggregates
        self.loop = Loop()
        self.clock = LoopClock(self.loop)
        self.policy = setting.policy(random.random)
        self.permits = Permits()
        self.ahead = [known(ask) for ask in options.prefetched(setting.parsed.prefetch, print)[0]]
        self.counters: dict[str, int] = {}
        self.invocations = self.failures = self.most_bytes = self.asked_again = 0
        self.longest_wait_ms = self.last_failure_ms = self.last_healthy_ms = 0.0
        self.sequence: list[tuple[str, float]] | None = None  # operation and when, where somebody wants to see
        self.environments: list[Environment] = []

    def start(self, at_ms: Sequence[float]) -> None:
        for at in at_ms:
            environment = Environment(self)
            self.environments.append(environment)
            self.loop.at(at, environment.start)

    def run(self, until_ms: float) -> None:
        self.loop.run(until_ms)
        for environment in self.environments:
            environment.close()

    def ask(self, operation: str) -> tuple[float, AwsError | None]:
        if self.sequence is not None:
            self.sequence.append((operation, self.loop.now))
        return self.upstream.ask(operation, self.loop.now)

    def count(self, name: str, n: int) -> None:
        self.counters[name] = self.counters.get(name, 0) + n

    def note(self, waited_ms: float, failed: bool) -> None:
        self.longest_wait_ms = max(self.longest_wait_ms, waited_ms)
        if failed:
            self.failures += 1
            self.last_failure_ms = self.loop.now

    def healthy(self, now: float) -> None:
        self.last_healthy_ms = max(self.last_healthy_ms, now)

    @property
    def asked(self) -> int:
        """Values that functions have asked for and that were answered."""
        return sum(self.counters.get(name, 0) for name in (HIT, MISS, STALE, "coalesced", "negative"))


def _tell(_ask: object, _error: object, _usable: object) -> None: ...
