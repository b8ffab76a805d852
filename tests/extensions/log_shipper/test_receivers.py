"""The sinks against programs that others have written: rotel for OTLP, ClickHouse behind the generic sink, nginx for TLS."""

from __future__ import annotations

import pytest

from extension_kit import records
from extension_kit.delivery import AGAIN, DELIVERED, REFUSED
from tests.extensions.log_shipper.test_sinks import NOW, NOW_MS, REQUEST, TRACE, line, send, sink
from tests.receivers.aws.tls import Authority
from tests.receivers.clickhouse import ClickHouse
from tests.receivers.collector import Collector
from tests.receivers.nginx import Nginx
from tests.receivers.programs import or_skip
from tests.receivers.rotel import Rotel


@pytest.fixture(scope="module")
def rotel(tmp_path_factory):
    with or_skip(Rotel, tmp_path_factory.mktemp("rotel")) as running:
        yield running


def read_since(rotel, before, count):
    return rotel.records(before + count)[before:]


@pytest.mark.parametrize("encoding", ["protobuf", "json"])
@pytest.mark.parametrize("compress", ["gzip", "none"])
def test_rotel_reads_what_we_send(rotel, encoding, compress):
    """Bodies, levels, times, ids and attributes, as we meant them."""
    before = len(rotel.records())
    one = sink("otlp", rotel.url, encoding=encoding, compress=compress)
    deep = {"level": "ERROR", "n": 1, "nothing": None, "list": [1, None, {"a": None}], "text": "caf\u00e9"}
    lines = line("[WARN]\thello\nworld\n"), line(deep, index=1), line("", index=2), line(None, index=3)
    assert send(one, *lines).kind == DELIVERED
    text, object, empty, nothing = read_since(rotel, before, 4)
    assert (text.body, text.text, text.number, text.at) == ("[WARN]\thello\nworld", "WARN", 13, NOW_MS * 1_000_000)
    assert (text.trace, text.span) == ("5f35ae120c0fec141ab77a00bc047aa2", "2be948a625588e32")
    assert text.attributes == {"log.record.uid": "cafe-3-0", "faas.invocation_id": REQUEST}
    resource = text.resource
    assert (resource["service.name"], resource["team"], resource["faas.max_memory"]) == ("shop", "pay", 134_217_728)
    assert (object.text, "caf\u00e9" in str(object.body)) == ("ERROR", True)
    assert (empty.body, nothing.text) == ("", "")


def test_a_thousand_lines_in_one_request(rotel):
    """All of them, in order."""
    before = len(rotel.records())
    lines = [line(f"line {number}", index=number) for number in range(1_000)]
    assert send(sink("otlp", rotel.url), *lines).kind == DELIVERED
    assert [record.body for record in read_since(rotel, before, 1_000)] == [f"line {number}" for number in range(1_000)]


def test_rows_in_a_database(tmp_path):
    """The generic sink and an INSERT in the URL: what ClickHouse has counted is what was sent."""
    with or_skip(ClickHouse, tmp_path) as database:
        columns = ", ".join(f"{name} String" for name in ("time", "type", "record", "requestId", "level", "id"))
        database.query(f"CREATE TABLE lines ({columns}) ENGINE = Memory")
        one = sink("http", database.insert_url("lines"))
        lines = [line(f"[INFO]\tline {number} \u00e9\n", index=number) for number in range(500)]
        assert send(one, *lines).kind == DELIVERED
        asked = "SELECT count() AS n, uniq(id) AS ids, any(level) AS level, any(time) AS time FROM lines"
        (counted,) = database.query(asked)
        assert (int(counted["n"]), int(counted["ids"]), counted["level"], counted["time"]) == (500, 500, "INFO", NOW)
        wrong = sink("http", database.insert_url("nowhere"))
        verdict = send(wrong, line())
        assert "nowhere" in verdict.why


def test_tls_with_an_authority_of_ones_own(tmp_path):
    """Taken with its certificate, refused without, in a line that says what is wrong."""
    authority = Authority(tmp_path)
    with Collector() as collector, or_skip(Nginx, tmp_path, collector.url, authority=authority) as nginx:
        assert send(sink("http", nginx.url, ca_bundle=str(authority.bundle)), line()).kind == DELIVERED
        assert collector.lines() == ["hello"]
        with pytest.raises(OSError, match=r"TLS: .*certificate") as caught:
            send(sink("http", nginx.url), line())
        assert "\n" not in str(caught.value)
        with pytest.raises(OSError, match=r"nowhere\.pem"):
            send(sink("http", nginx.url, ca_bundle="/nowhere.pem"), line())
        assert collector.lines() == ["hello"]


def test_a_clients_certificate(tmp_path):
    """Asked for by the server; without it the answer is a refusal, and the lines wait."""
    authority = Authority(tmp_path)
    shown = str(authority.signed("a function"))
    with Collector() as collector, or_skip(Nginx, tmp_path, collector.url, authority=authority, mutual=True) as nginx:
        known = {"ca_bundle": str(authority.bundle)}
        assert send(sink("http", nginx.url, client_cert=shown, **known), line()).kind == DELIVERED
        assert (
            send(sink("http", nginx.url, client_cert=shown, client_key=shown, **known), line(index=1)).kind == DELIVERED
        )
        verdict = send(sink("http", nginx.url, **known), line())
        assert verdict.kind == REFUSED
        assert "400" in verdict.why
        assert collector.lines() == ["hello"] * 2


def test_a_limit_on_requests(tmp_path):
    """429 with Retry-After, as nginx gives it."""
    with Collector() as collector, or_skip(Nginx, tmp_path, collector.url, rate="1r/s", retry_after=3) as nginx:
        one = sink("http", nginx.url)
        verdicts = [send(one, line(index=number)) for number in range(5)]
        refused = [verdict for verdict in verdicts if verdict.kind == AGAIN]
        assert refused
        assert {verdict.retry_after_ms for verdict in refused} == {3_000}
        assert len(collector.lines()) == 5 - len(refused)


def test_the_trace_of_a_line_is_its_requests(rotel):
    """Of a late line, too."""
    before = len(rotel.records())
    late = line()
    late.record = records.make(late.record[0], records.Request(REQUEST, TRACE, True), 3, 9)
    assert send(sink("otlp", rotel.url), late).kind == DELIVERED
    (read,) = read_since(rotel, before, 1)
    assert read.trace == "5f35ae120c0fec141ab77a00bc047aa2"
