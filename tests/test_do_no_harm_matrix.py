"""Every way in which a plug-in can misbehave, under our emulator and under AWS's: the function's answers stay right."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from extension_kit.backends import prepare, rie_binary
from extension_kit.backends.rie import RieEnvironment
from extension_kit.emulator.environment import Environment, Layout
from extension_kit.emulator.model import Profile

WITHOUT_NAMESPACES = prepare.why_no_namespaces()
INVOKES = 5
FUNCTION = "def handler(event, context):\n    return {'twice': event * 2}\n"
GOOD = """
class Good(Plugin):
    name = "good"
    seen = 0
    def on_invoke(self, event):
        self.seen += 1
    def on_shutdown(self, event, deadline):
        say("good saw", self.seen, "until", event.reason)
"""
BAD = "import os, threading\nclass Bad(Plugin):\n    name = 'bad'\n    {budget}\n    def {hook}({arguments}):\n        {body}\n"
ARGUMENTS = {
    "before_register": "self, context",
    "start": "self, context",
    "on_invoke": "self, event",
    "on_shutdown": "self, event, deadline",
    "on_telemetry": "self, records",
    "on_runtime_done": "self, record",
    "flush": "self, reason, deadline",
    "on_restore": "self, event",
}
LEAK = """
        self.leak = []
        try:
            while True: self.leak.append(os.open('/dev/null', 0))
        except OSError: pass"""
ONCE = ("before_register", "start", "on_shutdown")
#: hook, body, what the account at the end says ("" where it is no fault), how often the fault happens
MATRIX: list[tuple[str, str, str, int]] = [
    *((hook, "raise ValueError('bang')", f"{hook} raised ValueError", 1) for hook in ONCE),
    ("on_invoke", "raise ValueError('bang')", "on_invoke raised ValueError", 3),
    *((hook, "sys.exit(3)", f"{hook} raised SystemExit", 1) for hook in ONCE),
    ("on_invoke", "sys.exit(3)", "on_invoke raised SystemExit", 3),
    ("on_invoke", "raise BaseException('x' * 1_000_000)", "on_invoke raised BaseException", 3),
    ("on_invoke", "return object()", "", 0),
    ("start", "return 'garbage'", "", 0),
    ("start", "time.sleep(0.5)", "start overran", 1),
    ("on_invoke", "time.sleep(60)", "on_invoke overran", 1),
    ("on_shutdown", "time.sleep(60)", "on_shutdown overran", 1),
    ("on_invoke", "[threading.Thread(target=time.sleep, args=(60,)).start() for _ in range(20)]", "", 0),
    ("on_invoke", "print(('x' * 99 + chr(10)) * 10_000)", "", 0),
    ("on_invoke", "self.leak = getattr(self, 'leak', []) + [os.open('/dev/null', 0) for _ in range(100)]", "", 0),
    ("start", "self.leak = [os.dup(1) for _ in iter(int, 1)]", "start raised OSError", 1),
    ("start", LEAK, "", 0),
    ("start", "file = os.open('/tmp/full', os.O_CREAT | os.O_RDWR); [os.posix_fallocate(file, at << 20, 1 << 20)"
     " for at in range(10_000)]", "start raised OSError", 1),
    ("on_invoke", "os.close(2)", "", 0),
    ("on_invoke", "event.request_id = 'mine'", "on_invoke raised AttributeError", 3),
    ("start", "sys.modules.clear()", "", 0),
    ("start", "sys.meta_path.clear()", "", 0),
    ("start", "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (5, 1024))", "", 0),
]  # fmt: skip


def bad_plugin(hook: str, body: str, more: str = "") -> str:
    """The class ``Bad`` of a row; ``more``: what its class holds besides."""
    budget = "budgets = {'start': 0.2, 'on_invoke': 0.3}"
    if any(word in body for word in ("sleep(60)", "fallocate", "os.dup")):
        budget = "budgets = {}"
    elif "print" in body or "self.leak.append" in body:
        budget = "budgets = {'on_invoke': 10, 'on_telemetry': 10}"  # AWS's emulator copies line by line
    return BAD.format(hook=hook, arguments=ARGUMENTS[hook], body=body, budget=f"{budget}{more}")


def environment_of(backend: str, lab, extension, **variables: str) -> Any:
    layout = Layout(
        function=lab.function(FUNCTION),
        extensions=(extension,),
        variables=variables,
        namespaces=not WITHOUT_NAMESPACES,
    )
    profile = Profile(handler="app.handler", timeout=5.0)
    if backend == "rie":
        return RieEnvironment(profile, layout, rie_binary.binary())
    environment = Environment(profile, layout)
    lab.environments.append(environment)
    return environment


BACKENDS = pytest.mark.parametrize(
    "backend",
    ["emulator", pytest.param("rie", marks=pytest.mark.skipif(bool(WITHOUT_NAMESPACES), reason="no namespaces"))],
)


@BACKENDS
@pytest.mark.parametrize(("hook", "body", "fault", "times"), MATRIX, ids=[f"{row[0]}: {row[1][:30]}" for row in MATRIX])
def test_the_function_never_notices(hook, body, fault, times, backend, lab):
    """Right answers, nobody crashed, the other plug-in sees everything, the fault is reported once and counted at the end."""
    bad = bad_plugin(hook, body)
    with environment_of(backend, lab, lab.plugin("ext", GOOD + bad + "run(Good(), Bad())")) as environment:
        results = [environment.invoke(json.dumps(number).encode()).result(20) for number in range(INVOKES)]
        environment.idle(5)
        environment.shutdown()

    assert [json.loads(result.payload) for result in results] == [{"twice": number * 2} for number in range(INVOKES)]
    kinds = [event["kind"] for event in environment.log.events]
    assert kinds.count("init_start") == 1
    assert "fatal" not in kinds
    said = [event["text"] for event in environment.log.of_kind("log") if len(event["text"]) < 2000]
    assert any(line.startswith(f"good saw {INVOKES} until ") for line in said), [line[-200:] for line in said]
    if backend == "emulator":
        in_time(environment.log.events)
        assert environment.platform.healthy
        assert lab.exits(environment)["ext"] == "exit status 0"
    check_reports(said, fault, times, body)


TELEMETRY = """
class Listener(Plugin):
    name = "listener"
    telemetry = ("platform", "function")
    budgets = {"on_telemetry": 5}
    def on_telemetry(self, records): pass
    def flush(self, reason, deadline): pass
