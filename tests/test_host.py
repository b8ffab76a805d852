"""The host: real threads, one for each plug-in; what a hook does stays with its plug-in."""

from __future__ import annotations

import threading
import time

import pytest

from extension_kit.host import STRIKES, Hosted, call_all, describe
from extension_kit.io.clock import Clock
from extension_kit.plugin import Context, Log, Plugin

LONG = 10.0  # seconds; no test waits this long


class Reports(list[str]):
    """What a host has reported."""


def hosted(reports: Reports, name: str = "mine", **members: object) -> Hosted:
    owner = type("Mine", (Plugin,), {"name": name, **members})
    context = Context(name, {}, Log(name, reports.append), Clock())
    return Hosted(owner(), context, reports.append)


def test_a_hook_runs_with_its_arguments_on_a_thread_of_the_plugin():
    """Always the same thread, and not the caller's."""
    seen: list[tuple[str, int]] = []
    one = hosted(Reports(), on_invoke=lambda self, event: seen.append((event, threading.get_ident())))
    for event in "abc":
        assert call_all([one], "on_invoke", event) == 0

    assert [event for event, _thread in seen] == ["a", "b", "c"]
    assert len({thread for _event, thread in seen} - {threading.get_ident()}) == 1
    assert (one.calls, one.failures, one.overruns) == (3, 0, 0)


def test_hooks_that_are_not_overridden_cost_no_thread():
    """Nothing is called, nothing counted."""
    one = hosted(Reports())
    before = threading.active_count()

    assert call_all([one], "on_invoke", "event") == 0
    assert (one.has("on_invoke"), one.calls, threading.active_count()) == (False, 0, before)


class Mute(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


@pytest.mark.parametrize("error", [ValueError("bang"), SystemExit(3), KeyboardInterrupt(), MemoryError(), Mute()])
def test_whatever_a_hook_raises_is_one_line(error):
    """Its type, its text where there is one, and where it was raised."""
    reports = Reports()

    def on_invoke(self, event):
        raise error

    one = hosted(reports, on_invoke=on_invoke)
    assert call_all([one], "on_invoke", None) == 1

    assert one.failures == 1
    assert len(reports) == 1
    assert f"on_invoke raised {type(error).__name__}" in reports[0]
    assert __file__ in reports[0]


def test_an_error_with_a_long_text_is_cut():
    """500 characters tell enough."""
    assert len("".join(describe(ValueError("x" * 10_000)))) < 600


def test_strikes_count_in_a_row_only():
    """A success starts the count anew; the third in a row puts the plug-in to rest, said once."""
    reports = Reports()
    outcomes = iter([False, False, True, False, False, False, True])

    def on_invoke(self, event):
        if not next(outcomes):
            raise ValueError

    one = hosted(reports, on_invoke=on_invoke)
    for _ in range(6):
        call_all([one], "on_invoke", None)

    assert one.resting
    assert [("put to rest" in report) for report in reports] == [False, True]
    assert one.account() == "plug-in mine: in 6 calls: on_invoke raised ValueError (5x)"
    assert call_all([one], "on_invoke", None) == 0
    assert (one.calls, STRIKES) == (6, 3)


def test_a_hook_that_overruns_is_left_to_itself_and_its_plugin_skipped():
    """Never two hooks of one plug-in at a time; when it has ended the plug-in is called again."""
    reports = Reports()
    release = threading.Event()
    running = []

    def on_invoke(self, event):
        running.append(event)
        if event == "slow":
            release.wait(LONG)

    one = hosted(reports, on_invoke=on_invoke, budgets={"on_invoke": 0.02})
    assert call_all([one], "on_invoke", "slow") == 1
    assert call_all([one], "on_invoke", "skipped") == 1
    release.set()
    deadline = time.monotonic() + LONG
    while one._done.locked():
        assert time.monotonic() < deadline
        time.sleep(0.001)
    assert call_all([one], "on_invoke", "again") == 0

    assert running == ["slow", "again"]
    assert "overran its time budget of 20 ms" in reports[0]
    assert "on_invoke skipped: on_invoke is still running" in reports[1]
    assert one.overruns == 1


@pytest.mark.parametrize(("memory", "seconds"), [("1769", 0.05), ("10240", 0.05), ("", 0.05), ("128", 0.691)])
def test_a_share_of_a_core_gets_a_share_of_the_hurry(memory, seconds):
    """128 MB have a fourteenth of a core. What an author has set himself is left alone."""
    owner = type("Mine", (Plugin,), {"name": "mine", "budgets": {"on_telemetry": 0.2}})
    context = Context("mine", {"AWS_LAMBDA_FUNCTION_MEMORY_SIZE": memory}, Log("mine", print), Clock())
    one = Hosted(owner(), context, print)

    assert one.budget("on_invoke") == pytest.approx(seconds, abs=0.001)
    assert one.budget("start") == one.budget("before_register") == 2.0  # the function waits for these
    assert one.budget("on_telemetry") == 0.2


def test_plugins_run_side_by_side():
    """Each meets the other while both are in their hook: one after the other could not."""
    barrier = threading.Barrier(2)
    reports = Reports()

    def on_invoke(self, event):
        barrier.wait(LONG)

    pair = [hosted(reports, name, on_invoke=on_invoke, budgets={"on_invoke": LONG}) for name in ("one", "two")]

    assert call_all(pair, "on_invoke", None) == 0
    assert reports == []


def test_a_deadline_stands_in_for_the_budget():
    """`seconds`, where given, counts for all; nothing left means no waiting, which is an overrun."""
    reports = Reports()
    release = threading.Event()
    one = hosted(reports, on_shutdown=lambda self, event, deadline: release.wait(LONG))

    assert call_all([one], "on_shutdown", None, None, seconds=0.0) == 1
    release.set()

    assert "on_shutdown overran its time budget of 0 ms" in reports[0]


def test_where_no_thread_can_be_had_the_hook_is_a_strike(monkeypatch):
    """Lambda allows 1,024 threads: at the limit `_thread` raises RuntimeError."""
    reports = Reports()
    one = hosted(reports, on_invoke=lambda self, event: None)

    def refuse(*_arguments):
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr("_thread.start_new_thread", refuse)
        assert call_all([one], "on_invoke", None) == 1
    assert "on_invoke could not run: can't start new thread" in reports[0]
    assert call_all([one], "on_invoke", None) == 0
