"""The small parts of the protocol: values, the lifecycle table, routes, deadlines, JSON, the Extensions API's messages."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extension_kit.errors import LocalProtocolError, RemoteProtocolError
from extension_kit.events import Invoke, Registration, Shutdown, UnknownEvent
from extension_kit.protocol import extensions_api as api
from extension_kit.protocol import jsontext, refusals, runtime_api
from extension_kit.protocol import lifecycle as lc
from extension_kit.protocol.deadline import Deadline, ShutdownPlan, shutdown_plan

# values


def test_values_are_frozen_and_compare_by_fields():
    """Nothing that is passed around changes."""
    call = runtime_api.Call("a", "b")

    assert call == runtime_api.Call("a", "b")
    assert call != runtime_api.Call("a", "c")
    assert call != ("a", "b")
    assert hash(call) == hash(runtime_api.Call("a", "b"))
    assert repr(call) == "Call(name='a', request_id='b')"
    with pytest.raises(AttributeError, match="frozen"):
        call.name = "x"
    with pytest.raises(AttributeError, match="frozen"):
        del call.name


# the lifecycle table


def test_every_state_that_a_step_leads_to_has_a_row():
    """The table is closed."""
    for rows in lc.TABLE.values():
        assert {following for steps in rows.values() for following in steps.values()} <= set(rows)


def test_every_state_can_be_reached_from_the_start():
    """No row is dead."""
    for kind, rows in lc.TABLE.items():
        reached, todo = set(), [lc.STARTED]
        while todo:
            state = todo.pop()
            if state not in reached:
                reached.add(state)
                todo += rows[state].values()
        assert reached == set(rows), kind


@given(st.sampled_from(sorted(lc.TABLE)), st.lists(st.sampled_from([lc.REGISTER, lc.NEXT, lc.INVOKE, lc.SHUTDOWN,
       lc.PROCESS_EXITED, lc.REPORT_EXIT_ERROR, lc.RESPOND])))  # fmt: skip
def test_a_step_is_taken_or_refused_and_never_half(kind, steps):
    """`advance` agrees with `allows`; a refused step changes nothing."""
    party = lc.Lifecycle(kind)
    for step in steps:
        before, allowed = party.state, party.allows(step)
        try:
            party.advance(step)
        except LocalProtocolError:
            assert (party.state, allowed) == (before, False)
        else:
            assert allowed
    assert party.ended == (not lc.TABLE[kind][party.state])


def test_an_exit_is_good_in_one_state_only():
    """Outside a shutdown any exit is a crash; it names its error type."""
    party = lc.Lifecycle(lc.EXTERNAL)
    for step in (lc.REGISTER, lc.NEXT, lc.INVOKE, lc.PROCESS_EXITED):
        party.advance(step)

    assert lc.FATAL[lc.EXTERNAL][party.state] == "Extension.Crash"
    assert lc.TABLE[lc.EXTERNAL][lc.SHUTTING_DOWN][lc.PROCESS_EXITED] == lc.EXITED


# routes


@pytest.mark.parametrize(
    ("method", "target", "call"),
    [
        (b"GET", b"/2018-06-01/runtime/invocation/next?x=1", runtime_api.Call(runtime_api.RUNTIME_NEXT)),
        (b"POST", b"/2018-06-01/runtime/invocation/7/response", runtime_api.Call(runtime_api.RUNTIME_RESPONSE, "7")),
        (b"POST", b"/2018-06-01/runtime/invocation/7/error", runtime_api.Call(runtime_api.RUNTIME_ERROR, "7")),
        (b"POST", b"/2018-06-01/runtime/invocation//error", runtime_api.NOT_FOUND),
        (b"POST", b"/2018-06-01/runtime/invocation/7/other", runtime_api.NOT_FOUND),
        (b"POST", b"/elsewhere", runtime_api.NOT_FOUND),
        (b"GET", b"/2020-01-01/extension/register", runtime_api.METHOD_NOT_ALLOWED),
    ],
)
def test_routes(method, target, call):
    """A request line names a call, or 404, or 405."""
    assert runtime_api.route(method, target) == call


def test_refusals_speak_as_aws_emulator():
    """The texts that carry a name or a number."""
    assert refusals.invalid_event("BOGUS").message == "BOGUS: ErrorInvalidEventType"
    assert refusals.unknown_identifier("7").message == "Unknown extension 7"
    assert refusals.invalid_format("why").error_type == "InvalidRequestFormat"
    assert refusals.too_large(7, 6).status == 413
    assert refusals.invalid_transition("ResponseSent", "InvocationResponse").message == (
        "State transition from RuntimeResponseSentState to InvocationResponse failed for runtime. "
        "Error: State transition is not allowed"
    )
    assert "from Ready to Ready failed for extension id" in refusals.invalid_state("id", "Ready", "Ready").message


# deadlines


def test_a_deadline_counts_down_and_stops_at_nothing():
    """The margin is kept free."""
    now = [1000]
    deadline = Deadline(2000, lambda: now[0], margin_ms=100, reason="test")

    assert (deadline.remaining_ms(), deadline.expired) == (900, False)
    now[0] = 5000
    assert (deadline.remaining_ms(), deadline.expired) == (0, True)
    assert repr(deadline) == "Deadline(at_ms=2000, margin_ms=100, reason='test')"


def test_shutdown_budgets():
    """0, 500 or 2000 ms, the runtime's share first."""
    assert shutdown_plan(0, 0) == ShutdownPlan(0, 0)
    assert shutdown_plan(0, 1) == ShutdownPlan(500, 500)
    assert shutdown_plan(2, 1) == ShutdownPlan(2000, 300)
    assert shutdown_plan(1, 0, 600).runtime_ms == 600


