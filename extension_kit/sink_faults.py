"""Orders of the chaos injector for what our extensions send: drop it, delay it, or behave as if it had been refused.

Looked at where ``CHAOS_ENABLED`` is set, and nowhere else; an order is good for a few minutes at most, whatever it says, so that
one whose writer has died is soon forgotten. Anything odd about the file means: no order.
"""

from __future__ import annotations

from extension_kit.io import environ

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

__all__ = ["FILE", "chaos_enabled", "order"]

FILE = "/tmp/.extension-kit/chaos-injector/sinks.json"  # noqa: S108 - Lambda's only writable place, named in the design
ACTIONS = ("drop", "delay", "status")
_LONGEST_MS = 300_000  # that an order may be good for
_MOST_DELAY_MS = 60_000
_MOST_READ = 4_096


def chaos_enabled() -> bool:
    """Whether the operator has allowed chaos in this function: the first of two keys."""
    return environ.get("CHAOS_ENABLED").strip().lower() in ("1", "true", "yes", "on")


def order(now_ms: int, path: str = FILE) -> Mapping[str, Any] | None:
    """What is to be done to the next request: ``action``, and ``status``, ``delay_ms``, ``retry_after_s`` as whole numbers."""
    import posix

    try:
        handle = posix.open(path, posix.O_RDONLY | posix.O_NOFOLLOW | posix.O_CLOEXEC | posix.O_NONBLOCK)
    except OSError:
        return None
    try:
        text = posix.read(handle, _MOST_READ)
    except OSError:
        return None
    finally:
        posix.close(handle)
    return _checked(text, now_ms)


def _checked(text: bytes, now_ms: int) -> Mapping[str, Any] | None:
    from extension_kit.protocol.jsontext import loads

    try:
        found: Any = loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict) or found.get("action") not in ACTIONS:
        return None
    numbers = {name: found.get(name, 0) for name in ("until_ms", "status", "delay_ms", "retry_after_s")}
    if not all(type(number) is int and number >= 0 for number in numbers.values()):
        return None
    if not 0 < numbers["until_ms"] - now_ms <= _LONGEST_MS or numbers["delay_ms"] > _MOST_DELAY_MS:
        return None
    if found["action"] == "status" and not 400 <= numbers["status"] <= 599:
        return None
    return {"action": found["action"], **numbers}
