"""What CloudWatch is told of what the function has sent: every value once, whatever its tags are."""

from __future__ import annotations

import pytest

from extension_kit.delivery import AGAIN, DELIVERED, REFUSED, Verdict
from extensions.metrics_collector.exporters.emf import Emf
from extensions.metrics_collector.exporters.outlet import Outlet
from extensions.metrics_collector.measures import OTEL
from extensions.metrics_collector.statsd import MOST_VALUES, Aggregator
from tests.extensions.metrics_collector.test_exporters import FUNCTION, NOW_MS, Still, everything, until
from tests.receivers.emf import read, total


def sent_of(*lines):
    """What was sent, through the queue that is in front of it: documents, and what was printed beside them is not one."""
    made = Aggregator(1_000, 2_000)
    made.read([line.encode() for line in lines], NOW_MS)
    assert (made.malformed, made.overflow) == (0, 0)
    clock, taken, said = Still(), [], []
    emf = Emf("Shop", OTEL, FUNCTION)

    def post(item, _seconds):
        taken.append(read(item, NOW_MS))
        return Verdict(DELIVERED)

    outlet = Outlet(
        "emf", emf.weighed, post, clock, most=100, timeout_ms=1_000, say=said.append, encode_series=emf.sent
    )
    outlet.add([], made.take())
    outlet.send(until(clock))
    assert (outlet.pending, said, outlet.troubles()) == (0, [], {})
    return taken


@pytest.mark.parametrize("count", [1, 45, 50, 90, 91, 200])
def test_tags_in_other_alphabets_are_counted_once(count, capfd):
    """They stay different; Powertools, which prints and forgets a hundred values, is never given so many."""
    values = ":".join(map(str, range(count)))
    found = sent_of(f"took:{values}|d|#city:北京", f"took:{values}|d|#city:上海", "took:7|d|#city:%E5%8C%97%E4%BA%AC")
    assert total(found, "took") == 2 * sum(range(count)) + 7
    assert capfd.readouterr().out == ""
    cities = {dict(dimensions)["city"] for one in found for _, dimensions in one.values}
    assert cities == {"%E5%8C%97%E4%BA%AC", "%E4%B8%8A%E6%B5%B7"}


def test_long_tags_that_begin_alike_are_counted_once(capfd):
    """Escaped they are cut, and so are the same to CloudWatch."""
    tag = "北" * 150
    found = sent_of(*(f"hits:{number}|c|#{tag}{number}:{tag}{number}" for number in range(120)))
    assert total(found, "hits") == sum(range(120))
    assert capfd.readouterr().out == ""


def test_a_tag_that_is_named_like_cloudwatchs_own_member():
    (found,) = sent_of("hits:3|c|#_aws:1,env:prod")
    ((name, dimensions),) = found.values
    assert (name, found.of("hits")) == ("hits", [3.0])
    assert dict(dimensions) == {"statsd:_aws": "1", "env": "prod", "faas.name": "orders"}


def test_a_metric_that_is_named_like_a_tag_is_no_other_metric():
    (found,) = sent_of("env:5|g|#env:x", "statsd.env:7|c|#env:x")
    assert {name: values for (name, _), values in found.values.items()} == {"statsd:env": [5.0], "statsd.env": [7.0]}


def test_a_tag_of_the_functions_counts_before_ours():
    """As in OTLP: series that differ by it stay different."""
    first, second = sent_of("hits:1|c|#faas.name:other", "hits:2|c|#faas.name:third")
    names = [dict(dimensions)["faas.name"] for one in (first, second) for _, dimensions in one.values]
    assert (names, first.of("hits"), second.of("hits")) == (["other", "third"], [1.0], [2.0])


