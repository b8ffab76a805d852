"""What AWS's emulator sends and refuses in Managed Instances mode: the facts about telemetry that AWS itself wrote."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from extension_kit.backends import rie_binary
from extension_kit.emulator import namespaces, processes
from tests import rie_managed, telemetry_listener
from tests.rie_managed import SHARED, RieManaged
from tests.telemetry_listener import FOLDER, Answer, Post
from tests.telemetry_shapes import MANAGED, shapes

if TYPE_CHECKING:
    from collections.abc import Callable

FUNCTION = f"""
import json, os, pathlib, sys, time
def say(line):
    sys.stdout.write(line + "\\n")  # in one go: the lines of several workers go through one pipe
say("importing")
FOLDER = pathlib.Path(os.environ["{FOLDER}"])
def handler(event, context):
    say("plain")
    say(json.dumps({{"level": "INFO", "message": "JSON"}}))
    (FOLDER / ("arrived-" + context.aws_request_id)).touch()
    if "raise" in event:
        raise ValueError(event["raise"])
    while "until" in event and not (FOLDER / event["until"]).exists():
        time.sleep(0.005)
    return {{"id": context.aws_request_id}}
"""
BROKEN = "raise ValueError('no import')\n"
TRACE = "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Parent=9a9197af755a6419;Sampled=1"

LISTENER = """
print("listener begins", flush=True)
listen(4243)
register(["INVOKE", "SHUTDOWN"], "register INVOKE")
register(["SHUTDOWN"])
subscribe(4243)
until_shutdown()
"""
#: step -> what is refused
SUBSCRIPTIONS: dict[str, str] = {
    "no identifier": "who=''",
    "identifier of nobody": "who='7e6b1a2c-0000-4000-8000-000000000000'",
    "schema 2022-07-01": "schemaVersion='2022-07-01'",
    "schema 2022-12-13": "schemaVersion='2022-12-13'",
    "schema null": "schemaVersion=None",
    "no types": "types=[]",
    "unknown type": "types=['platform', 'bogus']",
    "host by address": "destination={'protocol': 'HTTP', 'URI': 'http://127.0.0.1:4244'}",
    "host localhost": "destination={'protocol': 'HTTP', 'URI': 'http://localhost:4244'}",
    "protocol HTTPS": "destination={'protocol': 'HTTPS', 'URI': 'https://sandbox.localdomain:4244'}",
    "too few items": "buffering={'maxItems': 999, 'maxBytes': 262144, 'timeoutMs': 25}",
    "too many items": "buffering={'maxItems': 10001, 'maxBytes': 262144, 'timeoutMs': 25}",
    "too few bytes": "buffering={'maxItems': 1000, 'maxBytes': 262143, 'timeoutMs': 25}",
    "too many bytes": "buffering={'maxItems': 1000, 'maxBytes': 1048577, 'timeoutMs': 25}",
    "too soon": "buffering={'maxItems': 1000, 'maxBytes': 262144, 'timeoutMs': 24}",
    "too late": "buffering={'maxItems': 1000, 'maxBytes': 262144, 'timeoutMs': 30001}",
    "logs API": "path='/2020-08-15/logs'",
}
# Refused in many ways, then accepted by the short name of the host; answers its first delivery with an error.
GRUMPY = "\n".join([
    "listen(4244)",
    "Listener.statuses.append(500)",
    "register(['SHUTDOWN'])",
    "call('not JSON', 'PUT', '/2022-07-01/telemetry', 'no')",
    *(f"subscribe(4244, {step!r}, {changes})" for step, changes in SUBSCRIPTIONS.items()),
    "subscribe(4244, destination={'protocol': 'HTTP', 'URI': 'http://sandbox:4244'})",
    "subscribe(4244, 'twice')",
    "def late():",
    "    until_exists('late')",
    "    subscribe(4244, 'after init')",
    "threading.Thread(target=late, daemon=True).start()",
    "until_shutdown()",
])  # fmt: skip
# AWS's emulator may end its telemetry before it tells what init came to: what it tells after that comes with the next delivery,
# for which somebody must still be there.
WITNESS = f"""
listen(4243)
register(["SHUTDOWN"])
subscribe(4243)
open(os.path.join(os.environ["{FOLDER}"], "subscribed"), "w").close()
until_shutdown()
until_told("platform.initReport", 1.8)
"""
FAILING = """
register(["SHUTDOWN"])
until_exists("subscribed")
call("init/error", "POST", "/2020-01-01/extension/init/error", Lambda_Extension_Function_Error_Type="Extension.Reason")
sys.exit(3)
"""


@dataclass
class Life:
    """What came of one environment; `asked` by request id."""

    exit_status: int
    posts: dict[str, list[Post]]
    answers: dict[str, dict[str, Answer]]
    asked: dict[str, tuple[int, dict[str, str], bytes]] = field(default_factory=dict)

    def events(self) -> list[dict[str, Any]]:
        return [event for post in self.posts["listener"] for event in post.events()]

    def of(self, kind: str, **fields: str) -> list[dict[str, Any]]:
        """The records of one type that have these fields."""
        return [record for record in self.of_type(kind) if fields.items() <= record.items()]

    def of_type(self, kind: str) -> list[Any]:
        return [event["record"] for event in self.events() if event["type"] == kind]


@pytest.fixture(scope="module")
def binary() -> Path:
    if rie_managed.why_not():
        pytest.skip(rie_managed.why_not())
    return rie_binary.binary()


@pytest.fixture
def make(binary: Path, tmp_path: Path) -> Callable[..., RieManaged]:
    return lambda code, limit=120.0: environment(binary, tmp_path, code, {}, limit)


def environment(binary: Path, folder: Path, code: str, extensions: dict[str, str], limit: float = 120.0) -> RieManaged:
    function = folder / "function"
    function.mkdir()
    (function / "app.py").write_text(code)
    paths = [telemetry_listener.write(folder, name, script) for name, script in extensions.items()]
    return RieManaged(paths, function, "app.handler", binary, concurrency=3, variables={FOLDER: SHARED}, limit=limit)


def ended(running: RieManaged, status: int, *names: str) -> Life:
    return Life(
        status,
        {name: telemetry_listener.posts(running.shared, name) for name in names},
        {name: telemetry_listener.answers(running.shared, name) for name in names},
    )


@pytest.fixture(scope="module")
def life(binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Life:
    """Success, a handler's error, two invokes at once, one too many, a timeout, shutdown."""
    extensions = {"listener": LISTENER, "grumpy": GRUMPY}
    with environment(binary, tmp_path_factory.mktemp("life"), FUNCTION, extensions) as running:
        asked = invoke_all(running)
        (running.shared / "late").touch()
        wanted = {*asked, "platform.logsDropped"} - {"refused"}
        rie_managed.until(lambda: "after init" in telemetry_listener.answers(running.shared, "grumpy"))
        rie_managed.until(lambda: wanted <= reported(running))
        status = running.shutdown()
        life = ended(running, status, "listener", "grumpy")
    life.asked = asked
    return life


