"""StatsD line by line: what is a metric, what it adds up to, what is too much, and what both outputs make of it."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from extension_kit.io.clock import Clock
from extensions.metrics_collector import statsd
from extensions.metrics_collector.exporters.emf import Emf
from extensions.metrics_collector.exporters.otlp import Otlp
from extensions.metrics_collector.measures import OTEL
from extensions.metrics_collector.statsd import Aggregator, joined
from tests.receivers.emf import read
from tests.receivers.otlp_metrics import streams

NOW_MS = Clock().wall_ms()
NS = 1_000_000


def aggregated(*lines, most=200, most_values=None):
    """The series by name and tags, and the aggregator."""
    made = Aggregator(most, most_values)
    made.read([line if isinstance(line, bytes) else line.encode() for line in lines], NOW_MS)
    return {(one.name, *(f"{key}:{value}" for key, value in one.tags)): one for one in made.take()}, made


def emf(series):
    return [read(line, NOW_MS) for line, _ in Emf("Shop", OTEL, {"faas.name": "orders"}).sent(series)]


def otlp(series):
    return ExportMetricsServiceRequest.FromString(Otlp(OTEL, {"service.name": "orders"}).request((), series))


def test_each_type_adds_up_as_it_should():
    """Several lines in one datagram, several values in one line, rates and tags."""
    found, made = aggregated(
        "hits:1|c\nhits:2|c|@0.5\nhits:3|c|#env:prod",
        "level:10|g\nlevel:+5|g\nlevel:-3|g",
        "took:320|ms\ntook:1:2:3|ms|@0.1",
        "size:1.5|h|#a,b:c\nsize:2e3|d|#b:c,a:",
        "users:anna|s\nusers:bert|s\nusers:anna|s\n",
    )
    assert (made.malformed, made.overflow) == (0, 0)
    assert {key: (one.kind, one.value) for key, one in found.items() if one.kind in ("counter", "gauge")} == {
        ("hits",): ("counter", 5.0), ("hits", "env:prod"): ("counter", 3.0), ("level",): ("gauge", 12.0),
    }  # fmt: skip
    took = found["took",]
    assert (took.unit, took.count, took.sum, took.least, took.most) == ("ms", 31, 380.0, 1.0, 320.0)
    assert took.values == {320.0: 1, 1.0: 10, 2.0: 10, 3.0: 10}
    assert found["size", "a:true", "b:c"].values == {1.5: 1, 2000.0: 1}
    assert found["users",].members == {"anna", "bert"}


def test_lines_end_where_statsd_ends_them():
    """And nowhere else: Unicode has other ends of lines, which a name or a member may hold."""
    found, made = aggregated("users:a\u2028b|s\r\nusers:c\x0bd|s\nhits:1|c\r\n")
    assert (made.malformed, found["users",].members, found["hits",].value) == (0, {"a\u2028b", "c\x0bd"}, 1.0)


def test_a_gauge_stays_what_it_was_and_is_told_when_it_changes():
    """A change needs what was before, also when that was exported long ago."""
    made = Aggregator(10)
    made.read([b"level:10|g"], NOW_MS)
    assert [one.value for one in made.take()] == [10.0]
    assert made.take() == []
    made.read([b"level:-4|g"], NOW_MS)
    assert [one.value for one in made.take()] == [6.0]


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("hits", "name:value|type is expected"),
        (":1|c", "name:value|type is expected"),
        ("hits:|c", "name:value|type is expected"),
        ("hits:1", "no type ''"),
        ("hits:1|x", "no type 'x'"),
        ("hits:one|c", "'one' is no number"),
        ("hits:nan|g", "'nan' is no number"),
        ("hits:1_0|c", "'1_0' is no number"),
        ("hits:inf|ms", "'inf' is no number"),
        ("hits:1e999|ms", "too large"),
        ("hits:1:|d", "'' is no number"),
        ("hits:1|c|@0", "a sample rate is from 0.000001 to 1"),
        ("hits:1|c|@1.5", "a sample rate is from 0.000001 to 1"),
        ("hits:1|ms|@1e-310", "a sample rate is from 0.000001 to 1"),
        ("hits:1|c|@1e-20", "a sample rate is from 0.000001 to 1"),
        ("hits:1|c|?", "'?' is neither a rate nor tags"),
        ("x" * 300 + ":1|c", "a name of more than 255 characters"),
        ("hits:1|c|#" + ",".join(f"t{number}" for number in range(21)), "more than 20 tags"),
        ("_e{5,4}:title|text", "events and service checks are no metrics"),
        ("_sc|name|0", "events and service checks are no metrics"),
    ],
)
def test_what_is_no_metric_is_counted_and_costs_nothing_else(line, why):
    found, made = aggregated(f"before:1|c\n{line}\nbehind:1|c")
    assert set(found) == {("before",), ("behind",)}
    made.read([line.encode()], NOW_MS)
    assert made.malformed == 1
    assert why in made.trouble


def test_what_datadog_has_added_since_is_passed_over():
    """Container, time, external data, cardinality."""
    found, made = aggregated("hits:1|c|#env:x|c:ci-1234|T1656581400|e:it-false|card:low")
    assert found["hits", "env:x"].value == 1.0
    assert made.malformed == 0


def test_a_name_has_one_type():
    """Receivers refuse a metric that is two things."""
    found, made = aggregated("hits:1|c\nhits:1|g\nhits:2|c\nhits:1|g|#a:b")
    assert [one.value for one in found.values()] == [3.0]
    made.read([b"hits:1|ms"], NOW_MS)
    assert made.malformed == 1
    assert "hits is a counter" in made.trouble


def test_no_more_series_than_there_may_be():
    """The first that come; the others are counted. It is so for the environment's life, as what they cost is."""
    found, made = aggregated(*(f"hits:1:1|d|#user:{number}" for number in range(50)), most=20)
    assert len(found) == 20
    made.read([b"hits:5|d|#user:3\nhits:1:2:3|d|#user:49\nother:1|c"], NOW_MS)
    assert made.overflow == 4
    assert [one.tags for one in made.take()] == [(("user", "3"),)]
    assert made.overflow == 0


