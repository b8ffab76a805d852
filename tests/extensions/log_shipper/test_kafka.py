"""The Kafka sink against librdkafka's own mock of a cluster, which speaks the protocol over real sockets."""

from __future__ import annotations

import json
import sys
import time

import pytest

from extension_kit import ConfigError
from extension_kit.delivery import AGAIN, DELIVERED
from extensions.log_shipper.settings import ShipperSettings
from extensions.log_shipper.sinks.make import check, make
from tests.extensions.log_shipper.test_amazon import CLOCK
from tests.extensions.log_shipper.test_sinks import OBJECT, ORIGIN, REQUEST, line, send

confluent_kafka = pytest.importorskip("confluent_kafka")


@pytest.fixture
def broker():
    """HOST:PORT of a cluster of one, which lives as long as its owner."""
    owner = confluent_kafka.Producer({"test.mock.num.brokers": 1, "bootstrap.servers": "none", "log_level": 0})
    ((host, port),) = [(one.host, one.port) for one in owner.list_topics(timeout=10).brokers.values()]
    yield f"{host}:{port}"
    del owner


def sink(endpoint, **settings):
    return make(ShipperSettings(sink="kafka", endpoint=endpoint, target="lines", **settings), ORIGIN, CLOCK)


def stored(broker, count):
    """What a consumer of ours reads."""
    consumer = confluent_kafka.Consumer(
        {"bootstrap.servers": broker, "group.id": "g", "auto.offset.reset": "earliest", "log_level": 0}
    )
    consumer.assign([confluent_kafka.TopicPartition("lines", number, 0) for number in range(4)])
    found, until = [], time.monotonic() + 20
    while len(found) < count and time.monotonic() < until:
        message = consumer.poll(0.2)
        if message is not None and message.error() is None:
            found.append((message.key(), json.loads(message.value())))
    consumer.close()
    return found


def test_lines_arrive(broker):
    """With the request's id as their key, in order."""
    one = sink(broker)
    assert send(one, line(), line(OBJECT, index=1), line("x", index=2)).kind == DELIVERED
    assert send(one, line("later", index=3)).kind == DELIVERED
    found = stored(broker, 4)
    assert [event["record"] for _key, event in found] == ["hello", OBJECT, "x", "later"]
    assert {key for key, _event in found} == {REQUEST.encode()}


def test_a_broker_that_is_not_there():
    """A reason to try again, in time; and nothing stays in a queue that would come twice."""
    one = sink("127.0.0.1:9", timeout=300)
    began = time.monotonic()
    verdict = one.send([one.encode(line())], 0.5)
    assert (verdict.kind, bool(verdict.why)) == (AGAIN, True)
    assert time.monotonic() - began < 10
    assert len(one._producer) == 0


def test_settings_that_librdkafka_refuses(broker):
    """Are said once, without the key, also where it was written among them."""
    for value in ("{api_key}", "s3cr3t"):
        with pytest.raises(OSError, match="settings that librdkafka refuses") as caught:
            send(sink(broker, api_key="s3cr3t", headers=(f"acks={value}",)), line())
        assert "s3cr3t" not in str(caught.value)


def test_settings_of_ones_own(broker):
    """Reach the library."""
    assert send(sink(broker, headers=("acks=all", "socket.timeout.ms=5000")), line()).kind == DELIVERED


def test_without_the_library(monkeypatch):
    """One line that says what is missing."""
    monkeypatch.setitem(sys.modules, "confluent_kafka", None)
    with pytest.raises(ConfigError, match="confluent-kafka is not in this layer"):
        sink("127.0.0.1:9")


@pytest.mark.parametrize(
    ("settings", "said"), [({}, "bootstrap servers"), ({"endpoint": "a:1"}, "LOG_SHIPPER_TARGET is not set: a topic")]
)
def test_what_it_needs(settings, said):
    """Where to, and which topic."""
    with pytest.raises(ConfigError, match=said):
        check(ShipperSettings(sink="kafka", **settings))
