"""Whatever a plug-in does, the function goes on and the process stays until SHUTDOWN."""

from __future__ import annotations

import pytest

GOOD = """
class Good(Plugin):
    name = "good"
    def on_invoke(self, event):
        say("good sees", bool(event.request_id))
    def on_shutdown(self, event, deadline):
        say("good ends", event.reason, deadline.remaining_ms() > 0)
"""
SLEEPER = "class Bad(Plugin):\n    name = 'bad'\n    def {hook}:\n        {body}\n"

MISBEHAVIOUR = [
    ("on_invoke(self, event)", "raise ValueError('bang')", "on_invoke raised ValueError: bang"),
    ("on_invoke(self, event)", "sys.exit(3)", "on_invoke raised SystemExit: 3"),
    ("on_invoke(self, event)", "raise KeyboardInterrupt", "on_invoke raised KeyboardInterrupt"),
    ("on_invoke(self, event)", "time.sleep(0.9)", "on_invoke overran its time budget"),
    ("on_invoke(self, event)", "self.on_invoke(event)", "on_invoke raised RecursionError"),
    ("start(self, context)", "raise OSError('no disk')", "start raised OSError: no disk"),
    ("start(self, context)", "sys.exit()", "start raised SystemExit"),
    ("start(self, context)", "time.sleep(60)", "start overran its time budget of 2000 ms"),
    ("on_shutdown(self, event, deadline)", "raise MemoryError", "on_shutdown raised MemoryError"),
    ("on_shutdown(self, event, deadline)", "time.sleep(60)", "on_shutdown overran its time budget"),
]


@pytest.mark.parametrize(("hook", "body", "report"), MISBEHAVIOUR, ids=[f"{m[0][:9]} {m[1]}" for m in MISBEHAVIOUR])
@pytest.mark.parametrize(
    "memory_mb", [128, 1_769]
)  # a share of a core, and a whole one, for which the budgets are meant
def test_a_misbehaving_plugin_harms_nobody(lab, hook, body, report, memory_mb):
    """It is reported once for each failure; the function answers, the other plug-in sees everything, the exit is 0."""
    script = GOOD + SLEEPER.format(hook=hook, body=body) + "run(Good(), Bad())"
    environment = lab.start(lab.plugin("ext", script), memory_mb=memory_mb)

    results = [lab.invoke(environment) for _ in range(2)]
    environment.idle(5)
    environment.shutdown()

    lines = lab.lines(environment, "ext")
    assert [result.function_error for result in results] == ["", ""]
    assert [line for line in lines if line.startswith("good")] == ["good sees True"] * 2 + ["good ends spindown True"]
    assert any(report in line for line in lines), lines
    assert lab.exits(environment)["ext"] == "exit status 0"
    assert environment.platform.healthy


def test_three_failures_in_a_row_put_a_plugin_to_rest(lab):
    """Then it is no longer called; a success in between starts the count anew."""
    script = """
class Bad(Plugin):
    name = "bad"
    calls = 0
    def on_invoke(self, event):
        self.calls += 1
        say("call", self.calls)
        if self.calls != 3:
            raise ValueError(self.calls)
run(Bad())
"""
    environment = lab.start(lab.plugin("ext", script))

    for _ in range(8):
        lab.invoke(environment)
    environment.idle(5)

    lines = lab.lines(environment, "ext")
    assert [line for line in lines if line.startswith("call")] == [f"call {n}" for n in range(1, 7)]
    assert sum("put to rest" in line for line in lines) == 1


def test_a_hook_that_never_returns_keeps_its_thread_and_nothing_else(lab):
    """The plug-in's next hooks are skipped, then it rests; the other plug-in goes on."""
    script = GOOD + SLEEPER.format(hook="on_invoke(self, event)", body="time.sleep(3600)") + "run(Good(), Bad())"
    environment = lab.start(lab.plugin("ext", script), memory_mb=1_769)

    for _ in range(4):
        lab.invoke(environment)
    environment.shutdown()

    lines = lab.lines(environment, "ext")
    assert sum(line == "good sees True" for line in lines) == 4
    assert sum("is still running" in line for line in lines) == 2
    assert lab.exits(environment)["ext"] == "exit status 0"


