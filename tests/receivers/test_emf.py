"""What libraries of others write is taken, and what the specification rules out is refused."""

from __future__ import annotations

import copy
import json
import math

import pytest

from tests.receivers.emf import MOST_BYTES, Refused, read, total

NOW_MS = 1_790_000_000_000
#: CloudWatch user guide, "Specification: Embedded metric format", "EMF example", with a time of ours
EXAMPLE = {
    "_aws": {
        "Timestamp": NOW_MS,
        "CloudWatchMetrics": [
            {
                "Namespace": "lambda-function-metrics",
                "Dimensions": [["functionVersion"]],
                "Metrics": [{"Name": "time", "Unit": "Milliseconds", "StorageResolution": 60}],
            }
        ],
    },
    "functionVersion": "$LATEST",
    "time": 100,
    "requestId": "989ffbf8-9ace-4817-a57c-e4dd734019ee",
}


def changed(*path, to):
    """The example with one thing changed, at a path of keys."""
    document = copy.deepcopy(EXAMPLE)
    owner = document
    for key in path[:-1]:
        owner = owner[key]
    if to is None:
        del owner[path[-1]]
    else:
        owner[path[-1]] = to
    return json.dumps(document)


def directive(*path, to):
    return changed("_aws", "CloudWatchMetrics", 0, *path, to=to)


def dimensions(*names, **values):
    document = copy.deepcopy(EXAMPLE) | values
    document["_aws"]["CloudWatchMetrics"][0]["Dimensions"] = [list(names)]
    return json.dumps(document)


def test_the_example_of_the_specification():
    """Its metric with its dimension; what is neither is a property."""
    found = read(json.dumps(EXAMPLE), NOW_MS)
    assert found.values == {("time", (("functionVersion", "$LATEST"),)): [100]}
    assert (found.at_ms, found.namespaces, found.units) == (
        NOW_MS,
        {"lambda-function-metrics"},
        {"time": "Milliseconds"},
    )
    assert found.properties == {"requestId": EXAMPLE["requestId"]}


