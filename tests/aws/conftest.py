"""What the tests of the AWS client share."""

from __future__ import annotations

import pytest

from extension_kit.aws import Aws
from extension_kit.io.clock import Clock
from tests.receivers.aws import AwsFake


class SteppedClock(Clock):
    """Real time, with a wall clock that can be set, and sleep that only counts."""

    __slots__ = ("ahead_ms", "slept")

    def __init__(self) -> None:
        self.ahead_ms = 0
        self.slept = []

    def wall_ms(self):
        return super().wall_ms() + self.ahead_ms

    def sleep(self, seconds):
        self.slept.append(seconds)


@pytest.fixture
def aws():
    with AwsFake() as fake:
        yield fake


@pytest.fixture
def clock():
    return SteppedClock()


@pytest.fixture
def connect(aws, clock):
    """Makes a client of the fake; keyword arguments are further variables, ``options`` of the client."""

    made = []

    def make(options=None, **more):
        made.append(Aws(aws.environ(**more), clock=clock, **(options or {})))
        return made[-1]

    yield make
    for client in made:
        client.forget_connections()
