"""Ports that the kit binds itself, where no launcher has: by the launcher's rules."""

from __future__ import annotations

import errno
from socket import create_server

import pytest

from extension_kit.io import ports


def numbers(sockets):
    return {socket.getsockname()[1] for socket in sockets}


def close(sockets):
    for socket in sockets:
        socket.close()


@pytest.fixture
def taken():
    with create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_a_port_listens_on_loopback_alone_and_both_addresses_have_its_number(tmp_path):
    """And the file, in folders that nobody else can read, says the number."""
    file = tmp_path / "new" / "deeper" / "port"
    sockets = ports.open_port(("http", 0, (), str(file)), print)
    try:
        assert {socket.getsockname()[0] for socket in sockets} <= {"127.0.0.1", "::1"}
        assert {int(file.read_text())} == numbers(sockets)
        assert file.read_text().endswith("\n")
        assert [path.stat().st_mode & 0o777 for path in (file, file.parent, file.parent.parent)] == [
            0o600,
            0o700,
            0o700,
        ]
        assert [path.name for path in file.parent.iterdir()] == ["port"]
    finally:
        close(sockets)


def test_a_port_that_is_taken_is_an_error_that_names_it(taken):
    with pytest.raises(OSError, match=f"port {taken}: Address already in use") as caught:
        ports.open_port(("http", taken, (), ""), print)
    assert caught.value.errno == errno.EADDRINUSE


def test_a_port_that_is_taken_is_another_one_where_a_file_says_which(taken, tmp_path):
    file = tmp_path / "port"
    file.write_text("1\n")  # of an environment before
    sockets = ports.open_port(("http", taken, (), str(file)), print)
    try:
        assert numbers(sockets) == {int(file.read_text())} != {taken}
    finally:
        close(sockets)


def test_what_is_taken_on_one_address_is_taken(taken, monkeypatch):
    """Who connects to "localhost" must not end up at somebody else."""
    real = ports.bind

    def bind(host, port=0, backlog=128):
        if host == "::1":
            raise OSError(errno.EADDRINUSE, "Address already in use")
        return real(host, port, backlog)

    monkeypatch.setattr(ports, "bind", bind)
    with create_server(("127.0.0.1", 0)) as free:
        number = free.getsockname()[1]
    with pytest.raises(OSError, match="Address already in use"):
        ports.open_port(("http", number, (), ""), print)
    sockets = ports.open_port(("http", 0, (), ""), print)  # any will do: then one address is better than none
    assert len(sockets) == 1
    close(sockets)


def test_without_ipv6_there_is_one_socket(monkeypatch):
    real = ports.bind

    def bind(host, port=0, backlog=128):
        if host == "::1":
            raise OSError(errno.EADDRNOTAVAIL, "Cannot assign requested address")
        return real(host, port, backlog)

    monkeypatch.setattr(ports, "bind", bind)
    sockets = ports.open_port(("http", 0, (), ""), print)

    assert [socket.getsockname()[0] for socket in sockets] == ["127.0.0.1"]
    close(sockets)


@pytest.mark.parametrize("value", ["0", "65536", "-1", "http", "1e3", "٣", "9" * 5000])
def test_a_variable_that_is_no_port_costs_a_line(value, taken, monkeypatch):
    """And the default is used: here one that is taken, so that it shows."""
    monkeypatch.setattr(ports.environ, "get", {"A": "", "B": value, "C": "5000"}.get)
    told = []
    with pytest.raises(OSError, match=f"port {taken}: "):
        ports.open_port(("http", taken, ("A", "B", "C"), ""), told.append)

    assert told == [f"B={value!r} is no port, 1 to 65535: {taken} is used"]


def test_a_file_that_cannot_be_written_costs_a_line_and_the_port_is_served(tmp_path):
    (tmp_path / "file").touch()
    told = []
    sockets = ports.open_port(("http", 0, (), str(tmp_path / "file" / "port")), told.append)

    assert told == [f"the number of port http cannot be written to {tmp_path}/file/port: Not a directory"]
    close(sockets)
