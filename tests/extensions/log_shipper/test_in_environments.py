"""From a function's print to a real OTLP receiver: in the emulator, and under AWS's own source of telemetry."""

from __future__ import annotations

import json
import re
import sys

import pytest

from extension_kit.backends import rie_binary
from extension_kit.emulator.reach import Reach
from tests import rie_managed
from tests.extensions.log_shipper.test_delivery import balance, printed
from tests.receivers.programs import or_skip
from tests.receivers.rotel import Rotel

EXTENSION = f"""#!{sys.executable}
import sys
sys.path.insert(0, {str(rie_managed._ROOT)!r})
from extensions.log_shipper.plugin import LogShipper
from extension_kit import run
run(LogShipper, name="log-shipper")
"""
FUNCTION = """
def handler(event, context):
    for number in range(event["lines"]):
        print(f"line {event['n']} {number}\\n", end="", flush=True)
    return event["n"]
"""


@pytest.fixture
def rotel(tmp_path):
    with or_skip(Rotel, tmp_path) as running:
        yield running


def test_in_the_emulator(shipping, rotel):
    """Every line, with its request's id, at the end of its invocation; the platform's events as well."""
    sandbox = shipping(sink="otlp", endpoint=rotel.url, redact="keys,tokens,cards")
    ids = {}
    for number in range(5):
        ids[number] = sandbox.invoke(
            printed(*[f"line {number} {line} password=hunter2" for line in range(50)])
        ).request_id
        sandbox.idle()
    sandbox.shutdown()
    account = balance(sandbox, "log-shipper.otlp")
    assert (account.delivered, account.pending) == (account.received, 0)
    found = rotel.records(account.delivered)
    assert len(found) == account.delivered
    lines = [record for record in found if "lambda.type" not in record.attributes]
    assert [record.body for record in lines] == [
        f"line {n} {line} password=[REDACTED]" for n in range(5) for line in range(50)
    ]
    assert [record.attributes["faas.invocation_id"] for record in lines] == [
        ids[n] for n in range(5) for _ in range(50)
    ]


def test_under_awss_own_source_of_telemetry(rotel, tmp_path):
    """Its emulator in Managed Instances mode, requests side by side: every line arrives, and the account is exact."""
    why_not = rie_managed.why_not()
    if why_not:
        pytest.skip(why_not)
    extension = tmp_path / "log-shipper"
    extension.write_text(EXTENSION)
    extension.chmod(0o755)
    function = tmp_path / "function"
    function.mkdir()
    (function / "app.py").write_text(FUNCTION)
    variables = {"LOG_SHIPPER_SINK": "otlp", "LOG_SHIPPER_ENDPOINT": rotel.url}
    with rie_managed.RieManaged(
        [extension], function, "app.handler", rie_binary.binary(), concurrency=2, timeout=5.0, variables=variables
    ) as running:
        reach = Reach([rotel.url], running._place.call)
        for number in range(10):
            event = json.dumps({"n": number, "lines": 30}).encode()
            status, _headers, _body = running.invoke(event, {"Content-Type": "application/json"})
            assert status == 200
            # AWS's emulator has one post under way at a time; for a batch that is due meanwhile it locks itself up.
            rie_managed.until(lambda number=number: sum(map(_is_report, rotel.records())) > number)
        running.shutdown()
        reach.close()
        output = "\n".join(running.output())
    lines = sorted(record.body for record in rotel.records() if _type(record) == "function")
    assert lines == sorted(f"line {number} {line}" for number in range(10) for line in range(30))
    account = re.search(r"plug-in log-shipper.otlp: (\d+) records = (\d+) delivered \+ 0 dropped \+ 0 pending", output)
    assert account is not None, output
    assert int(account[1]) == int(account[2]) == len(rotel.records(int(account[2])))


def _is_report(record):
    return _type(record) == "platform.report"


def _type(record):
    return record.attributes.get("lambda.type", "function")
