"""A plug-in that is split into parts, each served by itself; and what a plug-in says has become of its records."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import pytest

from extension_kit import ConfigError, Flushed, Plugin
from extension_kit.cursor import Cursor
from extension_kit.parts import parts_of
from extension_kit.plugin import Context, Log
from tests.test_nothing_lost import TALKER, kill

PARTS = """
import os
from extension_kit import Flushed, Plugin

class Part(Plugin):
    telemetry = ("function",)

    def __init__(self, name):
        self.name, self.held, self.outcomes = name, [], {{}}

    def start(self, context):
        self.context = context

    def on_telemetry(self, records):
        self.held += records

    def flush(self, reason, deadline):
        self.tell("flush", reason, len(self.held))
        if self.name == "dead":
            return len(self.held)
        if self.name == "stubborn":
            raise OSError("no")
        if not self.held:
            return Flushed(0, self.outcomes)
        kept_back = [record for record in self.held if record.text.endswith("3")]
        self.outcomes["filtered"] = self.outcomes.get("filtered", 0) + len(kept_back)
        self.outcomes["dropped: odd"] = self.outcomes.get("dropped: odd", 0) + 1
        self.tell("delivered", len(self.held) - len(kept_back) - 1)
        self.held = []
        return Flushed(0, self.outcomes)

    def tell(self, *words):
        with open("{told}", "a") as file:
            print(self.context.name, *words, file=file)

class Whole(Plugin):
    name = "whole"

    def split(self, context):
        return [Part(name) for name in ("live", "dead")]
"""


@pytest.fixture
def told():
    """What the parts have done. Not under /tmp: the environment has one of its own."""
    folder = Path(tempfile.mkdtemp(dir="/var/tmp"))
    path = folder / "told"
    path.touch()
    yield path
    shutil.rmtree(folder)


def test_a_part_that_cannot_deliver_holds_back_no_other(lambda_sandbox, tmp_path, told, monkeypatch):
    """Each part has its own place in the telemetry, its own turns, its own account; the one that fails is let be."""
    (tmp_path / "in_parts.py").write_text(PARTS.format(told=told))
    monkeypatch.syspath_prepend(tmp_path)
    sandbox = lambda_sandbox
    sandbox.attach("in_parts:Whole")
    for number in range(6):
        assert not sandbox.invoke({"print": [f"line {number}.{line}" for line in range(5)]}).function_error
        sandbox.idle()
    sandbox.shutdown()

    lines = told.read_text().splitlines()
    delivered = [line for line in lines if line.startswith("live delivered")]
    assert delivered == ["live delivered 3"] * 6, "at the end of every invocation, whatever the other does"
    dead = [line for line in lines if line.startswith("dead flush")]
    assert len(dead) <= 4, "tried again ever more rarely"
    assert dead[-1] == "dead flush shutdown 30"
    live, dead = sandbox.account("live"), sandbox.account("dead")
    assert (live.received, live.delivered, live.others, live.dropped, live.reasons, live.pending) == (
        30, 18, {"filtered": 6}, 6, {"odd": 6}, 0)  # fmt: skip
    assert (dead.received, dead.delivered, dead.dropped, dead.pending) == (30, 0, 0, 30)


def test_what_has_become_of_records_is_known_after_a_kill(lab, told):
    """The figures stand beside the spool."""
    code = PARTS.format(told=told) + "\nfrom extension_kit import run\nrun(Part('live'), name='ext')\n"
    environment = lab.start(lab.plugin("ext", code), function=lab.function(TALKER))
    for number in range(3):
        lab.invoke(environment, {"n": number, "lines": 4, "pad": 0})
        assert environment.idle(10)
        if number == 1:
            kill(environment)
            lab.until(lambda: "ext" in lab.exits(environment))
            lab.invoke(environment, {"n": 9, "lines": 0})  # the one that fails, and starts the extension anew
            assert environment.idle(10)
    environment.shutdown()
    (line,) = [line for line in lab.lines(environment, "ext") if " records = " in line]
    ledger = environment.telemetry.ledgers["ext"]
    assert f"{ledger.sent['function']} records = " in line
    assert "3 dropped (odd: 3) + 0 pending" in line


class Odd(Plugin):
    """Splits into what a test says."""

    name = "odd"
    parts: tuple[object, ...] = ()

    def split(self, context):  # noqa: ARG002
        return self.parts


def context():
    return Context("odd", {}, Log("odd", lambda _line: None), None)


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        (("text",), "str is no plug-in"),
        ((Plugin(),), "Plugin.name is ''"),
        ((Odd(), Odd()), "parts of the same name: odd, odd"),
    ],
)
def test_parts_that_cannot_be(monkeypatch, parts, said):
    """One error, which names what is wrong."""
    monkeypatch.setattr(Odd, "parts", parts)
    with pytest.raises(ConfigError, match=said):
        parts_of(Odd(), context())


def test_a_part_may_be_the_plug_in_itself(monkeypatch):
    """Which then keeps its context; another part has counters and a name of its own, and shares the rest."""
    whole, other = Odd(), Odd()
    other.name = "other"
    monkeypatch.setattr(Odd, "parts", (whole, other))
    mine = context()
    (_, same), (_, fresh) = parts_of(whole, mine)
    fresh.count("sent")
    assert same is mine
    assert (fresh.name, fresh.counters, mine.counters) == ("other", {"sent": 1}, {})
    monkeypatch.setattr(Odd, "parts", ())
    assert parts_of(whole, mine) == []


def test_the_sum_is_exact_in_words():
    """What is lost for the plug-in's own reasons counts with what the spool had to drop."""
    cursor = Cursor("ext", ("function",))
    cursor.hand(1, 0, 10, 100, True)
    cursor.drop("spool full", 2, 20)
    cursor.acknowledge(1, {"filtered": 3, "dropped: too large": 1, "dropped: spool full": 1, "sampled": 0})
    assert cursor.sums(cursor.held) == (
        "12 records = 4 delivered + 3 filtered + 4 dropped (spool full: 3, too large: 1) + 1 pending")  # fmt: skip


def test_flushed_says_what_it_is():
    """A value like the others: frozen, compared, printed."""
    assert Flushed(2, {"filtered": 1}) == Flushed(2, {"filtered": 1}) != Flushed()
    assert repr(Flushed(1)) == "Flushed(outcomes={}, pending=1)"
