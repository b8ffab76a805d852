"""rotel reads what an exporter of OpenTelemetry's sends, and we read what rotel printed of it."""

from __future__ import annotations

import gzip

import pytest
import requests

from tests.receivers.programs import or_skip
from tests.receivers.rotel import Decoded, Rotel


@pytest.fixture
def rotel(tmp_path):
    with or_skip(Rotel, tmp_path) as running:
        yield running


def text(value):
    return {"stringValue": value}


def pair(name, value):
    return {"key": name, "value": value}


def body(**changes):
    """A request with one record of every kind of value."""
    record = {
        "timeUnixNano": "1790000000000000000", "observedTimeUnixNano": "1790000000000000001", "severityNumber": 9,
        "severityText": "INFO", "body": text("one\n\ntwo: Str(x)"), "traceId": "5b8efff798038103d269b633813fc60c",
        "spanId": "eee19b7ec3c1b174", "flags": 1,
        "attributes": [
            pair("faas.invocation_id", text("id\n1")), pair("n", {"intValue": "-7"}), pair("ok", {"boolValue": True}),
            pair("share", {"doubleValue": 1.5}),
        ],
    }  # fmt: skip
    names = {"arrayValue": {"values": [text("/aws/lambda/f")]}}
    resource = {"attributes": [pair("service.name", text("shop")), pair("aws.log.group.names", names)]}
    scoped = {"scope": {"name": "s", "version": "1"}, "logRecords": [{**record, **changes}, {"body": text("bare")}]}
    return {"resourceLogs": [{"resource": resource, "scopeLogs": [scoped]}]}


def send(rotel, content):
    return requests.post(f"{rotel.url}/v1/logs", json=content, timeout=5).status_code


def test_every_field_of_json_arrives(rotel):
    """Texts of several lines too."""
    assert send(rotel, body()) == 200
    resource = {"service.name": "shop", "aws.log.group.names": "Slice(Str(/aws/lambda/f))"}
    attributes = {"faas.invocation_id": "id\n1", "n": -7, "ok": True, "share": 1.5}
    ids = ("5b8efff798038103d269b633813fc60c", "eee19b7ec3c1b174")
    at = 1_790_000_000_000_000_000
    assert rotel.records(2) == [
        Decoded(at, at + 1, 9, "INFO", "one\n\ntwo: Str(x)", *ids, 1, attributes, resource, "s 1"),
        Decoded(0, 0, 0, "", "bare", "", "", 0, {}, resource, "s 1"),
    ]


def test_names_of_enums_are_refused(rotel):
    """The trap that protobuf's ``json_format`` sets, which is why this receiver is here."""
    assert send(rotel, body(severityNumber="SEVERITY_NUMBER_INFO")) == 400
    assert send(rotel, body(traceId="no hex")) == 400
    assert rotel.records() == []


def test_opentelemetrys_own_classes_are_understood(rotel):
    """Protobuf with gzip, written by what OpenTelemetry generates from its definitions."""
    from google.protobuf import json_format
    from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

    content = body(traceId="", spanId="", severityNumber=13)
    data = gzip.compress(json_format.ParseDict(content, ExportLogsServiceRequest()).SerializeToString())
    headers = {"Content-Type": "application/x-protobuf", "Content-Encoding": "gzip"}
    assert requests.post(f"{rotel.url}/v1/logs", data=data, headers=headers, timeout=5).status_code == 200
    record, bare = rotel.records(2)
    assert (record.number, record.trace, record.attributes["n"], bare.body) == (13, "", -7, "bare")


def test_only_this_machine_reaches_it(rotel):
    """Tests open nothing to the network."""
    assert rotel.listens() == {"127.0.0.1"}
