"""The log shipper's layer in the image, under AWS's own source of telemetry: a function's lines in a real OTLP receiver."""

from __future__ import annotations

import json
import re

import pytest

from tests import rie_managed
from tests.docker import engine as engines
from tests.docker.managed import ManagedContainer
from tests.receivers.programs import or_skip
from tests.receivers.rotel import Rotel

engines.require()

LINES, INVOKES = 25, 10
#: In this mode a line is of the request that it names itself, and of none where it names none.
FUNCTION = """
import logging
log = logging.getLogger()
log.setLevel("INFO")
def handler(event, context):
    for number in range(event["lines"]):
        print(f"printed {event['n']} {number}\\n", end="", flush=True)
        log.warning("logged %d %d", event["n"], number)
    return context.aws_request_id
"""


@pytest.fixture
def rotel(tmp_path):
    with or_skip(Rotel, tmp_path) as running:
        yield running


@pytest.fixture
def start(image, engine, built, lab, rotel, tmp_path):
    """Makes the container, with the receiver for its sink."""

    def start(encoding: str) -> ManagedContainer:
        return ManagedContainer(
            engine, image, built("log-shipper"), lab.function(FUNCTION), tmp_path / "files",
            {
                "AWS_LAMBDA_FUNCTION_NAME": "shop", "AWS_LAMBDA_FUNCTION_VERSION": "7", "AWS_REGION": "eu-west-1",
                "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "256", "AWS_LAMBDA_LOG_FORMAT": "JSON",
                "LOG_SHIPPER_SINK": "otlp", "LOG_SHIPPER_ENDPOINT": rotel.url, "LOG_SHIPPER_ENCODING": encoding,
            },
        )  # fmt: skip

    return start


@pytest.mark.parametrize("encoding", ["protobuf", "json"])
def test_every_line_arrives_once(start, rotel, encoding):
    """What is printed, what is logged with its request's id, what the platform tells; and the account says the same."""
    with start(encoding) as running:
        ids = []
        for number in range(INVOKES):
            status, _headers, body = running.invoke(json.dumps({"n": number, "lines": LINES}).encode())
            assert status == 200
            ids.append(json.loads(body))
            # AWS's emulator has one post under way at a time; for a batch that is due meanwhile it locks itself up.
            rie_managed.until(lambda: len(of_type(rotel.records(), "platform.report")) == len(ids))
        running.shutdown()
        output = running.output()

    account = re.search(r"plug-in log-shipper.otlp: (\d+) records = (\d+) delivered \+ 0 dropped \+ 0 pending", output)
    assert account is not None, output
    found = rotel.records(int(account[2]))
    assert len(found) == int(account[1]) == int(account[2])
    assert len({record.attributes["log.record.uid"] for record in found}) == len(found)

    lines = of_type(found, "function")
    logged = [(json.loads(record.body), record) for record in lines if record.body.startswith("{")]
    assert [record.body for record in lines if not record.body.startswith("{")] == [
        f"printed {number} {line}" for number in range(INVOKES) for line in range(LINES)
    ]
    assert [(content["message"], record.attributes["faas.invocation_id"]) for content, record in logged] == [
        (f"logged {number} {line}", ids[number]) for number in range(INVOKES) for line in range(LINES)
    ]
    assert {(record.text, record.number) for _content, record in logged} == {("WARN", 13)}
    for kind in ("platform.start", "platform.report"):
        assert [record.attributes["faas.invocation_id"] for record in of_type(found, kind)] == ids, kind

    resources = [record.resource for record in found]
    assert {
        "service.name": "shop", "faas.name": "shop", "faas.version": "7", "faas.max_memory": 256 * 1_048_576,
        "cloud.provider": "aws", "cloud.platform": "aws_lambda", "cloud.region": "eu-west-1",
    }.items() <= resources[0].items()  # fmt: skip
    assert resources.count(resources[0]) == len(resources)


def of_type(records, kind):
    return [record for record in records if record.attributes.get("lambda.type", "function") == kind]
