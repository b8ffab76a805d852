"""The event loop: timers, other threads, callbacks that raise."""

from __future__ import annotations

import os
import threading

import pytest

from extension_kit.io.loop import READ, Loop


@pytest.fixture
def loop():
    loop = Loop()
    yield loop
    loop.close()


def test_timers_run_in_the_order_of_their_times(loop):
    """Not in that of their making; a cancelled one does not run, and may be cancelled again."""
    seen: list[str] = []
    loop.call_later(0.03, seen.append, "third")
    loop.call_later(0.01, seen.append, "first")
    cancelled = loop.call_later(0.015, seen.append, "never")
    loop.call_later(0.02, seen.append, "second")
    loop.call_later(0.05, loop.stop)
    cancelled.cancel()
    cancelled.cancel()
    loop.run()

    assert seen == ["first", "second", "third"]


def test_a_timer_may_cancel_one_that_is_due_with_it(loop):
    """Both are due in the same round; the second is not run."""
    seen: list[str] = []
    victim = loop.call_later(0.0, seen.append, "victim")
    loop.call_at(victim.at - 1, victim.cancel)
    loop.call_later(0.01, loop.stop)
    loop.run()

    assert seen == []


def test_calls_from_other_threads_come_in_their_order(loop):
    """Ten threads, each in its own order, none lost."""
    seen: list[tuple[int, int]] = []

    def push(thread: int) -> None:
        for number in range(200):
            loop.call_soon_threadsafe(seen.append, (thread, number))

    runner = threading.Thread(target=loop.run)
    runner.start()
    threads = [threading.Thread(target=push, args=(number,)) for number in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    loop.stop()
    runner.join(10)

    assert len(seen) == 2000
    for thread in range(10):
        assert [number for one, number in seen if one == thread] == list(range(200))


def test_a_callback_that_raises_is_reported_and_ends_nothing(loop, capfd):
    """Neither a timer, nor a call, nor a readiness callback."""
    out, inn = os.pipe()
    os.write(inn, b"x")

    def ready(_events: int) -> None:
        os.read(out, 1)
        raise ValueError("ready")

    def fail(what: str) -> None:
        raise ValueError(what)

    loop.watch(out, READ, ready)
    loop.call_later(0.0, fail, "timer")
    loop.call_soon_threadsafe(fail, "call")
    loop.call_later(0.02, loop.stop)
    loop.run()
    loop.unwatch(out)
    os.close(out)
    os.close(inn)

    err = capfd.readouterr().err
    assert all(f"ValueError: {what}" in err for what in ("ready", "timer", "call"))


def test_after_close_calls_are_dropped_and_descriptors_are_back():
    """A thread that comes too late does no harm; closing twice does none either."""
    before = len(os.listdir("/proc/self/fd"))
    loop = Loop()
    loop.close()
    loop.close()
    loop.call_soon_threadsafe(print, "never")
    loop.stop()

    assert len(os.listdir("/proc/self/fd")) == before
