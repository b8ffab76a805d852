"""Virtual time, rates per second, and what stands outside: AWS with its quotas, a sink with its bad minutes."""

from __future__ import annotations

from heapq import heappop, heappush
from itertools import count
from math import ceil
from typing import TYPE_CHECKING, Any

from extension_kit.aws import AwsError
from extension_kit.delivery import AGAIN, DELIVERED, Verdict
from extension_kit.io.clock import Clock
from extensions.secret_cache.asks import ParameterAsk
from extensions.secret_cache.found import Parameter, Secret

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from extensions.secret_cache.asks import Ask

#: where virtual time begins; epoch ms
START_MS = 1_800_000_000_000

#: Transactions per second of an account in a region. Sources: AWS docs, "AWS Secrets Manager quotas" (GetSecretValue 10,000,
#: BatchGetSecretValue 100; DescribeSecret 40,000 since March 2025).
SECRETS_MANAGER = {"GetSecretValue": 10_000, "BatchGetSecretValue": 100, "DescribeSecret": 40_000}
#: AWS docs, "AWS Systems Manager endpoints and quotas", Parameter Store: 40 for all operations that read together, unless
#: "higher throughput" is switched on in the account, which has a price.
PARAMETER_STORE = {"GetParameter GetParameters": 40}
PARAMETER_STORE_HIGHER = {"GetParameter": 10_000, "GetParameters": 1_000}

#: ms until AWS has answered, and until it has refused; drawn evenly. Ours: AWS publishes none.
_ANSWER_MS = (20.0, 80.0)
_REFUSAL_MS = (5.0, 15.0)

_THROTTLED = AwsError("ThrottlingException", "Rate exceeded", status=400)
_DOWN = AwsError("InternalServiceError", "", status=500)


class Loop:
    """Events in their order. ``now``: ms since the epoch."""

    def __init__(self) -> None:
        self.now = float(START_MS)
        self.events = 0
        self._heap: list[tuple[float, int, Callable[..., object], tuple[Any, ...]]] = []
        self._number = count()

    def at(self, ms: float, call: Callable[..., object], *arguments: Any) -> None:
        heappush(self._heap, (ms, next(self._number), call, arguments))

    def call_later(self, seconds: float, call: Callable[[], object]) -> Timer:
        timer = Timer(call)
        self.at(self.now + seconds * 1000, timer)
        return timer

    def run(self, until_ms: float) -> None:
        """All events up to `until_ms`."""
        heap = self._heap
        while heap and heap[0][0] <= until_ms:
            self.now, _, call, arguments = heappop(heap)
            self.events += 1
            call(*arguments)
        self.now = until_ms


class Timer:
    __slots__ = ("_call",)

    def __init__(self, call: Callable[[], object]) -> None:
        self._call: Callable[[], object] | None = call

    def cancel(self) -> None:
        self._call = None

    def __call__(self) -> None:
        if self._call is not None:
            self._call()


class LoopClock(Clock):
    """The loop's time. Nothing that runs on the loop may sleep."""

    __slots__ = ("_loop",)

    def __init__(self, loop: Loop) -> None:
        self._loop = loop

    def wall_ms(self) -> int:
        return int(self._loop.now)

    def monotonic_ns(self) -> int:
        return int(self._loop.now * 1_000_000)

    def sleep(self, seconds: float) -> None:
        raise AssertionError(f"sleep({seconds}) on the loop")


class OwnClock(Clock):
    """One environment's time, which runs ahead of the others' while it flushes."""

    __slots__ = ("now",)

    def __init__(self) -> None:
        self.now = float(START_MS)

    def wall_ms(self) -> int:
        return int(self.now)

    def monotonic_ns(self) -> int:
        return int(self.now * 1_000_000)

    def sleep(self, seconds: float) -> None:
        self.now += seconds * 1000


class Rates:
    """How many in each second."""

    def __init__(self) -> None:
        self.seconds: dict[int, int] = {}
        self.total = 0

    def add(self, now_ms: float, n: int = 1) -> None:
        second = int(now_ms) // 1000
        self.seconds[second] = self.seconds.get(second, 0) + n
        self.total += n

    def figures(self, from_ms: float, until_ms: float) -> dict[str, float]:
        """Per second: mean, the 99th percentile of all seconds, the most."""
        first, last = int(from_ms) // 1000, ceil(until_ms / 1000)
        counts = sorted(self.seconds.get(second, 0) for second in range(first, last))
        at = min(len(counts) - 1, ceil(0.99 * len(counts)) - 1)
        return {"mean": sum(counts) / len(counts), "p99": counts[at], "peak": counts[-1]}


