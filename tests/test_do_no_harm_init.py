"""Plug-ins that do harm before or while they start: the function runs, and so does the plug-in beside them."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path

import pytest

from tests.test_do_no_harm_matrix import FUNCTION, GOOD

CLASS = "class Bad(Plugin):\n    name = 'bad'\n"
HEAD = "import sys, time\nfrom extension_kit import Plugin\nfrom extension_kit.settings import Settings, text\n"
#: what the module holds, what is said of it
BROKEN = {
    "import exits": ("sys.exit(3)", "SystemExit: 3 at "),
    "import is interrupted": ("raise KeyboardInterrupt", "KeyboardInterrupt: "),
    "import has no end": ("time.sleep(60)", "loading it takes longer than 4 s, and was at "),
    "import has no end, whatever is raised": (
        "try:\n    time.sleep(60)\nexcept BaseException:\n    time.sleep(60)", "loading it takes longer than 4 s",
    ),
    "constructor exits": (f"{CLASS}    def __init__(self): sys.exit(4)", "SystemExit: 4 at "),
    "constructor has no end": (f"{CLASS}    def __init__(self): time.sleep(60)", "loading it takes longer than 4 s"),
    "split exits": (f"{CLASS}    def split(self, context): raise SystemExit(5)", "SystemExit: 5 at "),
    "settings exit": (
        f"class Odd(Settings):\n    prefix = 'ODD_'\n    @classmethod\n    def parse(cls, environ): sys.exit(6)\n"
        f"{CLASS}    settings = Odd", "SystemExit: 6 at ",
    ),
    "a hook cannot be had": (
        f"{CLASS}    def __getattribute__(self, name):\n        if name == 'flush': sys.exit(7)\n"
        "        return object.__getattribute__(self, name)\n    def flush(self, reason, deadline): pass",
        "SystemExit: 7 at ",
    ),
}  # fmt: skip


@pytest.fixture
def modules():
    """Where plug-ins lie. Not under /tmp: the environment has one of its own."""
    folder = Path(tempfile.mkdtemp(dir="/var/tmp"))
    yield folder
    shutil.rmtree(folder)


def answers(lab, modules, run: str, invokes: int = 3):
    """What the extension said, with the function answering right and in its first environment."""
    path = f"sys.path.insert(0, {str(modules)!r})\n"
    environment = lab.start(lab.plugin("ext", path + GOOD + run), function=lab.function(FUNCTION), timeout=5.0)
    results = [lab.invoke(environment, number) for number in range(invokes)]
    environment.shutdown()

    assert [json.loads(one.payload) for one in results] == [{"twice": number * 2} for number in range(invokes)]
    kinds = [event["kind"] for event in environment.log.events]
    assert kinds.count("init_start") == 1
    assert "fatal" not in kinds
    assert environment.platform.healthy
    assert lab.exits(environment)["ext"] == "exit status 0"
    said = lab.lines(environment, "ext")
    assert any(line.startswith(f"good saw {invokes} until ") for line in said), said
    return said


@pytest.mark.parametrize("what", BROKEN)
def test_one_that_cannot_be_loaded_is_left_out(what, lab, modules):
    """In one line; whatever it does, however long."""
    code, reason = BROKEN[what]
    (modules / "broken.py").write_text(f"{HEAD}{code}\n")
    said = answers(lab, modules, "run('broken:Bad', Good())")

    told = [line for line in said if "it is left out, the function goes on without it" in line]
    assert len(told) == 1, said
    assert reason in told[0]


@pytest.mark.parametrize("hook", ["before_register", "start"])
def test_hooks_without_an_end_cost_their_time_together(hook, lab, modules):
    """Five of them one after another would be an init that Lambda gives up."""
    made = "class Bad(Plugin):\n    def __init__(self, name): self.name = name\n"
    code = f"{made}    def {hook}(self, context): time.sleep(60)\n"
    said = answers(lab, modules, f"{code}run(*[Bad(f'bad-{{n}}') for n in range(5)], Good())")

    assert len([line for line in said if f"{hook} overran its time budget of 2000 ms" in line]) == 5


def test_the_second_of_a_name_is_left_out(lab, modules):
    """Its lines, its account and its folder would be the first one's."""
    said = answers(lab, modules, "run(Good(), Good, 'good=nowhere:Nothing')")

    assert [line for line in said if " twice: " in line] == [
        "[ext] plug-in good is there twice: this is the second of that name; it is left out, the function goes on without it"
    ] * 2
    assert len([line for line in said if line.startswith("good saw ")]) == 1
