"""The function's invoke endpoint, as callers of the Lambda service know it."""

from __future__ import annotations

import base64
import http.client
import json

import pytest

PATH = "/2015-03-31/functions/function/invocations"
TELLS = """
import json
def handler(event, context):
    print("handled", flush=True)
    if event == "raise":
        raise KeyError("no such thing")
    import os
    client = context.client_context
    return {"event": event, "trace": os.environ.get("_X_AMZN_TRACE_ID"), "id": context.aws_request_id,
            "arn": context.invoked_function_arn, "custom": client.custom if client else None}
"""


@pytest.fixture
def tells(lab):
    """An environment whose function tells what it was given."""
    return lab.start(function=lab.function(TELLS), function_name="teller")


def call(environment, body=b"{}", method="POST", path=PATH, **headers):
    client = http.client.HTTPConnection("127.0.0.1", environment.invoke_port, timeout=20)
    client.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
    answer = client.getresponse()
    body = answer.read()
    client.close()
    return answer.status, answer.headers, body


def test_an_answer_names_the_request_and_the_version(tells):
    """No function error: the header is absent."""
    status, headers, body = call(tells, b'{"a": 1}')

    content = json.loads(body)
    assert (status, content["event"], content["arn"].rpartition(":")[2]) == (200, {"a": 1}, "teller")
    assert headers["X-Amzn-RequestId"] == content["id"]
    assert headers["X-Amz-Executed-Version"] == "$LATEST"
    assert "X-Amz-Function-Error" not in headers
    assert content["trace"].startswith("Root=1-")


def test_a_function_error_is_200_with_a_header(tells):
    """As on Lambda: the invoke has succeeded, the function has not."""
    status, headers, body = call(tells, b'"raise"')

    assert (status, headers["X-Amz-Function-Error"]) == (200, "Unhandled")
    assert json.loads(body)["errorType"] == "KeyError"


def test_client_context_and_trace_are_passed_on(tells):
    """base64 of JSON in the one, a header of X-Ray in the other; a client context that is neither is dropped."""
    context = base64.b64encode(b'{"custom": {"k": "v"}}').decode()
    trace = "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Parent=9a9197af755a6419;Sampled=1"

    content = json.loads(call(tells, X_Amz_Client_Context=context, X_Amzn_Trace_Id=trace)[2])

    assert (content["custom"], content["trace"]) == ({"k": "v"}, trace)
    assert json.loads(call(tells, X_Amz_Client_Context="%%%")[2])["custom"] is None


def test_an_event_is_taken_at_once_and_run(lab, tells):
    """202, and the function sees it; DryRun is 204, and it does not."""
    assert call(tells, X_Amz_Invocation_Type="DryRun")[0] == 204
    status, _headers, body = call(tells, X_Amz_Invocation_Type="Event")

    assert (status, body) == (202, b"")
    lab.until(lambda: "invoke_end" in lab.kinds(tells))
    assert lab.lines(tells, "runtime") == ["handled"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", PATH, 405), ("POST", "/", 404), ("POST", PATH + "/more", 404), ("POST", PATH + "?Qualifier=1", 200)],
)
def test_other_paths_and_methods(tells, method, path, status):
    """404 and 405; a query is no other path."""
    assert call(tells, method=method, path=path)[0] == status


@pytest.mark.parametrize(("size", "status"), [(6_291_556, 200), (6_291_557, 413)])
def test_an_event_may_have_six_mebibytes(tells, size, status):
    """And 100 bytes; one more is refused before the function sees it."""
    event = b'"' + b"x" * (size - 2) + b'"'

    answer = call(tells, event)

    assert answer[0] == status
    if status == 200:  # what the function returns is larger still: that is refused too
        assert json.loads(answer[2])["errorType"] == "Function.ResponseSizeTooLarge"


def test_an_event_that_is_not_json_is_the_runtimes_to_refuse(tells):
    """The endpoint takes bytes; awslambdaric says what is wrong with them."""
    status, headers, body = call(tells, b"not json")

    assert (status, headers["X-Amz-Function-Error"]) == (200, "Unhandled")
    assert json.loads(body)["errorType"] == "Runtime.UnmarshalError"