class Bucket:
    """A quota per second, of which one second's worth may be used at once. How AWS counts in detail is not documented."""

    __slots__ = ("_at", "_left", "_rate")

    def __init__(self, rate: float) -> None:
        self._rate = self._left = rate
        self._at = 0.0

    def take(self, now_ms: float, n: int = 1) -> bool:
        self._left = min(self._rate, self._left + max(0.0, now_ms - self._at) * self._rate / 1000)
        self._at = max(self._at, now_ms)
        if self._left < n:
            return False
        self._left -= n
        return True


class Upstream:
    """Secrets Manager or Parameter Store, of one account in one region.

    ``down``: from and until when it answers 500; ``rotations``: when every value becomes another. Times in epoch ms.
    """

    def __init__(
        self,
        random: Random,
        quotas: dict[str, int],
        *,
        down: tuple[float, float] = (0.0, 0.0),
        rotations: tuple[float, ...] = (),
    ) -> None:
        self.asked = Rates()
        self.answered = self.throttled = self.failed = 0
        self.by_operation: dict[str, int] = {}
        self._random = random
        self._down = down
        self._rotations = rotations
        self._values: dict[tuple[Ask, int], Secret | Parameter] = {}
        self._buckets: dict[str, Bucket] = {}
        for names, rate in quotas.items():
            self._buckets.update(dict.fromkeys(names.split(), Bucket(rate)))

    def ask(self, operation: str, now_ms: float) -> tuple[float, AwsError | None]:
        """ms until the end of the call, and what has gone wrong."""
        self.asked.add(now_ms)
        self.by_operation[operation] = self.by_operation.get(operation, 0) + 1
        if self._down[0] <= now_ms < self._down[1]:
            self.failed += 1
            return self._random.uniform(*_ANSWER_MS), _DOWN
        if not self._buckets[operation].take(now_ms):
            self.throttled += 1
            return self._random.uniform(*_REFUSAL_MS), _THROTTLED
        self.answered += 1
        return self._random.uniform(*_ANSWER_MS), None

    def version(self, now_ms: float) -> int:
        return sum(at <= now_ms for at in self._rotations)

    def value(self, ask: Ask, now_ms: float) -> Secret | Parameter:
        """One object for all environments, as it is never changed."""
        key = (ask, self.version(now_ms))
        if key not in self._values:
            name, text, version = ask.id, "v" * 100, key[1]
            place = "us-east-1:111122223333"
            if isinstance(ask, ParameterAsk):
                arn = f"arn:aws:ssm:{place}:parameter{name}"
                fields = {"ARN": arn, "Name": name, "Type": "SecureString", "Value": text, "Version": version + 1}
                self._values[key] = Parameter(fields)
            else:
                arn = f"arn:aws:secretsmanager:{place}:secret:{name}-AbCdEf"
                self._values[key] = Secret(
                    {"ARN": arn, "Name": name, "VersionId": f"version-{version}", "SecretString": text}
                )
        return self._values[key]


class Sink:
    """A log backend. ``bad``: from and until when it is out of order, and how: "refused" (no connection) or "hangs".

    ``most_per_s``: requests that it takes in a second; to the rest it says 429 and ``Retry-After: 1``.
    """

    def __init__(self, random: Random, most_per_s: float, bad: tuple[float, float], how: str) -> None:
        self.asked = Rates()
        self.taken = self.throttled = self.failed = 0  # requests
        self.records = 0
        self.bad = bad
        self._random = random
        self._quota = Bucket(most_per_s)
        self._how = how

    def send(self, items: list[int], seconds: float, clock: OwnClock, weight: int) -> Verdict:
        """`items`: the records in each. The time that it takes passes on `clock`. It counts for `weight` requests."""
        began = clock.now
        self.asked.add(began, weight)
        if self.bad[0] <= began < self.bad[1]:
            self.failed += weight
            clock.now += seconds * 1000 if self._how == "hangs" else self._random.uniform(1.0, 5.0)
            return Verdict(AGAIN, "timed out" if self._how == "hangs" else "Connection refused")
        if not self._quota.take(began, weight):
            self.throttled += weight
            clock.now += self._random.uniform(*_REFUSAL_MS)
            return Verdict(AGAIN, "answers 429", 1000)
        self.taken += weight
        self.records += sum(items) * weight
        clock.now += self._random.uniform(*_ANSWER_MS)
        return Verdict(DELIVERED)
