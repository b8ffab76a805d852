"""The scenarios: who begins when, what goes wrong, which settings are compared, and what is told of each run."""

from __future__ import annotations

import gc
from contextlib import contextmanager
from random import Random
from typing import TYPE_CHECKING

from tests.benchmarks.fleet import caching, shipping
from tests.benchmarks.fleet.asks import parameters, secrets
from tests.benchmarks.fleet.caching import CacheFleet
from tests.benchmarks.fleet.shipping import Load, ShipFleet
from tests.benchmarks.fleet.world import (
    PARAMETER_STORE,
    PARAMETER_STORE_HIGHER,
    SECRETS_MANAGER,
    START_MS,
    Sink,
    Upstream,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

    Row = dict[str, Any]

SIZES = (1, 10, 1_000, 10_000, 100_000)
VALUES = 2  # secrets or parameters that a function asks for
_GAP_MS = 10_000.0  # between two invocations of one environment
_STORM_MS = 10_000.0
_S = 1000.0
_MANY = 1_000  # environments
_OUTAGE_MS = 300 * _S
_LEAST_SINK = 5.0  # requests per second that any sink takes
_PREFETCH = ",".join(f"secret:app/secret-{at}" for at in range(VALUES))
_PREFETCH_PARAMETERS = ",".join(f"parameter:/app/parameter-{at}" for at in range(VALUES))

_DEFAULT = caching.Setting("default")
_DOCUMENTED = caching.Setting("AWS's extension, as documented", documented=True)
_EXACT = caching.Setting("JITTER=0", {"SECRET_CACHE_JITTER": "0"})
_LAZY = caching.Setting("JITTER=0, REFRESH_AHEAD=0", {"SECRET_CACHE_JITTER": "0", "SECRET_CACHE_REFRESH_AHEAD": "0"})
_WIDE = caching.Setting("JITTER=50", {"SECRET_CACHE_JITTER": "50"})
_AHEAD = caching.Setting("PREFETCH", {"SECRET_CACHE_PREFETCH": _PREFETCH})
_HOUR = caching.Setting("TTL 3600 s", {"SECRETS_MANAGER_TTL": "3600", "SECRET_CACHE_TTL_MAX_S": "3600"})
_MINUTE = caching.Setting("TTL 60 s", {"SECRETS_MANAGER_TTL": "60"})
_PROBE = caching.Setting("PROBE_S=60", {"SECRET_CACHE_PROBE_S": "60"})
_REFUSES = caching.Setting("refreshNow when refused", refuses=True)
_NO_STALE = caching.Setting("STALE_MAX_S=0", {"SECRET_CACHE_STALE_MAX_S": "0"})
_PARAMETERS_AHEAD = caching.Setting("PREFETCH", {"SECRET_CACHE_PREFETCH": _PREFETCH_PARAMETERS})


class Scenario:
    """``settings``: each with the largest fleet that it is run for."""

    name = ""
    recovers = True
    settings: Sequence[tuple[Any, int]] = ()

    def run(self, setting: Any, number: int, seed: int) -> Row:
        """One row: what came of `number` environments."""
        raise NotImplementedError

    def rows(self, sizes: Sequence[int], seed: int) -> Iterator[Row]:
        for number in sizes:
            for setting, most in self.settings:
                if number <= most:
                    with _no_collections(number):
                        yield {"environments": number, "setting": setting.name, **self.run(setting, number, seed)}

    def random(self, setting: Any, number: int, seed: int) -> Random:
        """Each row has chance of its own: it is the same whichever others are run."""
        return Random(f"{seed} {self.name} {setting.name} {number}")


@contextmanager
def _no_collections(number: int) -> Iterator[None]:
    """Hundreds of thousands of objects that live until the end: looking for cycles among them takes most of the time."""
    if number < _MANY:
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.collect()


class Caching(Scenario):
    """``counted_s``: of virtual time, from when until when rates are counted; the end is the run's."""

    counted_s = (0.0, 60.0)
    quotas = SECRETS_MANAGER

    def run(self, setting: Any, number: int, seed: int) -> Row:
        random = self.random(setting, number, seed)
        fleet = self.fleet(setting, random)
        fleet.start(self.starts(number, random))
        begin, end = (START_MS + at * _S for at in self.counted_s)
        fleet.run(end)
        upstream = fleet.upstream
        return {
            "calls": upstream.asked.total,
            "answered": upstream.answered,
            "throttled": upstream.throttled,
            "failed": upstream.failed,
            **{f"{name} per s": value for name, value in upstream.asked.figures(begin, end).items()},
            "operations": dict(sorted(upstream.by_operation.items())),
            "invocations": fleet.invocations,
            "invocations failed": fleet.failures,
            "longest wait s": fleet.longest_wait_ms / _S,
            **self.recovery(fleet, end),
            "bytes kept": fleet.most_bytes,
            "events": fleet.loop.events,
        }

    def fleet(self, setting: Any, random: Random) -> CacheFleet:
        return CacheFleet(setting, Upstream(random, self.quotas), secrets(VALUES), random, gap_ms=_GAP_MS)

    def starts(self, number: int, random: Random) -> list[float]:
        return [START_MS + random.uniform(0, _STORM_MS) for _ in range(number)]

    def recovery(self, fleet: CacheFleet, end: float) -> Row:  # noqa: ARG002
        all_healthy = all(one.healthy_ms for one in fleet.environments)
        return {"recovered s": (fleet.last_healthy_ms - START_MS) / _S if all_healthy else None}


class ColdStart(Caching):
    """All environments begin within 10 s and want their secrets at once."""

    name = "cold-start"
    settings = ((_DEFAULT, 100_000), (_AHEAD, 100_000), (_DOCUMENTED, 10_000))


class Steady(Caching):
    """The same fleet afterwards: what it asks for from then on, until the eleventh minute."""

    name = "steady"
    recovers = False
    counted_s = (60.0, 660.0)
    settings = (
        (_DEFAULT, 100_000), (_EXACT, 10_000), (_LAZY, 10_000), (_WIDE, 10_000), (_HOUR, 10_000), (_DOCUMENTED, 10_000),
    )  # fmt: skip


class Rotation(Caching):
    """All secrets change at once, in a fleet whose environments began at any time within five minutes before."""

    name = "rotation"
    counted_s = (300.0, 660.0)
    settings = (
        (_DEFAULT, 10_000), (_MINUTE, 10_000), (_PROBE, 10_000), (_REFUSES, 100_000), (_DOCUMENTED, 10_000),
    )  # fmt: skip
    _at_ms = START_MS + 300 * _S

    def fleet(self, setting: Any, random: Random) -> CacheFleet:
        upstream = Upstream(random, self.quotas, rotations=(self._at_ms,))
        return CacheFleet(setting, upstream, secrets(VALUES), random, gap_ms=_GAP_MS, rotated_ms=self._at_ms)

    def starts(self, number: int, random: Random) -> list[float]:
        return [START_MS + random.uniform(0, 300 * _S) for _ in range(number)]

    def recovery(self, fleet: CacheFleet, end: float) -> Row:
        old = [((one.renewed_ms or end) - self._at_ms) / _S for one in fleet.environments]
        return {
            "recovered s": max(old) if all(one.renewed_ms for one in fleet.environments) else None,
            "old value s, mean": sum(old) / len(old),
            "old value s, longest": max(old),
        }


class Throttling(Caching):
    """A cold start as above with parameters instead of secrets, and the quota that every account begins with."""

    name = "throttling"
    counted_s = (0.0, 60.0)
    quotas = PARAMETER_STORE
    settings = ((_DEFAULT, 10_000), (_PARAMETERS_AHEAD, 1_000), (_DOCUMENTED, 1_000))

    def fleet(self, setting: Any, random: Random) -> CacheFleet:
        return CacheFleet(setting, Upstream(random, self.quotas), parameters(VALUES), random, gap_ms=_GAP_MS)


class HigherThroughput(Throttling):
    """The same with Parameter Store's "higher throughput"."""

    name = "higher-throughput"
    counted_s = (0.0, 60.0)
    quotas = PARAMETER_STORE_HIGHER
    settings = ((_DEFAULT, 100_000), (_PARAMETERS_AHEAD, 10_000))


class AwsOutage(Caching):
    """Secrets Manager answers 500 for five minutes; the fleet is that of the rotation."""

    name = "aws-outage"
    counted_s = (300.0, 660.0)
    settings = ((_DEFAULT, 1_000), (_NO_STALE, 1_000), (_DOCUMENTED, 1_000))
    _down = (START_MS + 300 * _S, START_MS + 300 * _S + _OUTAGE_MS)

    def fleet(self, setting: Any, random: Random) -> CacheFleet:
        return CacheFleet(
            setting, Upstream(random, self.quotas, down=self._down), secrets(VALUES), random, gap_ms=_GAP_MS
        )

    def starts(self, number: int, random: Random) -> list[float]:
        return [START_MS + random.uniform(0, 300 * _S) for _ in range(number)]

    def recovery(self, fleet: CacheFleet, end: float) -> Row:  # noqa: ARG002
        return {"recovered s": max(0.0, fleet.last_failure_ms - self._down[1]) / _S}


class Recycle(Caching):
    """Each environment is replaced after ten minutes, at any time; figures are of the second ten."""

    name = "recycle"
    recovers = False
    counted_s = (600.0, 1200.0)
    settings = ((_DEFAULT, 10_000), (_AHEAD, 10_000), (_DOCUMENTED, 10_000))

    def fleet(self, setting: Any, random: Random) -> CacheFleet:
        return CacheFleet(
            setting, Upstream(random, self.quotas), secrets(VALUES), random, gap_ms=_GAP_MS, lives_ms=600 * _S
        )

    def starts(self, number: int, random: Random) -> list[float]:
        return [START_MS + random.uniform(0, 600 * _S) for _ in range(number)]


class Shipping(Scenario):
    """A sink that is out of order for five minutes, from the third to the eighth of 15."""

    how = "refused"
    load = Load(3_000.0, 100.0, 20, 250)
    lives_ms = 0.0
    most = 100  # environments that are driven; each stands for number / most
    sink_per_environment = 0.5  # requests that the sink takes in a second
    _bad = (START_MS + 180 * _S, START_MS + 180 * _S + _OUTAGE_MS)
    _end = START_MS + 900 * _S

    def run(self, setting: Any, number: int, seed: int) -> Row:
        random = self.random(setting, number, seed)
        sink = Sink(random, max(_LEAST_SINK, self.sink_per_environment * number), self._bad, self.how)
        fleet = ShipFleet(setting, sink, self.load, random, number, most=self.most, lives_ms=self.lives_ms)
        fleet.run(self._end)
        recovered = fleet.recovered_ms
        (calm_ms, calm), (bad_ms, bad) = fleet.billed[False], fleet.billed[True]
        return {
            "calls": sink.asked.total,
            "answered": sink.taken,
            "throttled": sink.throttled,
            "failed": sink.failed,
            **{f"{name} per s": value for name, value in sink.asked.figures(START_MS, self._end).items()},
            "recovered s": None if recovered is None else (recovered - self._bad[1]) / _S,
            "records": fleet.produced,
            "delivered": sink.records,
            "dropped": dict(sorted(fleet.dropped.items())),
            "pending": fleet.pending,
            "billed ms, calm": calm_ms / calm if calm else 0.0,
            "billed ms, outage": bad_ms / bad if bad else 0.0,
            "bytes held": fleet.most_held,
            "bytes spooled": fleet.most_spooled,
        }


_ADAPTIVE = shipping.Setting("default (adaptive)")
_END = shipping.Setting("FLUSH=end", {"EXTENSION_KIT_FLUSH": "end"})
_PERIODIC = shipping.Setting("FLUSH=periodic,30", {"EXTENSION_KIT_FLUSH": "periodic,30"})
_LARGER = shipping.Setting("SPOOL_MAX_BYTES=128 MiB", {"EXTENSION_KIT_SPOOL_MAX_BYTES": "134217728"})
_SHORT = shipping.Setting("TIMEOUT=500ms", {"LOG_SHIPPER_TIMEOUT": "500ms"})


class SinkRefuses(Shipping):
    """The sink's host refuses connections."""

    name = "sink-refuses"
    settings = ((_ADAPTIVE, 100_000), (_END, 100_000), (_PERIODIC, 100_000))


class SinkHangs(Shipping):
    """The sink accepts and says nothing."""

    name = "sink-hangs"
    how = "hangs"
    settings = ((_ADAPTIVE, 100_000), (_END, 100_000), (_SHORT, 100_000))


class SinkChatty(Shipping):
    """The sink refuses connections; each environment writes 300 KB in a second, more than the spool holds of five minutes."""

    name = "sink-chatty"
    load = Load(1_000.0, 500.0, 300, 1_000)
    most = 20
    sink_per_environment = 2.0
    settings = ((_ADAPTIVE, 100_000), (_END, 100_000), (_LARGER, 100_000))


class SinkRecycle(Shipping):
    """The sink refuses connections, and each environment is replaced after half an hour: some of them meanwhile."""

    name = "sink-recycle"
    lives_ms = 1_800 * _S
    settings = ((_ADAPTIVE, 100_000),)


SCENARIOS: dict[str, Scenario] = {
    one.name: one
    for one in (
        ColdStart(), Steady(), Rotation(), Throttling(), HigherThroughput(), AwsOutage(), Recycle(),
        SinkRefuses(), SinkHangs(), SinkChatty(), SinkRecycle(),
    )
}  # fmt: skip
