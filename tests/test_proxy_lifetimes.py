"""What hooks are told of beginnings and ends: of the runtime's init, of invocations with an answer and without."""

from __future__ import annotations

import time

import pytest

from extension_kit.proxy import Deliver
from tests.proxying import OK, PATIENCE, Runtime, event, posted
from tests.test_proxy_hooks import Stage

RESTORE = b"GET /2018-06-01/runtime/restore/next HTTP/1.1\r\nHost: a\r\n\r\n"


@pytest.fixture
def stage():
    made = Stage()
    yield made
    made.close()
    assert made.proxy.figures()["connections"] == 0


def until(condition):
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.002)


# init


@pytest.mark.parametrize("how", ["same connection", "another connection", "restored"])
def test_hooks_that_come_after_init_see_no_first(stage, how):
    """An experiment that is armed later must find no init to fail in the middle of a function's life."""
    stage.proxy.hooks = None
    if how == "restored":
        stage.runtime.send(RESTORE)
        stage.up = stage.upstream.accept()
        stage.up.message()
        stage.up.send(OK)
        stage.runtime.message()
    else:
        stage.deliver()
        stage.respond()
        stage.runtime.message()
    if how == "another connection":
        stage.runtime.close()
        stage.up.rest()
        stage.runtime, stage.up = Runtime(stage.port), None
    stage.proxy.hooks = stage.hooks
    stage.asked()
    assert stage.hooks.told == [("next", False)]


# ends that are told late


def test_an_event_whose_runtime_hangs_up_is_over_at_the_next_of_any_connection(stage):
    """One at a time: whoever asks is done with what came before."""
    stage.deliver()
    stage.runtime.close()
    stage.up.rest()
    other = Runtime(stage.port)
    other.ask()
    stage.upstream.accept().message()
    assert stage.hooks.told[1:] == [("event", "r1"), ("done", "r1"), ("next", False)]
    other.close()


@pytest.mark.parametrize("what", ["dies", "deliver", "body"])
def test_upstream_dies_in_the_middle_of_an_event(stage, what):
    """The runtime cannot answer what it has not got: over, at once. So while a hook reads, or we for it."""
    if what == "deliver":
        stage.hooks.event = lambda invocation: Deliver(b"other")
    elif what == "body":
        stage.hooks.event = lambda invocation: invocation.body() and None
    stage.asked()
    stage.up.send(event(b"r1", b"x" * 200_000)[:100_000])
    stage.up.close()
    stage.runtime.rest()
    until(lambda: stage.proxy.figures()["connections"] == 0)
    assert stage.hooks.told == [("next", True), ("event", "r1"), ("done", "r1")]
    assert stage.proxy.open == {}


# several at once


class Clock:
    """Stands still until it is set; does not wait."""

    now_ms = 1_000

    def wall_ms(self):
        return self.now_ms

    def sleep(self, seconds):
        pass


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def pool(clock):
    made = Stage(concurrent=True, clock=clock)
    yield made
    made.close()
    assert made.proxy.figures()["connections"] == 0


def given(pool, request_id, deadline_ms):
    """An event on the pool's first connection."""
    pool.asked()
    pool.up.send(event(request_id, fields=((b"Lambda-Runtime-Deadline-Ms", b"%d" % deadline_ms),)))
    pool.runtime.message()


def test_a_pool_of_connections_says_nothing_of_an_event_s_end(pool):
    """Workers share it: a second `next` on a connection is another worker's, and the answer comes on whichever is free."""
    given(pool, b"r1", 5_000)
    given(pool, b"r2", 5_000)
    other = Runtime(pool.port)
    other.post(b"r1", b"[1]")
    up = pool.upstream.accept()
    assert up.message().head.target == posted(b"r1")
    up.send(OK)
    other.message()
    told = pool.hooks.told
    assert [each for each in told if each[0] != "next"] == [
        ("event", "r1"), ("event", "r2"), ("response", "r1"), ("done", "r1"),
    ]  # fmt: skip
    other.close()


def test_an_event_of_several_without_an_answer_is_over_after_its_deadline(pool, clock):
    given(pool, b"r1", 5_000)
    given(pool, b"r2", 9_000)
    assert ("done", "r1") not in pool.hooks.told
    clock.now_ms = 6_000
    given(pool, b"r3", 9_000)
    assert ("done", "r1") in pool.hooks.told
    assert ("done", "r2") not in pool.hooks.told
    assert set(pool.proxy.open) == {"r2", "r3"}


# hooks go while one of them runs


@pytest.mark.parametrize("twice", [False, True])
def test_hooks_are_unset_while_an_event_is_looked_at(stage, twice):
    """What a hook has said is made; nothing of it stays."""

    def unset(_invocation):
        stage.proxy.hooks = None
        return Deliver(twice=twice)

    stage.hooks.event = unset
    got = stage.deliver()
    if twice:
        stage.runtime.post(b"r1", b"[1]")
        assert stage.runtime.message().head.status == 202
        stage.runtime.ask()
        assert stage.runtime.message() == got
    assert stage.respond(b"[2]").body == b"[2]"
    assert stage.runtime.message().head.status == 202
    stage.asked()
    assert (stage.proxy.open, stage.proxy.replays, stage.proxy.steering) == ({}, [], None)
