"""What is reached from inside an environment's network: servers of this machine that a variable names, and nothing else."""

from __future__ import annotations

import json
import socket
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extension_kit.emulator.reach import Reach, named_ports
from tests.conftest import ISOLATED

ASKS = """
import json, socket
def handler(event, context):
    answers = {}
    for port in event["ports"]:
        try:
            with socket.create_connection(("127.0.0.1", port), 2) as connection:
                connection.sendall(event["say"].encode())
                connection.shutdown(socket.SHUT_WR)
                answer = b""
                while data := connection.recv(65536):
                    answer += data
                answers[str(port)] = answer.decode()
        except OSError as error:
            answers[str(port)] = type(error).__name__
    return answers
"""


@pytest.fixture
def echo():
    """A server on loopback that says what it hears, in capitals, once it has heard all."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve():
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    heard = b""
                    while data := connection.recv(65536):
                        heard += data
                    connection.sendall(heard.upper())

        threading.Thread(target=serve, daemon=True).start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)


@pytest.mark.skipif(not ISOLATED, reason="no network namespaces here")
def test_what_a_variable_names_is_reached_and_nothing_else(lab, echo):
    with socket.create_server(("127.0.0.1", 0)) as other:
        unnamed = other.getsockname()[1]
        environment = lab.start(function=lab.function(ASKS), variables={"ENDPOINT": f"http://localhost:{echo}/x"})
        said = "much " * 50_000
        answers = json.loads(lab.invoke(environment, {"ports": [echo, unnamed], "say": said}).payload)

    assert answers == {str(echo): said.upper(), str(unnamed): "ConnectionRefusedError"}
    assert f"this machine's loopback is reached at {echo}" in environment.log.notes


@pytest.mark.skipif(not ISOLATED, reason="no network namespaces here")
def test_nothing_is_led_in_where_nobody_listens(lab):
    with socket.create_server(("127.0.0.1", 0)) as server:
        gone = server.getsockname()[1]
    environment = lab.start(function=lab.function(ASKS), variables={"ENDPOINT": f"http://127.0.0.1:{gone}"})

    answers = json.loads(lab.invoke(environment, {"ports": [gone], "say": "x"}).payload)

    assert answers == {str(gone): "ConnectionRefusedError"}


def test_a_port_that_is_taken_inside_is_left_alone(echo):
    """Here inside and outside are the same: the port is taken by the server itself."""
    reach = Reach([f"127.0.0.1:{echo}"], lambda call: call())

    assert reach.ports == []
    reach.close()


@pytest.mark.parametrize(
    ("value", "ports"),
    [
        ("http://127.0.0.1:5000", [5000]), ("localhost:80/x,[::1]:81", [80, 81]), ("http://example.com:5000", []),
        ("127.0.0.1", []), ("127.0.0.1:0", []), ("127.0.0.1:70000", []), ("127.0.0.1:123456", []),
    ],
)  # fmt: skip
def test_ports_that_are_named(value, ports):
    assert named_ports([value]) == ports


@given(st.text())
def test_any_text_names_ports_or_none(text):
    assert all(0 < port < 65_536 for port in named_ports([text]))