def invoke_all(running: RieManaged) -> dict[str, tuple[int, dict[str, str], bytes]]:
    def invoke(name: str, event: dict[str, str], patient: bool = True, **headers: str) -> None:
        named = {"X-Amzn-RequestId": name, **headers}
        asked[name] = running.invoke(json.dumps(event).encode(), named, patient)

    asked: dict[str, tuple[int, dict[str, str], bytes]] = {}
    with ThreadPoolExecutor(3) as pool:
        slow = pool.submit(invoke, "slow", {"until": "too late"})
        invoke("success", {})
        invoke("traced", {}, **{"X-Amzn-Trace-Id": TRACE})
        invoke("error", {"raise": "bang"})
        both = [pool.submit(invoke, name, {"until": "both arrived"}) for name in ("one", "other")]
        rie_managed.until(
            lambda: all((running.shared / f"arrived-{name}").exists() for name in ("slow", "one", "other"))
        )
        invoke("refused", {}, patient=False)
        (running.shared / "both arrived").touch()
        for future in (slow, *both):
            future.result()
    (running.shared / "too late").touch()
    return asked


def reported(running: RieManaged) -> set[str]:
    """Which invokes the listener has a report of; and the types of what else it has."""
    events = telemetry_listener.events(running.shared, "listener")
    reports = {event["record"]["requestId"] for event in events if event["type"] == "platform.report"}
    return reports | {event["type"] for event in events}