"""
LATER = ("on_telemetry", "on_runtime_done", "on_restore")
#: hook, body, what the account at the end says: where the platform has telemetry
OF_TELEMETRY = [
    *((hook, "sys.exit(3)", f"{hook} raised SystemExit") for hook in ("flush", *LATER)),
    *((hook, "time.sleep(60)", f"{hook} overran") for hook in LATER),
    ("flush", "return 'all of it'", "flush raised TypeError"),
    ("flush", "return -5", "flush raised TypeError"),
    ("on_telemetry", LEAK, ""),
]  # fmt: skip


@pytest.mark.parametrize(
    ("hook", "body", "fault"), OF_TELEMETRY, ids=[f"{row[0]}: {row[1].strip()[:30]}" for row in OF_TELEMETRY]
)
def test_nor_of_what_is_done_with_telemetry(hook, body, fault, lab):
    """The same; another's records are delivered to the last, and none that this one has not delivered counts as such."""
    bad = bad_plugin(hook, body, "; telemetry = ('platform',)" + ("" if hook == "flush" else "; flush = lambda *_: 0"))
    extension = lab.plugin("ext", f"{GOOD}{TELEMETRY}{bad}run(Bad(), Listener(), Good())")
    init_type = "snap-start" if hook == "on_restore" else "on-demand"
    environment = lab.start(extension, function=lab.function(FUNCTION), init_type=init_type, memory_mb=1769)
    results = [lab.invoke(environment, number) for number in range(INVOKES)]
    environment.idle(5)
    environment.shutdown()

    assert [json.loads(result.payload) for result in results] == [{"twice": number * 2} for number in range(INVOKES)]
    assert "fatal" not in [event["kind"] for event in environment.log.events]
    assert environment.platform.healthy
    assert lab.exits(environment)["ext"] == "exit status 0"
    said = lab.lines(environment, "ext")
    assert any(line.startswith(f"good saw {INVOKES} until ") for line in said), said
    (account,) = [line for line in said if "plug-in listener: " in line and " records = " in line]
    assert re.search(r" (\d+) records = \1 delivered \+ 0 dropped \+ 0 pending; ", account), account
    if fault:
        assert any(line.startswith("[ext] plug-in bad: in ") and fault in line for line in said), said
    if hook == "flush":
        (account,) = [line for line in said if "plug-in bad: " in line and " records = " in line]
        assert " records = 0 delivered + " in account


