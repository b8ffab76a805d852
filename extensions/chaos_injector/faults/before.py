"""Faults before the handler: what becomes of an event between the platform and the runtime.

`Event.make` turns a fault, whose decision has been made, into what the proxy does (`extension_kit.proxy`). Several of them at
once are joined: delays add up, changes of the event are made one upon the other, the first answer in its place ends it.
"""

from __future__ import annotations

import time

from extensions.chaos_injector.dice import fraction

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from extension_kit.proxy import Answer, Deliver, Fail, Invocation
    from extensions.chaos_injector.plan import Fault

__all__ = ["ORDER", "Event", "Unfit", "draw_ms", "pause"]

#: in which faults of this phase are made; the two that answer in the function's place come last
ORDER = ("delay", "timeout", "mutate_event", "deadline_lie", "duplicate", "http_response", "error")

_LOOK_S = 0.05  # how often a pause looks whether the experiment is still on
_LONGEST_MS = 900_000  # a function's longest timeout
_CLOSE_MS = 20  # a pause never goes on to the very deadline, where the platform ends everything


class Unfit(Exception):
    """Why a fault cannot be made of this event or response."""


class Event:
    """One invocation on its way to the runtime. ``is_on``: whether what sleeps may go on; ``now_ms``: epoch."""

    def __init__(
        self,
        invocation: Invocation,
        seed: str,
        max_fraction: float,
        now_ms: Callable[[], int],
        is_on: Callable[[], bool],
    ) -> None:
        self._invocation = invocation
        self._seed = seed
        self._now_ms = now_ms
        begins_ms = now_ms()
        self._delay_until_ms = begins_ms + (invocation.deadline_ms - begins_ms) * max_fraction  # all delays together
        self._is_on = is_on
        self._body: bytes | None = None
        self._headers: list[tuple[bytes, bytes]] = []
        self._twice = False

    def make(self, fault: Fault) -> Answer | Fail | None:
        """Make one fault; what is returned is the answer in the function's place. `Unfit` where it cannot be made."""
        made: Answer | Fail | None = getattr(self, f"_{fault.type}")(fault)
        return made

    def delivery(self) -> Deliver | None:
        """How the event goes on; None: as it is."""
        if self._body is None and not self._headers and not self._twice:
            return None
        from extension_kit.proxy import Deliver

        return Deliver(self._body, tuple(self._headers), self._twice)

    def _require_deadline(self) -> None:
        if not self._invocation.deadline_ms:
            raise Unfit("the event has no deadline")

    def _remaining_ms(self) -> float:
        return self._invocation.deadline_ms - self._now_ms()

    def _delay(self, fault: Fault) -> None:
        unit = fraction(self._seed, self._invocation.request_id, fault.id, "ms")
        wanted = draw_ms(fault.params, unit)
        if self._invocation.deadline_ms:
            wanted = min(wanted, self._delay_until_ms - self._now_ms())
        pause(min(wanted, _LONGEST_MS), self._is_on)

    def _timeout(self, fault: Fault) -> None:
        # With no buffer this sleeps over the deadline: what comes of it is the platform's timeout, which is what is asked for.
        self._require_deadline()
        buffer_ms = float(fault.params["buffer_ms"])
        pause(self._remaining_ms() - buffer_ms + (0 if buffer_ms else _CLOSE_MS), self._is_on)

    def _error(self, fault: Fault) -> Fail:
        from extension_kit.proxy import Fail

        return Fail(str(fault.params["error_type"]), str(fault.params["message"]))

    def _http_response(self, fault: Fault) -> Answer:
        import json

        from extension_kit.proxy import Answer

        params = fault.params
        answer = {
            "statusCode": params["status_code"],
            "headers": {"Content-Type": params["content_type"]},
            "body": params["body"],
        }
        return Answer(json.dumps(answer).encode())

    def _mutate_event(self, fault: Fault) -> None:
        import json

        try:
            event = json.loads(self._invocation.body() if self._body is None else self._body)
        except (ValueError, RecursionError):
            raise Unfit("the event is no JSON") from None
        for path in fault.params["remove"] or ():
            _remove(event, str(path).split("."))
        changes: Mapping[str, Any] = fault.params["set"] or {}
        for path, value in changes.items():
            event = _set(event, path.split(".") if path else [], value)
        self._body = json.dumps(event).encode()

    def _deadline_lie(self, fault: Fault) -> None:
        self._require_deadline()
        told = max(0, self._invocation.deadline_ms + int(fault.params["offset_ms"]))
        self._headers.append((b"Lambda-Runtime-Deadline-Ms", b"%d" % told))

    def _duplicate(self, _fault: Fault) -> None:
        self._twice = True


def pause(ms: float, still_on: Callable[[], bool]) -> None:
    """Sleep for `ms`, but no longer than the experiment is on."""
    until = time.monotonic() + ms / 1000
    while (left := until - time.monotonic()) > 0 and still_on():
        time.sleep(min(left, _LOOK_S))


def draw_ms(params: Mapping[str, Any], unit: float) -> float:
    """A delay from the distribution that `params` describe; `unit`, from 0 up to 1, decides which one."""
    import math

    kind = params["distribution"]
    if kind == "fixed":
        return float(params["ms"])
    if kind == "uniform":
        return float(params["min_ms"] + unit * (params["max_ms"] - params["min_ms"]))
    if kind == "normal":
        # Box and Muller, its two units from the one that there is
        first, second = 1 - math.floor(unit * 2**26) / 2**26, (unit * 2**26) % 1
        deviate = math.sqrt(-2 * math.log(first)) * math.cos(2 * math.pi * second)
        return max(0.0, float(params["mean_ms"] + deviate * params["deviation_ms"]))
    return float(params["scale_ms"] * (1 - unit) ** (-1 / params["shape"]))  # pareto


def _child(holder: Any, name: str) -> Any:
    if isinstance(holder, list) and name.isdigit() and int(name) < len(holder):
        return holder[int(name)]
    return holder.get(name) if isinstance(holder, dict) else None


def _set(event: Any, names: list[str], value: Any) -> Any:
    """The event with `value` at the path; what is missing on the way is made, an empty path is the event itself."""
    if not names:
        return value
    holder = event
    for at, name in enumerate(names[:-1]):
        inside = _child(holder, name)
        if not isinstance(inside, (dict, list)):
            inside = {}
            _put(holder, name, inside, names[: at + 1])
        holder = inside
    _put(holder, names[-1], value, names)
    return event


def _put(holder: Any, name: str, value: Any, names: list[str]) -> None:
    if isinstance(holder, dict):
        holder[name] = value
    elif isinstance(holder, list) and name.isdigit() and int(name) < len(holder):
        holder[int(name)] = value
    else:
        raise Unfit(f"the event has no place for {'.'.join(names)}")


def _remove(event: Any, names: list[str]) -> None:
    holder = event
    for name in names[:-1]:
        holder = _child(holder, name)
    if isinstance(holder, dict):
        holder.pop(names[-1], None)
    elif isinstance(holder, list) and names[-1].isdigit() and int(names[-1]) < len(holder):
        del holder[int(names[-1])]