DAY, HOUR = 86_400_000, 3_600_000
BAD = {
    "no JSON": "{",
    "an array": "[]",
    "two lines": json.dumps(EXAMPLE, indent=1),
    "too large": json.dumps(EXAMPLE | {"more": "x" * MOST_BYTES}),
    "NaN": changed("time", to=math.nan),
    "infinite": changed("time", to=math.inf),
    "a member twice": json.dumps(EXAMPLE).replace('"time": 100', '"time": 100, "time": 101'),
    "no _aws": changed("_aws", to=None),
    "_aws a text": changed("_aws", to="x"),
    "no time": changed("_aws", "Timestamp", to=None),
    "a time with a fraction": changed("_aws", "Timestamp", to=NOW_MS + 0.5),
    "a time as a text": changed("_aws", "Timestamp", to=str(NOW_MS)),
    "a time in seconds": changed("_aws", "Timestamp", to=NOW_MS // 1000),
    "a time too old": changed("_aws", "Timestamp", to=NOW_MS - 14 * DAY - 1),
    "a time too new": changed("_aws", "Timestamp", to=NOW_MS + 2 * HOUR + 1),
    "directives as an object": changed("_aws", "CloudWatchMetrics", to={}),
    "a directive that is a text": changed("_aws", "CloudWatchMetrics", to=["x"]),
    "no namespace": directive("Namespace", to=None),
    "an empty namespace": directive("Namespace", to=""),
    "a blank namespace": directive("Namespace", to=" \t"),
    "a long namespace": directive("Namespace", to="n" * 1025),
    "no dimensions": directive("Dimensions", to=None),
    "no set of dimensions": directive("Dimensions", to=[]),
    "dimensions not in a set": directive("Dimensions", to=["functionVersion"]),
    "an empty set": directive("Dimensions", to=[[]]),
    "a dimension without a value": dimensions("functionVersion", "missing"),
    "a dimension twice": dimensions("functionVersion", "functionVersion"),
    "a dimension that is a number": dimensions("n", n=1),
    "a dimension that is empty": dimensions("n", n=""),
    "a dimension that is blank": dimensions("n", n=" "),
    "a dimension that is long": dimensions("n", n="x" * 1025),
    "a dimension with a line feed": dimensions("n", n="a\nb"),
    "a long name of a dimension": dimensions("n" * 251, **{"n" * 251: "x"}),
    "a name of a dimension with a colon": dimensions(":n", **{":n": "x"}),
    "31 dimensions": dimensions(*(f"d{n}" for n in range(31)), **{f"d{n}": "x" for n in range(31)}),
    "no metrics": directive("Metrics", to=None),
    "a metric that is a text": directive("Metrics", to=["time"]),
    "101 metrics": directive("Metrics", to=[{"Name": "time"}] * 101),
    "a metric twice": directive("Metrics", to=[{"Name": "time"}] * 2),
    "a metric without a name": directive("Metrics", 0, "Name", to=None),
    "a blank name": directive("Metrics", 0, "Name", to=" "),
    "a long name": directive("Metrics", 0, "Name", to="n" * 1025),
    "a metric without a value": directive("Metrics", 0, "Name", to="missing"),
    "a unit of UCUM": directive("Metrics", 0, "Unit", to="ms"),
    "a unit in small letters": directive("Metrics", 0, "Unit", to="count"),
    "a resolution of 30": directive("Metrics", 0, "StorageResolution", to=30),
    "an unknown member": directive("Metrics", 0, "Value", to=1),
    "a value as a text": changed("time", to="100"),
    "a value that is true": changed("time", to=True),
    "a value of many": changed("time", to={"sum": 1}),
    "no values": changed("time", to=[]),
    "101 values": changed("time", to=[1] * 101),
    "a text among values": changed("time", to=[1, "2"]),
    "a list among values": changed("time", to=[[1]]),
    "a value out of range": changed("time", to=2.0**361),
}  # fmt: skip


@pytest.mark.parametrize("line", BAD.values(), ids=BAD)
def test_refused(line):
    """Each has one mistake; the example that it is made of has none."""
    with pytest.raises(Refused):
        read(line, NOW_MS)


GOOD = {
    "14 days back": changed("_aws", "Timestamp", to=NOW_MS - 14 * DAY),
    "2 hours ahead": changed("_aws", "Timestamp", to=NOW_MS + 2 * HOUR),
    "100 values": changed("time", to=[1] * 100),
    "30 dimensions": dimensions(*(f"d{n}" for n in range(30)), **{f"d{n}": "x" for n in range(30)}),
    "no unit": directive("Metrics", 0, "Unit", to=None),
    "a resolution of a second": directive("Metrics", 0, "StorageResolution", to=1),
    "properties of every kind": json.dumps(EXAMPLE | {"a": {"b": [1, None]}, "c": True}),
}


@pytest.mark.parametrize("line", GOOD.values(), ids=GOOD)
def test_the_limits_themselves_are_taken(line):
    """One step within each limit that has a case among the refused."""
    assert read(line, NOW_MS).of("time")


def test_powertools_is_taken(capsys):
    """As a function prints it, with several values, dimensions and a property."""
    from aws_lambda_powertools.metrics import EphemeralMetrics, MetricResolution, MetricUnit, single_metric

    metrics = EphemeralMetrics(namespace="Shop", service="orders")
    metrics.add_dimension("environment", "prod")
    for value in (1, 2.5):
        metrics.add_metric("Latency", MetricUnit.Milliseconds, value, resolution=MetricResolution.High)
    metrics.add_metadata("order", {"id": 1})
    metrics.flush_metrics()
    with single_metric("ColdStart", MetricUnit.Count, 1, namespace="Shop") as one:
        one.add_dimension("function_name", "f")
    lines = capsys.readouterr().out.splitlines()
    now_ms = json.loads(lines[0])["_aws"]["Timestamp"]
    first, second = (read(line, now_ms) for line in lines)
    assert first.values == {("Latency", (("environment", "prod"), ("service", "orders"))): [1.0, 2.5]}
    assert first.properties == {"order": {"id": 1}}
    assert second.of("ColdStart") == [1.0]


def test_aws_embedded_metrics_is_taken():
    """AWS's other library for it; more metrics and values than fit in one document become several."""
    from aws_embedded_metrics.logger.metrics_context import MetricsContext
    from aws_embedded_metrics.serializers.log_serializer import LogSerializer

    context = MetricsContext.empty()
    context.namespace = "Shop"
    context.put_dimensions({"service": "orders"})
    context.put_dimensions({"service": "orders", "environment": "prod"})
    context.set_property("request", "1")
    for value in range(250):
        context.put_metric("latency", value, "Milliseconds")
    for number in range(120):
        context.put_metric(f"m{number}", 1.5, "Count", 1)
    lines = LogSerializer.serialize(context)
    now_ms = json.loads(lines[0])["_aws"]["Timestamp"]
    found = [read(line, now_ms) for line in lines]
    assert len(found) > 1
    sets = {pairs for document in found for _, pairs in document.values}
    assert sets == {(("service", "orders"),), (("service", "orders"), ("environment", "prod"))}
    for pairs in sets:
        assert sum(sum(document.values.get(("latency", pairs), ())) for document in found) == sum(range(250))


def test_sums():
    """What is counted over documents."""
    documents = [read(changed("time", to=value), NOW_MS) for value in ([1, 2.5], 3)]
    assert total(documents, "time") == 6.5
    assert total(documents, "other") == 0
