"""Subscriptions: the same rules on both ends."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extension_kit.errors import LocalProtocolError
from extension_kit.protocol import telemetry_api as api
from extension_kit.protocol.drain import plan_drain

GOOD = {
    "schemaVersion": "2025-01-29", "types": ["platform"], "buffering": {"maxItems": 1000, "maxBytes": 262144, "timeoutMs": 25},
    "destination": {"protocol": "HTTP", "URI": "http://sandbox.localdomain:4243/path"},
}  # fmt: skip


def test_what_is_sent_is_what_the_platform_reads():
    """All fields, both ways."""
    wanted = api.Subscription(("platform", "function"), 4243, "2022-12-13", 2000, 300_000, 50)

    head, _, body = api.subscribe_request("h:1", "id", wanted).partition(b"\r\n\r\n")

    assert head.startswith(b"PUT /2022-07-01/telemetry HTTP/1.1\r\nHost: h:1\r\nLambda-Extension-Identifier: id\r\n")
    assert b"Content-Length: %d" % len(body) in head
    assert api.parse_subscription(json.loads(body)) == wanted


def test_the_logs_api_is_another_path():
    """For old environments; the body is the same."""
    request = api.subscribe_request("h", "id", api.Subscription(("function",), 1, "2020-08-15"))

    assert request.startswith(b"PUT /2020-08-15/logs HTTP/1.1\r\n")
    assert b'"schemaVersion":"2020-08-15"' in request


@pytest.mark.parametrize(
    "wrong",
    [
        {"types": ()}, {"types": ("logs",)}, {"port": 0}, {"port": 65_536}, {"schema": "2019-08-15"}, {"max_items": 999},
        {"max_items": 10_001}, {"max_bytes": 262_143}, {"max_bytes": 1_048_577}, {"timeout_ms": 24}, {"timeout_ms": 30_001},
    ],
)  # fmt: skip
def test_what_would_be_refused_is_never_sent(wrong):
    """Every limit is checked here first; the text says what is allowed."""
    with pytest.raises(LocalProtocolError, match="wanted"):
        api.Subscription(**({"types": ("platform",), "port": 1} | wrong))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"schemaVersion": "2020-01-01"}, "/schemaVersion"),
        ({"types": []}, "/types"),
        ({"types": "platform"}, "/types"),
        ({"types": ["bogus"]}, "/types"),
        ({"buffering": []}, "/buffering"),
        ({"buffering": {"maxItems": 999}}, "/buffering/maxItems"),
        ({"buffering": {"maxBytes": 262144.0}}, "/buffering/maxBytes"),
        ({"buffering": {"timeoutMs": True}}, "/buffering/timeoutMs"),
        ({"destination": []}, "/destination/protocol"),
        ({"destination": {"protocol": "HTTPS"}}, "/destination/protocol"),
        ({"destination": {"protocol": "HTTP"}}, "/destination/URI"),
        ({"destination": {"protocol": "HTTP", "URI": "tcp://sandbox:1"}}, "/destination/URI"),
        ({"destination": {"protocol": "HTTP", "URI": "http://127.0.0.1:4243"}}, "host must be"),
        ({"destination": {"protocol": "HTTP", "URI": "http://sandbox"}}, "host must be"),
        ({"destination": {"protocol": "HTTP", "URI": "http://sandbox:0"}}, "must name a port"),
        ({"destination": {"protocol": "HTTP", "URI": "http://sandbox:x"}}, "must name a port"),
        ({"destination": {"protocol": "HTTP", "URI": "http://sandbox:1/a b"}}, "the path must be"),
        ({"destination": {"protocol": "TCP", "port": 0}}, "/destination/URI"),
    ],
)
def test_what_the_platform_refuses(change, why):
    """One line that names the field."""
    found = api.parse_subscription(GOOD | change)

    assert isinstance(found, str)
    assert why in found


def test_what_the_platform_takes():
    """Defaults are AWS's; TCP has a port or a URI; the short host is as good."""
    plain = api.parse_subscription({key: value for key, value in GOOD.items() if key != "buffering"})
    assert (plain.max_items, plain.max_bytes, plain.timeout_ms, plain.port) == (10_000, 262_144, 1_000, 4243)
    assert plain.path == "/path"
    assert api.parse_subscription(GOOD | {"destination": {"protocol": "TCP", "port": 99}}).protocol == "TCP"
    tcp = {"protocol": "TCP", "URI": "tcp://sandbox:98"}
    assert api.parse_subscription(GOOD | {"destination": tcp}).port == 98
    assert api.parse_subscription([]) == "the request body must be a JSON object"
    assert api.parse_subscription({}) == "missing properties: schemaVersion, types, destination"


@given(st.recursive(st.none() | st.integers() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)))
def test_any_body_is_read_or_refused(content):
    """Nothing raises."""
    assert isinstance(api.parse_subscription(content), (str, api.Subscription))
    assert isinstance(
        api.parse_subscription(GOOD | {"destination": content, "buffering": content}), (str, api.Subscription)
    )


@pytest.mark.parametrize(
    ("status", "means"),
    [(200, "subscribed"), (201, "subscribed"), (202, "unsupported"), (404, "not there"), (405, "not there"),
     (501, "not there"), (400, "older schema"), (403, "refused"), (429, "again"), (500, "again"), (302, "refused")],
)  # fmt: skip
def test_what_an_answer_means(status, means):
    """lambda-apis 4.1; complaints 15 and 16."""
    assert api.verdict(status) == means


def test_managed_instances_know_the_newest_schema_only():
    """Others are asked for older ones in turn."""
    assert api.ladder("lambda-managed-instances") == ("2025-01-29",)
    assert api.ladder("on-demand") == ("2025-01-29", "2022-12-13", "2022-07-01")


@given(st.integers(0, 10**13), st.integers(-1000, 10_000), st.booleans())
def test_a_drain_leaves_time_for_everything(now_ms, left, missing):
    """Linger, then flush, then goodbye; nothing beyond the limit, and a flush is never squeezed out by lingering."""
    plan = plan_drain(now_ms, now_ms + left, missing)

    assert plan.linger_until_ms <= plan.flush_until_ms <= max(now_ms, now_ms + left)
    if left > 0:
        assert plan.flush_until_ms - plan.linger_until_ms >= min(250, left // 3)
        assert now_ms + left - plan.flush_until_ms >= min(200, left // 5)
    if not missing:
        assert plan.linger_until_ms <= now_ms


def test_the_usual_shutdown_covers_the_whole_range_of_late_reports():
    """1,000 ms, and a batch's time in the platform's buffer; most of it where the runtime took 600 ms of the 2,000."""
    assert plan_drain(0, 1_300, True).linger_until_ms == 850
    assert plan_drain(0, 1_600, True).linger_until_ms == 1_150
    assert plan_drain(0, 1_900, True).linger_until_ms == 1_150