def test_a_set_and_a_distribution_have_limits_too():
    made = Aggregator(10, 100)
    made.read([f"users:{number}|s\ntook:{number}|ms".encode() for number in range(1_100)], NOW_MS)
    assert made.overflow == 100 + 1_000
    users, took = made.take()
    assert (len(users.members), took.count) == (1_000, 100)


def test_many_different_values_are_rounded_and_their_sum_is_not():
    """To two digits: what is kept of a distribution has an end."""
    found, made = aggregated(*(f"took:{number}.25|d" for number in range(1, 20_001)))
    (took,) = found.values()
    assert (made.overflow, took.count, took.least, took.most) == (0, 20_000, 1.25, 20_000.25)
    assert took.sum == pytest.approx(sum(range(1, 20_001)) + 5_000)
    assert len(took.values) <= 1_000
    assert sum(took.values.values()) == 20_000
    rounded = sum(value * times for value, times in took.values.items())
    assert rounded == pytest.approx(took.sum, rel=0.05)
    found, made = aggregated(
        *(f"took:{number}e{power}|d" for number in range(1, 1000) for power in range(-100, 100, 7))
    )
    assert len(found["took",].values) <= 1_001


def test_names_and_tags_are_made_fit():
    """For OpenTelemetry and for CloudWatch, whatever bytes come."""
    found, _ = aggregated(
        "größe in m:1|c|#straße:köln,:nokey,x:" + "y" * 300, "9lives:1|c", b"\xff\xfe:1|c", "a\tb:1|c"
    )
    names = [one.name for one in found.values()]
    assert names == ["gr__e_in_m", "statsd.9lives", "statsd.__", "a_b"]
    assert next(iter(found.values())).tags == (("straße", "köln"), ("x", "y" * 200))
    streams(otlp([*found.values()]))
    documents = emf([*found.values()])
    (dimensions,) = {dimensions for _, dimensions in documents[0].values}
    assert dict(dimensions) == {"stra%C3%9Fe": "k%C3%B6ln", "x": "y" * 200, "faas.name": "orders"}


