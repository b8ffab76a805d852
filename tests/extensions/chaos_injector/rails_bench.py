"""What the tests of configuration and rails share: rails whose log is kept, a clock that can be set, good documents."""

from __future__ import annotations

import json
from copy import deepcopy

from extension_kit.io.clock import Clock
from extension_kit.protocol.timestamps import format_ms
from extensions.chaos_injector.audit import Audit
from extensions.chaos_injector.rails import Facts, Rails
from extensions.chaos_injector.readers import Reading, read
from extensions.chaos_injector.settings import ChaosSettings

NOW_MS = 1_795_948_800_000  # 2026-11-29T10:40:00Z
ARN = "arn:aws:lambda:eu-west-1:111122223333:function:checkout"


class SetClock(Clock):
    """Stands still until it is set: both clocks together (`pass_s`), or one of them."""

    __slots__ = ("mono_ns", "now_ms")

    def __init__(self):
        self.now_ms = NOW_MS
        self.mono_ns = 5_000_000_000

    def wall_ms(self):
        return self.now_ms

    def monotonic_ns(self):
        return self.mono_ns

    def pass_s(self, seconds):
        self.now_ms += int(seconds * 1_000)
        self.mono_ns += int(seconds * 1_000_000_000)


class Invocation:
    def __init__(self, request_id="r-1", *, seconds=30, qualifier="", tenant="", now_ms=NOW_MS):
        self.request_id = request_id
        self.deadline_ms = now_ms + seconds * 1_000
        self.function_arn = ARN + (f":{qualifier}" if qualifier else "")
        self.tenant_id = tenant


class Bench:
    """Rails, and everything that they have said."""

    def __init__(self, directory, clock=None, facts=None, **variables):
        self.clock = clock or SetClock()
        self.lines = []
        self.counters = {}
        environ = {"CHAOS_ENABLED": "1", **{name: str(value) for name, value in variables.items()}}
        self.environ = {name: value for name, value in environ.items() if value}
        self.settings, self.warnings = ChaosSettings.parse(self.environ)
        self.audit = Audit(lambda line: self.lines.append(json.loads(line)), self._count, self.clock)
        self.directory = str(directory)
        self.rails = Rails(
            self.settings, facts or Facts("checkout", "eu-west-1", "111122223333", "7", "stream"), self.audit, self.clock,
            directory=self.directory,
        )  # fmt: skip

    def _count(self, name, n):
        self.counters[name] = self.counters.get(name, 0) + n

    def give(self, fields):
        """The source has this document now."""
        self.rails.documented(as_bytes(fields), "test")
        return self.rails.now()

    def actions(self):
        return [line["action"] for line in self.lines]

    def said(self):
        """What was told last, action and reason."""
        return self.lines[-1]["action"], self.lines[-1].get("reason", "")

    def decide(self, invocation=None, fault=None, event=dict):
        fault = fault or self.rails.now().faults[0]
        return self.rails.decide(fault, invocation or Invocation(now_ms=self.clock.now_ms), event)


def as_bytes(fields):
    return fields if isinstance(fields, bytes) else json.dumps(fields).encode()


def fault(type="delay", percentage=100, **more):
    return {"type": type, "percentage": percentage, **more}


def document(*faults, now_ms=NOW_MS, **more):
    """A good one of our own format."""
    return {
        "version": 1,
        "id": "slow",
        "owner": "jane",
        "armed_until": format_ms(now_ms + 600_000),
        "scope": {"functions": ["checkout"]},
        "faults": list(faults) or [fault()],
        **more,
    }


def changed(fields, path, value):
    """A copy of a document with another value at a dotted path; ... removes it."""
    fields = deepcopy(fields)
    *parents, last = path.split(".")
    inner = fields
    for part in parents:
        inner = inner[int(part)] if isinstance(inner, list) else inner.setdefault(part, {})
    if value is ...:
        del inner[last]
    elif isinstance(inner, list):
        inner[int(last)] = value
    else:
        inner[last] = value
    return fields


def reading(now_ms=NOW_MS, **variables):
    settings, warnings = ChaosSettings.parse({name: str(value) for name, value in variables.items()})
    assert warnings == ()
    return Reading(settings, now_ms, "test", "checkout")


def experiment_of(fields, now_ms=NOW_MS, **variables):
    """What is read of a document, and the notes."""
    one = reading(now_ms, **variables)
    return read(as_bytes(fields), one), one.notes
