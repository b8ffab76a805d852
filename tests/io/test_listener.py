"""The telemetry listener over real sockets."""

from __future__ import annotations

import http.client
import socket
import threading
import time

import pytest

from extension_kit.io import listener as module
from extension_kit.io.listener import LOOPBACK, Listener, sandbox_address


@pytest.fixture
def listening(monkeypatch):
    """A listener whose batches end up in a list."""
    monkeypatch.setattr(module, "sandbox_address", lambda: LOOPBACK)
    made = []

    def make(port=0, store=None):
        stored, arrived = [], threading.Event()
        one = Listener(store or stored.append, arrived.set, port)
        one.start()
        made.append(one)
        return one, stored, arrived

    yield make
    for one in made:
        one._loop.stop()
        while one._loop._running:
            time.sleep(0.01)
        one._server.close()
        one._loop.close()


def post(port, body, method="POST"):
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=5)
    connection.request(method, "/any", body)
    response = connection.getresponse()
    response.read()
    connection.close()
    return response.status


def test_a_batch_is_stored_and_answered_200(listening):
    """With a length or in chunks; whoever waits is woken."""
    one, stored, arrived = listening()

    assert post(one.port, b"[1]") == 200
    assert post(one.port, iter([b"[", b"2]"])) == 200  # http.client sends an iterator in chunks
    assert stored == [b"[1]", b"[2]"]
    assert arrived.is_set()


def test_nonsense_is_stored_and_answered_200_too(listening):
    """Anything else than 200 would bring it back for ever."""
    one, stored, _ = listening()

    assert post(one.port, b"nonsense") == 200
    assert stored == [b"nonsense"]


def test_two_megabytes_are_taken(listening):
    """Twice the largest buffer, and more."""
    one, stored, _ = listening()

    assert post(one.port, b"x" * 2_200_000) == 200
    assert len(stored[0]) == 2_200_000


def test_other_methods_are_none_of_ours(listening):
    """405, and nothing is stored."""
    one, stored, _ = listening()

    assert post(one.port, None, method="GET") == 405
    assert stored == []


def test_a_store_that_fails_is_no_success(listening):
    """500: the platform keeps the batch and posts it again; the listener lives."""
    calls = []

    def store(body):
        calls.append(body)
        if len(calls) == 1:
            raise MemoryError

    one, _, _ = listening(store=store)
    assert post(one.port, b"[]") == 500
    assert post(one.port, b"[]") == 200


def test_a_port_that_is_taken_falls_back_to_a_free_one(listening):
    """Complaint 18."""
    with socket.create_server((LOOPBACK, 0)) as taken:
        port = taken.getsockname()[1]
        one, _, _ = listening(port=port)

    assert one.port != port
    assert "Address already in use" in one.fell_back
    assert post(one.port, b"[]") == 200


HOSTS = [
    (b"127.0.0.1 localhost\n10.1.2.3 sandbox.localdomain sandbox\n", "10.1.2.3"),
    (b"fd00::1 sandbox.localdomain\n169.254.79.129 sandbox.localdomain # x\n", "169.254.79.129"),
    (b"# 10.1.2.3 sandbox.localdomain\n\n", "127.0.0.9"),
]


@pytest.mark.parametrize(("hosts", "address"), HOSTS)
def test_the_address_is_that_of_the_sandbox(hosts, address, tmp_path, monkeypatch):
    """From the hosts file, else from the resolver."""
    path = tmp_path / "hosts"
    path.write_bytes(hosts)
    monkeypatch.setattr(module, "_HOSTS", str(path))
    monkeypatch.setattr(module._socket, "getaddrinfo", lambda *_: [(2, 1, 6, "", ("127.0.0.9", 0))])

    assert sandbox_address() == address


def test_a_resolver_that_never_answers_is_not_waited_for(monkeypatch):
    """Loopback after half a second; the function waits meanwhile."""
    monkeypatch.setattr(module, "_HOSTS", "/nonexistent")
    monkeypatch.setattr(module, "_PATIENCE", 0.05)
    release = threading.Event()
    monkeypatch.setattr(module._socket, "getaddrinfo", lambda *_: release.wait(5) and [])

    assert sandbox_address() == LOOPBACK
    release.set()


def test_an_address_that_cannot_be_bound_is_no_reason_to_give_up(monkeypatch):
    """Loopback it is, then."""
    monkeypatch.setattr(module, "sandbox_address", lambda: "203.0.113.7")
    one = Listener(lambda _body: None, lambda: None)

    assert one.port
    assert "203.0.113.7" in one.fell_back
    one._server.close()
    one._loop.close()