def test_a_sum_that_is_too_large_for_cloudwatch_is_not_made():
    """What does not fit is counted; a change of a gauge is no different. What has none of its values is no series."""
    most = 2.0**360
    found, made = aggregated(*["big:1e107|c"] * 40, *["level:+1e107|g"] * 40, *["took:1e107|d|@0.1"] * 40)
    made.read([*[b"big:1e107|c"] * 40, *[b"level:+1e107|g"] * 40, *[b"took:1e107|d|@0.1"] * 40], NOW_MS)
    assert (made.malformed, made.overflow) == (0, 17 + 40 + 38)
    sums = found["big",].value, found["level",].value, found["took",].sum
    assert [value / 1e107 for value in sums] == pytest.approx([23, 23, 20])
    assert max(sums) <= most
    assert aggregated("took:1|d|@0.001", most_values=100)[0] == {}


#: what a line is made of, right and wrong
PIECES = st.sampled_from([
    *("a", "b", "env", "_aws", "1", "-1", "+5", "0", "1e108", "-1e108", "1e-310", "2.5", "0.001", ":", "::", "|", "|c"),
    *("|g", "|ms", "|d", "|s", "|h", "|@", "|@0.5", "|@1e-6", "|@1e-310", "|@1e-20", "|#", "|#env:x", ",", "_aws:1"),
    *("faas.name:y", "\u5317", "env:\u4eac", "env:\u6d77", "\n", "\u2028", "\r\n", " ", "\x00", "e", "T1", "|T1"),
])  # fmt: skip
LIKE_LINES = st.one_of(
    st.lists(PIECES, max_size=12).map("".join),
    st.builds(
        "{}:{}|{}{}|#{}".format,
        st.sampled_from(["a", "b.c", "env", "faas.name"]),
        st.sampled_from(["1", "-1", "+5", "1e108", "-1e108", "1e-310"]),
        st.sampled_from(["c", "g", "ms", "d", "s"]),
        st.sampled_from(["", "|@0.5", "|@1e-6", "|@1e-20", "|@1e-310"]),
        st.lists(
            st.sampled_from(["_aws:1", "env:x", "env:\u4eac", "env:\u6d77", "faas.name:y", " :x", "a", ""]), max_size=3
        ).map(",".join),
    ),
)


@given(st.lists(st.one_of(st.binary(max_size=60), LIKE_LINES.map(str.encode)), max_size=40))
@settings(deadline=None)
def test_any_bytes_are_counted_or_understood(datagrams):
    """And what comes of them can be exported both ways."""
    made = Aggregator(20, 100)
    made.read(datagrams, NOW_MS)
    series = made.take()
    if series:
        streams(otlp(series))
        emf(series)


NUMBERS = st.one_of(st.integers(-1000, 1000), st.floats(-1e6, 1e6).map(lambda value: round(value, 3)))
LINES = st.builds(
    lambda name, values, kind, rate, tags: (
        f"{kind}.{name}:{':'.join(map(str, values))}|{kind}{rate}{'|#' + ','.join(tags) if tags else ''}"
    ),
    st.sampled_from(["a", "b"]), st.lists(NUMBERS, min_size=1, max_size=4), st.sampled_from(["c", "g", "ms", "h", "d", "s"]),
    st.sampled_from(["", "|@0.5", "|@0.1"]), st.lists(st.sampled_from(["x:1", "x:2", "y"]), unique=True, max_size=2),
)  # fmt: skip


