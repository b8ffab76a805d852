"""Of hundreds of planted secrets none leaves: in no sink's form, to no dead letter, from no spool, in no line of ours."""

from __future__ import annotations

import json
import os
import signal

import pytest

from extension_kit import records
from extension_kit.io.clock import Clock
from extensions.log_shipper.dead_letters import DeadLetters
from extensions.log_shipper.pipeline import Pipeline
from extensions.log_shipper.redact import Redactor
from extensions.log_shipper.settings import KINDS, ShipperSettings
from extensions.log_shipper.sinks.make import make
from tests.extensions.log_shipper.corpus import secrets
from tests.extensions.log_shipper.test_delivery import balance, printed, variables
from tests.extensions.log_shipper.test_sinks import ORIGIN
from tests.receivers.collector import Fault
from tests.receivers.log_services import Bulk

CORPUS = secrets()
#: What a function prints is a record a line: of several lines, only keys are known again.
PRINTED = [(secret, text) for what, secret, text in CORPUS if "\n" not in text or what.startswith("private key")]
AT_A_TIME = 60
NEEDS = {
    "http": {"endpoint": "http://h"}, "otlp": {"endpoint": "http://h"}, "loki": {"endpoint": "http://h"},
    "bulk": {"endpoint": "http://h", "target": "x"}, "splunk": {"endpoint": "http://h", "api_key": "k"},
    "datadog": {"api_key": "k"}, "newrelic": {"api_key": "k"}, "kafka": {"endpoint": "h:1", "target": "t"},
    "cloudwatch": {"target": "g"}, "firehose": {"target": "s"}, "kinesis": {"target": "s"}, "s3": {"target": "b"},
    "stdout": {}, "file": {"endpoint": "/tmp/x"},
}  # fmt: skip
PRINTER = """
def handler(event, context):
    for line in event["print"]:
        print(line)
"""


def leaked(planted, shown):
    """Those of the secrets that can be read; of a key, any of its lines."""
    return [one for one in planted for line in one.splitlines() if "-----" not in line and line in shown]


def chunks(planted):
    texts = [text for _secret, text in planted]
    return [texts[at : at + AT_A_TIME] for at in range(0, len(texts), AT_A_TIME)]


def lines_of_the_corpus():
    """As the platform hands them over: as texts, as objects, and as lines that name their own request."""
    contents = [text for _what, _secret, text in CORPUS]
    contents += [{"level": "INFO", "message": text} for text in contents] + [{"requestId": text} for text in contents]
    given = []
    for index, content in enumerate(contents):
        raw = json.dumps(
            {"time": "2026-11-23T08:00:00.000Z", "type": "function", "record": content}, separators=(",", ":")
        )
        given.append(records.make(raw.encode(), records.NO_REQUEST, 1, index))
    pipeline = Pipeline(ShipperSettings(), "log-shipper", Redactor().redact, lambda: "s")
    return pipeline.take(given, 0, len(given), 10_000_000, True).lines


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("encoding", ["protobuf", "json"])
def test_not_in_any_sinks_form(kind, encoding, monkeypatch, tmp_path):
    """Nor in the dead letters that come of it."""
    if kind == "kafka":
        pytest.importorskip("confluent_kafka")
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    lines = lines_of_the_corpus()
    planted = {secret for _what, secret, _text in CORPUS}
    assert len(planted) >= 200
    assert len(lines) == 3 * len(CORPUS)
    sink = make(ShipperSettings(sink=kind, encoding=encoding, **NEEDS[kind]), ORIGIN, Clock())
    items = [sink.encode(line) for line in lines]
    grave = tmp_path / "dead.ndjson"
    assert DeadLetters(f"file:{grave}", kind, {}, Clock()).bury(items, "refused")
    forms = [getattr(item, name) for item in items for name in ("data", "json", "key") if hasattr(item, name)]
    shown = b"\n".join([*forms, *[item for item in items if isinstance(item, bytes)]]).decode("utf-8", "replace")
    assert shown.count("[REDACTED]") >= len(lines)
    assert leaked(planted, shown + grave.read_text()) == []


def test_not_through_a_running_extension(shipping, collector, outside):
    """Not to the sink, not to the dead letters, not in a line of ours."""
    grave = outside / "dead.ndjson"
    sandbox = shipping(redact="keys,tokens,cards", dead_letters=f"file:{grave}", batch_lines=1)
    planted = PRINTED[::2]
    assert len({secret for secret, _text in planted}) >= 200
    for texts in chunks(planted):
        collector.faults = [Fault(status=400)] * 20
        sandbox.invoke(printed(*texts))
        sandbox.idle()
    sandbox.shutdown()
    said = "\n".join(event["text"] for event in sandbox.events("log") if event["party"] == "log-shipper")
    accepted = json.dumps(collector.accepted)
    assert "[REDACTED]" in accepted
    assert "[REDACTED]" in grave.read_text()
    assert "answers 400" in said
    assert leaked([secret for secret, _text in planted], accepted + grave.read_text() + said) == []
    balance(sandbox)


def test_not_from_a_spool_after_a_kill(lab, shipper_of):
    """What an earlier life of the extension has kept, and could not send, the next one reads again, and looks at anew."""
    planted = PRINTED[1::2]
    assert len({secret for secret, _text in planted}) >= 200
    with Bulk() as bulk:
        bulk.dead = True
        environment = lab.start(
            shipper_of(),
            function=lab.function(PRINTER),
            variables=variables("bulk", bulk.url, target="x", redact="keys,tokens,cards", timeout="200ms"),
        )
        for texts in chunks(planted):
            lab.invoke(environment, printed(*texts))
            assert environment.idle(10)
        started = [event["pid"] for event in environment.log.events
                   if event["kind"] == "process_start" and event["party"] == "ext"]  # fmt: skip
        os.kill(started[-1], signal.SIGKILL)
        lab.until(lambda: "ext" in lab.exits(environment))
        bulk.dead = False
        for text in (
            "in vain",
            "the last",
        ):  # the first finds that the extension is no more, and starts everything anew
            lab.invoke(environment, printed(text))
            assert environment.idle(10)
        environment.shutdown()
        lines = [one["message"] for one in bulk.accepted if one["event.type"] == "function"]
        said = "\n".join(lab.lines(environment, "ext"))
    assert "the last" in "".join(lines)
    assert len(lines) > len(planted)
    assert "".join(lines).count("[REDACTED]") >= len(planted)
    assert leaked([secret for secret, _text in planted], json.dumps(lines, ensure_ascii=False) + said) == []
