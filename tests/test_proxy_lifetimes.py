"""What hooks are told of beginnings and ends: of the runtime's init, of invocations with an answer and without."""

from __future__ import annotations

import time

import pytest

from extension_kit.proxy import Deliver
from tests.proxying import OK, PATIENCE, Runtime, event, posted
from tests.test_proxy_hooks import Scripted, Stage

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
