"""What the kit knows of the chaos injector: its orders for what our extensions send, and its mark on what they measure.

Both are small files that the injector writes. They are looked at where ``CHAOS_ENABLED`` is set, and nowhere else; each is good
for a few minutes at most, whatever it says, so that one whose writer has died is soon forgotten. Anything odd about a file
means that it is not there.
"""

from __future__ import annotations

from extension_kit.io import environ

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from extension_kit.delivery import Verdict
    from extension_kit.io.clock import Clock

    Send = Callable[[list[Any], float], Verdict]

__all__ = ["ENABLED", "MARK", "ORDERS", "enabled", "marked", "order", "sending"]

ENABLED = "CHAOS_ENABLED"
#: what is to be done to requests: ``action``, ``status``, ``delay_ms``, ``retry_after_s``, ``until_ms``
ORDERS = "/tmp/.extension-kit/chaos-injector/sinks.json"  # noqa: S108 - Lambda's only writable place, named in the design
#: what is going on: ``experiment``, ``injected`` (how many faults, in this environment), ``until_ms``
MARK = "/tmp/.extension-kit/chaos-injector/active"  # noqa: S108

ACTIONS = ("drop", "delay", "status")
_LONGEST_MS = 300_000  # that a file may be good for
_MOST_DELAY_MS = 900_000
_MOST_READ = 4_096
_TRY_AGAIN = (408, 425, 429)
_TOO_LARGE = 413


def enabled() -> bool:
    """Whether the operator has allowed chaos in this function: the first of two keys."""
    return environ.get(ENABLED).strip().lower() in ("1", "true", "yes", "on")


def order(now_ms: int, path: str = "") -> Mapping[str, Any] | None:
    """What is to be done to the next request: ``action``, and ``status``, ``delay_ms``, ``retry_after_s`` as whole numbers."""
    found = _read(path or ORDERS, now_ms, ("status", "delay_ms", "retry_after_s"))
    if found is None or found.get("action") not in ACTIONS or found["delay_ms"] > _MOST_DELAY_MS:
        return None
    return None if found["action"] == "status" and not 400 <= found["status"] <= 599 else found


def marked(now_ms: int, path: str = "") -> tuple[str, int] | None:
    """The experiment that is armed, and how many faults have been injected in this environment; None where there is none."""
    found = _read(path or MARK, now_ms, ("injected",))
    return None if found is None else (str(found.get("experiment", "")), found["injected"])


def sending(send: Send, clock: Clock) -> Send:
    """`send` of a `Delivery`, with the orders carried out before it."""
    from extension_kit import delivery

    def sent(items: list[Any], seconds: float) -> Verdict:
        found = order(clock.wall_ms())
        if found is None:
            return send(items, seconds)
        if found["action"] == "drop":
            raise ConnectionError("dropped by the chaos injector")
        if found["action"] == "delay":
            wait = found["delay_ms"] / 1000
            clock.sleep(min(wait, seconds))
            if wait >= seconds:
                raise TimeoutError("no answer in time (delayed by the chaos injector)")
            return send(items, seconds - wait)
        status = found["status"]
        kind = delivery.AGAIN if status >= 500 or status in _TRY_AGAIN else delivery.REFUSED
        kind = delivery.TOO_LARGE if status == _TOO_LARGE else kind
        return delivery.Verdict(
            kind,
            f"{status} by the chaos injector",
            found["retry_after_s"] * 1000 or None,
            reason=f"refused with {status}",
        )

    return sent


def _read(path: str, now_ms: int, numbers: tuple[str, ...]) -> dict[str, Any] | None:
    """A file that is still good, its `numbers` whole and not negative."""
    import posix

    from extension_kit.protocol.jsontext import loads

    try:
        handle = posix.open(path, posix.O_RDONLY | posix.O_NOFOLLOW | posix.O_CLOEXEC | posix.O_NONBLOCK)
    except OSError:
        return None
    try:
        found: Any = loads(posix.read(handle, _MOST_READ))
    except (OSError, ValueError):
        return None
    finally:
        posix.close(handle)
    if not isinstance(found, dict):
        return None
    values = {name: found.get(name, 0) for name in (*numbers, "until_ms")}
    if not all(type(value) is int and value >= 0 for value in values.values()):
        return None
    return {**found, **values} if 0 < values["until_ms"] - now_ms <= _LONGEST_MS else None