@pytest.mark.parametrize("refused", [0, 1, 2])
def test_a_series_of_several_documents_is_missed_whichever_is_lost(refused):
    made = Aggregator(10)
    made.read([("took:" + ":".join(map(str, range(200))) + "|d").encode(), b"hits:1|c"], NOW_MS)
    emf, clock, asked = Emf("Shop", OTEL, FUNCTION), Still(), []

    def post(item, _seconds):
        asked.append(item)
        return Verdict(REFUSED, "no") if len(asked) == refused + 1 else Verdict(DELIVERED)

    outlet = Outlet(
        "emf", emf.weighed, post, clock, most=100, timeout_ms=1_000, say=lambda _text: None, encode_series=emf.sent
    )
    outlet.add([], made.take())
    outlet.send(until(clock))
    assert len(asked) == 3
    assert outlet.troubles()["points_lost_count"] == (2 if refused == 0 else 1)  # `hits` is in the first


def test_what_waits_for_a_destination_that_is_away_has_the_limits_of_one_export(capfd):
    """Members of a set, values of a distribution, the size of a sum: what is beyond is counted."""
    made = Aggregator(10, MOST_VALUES)
    clock, taken = Still(), []
    peers = [Verdict(AGAIN, "away")] * 3

    def post(item, _seconds):
        if peers:
            return peers.pop()
        taken.append(read(item, NOW_MS))
        return Verdict(DELIVERED)

    emf = Emf("Shop", OTEL, FUNCTION)
    outlet = Outlet(
        "emf", emf.weighed, post, clock, most=100, timeout_ms=1_000, say=lambda _text: None, encode_series=emf.sent,
        most_values=MOST_VALUES,
    )  # fmt: skip
    for turn in range(4):
        lines = [f"users:{turn}-{number}|s" for number in range(300)]
        lines += [f"took:{turn}:{number}|d|@0.5" for number in range(150)] + ["big:1e108|c"]
        made.read([line.encode() for line in lines], NOW_MS)
        outlet.add([], made.take())
    (waiting,) = [one for one in outlet._series.values() if one.kind == "set"]
    assert len(waiting.members) == 1_000
    assert outlet.lost == 200 + 400 + 2
    assert outlet.troubles() == {"statsd_overflow_count": 602}
    outlet.send(until(clock, 60_000))
    clock.sleep(120)
    outlet.send(until(clock, 60_000))
    assert (total(taken, "users"), total(taken, "big")) == (1_000.0, 2e108)
    assert sum(len(one.of("took")) for one in taken) == MOST_VALUES


def test_values_are_encoded_when_their_turn_comes():
    """No more of them at a time than one series may have, so that a flush that has no time left begins no more."""
    made = Aggregator(100, MOST_VALUES)
    made.read([f"took{number}:1|d|@0.001".encode() for number in range(40)], NOW_MS)
    made.read([f"hits{number}:1|c".encode() for number in range(40)], NOW_MS)
    emf, clock, encoded = Emf("Shop", OTEL, FUNCTION), Still(), []

    def encode(series):
        encoded.append(sum(max(1, one.count) for one in series))
        return emf.sent(series)

    outlet = Outlet(
        "emf", emf.weighed, lambda *_: Verdict(AGAIN, "away"), clock, most=100, timeout_ms=1_000,
        say=lambda _text: None, encode_series=encode, most_values=MOST_VALUES,
    )  # fmt: skip
    outlet.add([], made.take())
    outlet.send(until(clock, 100))
    assert encoded == [MOST_VALUES]
    outlet._post = lambda *_: Verdict(DELIVERED)
    clock.sleep(120)
    outlet.send(until(clock, 60_000))
    assert outlet.pending == 0
    assert sum(encoded) == 40 * 1_000 + 40
    assert max(encoded) <= MOST_VALUES


def test_what_is_promoted_twice_is_there_once():
    (document,) = Emf("Shop", OTEL, FUNCTION, promote=("cost_usd", "cost_usd")).documents([everything()])
    assert len(read(document, NOW_MS).of("lambda.estimated_cost")) == 1