@pytest.fixture(scope="module")
def failures(binary: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Life]:
    """Two inits that fail: an extension's, a function's. AWS's emulator then ends by itself."""
    folder = tmp_path_factory.mktemp
    with environment(binary, folder("extension"), FUNCTION, {"listener": WITNESS, "failing": FAILING}) as running:
        extension = ended(running, running.wait(), "listener", "failing")
    with environment(binary, folder("function"), BROKEN, {"listener": WITNESS}) as running:
        function = ended(running, running.wait(), "listener")
    return {"extension": extension, "function": function}


# what is sent ---------------------------------------------------------------------------------------------------------------


def test_every_type_of_record_has_its_shape(life, failures):
    """No field more, none less, and no other type: what our emulator sends can be held against this."""
    lives = [life, *failures.values()]

    assert shapes(event for one in lives for event in one.events()) == MANAGED


def test_nothing_tells_that_the_runtime_is_done(life):
    """In this mode an invoke ends with its report."""
    assert life.of("platform.report")
    assert not life.of("platform.runtimeDone")


def test_an_event_is_a_time_a_type_and_a_record(life):
    """The time in milliseconds, in UTC."""
    for event in life.events():
        assert list(event) == ["time", "type", "record"]
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", event["time"])


def test_a_delivery_has_a_length_and_its_hash(life):
    """To the root, whatever path was subscribed."""
    assert len(life.posts["listener"]) > 1
    for post in life.posts["listener"]:
        assert post.path == "/"
        assert post.headers == {
            "host": "127.0.0.1:4243",
            "user-agent": "Go-http-client/1.1",
            "content-type": "application/json",
            "content-length": str(len(post.body)),
            "sequence-id": base64.b64encode(hashlib.sha256(post.body).digest()).decode(),
            "accept-encoding": "gzip",
        }


def test_what_was_before_the_subscription_is_sent_too(life):
    """From the start of init on; the extension's own first line is among it, or comes later."""
    first = [event["type"] for event in life.posts["listener"][0].events()]

    assert first[0] == "platform.initStart"
    assert "platform.telemetrySubscription" in first
    assert "listener begins" in life.of_type("extension")


def test_a_line_is_a_string_though_it_be_json(life):
    """Without its end, and whatever the log format, which is JSON in this mode."""
    assert {"importing", "plain", '{"level": "INFO", "message": "JSON"}'} <= set(life.of_type("function"))


@pytest.mark.parametrize(
    ("name", "outcome", "spans"),
    [
        ("success", {"status": "success"}, 2),
        ("error", {"status": "error", "errorType": "Runtime.Unknown"}, 2),
        ("slow", {"status": "timeout", "errorType": "Sandbox.Timedout"}, 0),
    ],
)
def test_a_report_says_how_an_invoke_ended(name, outcome, spans, life):
    """A handler's exception is an error here. Only what was answered in time has spans."""
    (report,) = life.of("platform.report", requestId=name)

    assert {key: report[key] for key in ("status", "errorType") if key in report} == outcome
    assert [span["name"] for span in report.get("spans", [])] == ["responseLatency", "responseDuration"][:spans]