def in_time(events: list[dict[str, Any]]) -> None:
    """Every response reached the Runtime API before anything was said about a hook that was called in its invoke."""
    kinds = ["overran" if "on_invoke overran" in event.get("text", "") else event["kind"] for event in events]
    assert kinds.count("response") == INVOKES
    if "overran" in kinds:
        assert kinds.index("response") < kinds.index("overran")


SETTINGS = {
    "EXTENSION_KIT_ON_FAILURE": "explode",
    "EXTENSION_KIT_LOG_LEVEL": "\x1b[31m" + "loud" * 1000,
    "METRICS_COLLECTOR_NAMESPACE": "no=such",
}


@BACKENDS
@pytest.mark.parametrize("name", SETTINGS)
def test_a_wrong_setting_costs_one_line(name, backend, lab):
    """It names the variable and what is used instead; nothing else changes."""
    script = "run(Good(), 'extensions.metrics_collector.plugin:MetricsCollector')"
    extension = lab.plugin("ext", GOOD + script)
    with environment_of(backend, lab, extension, **{name: SETTINGS[name]}) as environment:
        assert json.loads(environment.invoke(b"4").result(20).payload) == {"twice": 8}
        environment.idle(5)
        environment.shutdown()

    said = [event["text"] for event in environment.log.of_kind("log")]
    warnings = [line for line in said if name in line]
    assert len(warnings) == 1
    assert "is used instead" in warnings[0]
    assert warnings[0].isprintable()
    assert len(warnings[0]) < 600
    assert any(line.startswith("good saw 1 until ") for line in said)


@pytest.mark.skipif(bool(WITHOUT_NAMESPACES), reason="no namespaces")
def test_a_line_that_nobody_reads_costs_its_plugin_only(lab):
    """AWS's emulator stops reading an extension that prints 1 MB without a line end: the pipe is full for good."""
    bad = BAD.format(hook="on_invoke", arguments="self, event", body="print('x' * 1_000_000)", budget="budgets = {}")
    with environment_of("rie", lab, lab.plugin("ext", bad + "run(Bad())")) as environment:
        results = [environment.invoke(b"1").result(20) for _ in range(INVOKES)]
        # Answers do not wait for what it says, which comes when the machine has time.
        lab.until(lambda: told(environment) > 0, 20)

    assert [json.loads(result.payload) for result in results] == [{"twice": 2}] * INVOKES
    assert told(environment) == 1


def told(environment: Any) -> int:
    """How often the plug-in that overran was reported."""
    return sum("plug-in bad: on_invoke overran" in event["text"] for event in environment.log.of_kind("log"))


def check_reports(said: list[str], fault: str, times: int, body: str) -> None:
    reports = [line for line in said if line.startswith("[ext] plug-in bad: ") and " calls: " not in line]
    accounts = [line for line in said if line.startswith("[ext] plug-in bad: in ")]
    if "os.close(2)" in body:
        return  # there is nothing left to report on
    if not fault:
        assert reports + accounts == []
        return
    assert len([line for line in reports if fault in line]) == (2 if times == 3 else 1)
    assert len(accounts) == 1
    count = re.search(re.escape(fault) + r" \((\d+)x\)", accounts[0])
    assert count is not None, accounts
    assert int(count[1]) == times