WRONG = [
    ("class Bad(Plugin):\n    pass\n", "Bad.name is ''"),
    ("class Bad(Plugin):\n    name = 'bad'\n    def on_invok(self, event): pass\n", "did you mean on_invoke?"),
    ("class Bad(Plugin):\n    name = 'bad'\n    def on_invoke(self): pass\n", "write def on_invoke(self, event)"),
    ("class Bad(Plugin):\n    name = 'bad'\n    async def on_invoke(self, event): pass\n", "is async"),
    ("class Bad(Plugin):\n    name = 'bad'\n    telemetry = ('logs',)\n", "telemetry is ('logs',)"),
    ("class Bad(Plugin):\n    name = 'bad'\n    budgets = {'on_foo': 1}\n", "budgets names 'on_foo'"),
    ("class Bad(Plugin):\n    name = 'bad'\n    def __init__(self): raise OSError('x')\n", "cannot be made"),
    ("class Bad:\n    name = 'bad'\n", "derive it from extension_kit.Plugin"),
    ("Bad = 'no_such_module:Bad'\n", "no_such_module cannot be imported"),
    ("Bad = 'extension_kit.events:Bad'\n", "extension_kit.events has no Bad"),
    ("Bad = 'nonsense'\n", "expected MODULE:CLASS"),
]


@pytest.mark.parametrize(("code", "report"), WRONG, ids=[wrong[1] for wrong in WRONG])
def test_a_wrong_plugin_is_left_out_with_one_line(lab, code, report):
    """The line names the fix; the others and the function go on."""
    environment = lab.start(lab.plugin("ext", GOOD + code + "run(Good(), Bad)"))

    result = lab.invoke(environment)
    environment.shutdown()

    lines = lab.lines(environment, "ext")
    assert result.function_error == ""
    assert [line for line in lines if not line.startswith("good")] == [line for line in lines if report in line]
    assert len(lines) == 3
    assert lab.exits(environment)["ext"] == "exit status 0"


def test_crash_on_failure_reports_an_init_error_when_asked_to(lab):
    """EXTENSION_KIT_ON_FAILURE=crash: init/error between register and next, then exit."""
    environment = lab.start(
        lab.plugin("ext", "class Bad(Plugin):\n    pass\nrun(Bad)"), variables={"EXTENSION_KIT_ON_FAILURE": "crash"}
    )

    assert lab.invoke(environment).error_type == "Extension.InitError"


def test_crash_on_failure_reports_an_exit_error_after_init(lab):
    """And exit/error once init is over."""
    script = "class Bad(Plugin):\n    name = 'bad'\n    def on_invoke(self, event): raise ValueError('x')\nrun(Bad)"
    environment = lab.start(lab.plugin("ext", script), variables={"EXTENSION_KIT_ON_FAILURE": "crash"})

    assert lab.invoke(environment, {"spend_ms": 300}).error_type == "Extension.ExitError"


def test_before_register_holds_back_the_runtime(lab):
    """The rare hook that runs before anything else."""
    script = """
class Early(Plugin):
    name = "early"
    def before_register(self, context):
        time.sleep(0.2); say("early", context.registration)
    def start(self, context):
        say("start", context.registration.function_name)
run(Early())
"""
    environment = lab.start(lab.plugin("ext", script), function_name="orders")

    lab.invoke(environment)

    events = [event.get("text") or event["kind"] for event in environment.log.of_kind("log", "registered")]
    assert events[:2] == ["early None", "registered"]
    assert "start orders" in lab.lines(environment, "ext")


def test_a_wrong_setting_is_one_line_and_the_default_is_used(lab):
    """Settings are parsed before any hook."""
    script = """
from extension_kit.settings import Settings, integer
class MySettings(Settings):
    prefix = "MINE_"
    size = integer(5, minimum=1, maximum=9, help="size")
class Mine(Plugin):
    name = "mine"
    settings = MySettings
    def on_invoke(self, event):
        say("size", self.context.settings.size)
    def start(self, context):
        self.context = context
run(Mine())
"""
    environment = lab.start(lab.plugin("ext", script), variables={"MINE_SIZE": "10"})

    lab.invoke(environment)
    environment.idle(5)

    lines = lab.lines(environment, "ext")
    assert "size 5" in lines
    assert sum("MINE_SIZE" in line for line in lines) == 1
