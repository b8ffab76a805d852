"""The chaos injector's orders for what our extensions send, and its mark on what they measure: only with the first key."""

from __future__ import annotations

import json
import os
import posix
import time

import pytest

from extension_kit import chaos
from extension_kit.delivery import AGAIN, DELIVERED, REFUSED, TOO_LARGE, Delivery, Limits, Parcel, Verdict
from extension_kit.io.clock import Clock
from extension_kit.protocol.deadline import Deadline

NOW = 1_800_000_000_000


class Resting(Clock):
    """A clock whose sleeps are written down, and take no time."""

    __slots__ = ("slept",)

    def __init__(self):
        self.slept = []

    def sleep(self, seconds):
        self.slept.append(round(seconds, 3))


def now():
    return int(time.time() * 1000)


@pytest.fixture
def orders(tmp_path, monkeypatch):
    """Writes the file with orders; CHAOS_ENABLED is set."""
    path = tmp_path / "sinks.json"
    monkeypatch.setattr(chaos, "ORDERS", str(path))
    monkeypatch.setitem(posix.environ, b"CHAOS_ENABLED", b"1")

    def orders(**fields):
        path.write_text(json.dumps({"until_ms": now() + 60_000, **fields}))

    orders.path = path
    return orders


def delivered(clock=None, items=("a",), **limits):
    """What a delivery does with a destination that takes everything: its attempts, what was said, what has become of it."""
    sent, said = [], []

    def send(items, seconds):
        sent.append((items, round(seconds, 1)))
        return Verdict(DELIVERED)

    delivery = Delivery(send, clock or Resting(), limits=Limits(**limits), say=said.append)
    delivery.add(Parcel(len(items), list(items)))
    done = delivery.deliver(Deadline(now() + 3_000, now, 0, "end"))
    return done, sent, said, delivery.outcomes


@pytest.mark.parametrize("value", [None, b"", b"0", b"no", b"nonsense"])
def test_without_the_first_key_no_file_is_looked_at(orders, monkeypatch, value):
    orders(action="drop")
    if value is None:
        monkeypatch.delitem(posix.environ, b"CHAOS_ENABLED")
    else:
        monkeypatch.setitem(posix.environ, b"CHAOS_ENABLED", value)
    monkeypatch.setattr(chaos, "_read", lambda *_arguments: pytest.fail("a file was looked at"))

    done, sent, said, _ = delivered()
    assert (done, len(sent), said) == (True, 1, [])


def test_no_order(orders):
    done, sent, said, _ = delivered()
    assert (done, len(sent), said) == (True, 1, [])
    assert not orders.path.exists()


def test_drop(orders):
    """As if the network had failed: tried again, and kept."""
    orders(action="drop")
    clock = Resting()

    done, sent, said, outcomes = delivered(clock)

    assert (done, sent, outcomes) == (False, [], {})
    assert said == ["dropped by the chaos injector"]
    assert len(clock.slept) == 2, "as many attempts as ever"


def test_delay(orders):
    orders(action="delay", delay_ms=700)
    clock = Resting()

    done, sent, said, _ = delivered(clock, timeout_ms=2_000)

    assert (done, said, clock.slept) == (True, [], [0.7])
    assert sent == [(["a"], 1.3)], "what is left of its time"


def test_a_delay_beyond_the_time_that_there_is(orders):
    orders(action="delay", delay_ms=60_000)
    clock = Resting()

    done, sent, said, _ = delivered(clock, timeout_ms=2_000, attempts=1)

    assert (done, sent, clock.slept) == (False, [], [2.0])
    assert said == ["no answer in time (delayed by the chaos injector)"]


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (429, AGAIN),
        (408, AGAIN),
        (500, AGAIN),
        (503, AGAIN),
        (599, AGAIN),
        (400, REFUSED),
        (403, REFUSED),
        (413, TOO_LARGE),
    ],
)
def test_status(orders, status, kind):
    orders(action="status", status=status, retry_after_s=7)
    sending = chaos.sending(lambda *_arguments: pytest.fail("it was sent"), Clock())

    verdict = sending(["a"], 1.0)

    assert (verdict.kind, verdict.why) == (kind, f"{status} by the chaos injector")
    assert verdict.retry_after_ms == 7_000


def test_it_is_over_when_the_order_is_taken_back(orders):
    orders(action="status", status=503)
    assert delivered(attempts=1)[0] is False
    orders.path.unlink()
    assert delivered(attempts=1)[0] is True


@pytest.mark.parametrize(
    "content",
    [
        b"", b"{", b"null", b"[]", b'"drop"', b"\xff\xfe", b"{}" * 5_000,
        {"action": "drop"}, {"action": "drop", "until_ms": NOW}, {"action": "drop", "until_ms": NOW - 1},
        {"action": "drop", "until_ms": NOW + 300_001}, {"action": "drop", "until_ms": True},
        {"action": "drop", "until_ms": NOW + 1.5}, {"action": "drop", "until_ms": str(NOW + 1)},
        {"action": "explode", "until_ms": NOW + 1}, {"action": ["drop"], "until_ms": NOW + 1},
        {"action": "status", "status": 200, "until_ms": NOW + 1}, {"action": "status", "status": 600, "until_ms": NOW + 1},
        {"action": "status", "status": "503", "until_ms": NOW + 1}, {"action": "status", "until_ms": NOW + 1},
        {"action": "delay", "delay_ms": -1, "until_ms": NOW + 1}, {"action": "delay", "delay_ms": 1e9, "until_ms": NOW + 1},
        {"action": "delay", "delay_ms": 10**9, "until_ms": NOW + 1},
    ],
)  # fmt: skip
def test_what_is_no_order(tmp_path, content):
    path = tmp_path / "sinks.json"
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())

    assert chaos.order(NOW, str(path)) is None
    path.write_text(json.dumps({"action": "drop", "until_ms": NOW + 1}))
    assert chaos.order(NOW, str(path)) is not None, "the check itself can fail"


def test_what_is_no_file(tmp_path):
    """Neither waited for nor followed."""
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "real").write_text(json.dumps({"action": "drop", "until_ms": NOW + 1}))
    (tmp_path / "link").symlink_to(tmp_path / "real")
    for name in ("folder", "fifo", "link", "nothing"):
        assert chaos.order(NOW, str(tmp_path / name)) is None


def test_the_mark(tmp_path):
    path = tmp_path / "active"
    assert chaos.marked(NOW, str(path)) is None
    path.write_text(json.dumps({"experiment": "e", "injected": 3, "until_ms": NOW + 1}))
    assert chaos.marked(NOW, str(path)) == ("e", 3)
    assert chaos.marked(NOW + 1, str(path)) is None