@given(st.lists(LINES, min_size=1, max_size=30), st.integers(0, 30))
@settings(deadline=None)
def test_both_outputs_agree_and_two_exports_add_up_to_one(lines, cut):
    """Sum and number of everything; joined series are what one export would have had."""
    whole, _ = aggregated(*lines)
    parts = Aggregator(200)
    kept = {}
    for some in (lines[:cut], lines[cut:]):
        parts.read([line.encode() for line in some], NOW_MS)
        for one in parts.take():
            before = kept.get(one.identity)
            kept[one.identity] = one if before is None else joined(before, one)[0]
    assert {one.identity for one in whole.values()} == set(kept)
    taken = {(one.name, tuple(sorted(one.attributes.items()))): one.value for one in streams(otlp([*kept.values()]))}
    documents = emf([*kept.values()])
    for one in whole.values():
        other = kept[one.identity]
        assert other.value == pytest.approx(one.value)
        assert (other.values, other.members, other.count) == (one.values, one.members, one.count)
        dimensions = {**dict(one.tags), "faas.name": "orders"}
        numbers = [
            number
            for document in documents
            for (name, said), values in document.values.items()
            if name == one.name and dict(said) == dimensions
            for number in values
        ]
        if one.kind != statsd.DISTRIBUTION or one.least >= 0:
            assert taken[one.identity] == pytest.approx(math.fsum(numbers), rel=1e-6, abs=1e-6)
        if one.kind == statsd.DISTRIBUTION:
            assert len(numbers) == one.count


def test_otlp_says_what_each_is():
    """Deltas with the times at which they were read; a counter that went down is not called monotonic."""
    made = Aggregator(20)
    made.read([b"hits:2|c|#a:b\ndown:-2|c\nlevel:7|g\nusers:x|s\ntook:3:30:3000|ms"], NOW_MS)
    made.read([b"hits:1|c|#a:b"], NOW_MS + 50)
    (resource,) = otlp(made.take()).resource_metrics
    (scope,) = resource.scope_metrics
    assert scope.scope.name == "lambda-extension-kit/metrics-collector/statsd"
    found = {metric.name: metric for metric in scope.metrics}
    hits, took = found["hits"].sum, found["took"].histogram
    assert (hits.aggregation_temporality, hits.is_monotonic, hits.data_points[0].as_double) == (1, True, 3.0)
    point = hits.data_points[0]
    assert (point.start_time_unix_nano, point.time_unix_nano) == (NOW_MS * NS, (NOW_MS + 50) * NS)
    assert found["down"].sum.is_monotonic is False
    assert (found["level"].gauge.data_points[0].as_double, found["users"].gauge.data_points[0].as_int) == (7.0, 1)
    assert (found["took"].unit, took.aggregation_temporality) == ("ms", 1)
    (point,) = took.data_points
    assert (point.count, point.sum, point.min, point.max) == (3, 3033.0, 3.0, 3000.0)
    assert dict(zip(point.explicit_bounds, point.bucket_counts, strict=False))[5.0] == 1


def test_documents_keep_to_the_limits_of_the_format():
    """A hundred metrics, a hundred values; a document for each set of tags, a dimension for each tag."""
    made = Aggregator(1_000)
    made.read([f"m{number}:{number}|c".encode() for number in range(200)], NOW_MS)
    made.read([b"took:" + b":".join(b"%d" % number for number in range(250)) + b"|ms|#env:prod,shop:eu"], NOW_MS)
    weighed = Emf("Shop", OTEL, {"faas.name": "orders"}).sent(made.take())
    documents = [read(line, NOW_MS) for line, _ in weighed]
    assert [number for _, number in weighed] == [90, 90, 20, 1, 1, 1]
    assert [len(one.values) for one in documents] == [90, 90, 20, 1, 1, 1]
    took = [value for one in documents for value in one.of("took")]
    assert took == [float(number) for number in range(250)]
    assert documents[-1].units == {"took": "Milliseconds"}
    assert documents[0].units["m3"] == "Count"


def test_a_name_that_is_a_dimension_too_is_told_apart():
    """Both are members of one object."""
    made = Aggregator(10)
    made.read([b"env:5|g|#env:prod\nfaas.name:1|c"], NOW_MS)
    documents = emf(made.take())
    assert [document.of(name) for document, name in zip(documents, ["statsd:env", "statsd:faas.name"], strict=True)] == [
        [5.0], [1.0],
    ]  # fmt: skip
