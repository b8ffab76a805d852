"""How long answers are kept and used: numbers from the settings, and nothing else. Times in epoch milliseconds."""

from __future__ import annotations

from extension_kit.protocol.values import Value, set_field
from extensions.secret_cache.asks import name_in_arn
from extensions.secret_cache.permits import matches

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from extension_kit.aws import AwsError

__all__ = ["Policy"]

#: How long a refusal is remembered, in ms, by AWS's code: what a deployment mends comes back soon, what a person mends later.
_NEGATIVE_MS = {
    "ResourceNotFoundException": 5_000, "ParameterNotFound": 5_000, "ParameterVersionNotFound": 5_000,
    "ParameterVersionLabelNotFound": 5_000, "AccessDeniedException": 10_000, "AccessDenied": 10_000,
    "DecryptionFailure": 10_000, "ValidationException": 10_000, "InvalidParameterException": 10_000,
}  # fmt: skip
_OTHER_NEGATIVE_MS = 2_000
_TRANSIENT_NEGATIVE_MS = 250  # nothing is in hand and AWS is in trouble: callers that insist share one try
_LONGEST_TOLD_MS = 300_000  # of a Retry-After
_BACK_OFF_MS = (1_000, 30_000)


class Policy(Value):
    """``ttls``: pairs of glob and ms, the first that matches wins; ``draw()``: a number from 0 up to 1."""

    __slots__ = (
        "ahead_percent", "configuration_ms", "draw", "enabled", "entries", "jitter_percent", "max_bytes",
        "negative_percent", "parameter_ms", "previous_ms", "refresh_least_ms", "secret_ms", "stale_ms", "ttls",
    )  # fmt: skip

    enabled: bool
    entries: int
    max_bytes: int
    secret_ms: int
    parameter_ms: int
    configuration_ms: int
    ttls: tuple[tuple[str, int], ...]
    jitter_percent: int
    ahead_percent: int
    stale_ms: int
    negative_percent: int
    previous_ms: int
    refresh_least_ms: int
    draw: Callable[[], float]

    def __init__(
        self,
        draw: Callable[[], float],
        *,
        enabled: bool = True,
        entries: int = 1000,
        max_bytes: int = 16_777_216,
        secret_ms: int = 300_000,
        parameter_ms: int = 300_000,
        configuration_ms: int = 45_000,
        ttls: tuple[tuple[str, int], ...] = (),
        jitter_percent: int = 10,
        ahead_percent: int = 20,
        stale_ms: int = 3_600_000,
        negative_percent: int = 100,
        previous_ms: int = 60_000,
        refresh_least_ms: int = 5_000,
    ) -> None:
        given = locals()
        for name in self.__slots__:
            set_field(self, name, given[name])

    def ttl_ms(self, kind: str, id: str) -> int:
        """For how long an answer is fresh, before jitter; 0: it is not kept."""
        if not self.enabled or not self.entries:
            return 0
        for glob, ttl in self.ttls:
            if matches(id, glob) or matches(name_in_arn(id), glob):
                return ttl
        if kind == "configuration":
            return self.configuration_ms
        return self.secret_ms if kind == "secret" else self.parameter_ms

    def fresh_ms(self, ttl: int) -> int:
        """`ttl` less a random share: environments that started together do not ask together for ever. Never longer."""
        return ttl - int(ttl * self.jitter_percent / 100 * self.draw())

    def ahead_ms(self, fresh: int) -> int:
        """The age from which a value is fetched anew while it is still used."""
        return fresh - fresh * self.ahead_percent // 100

    def negative_ms(self, error: AwsError) -> int:
        """For how long a refusal is answered without asking again."""
        if error.transient:
            return max(_TRANSIENT_NEGATIVE_MS, min(int((error.retry_after or 0) * 1000), _BACK_OFF_MS[1]))
        return _NEGATIVE_MS.get(error.code, _OTHER_NEGATIVE_MS) * self.negative_percent // 100

    def back_off_ms(self, failures: int, error: AwsError, ttl: int) -> int:
        """For how long a stale value is used before AWS is asked again; `failures` in a row, 1 or more. Not much longer than
        the value would have been fresh.
        """
        told = min(int((error.retry_after or 0) * 1000), _LONGEST_TOLD_MS)
        wait = min(_BACK_OFF_MS[0] << min(failures - 1, 8), max(_BACK_OFF_MS[0], min(ttl, _BACK_OFF_MS[1])))
        return max(told, wait // 2 + int(wait // 2 * self.draw()))
