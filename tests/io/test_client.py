"""The client keeps the order that the lifecycle table prescribes, and sends nothing out of it."""

from __future__ import annotations

from contextlib import closing

import pytest

from extension_kit.errors import LocalProtocolError, RemoteProtocolError
from extension_kit.io.client import ExtensionsClient
from tests.scripted_api import INVOKE, REGISTERED, SHUTDOWN, Server, answer


def register(server: Server, internal: bool = False) -> ExtensionsClient:
    server.start()
    client = ExtensionsClient(server.address)
    client.register("ext", ("INVOKE",), internal=internal)
    return client


@pytest.mark.parametrize("call", [lambda client: client.next(), lambda client: client.report_error("init", "X.Y")])
def test_nothing_comes_before_register(call):
    """No connection is made: the address leads nowhere."""
    with pytest.raises(LocalProtocolError, match="before register"):
        call(ExtensionsClient("127.0.0.1:1"))


def test_a_second_registration_is_not_sent():
    """Refused here, as it would be there."""
    server = Server([REGISTERED])
    with closing(register(server)) as client, pytest.raises(LocalProtocolError, match="'register' is not allowed"):
        client.register("ext", ("INVOKE",))

    assert len(server.requests) == 1


def test_init_error_is_for_init_and_exit_error_for_later():
    """After the first event init/error is no step; nothing is sent."""
    server = Server([REGISTERED, answer(INVOKE), answer(b"{}", b"202 Accepted")])
    with closing(register(server)) as client:
        client.next()
        with pytest.raises(LocalProtocolError, match="init/error"):
            client.report_error("init", "Extension.Reason")
        client.report_error("exit", "Extension.Reason")

    assert [request.split()[1][-10:] for request in server.requests[2:]] == [b"exit/error"]


def test_after_shutdown_one_last_next_is_possible_and_no_other():
    """It would block until the process is ended; a third is no step."""
    with closing(register(Server([REGISTERED, answer(SHUTDOWN), answer(b"{}")]))) as client:
        client.next()
        with pytest.raises(RemoteProtocolError, match="'INVOKE' is not allowed in state Drained"):
            client.next()


def test_a_refused_next_may_be_asked_again():
    """A refusal is no step: the lifecycle stands where it stood."""
    refusal = answer(b'{"errorType":"Extension.Strange"}', b"403 Forbidden")
    with closing(register(Server([REGISTERED, refusal, answer(INVOKE)]))) as client:
        with pytest.raises(RemoteProtocolError, match=r"Extension\.Strange"):
            client.next()
        assert type(client.next()).__name__ == "Invoke"


def test_an_internal_extension_has_no_shutdown():
    """The table of its kind has none; a platform that sends one is not believed."""
    server = Server([REGISTERED, answer(SHUTDOWN)])
    with closing(register(server, internal=True)) as client, pytest.raises(RemoteProtocolError, match="SHUTDOWN"):
        client.next()