# JSON

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**25), 10**25) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(JSON, st.sampled_from(["", " ", "\n\t"]))
def test_json_is_read_as_the_standard_library_reads_it(value, white):
    """Any value, with white space around."""
    assert jsontext.loads((white + json.dumps(value) + white).encode()) == value


@given(st.binary(max_size=30) | st.text('[]{}:,"\\u019eE.-+ntfaNI \n', max_size=20).map(str.encode))
def test_what_the_standard_library_refuses_is_refused(data):
    """ValueError for both, or the same value; raw control characters inside strings are let through by both."""
    try:
        wanted = json.loads(data.decode("utf-8"), strict=False)
    except ValueError:
        with pytest.raises(ValueError):
            jsontext.loads(data)
    else:
        assert repr(jsontext.loads(data)) == repr(wanted)


def test_json_that_is_nested_too_deeply_is_an_error_and_no_crash():
    """A ValueError like any other."""
    with pytest.raises(ValueError, match="deeply"):
        jsontext.loads(b"[" * 200_000)


def test_bad_json_is_a_value_error_where_nobody_has_imported_json():
    """The scanner in C has no error class to raise then: CPython 3.11 ends in a SystemError, which took extensions down."""
    script = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parents[2])!r})
from extension_kit.protocol.jsontext import loads
assert "json" not in sys.modules
for data in (b'{{"a":"', b'{{"a" 1}}', b"[1,", b"nul", b"[", b'{{"a":1', b"[" * 100000):
    try:
        loads(data)
    except ValueError as error:
        print("ValueError")
"""
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", script], capture_output=True, text=True, timeout=30, check=False
    )
    assert (done.stdout.split(), done.stderr) == (["ValueError"] * 7, "")


def test_constants():
    """As the standard library: NaN and the infinities."""
    nan, high, low = jsontext.loads(b"[NaN, Infinity, -Infinity]")
    assert math.isnan(nan)
    assert (high, low) == (math.inf, -math.inf)


def test_an_interpreter_without_the_scanner_uses_json(monkeypatch):
    """PyPy, say."""
    monkeypatch.setitem(sys.modules, "_json", None)
    monkeypatch.setattr(jsontext, "_scan", jsontext._make())

    assert jsontext._scan is None
    assert jsontext.loads(b' {"a": 1} ') == {"a": 1}


# the Extensions API


def test_requests_are_whole_and_exact():
    """Byte for byte what is sent."""
    assert api.register_request("h:1", "ext.py", api.choose_events("on-demand")) == (
        b"POST /2020-01-01/extension/register HTTP/1.1\r\nHost: h:1\r\nLambda-Extension-Name: ext.py\r\n"
        b"Lambda-Extension-Accept-Feature: accountId\r\nContent-Type: application/json\r\n"
        b'Content-Length: 32\r\n\r\n{"events":["INVOKE","SHUTDOWN"]}'
    )
    assert api.next_request("h:1", "id").endswith(b"Lambda-Extension-Identifier: id\r\n\r\n")
    assert b"/init/error HTTP/1.1" in api.error_request("h:1", "id", "init", "Extension.X")
    assert api.choose_events("lambda-managed-instances") == ("SHUTDOWN",)


@pytest.mark.parametrize("name", ["", "  ", "a\r\nb", "\u00e9"])
def test_a_name_that_cannot_stand_in_a_header_is_not_sent(name):
    """A LocalProtocolError."""
    with pytest.raises(LocalProtocolError):
        api.register_request("h:1", name, ())


def test_answers_become_events():
    """With neutral values for what is absent or of another type."""
    registration = api.parse_registration("id", b'{"functionName":"f","accountId":"1","handler":3}')
    invoke = api.parse_event(b'{"eventType":"INVOKE","requestId":"r","deadlineMs":12.0,"tracing":{"value":"Root=1"}}')
    shutdown = api.parse_event(b'{"eventType":"SHUTDOWN","shutdownReason":"Timeout","deadlineMs":"soon"}')

    assert isinstance(registration, Registration)
    assert (registration.function_name, registration.account_id, registration.handler) == ("f", "1", "")
    assert isinstance(invoke, Invoke)
    assert (invoke.request_id, invoke.deadline_ms, invoke.tracing) == ("r", 12, "Root=1")
    assert isinstance(shutdown, Shutdown)
    assert (shutdown.reason, shutdown.deadline_ms) == ("timeout", 0)
    assert api.parse_event(b'{"eventType":"INVOKE","tracing":"odd"}').tracing == ""


@given(st.binary(max_size=40) | JSON.map(lambda value: json.dumps(value).encode()))
def test_no_event_body_raises(body):
    """What cannot be read is an unknown event."""
    event = api.parse_event(body)

    assert isinstance(event, (Invoke, Shutdown, UnknownEvent))


def test_refused_registrations():
    """Without an identifier; with AWS's words; with none."""
    with pytest.raises(RemoteProtocolError, match="without the header"):
        api.parse_registration("", b"{}")
    told = api.parse_refusal("register", 403, b'{"errorType":"Extension.X","errorMessage":"why"}')
    assert (str(told), told.status_hint) == ("register: 403 Extension.X: why", 403)
    assert str(api.parse_refusal("next", 500, b"")) == "next: 500 no error type: no message"