@pytest.mark.parametrize(
    ("name", "status", "kind", "body"),
    [
        ("success", 200, None, b'{"id": "success"}'),
        ("error", 200, "Runtime.Unknown", b'"errorType": "ValueError"'),
        ("slow", 200, "Sandbox.Timedout", b'"errorMessage":"Task timed out after 5.00 seconds"'),
        ("refused", 400, "Runtime.Unavailable", b'{"errorType":"Runtime.Unavailable"}'),
    ],
)
def test_the_caller_learns_of_an_error_from_a_header(name, status, kind, body, life):
    """One invoke more than there are workers is refused."""
    found, headers, content = life.asked[name]

    assert (found, headers.get("error-type")) == (status, kind)
    assert body in content


def test_two_invokes_are_told_interleaved(life):
    """Both begin before either ends; what was refused neither begins nor ends."""
    order = [
        (event["type"], event["record"]["requestId"])
        for event in life.events()
        if event["type"] in ("platform.start", "platform.report")
    ]
    starts = [order.index(("platform.start", name)) for name in ("one", "other")]
    reports = [order.index(("platform.report", name)) for name in ("one", "other")]

    assert max(starts) < min(reports)
    assert "refused" not in {name for _kind, name in order}


@pytest.mark.parametrize("kind", ["platform.start", "platform.report"])
def test_a_trace_is_told_where_the_caller_sent_one(kind, life):
    """And left out otherwise."""
    (traced,), (other,) = life.of(kind, requestId="traced"), life.of(kind, requestId="success")

    assert traced["tracing"] == {"type": "X-Amzn-Trace-Id", "value": TRACE}
    assert "tracing" not in other


def test_a_delivery_that_fails_is_not_tried_again(life):
    """Unlike Lambda, which tries again (AWS docs, Telemetry API). All subscribers are told what was dropped."""
    failed, *others = life.posts["grumpy"]
    (dropped,) = life.of("platform.logsDropped")

    assert dropped["droppedRecords"] == len(failed.events())
    assert not [event for post in others for event in post.events() if event in failed.events()]


# what is refused ------------------------------------------------------------------------------------------------------------

REFUSALS: dict[str, tuple[int, str]] = {
    **dict.fromkeys(SUBSCRIPTIONS, (400, "ValidationError")),
    "not JSON": (400, "ValidationError"),
    "no identifier": (403, "Extension.MissingExtensionIdentifier"),
    "identifier of nobody": (403, "Extension.UnknownExtensionIdentifier"),
    "twice": (500, "InternalServerError"),
    "after init": (403, "Telemetry.SubscriptionClosed"),
    "logs API": (404, ""),
}


@pytest.mark.parametrize("step", REFUSALS)
def test_a_subscription_is_refused(step, life):
    """The message quotes without escaping: its JSON may be none."""
    answer = life.answers["grumpy"][step]
    found = re.search(r'"errorType": ?"([^"]*)"', answer.body)

    assert (answer.status, found[1] if found else "") == REFUSALS[step]


def test_invoke_events_are_refused(life):
    """An extension that asks for SHUTDOWN alone is welcome, and its telemetry too, by either name of the host."""
    refused = life.answers["listener"]["register INVOKE"]

    assert (refused.status, json.loads(refused.body)["errorType"]) == (403, "Extension.InvalidEventType")
    assert json.loads(life.answers["listener"]["register"].body)["accountId"] == "123456789012"
    for name in ("listener", "grumpy"):
        assert (life.answers[name]["subscribe"].status, life.answers[name]["subscribe"].body) == (200, '"OK"')


# how it ends ----------------------------------------------------------------------------------------------------------------


def test_sigterm_is_a_spindown(life):
    """All telemetry is there by then."""
    event = json.loads(life.answers["listener"]["next"].body)

    assert life.exit_status == 0
    assert (event["eventType"], event["shutdownReason"]) == ("SHUTDOWN", "spindown")


@pytest.mark.parametrize(("whose", "kind"), [("extension", "Extension.Reason"), ("function", "Runtime.Unknown")])
def test_a_failed_init_is_told_and_is_the_end(whose, kind, failures):
    """There is no second init."""
    failed = failures[whose]

    for record in ("platform.initRuntimeDone", "platform.initReport"):
        assert [(found["status"], found["errorType"]) for found in failed.of(record)] == [("error", kind)]
    assert failed.exit_status == 1
    assert json.loads(failed.answers["listener"]["next"].body)["shutdownReason"] == "failure"


def test_the_state_of_an_extension_that_failed_is_told(failures):
    """With its reason."""
    failing = {"name": "failing", "state": "InitError", "events": ["SHUTDOWN"], "errorType": "Extension.Reason"}

    assert failing in failures["extension"].of("platform.extension")


# the helper itself ----------------------------------------------------------------------------------------------------------


def test_nothing_is_left_behind(make):
    """Not even what a function started and left, when the test fails in the middle."""
    code = "import subprocess\ndef handler(event, context):\n"
    code += "    return subprocess.Popen(['sleep', '600'], start_new_session=True).pid\n"
    ours = [Path("/opt/extensions"), Path(SHARED), Path("/opt/bootstrap"), Path("/var/task")]
    before = [path.exists() for path in ours]

    with pytest.raises(ZeroDivisionError), make(code) as running:  # noqa: PT012
        inside = processes.marked_by_network(running.network)
        assert int(running.invoke()[2]) in processes.left_behind(inside)
        raise ZeroDivisionError

    assert processes.left_behind(inside) == []
    assert not running.shared.parents[1].exists()
    assert str(running.shared.parents[1]) not in Path("/proc/self/mountinfo").read_text()
    assert [path.exists() for path in ours] == before


def test_what_lies_below_a_closed_directory_can_be_read_inside(binary, tmp_path):
    """As a Python below /root must be. Its neighbours stay closed."""
    for name in ("wanted", "neighbour"):
        (tmp_path / "closed" / name).mkdir(parents=True)
        (tmp_path / "closed" / name / "file").write_text(name)
    rie_managed.open_to_all(tmp_path / "closed")
    (tmp_path / "closed").chmod(0o700)
    place = namespaces.NamespaceThread()
    command = f"cat {tmp_path}/closed/*/file"
    try:
        place.call(lambda: rie_managed._uncover(tmp_path / "scratch", {tmp_path / "closed" / "wanted"}))
        seen = place.call(
            lambda: subprocess.check_output(command, shell=True, text=True, user=993, group=990, timeout=30)
        )
    finally:
        place.close()

    assert seen == "wanted"
    assert (tmp_path / "closed").stat().st_mode & 0o777 == 0o700


def test_a_run_has_a_limit_of_its_own(make):
    """It does not need us to end."""
    with make(FUNCTION, limit=0.5) as running:
        assert running.wait() == 124  # the word of `timeout`


def test_what_is_written_is_there_for_a_test_to_print(make):
    """Also when nothing works."""
    with make(BROKEN) as running:
        assert running.wait() == 1
        assert "ValueError" in "\n".join(running.output())


@pytest.mark.parametrize(
    ("user", "table", "reason"),
    [
        (1000, "0 0 4294967295", "AWS's emulator in Managed Instances mode needs root"),
        (
            0,
            "0 1000 1",
            "AWS's emulator in Managed Instances mode needs user 993 and group 990, not in this user namespace",
        ),
    ],
)
def test_one_line_says_why_not(user, table, reason, monkeypatch, tmp_path):
    """Not root; or root of a user namespace which has no other user."""
    monkeypatch.setattr(os, "geteuid", lambda: user)
    monkeypatch.setattr(Path, "read_text", lambda self: f"{table}\n")

    assert rie_managed.why_not.__wrapped__() == reason
