"""Whatever becomes of a connection: the right answer, or an error in time; never an answer to another question."""

from __future__ import annotations

import itertools
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from time import monotonic

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from extension_kit.clients import wire
from extension_kit.clients.secret_cache import BadAnswer, SecretCache, Unreachable
from extension_kit.protocol import http1
from tests.clients.contract_server import TOKEN, ContractServer, serving

ROOT = Path(__file__).parents[2]
VALUE = "just text \N{SNOWMAN}"
BODY = b'{"SecretString":"scripted","SecretBinary":null}'
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
LENGTH = b"Content-Length: %d\r\n" % len(BODY)
UNUSUAL = {
    "in chunks": HEAD
    + b"Transfer-Encoding: chunked\r\n\r\n7\r\n"
    + BODY[:7]
    + b"\r\n28\r\n"
    + BODY[7:]
    + b"\r\n0\r\n\r\n",
    "until the end": HEAD + b"Connection: close\r\n\r\n" + BODY,
    "then closed": HEAD + b"Connection: close\r\n" + LENGTH + b"\r\n" + BODY,
    "after an interim one": b"HTTP/1.1 102 Processing\r\n\r\n" + HEAD + LENGTH + b"\r\n" + BODY,
    "in pieces": [HEAD[:5], HEAD[5:] + LENGTH[:9], LENGTH[9:] + b"\r", b"\n" + BODY[:3], BODY[3:]],
    "in capitals": HEAD + LENGTH.upper() + b"\r\n" + BODY,
    "of HTTP/1.0": (HEAD + LENGTH + b"Connection: close\r\n\r\n" + BODY).replace(b"HTTP/1.1", b"HTTP/1.0"),
    "with more behind it": [HEAD + LENGTH + b"\r\n" + BODY + b"HTTP/1.1 200 OK\r\nContent-Le", b"ngth: 2\r\n\r\n{}"],
}


@pytest.mark.parametrize("kind", UNUSUAL)
def test_an_unusual_answer_is_read_and_the_next_one_too(cache, contract, kind):
    for before in (0, 1):  # on a fresh connection and on a kept one
        if before:
            cache.secret("plain")
        contract.scripted.append(UNUSUAL[kind])

        assert cache.secret("plain") == "scripted"
        assert cache.secret("plain") == VALUE


def test_one_connection_serves_one_caller(cache, contract):
    assert {cache.secret(f"many-{number}") for number in range(20)} == {f"value {number}" for number in range(20)}
    assert contract.connections == 1


def test_a_connection_that_died_while_it_was_idle_costs_nothing(cache, contract):
    """As after a freeze, or a restart of the server."""
    for _ in range(3):
        assert cache.secret("plain") == VALUE
        contract.drop_connections()
    contract.scripted += [UNUSUAL["in chunks"], None]
    assert cache.secret("plain") == "scripted"
    assert cache.secret("plain") == VALUE


def test_a_server_that_was_started_anew_on_its_port():
    with serving() as first:
        cache = SecretCache(port=first.port, token=TOKEN)
        assert cache.secret("plain") == VALUE
        port = first.port
    with serving(port=port):
        assert cache.secret("plain") == VALUE
        cache.close()


def test_a_goodbye_to_an_idle_connection_is_no_answer(cache, contract):
    cache.secret("plain")
    contract.scripted.append(b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")

    assert cache.secret("plain") == VALUE


@pytest.mark.parametrize("answer", [None, HEAD + b"Connection: close", HEAD + LENGTH + b"Connection: close\r\n\r\n{"])
def test_an_answer_that_breaks_off_is_asked_for_again_once(cache, contract, answer):
    """On a kept connection; on a fresh one it is the server's fault, and said."""
    cache.secret("plain")
    contract.scripted.append(answer)
    assert cache.secret("plain") == VALUE

    contract.scripted += [answer, answer]
    with pytest.raises(Unreachable, match="closed"):
        cache.secret("plain")


def closing(answer):
    """The server closes after what says so in its first piece."""
    return [b"".join(answer)] if answer else None


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH_9.6\r\n\r\n",
        HEAD + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\n{}",
        HEAD + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}",
        HEAD + b"Content-Length: 99999999999\r\n\r\n",
        HEAD + b"Content-Length: 6\r\n\r\ns3cret",
        HEAD + b"Content-Length: 8\r\n\r\n\xff\xfes3cret",
        HEAD + b"Content-Length: 10\r\n\r\n[\"s3cret\"]",
        HEAD + b'Content-Length: 19\r\n\r\n{"Another":"s3cret"',
        HEAD + b'Content-Length: 20\r\n\r\n{"Another":"s3cret"}',
        HEAD + b'Content-Length: 25\r\n\r\n{"SecretBinary":"s3cret_"}'[:-1],
        HEAD + b'Content-Length: 23\r\n\r\n{"SecretString":["s3c"]}'[:-1],
    ],
)  # fmt: skip
def test_what_is_no_answer_is_an_error_without_a_piece_of_it(cache, contract, answer):
    """Not in its text, not in its attributes, not in the errors that it came from."""
    contract.scripted.append(answer)
    with pytest.raises(BadAnswer) as caught:
        cache.secret("plain")

    error: BaseException | None = caught.value
    while error is not None:
        assert "s3c" not in f"{error} {error!r} {vars(error)} {error.args}"
        error = error.__context__
    assert cache.secret("plain") == VALUE


def test_a_late_answer_is_never_taken_for_the_next(contract):
    cache = SecretCache(port=contract.port, token=TOKEN, timeout=0.2)
    cache.secret("plain")
    contract.delay = 0.4
    with pytest.raises(Unreachable, match="in time"):
        cache.secret("many-1")
    contract.delay = 0

    assert cache.secret("many-2") == "value 2"
    cache.close()


def test_an_answer_that_drips_is_bounded_by_the_same_time(contract):
    """Each read is short, all of them together are not."""
    cache = SecretCache(port=contract.port, token=TOKEN, timeout=0.2)
    contract.scripted.append([HEAD, *[b"X-Drip: 1\r\n"] * 30])

    with pytest.raises(Unreachable, match="in time"):
        cache.secret("plain")
    cache.close()


def test_a_time_that_is_over_is_over():
    """Between two reads, too, where no read can tell."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(HEAD)
        with pytest.raises(TimeoutError):
            wire._read(ours, monotonic() - 1)


def test_an_exception_of_a_signal_handler_does_not_spoil_the_next_answer(cache, contract):
    """Code that limits its own time does that."""

    class Enough(Exception):
        pass

    def ring(_signum, _frame):
        raise Enough

    cache.secret("plain")
    contract.delay = 0.3
    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, 0.05)
    try:
        with pytest.raises(Enough):
            cache.secret("many-1")
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    contract.delay = 0
    assert cache.secret("many-2") == "value 2"


def test_threads_get_their_own_answers(cache):
    wrong = []

    def ask(first):
        for number in range(first, first + 40):
            name = f"many-{number % 45}"
            if cache.secret(name, max_age=number % 3) != f"value {number % 45}":
                wrong.append(name)

    threads = [threading.Thread(target=ask, args=(first,)) for first in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert wrong == []


FORK = """
import os, sys; sys.path[0:0] = [{root!r}]
from extension_kit.clients.secret_cache import SecretCache
cache = SecretCache(port={port}, token={token!r})
cache.secret("plain")
child = os.fork()
numbers = range(200, 400) if child else range(200)
wrong = [number for number in numbers if cache.secret(f"many-{{number % 45}}") != f"value {{number % 45}}"]
if child == 0:
    os._exit(len(wrong))
print(len(wrong), os.waitpid(child, 0)[1])
"""


def test_a_fork_does_not_share_the_connections_of_its_parent(contract):
    """Both would read from them, and one would get the other's secret."""
    code = FORK.format(root=str(ROOT), port=contract.port, token=TOKEN)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)

    assert (done.stdout, done.stderr) == ("0 0\n", "")
    assert contract.connections == 2


def test_ipv6_where_nobody_listens_on_ipv4():
    try:
        server = ContractServer("::1")
    except OSError:
        pytest.skip("this machine has no IPv6")
    cache = SecretCache(port=server.port, token=TOKEN, patience=0)
    try:
        assert cache.secret("plain") == VALUE
    finally:
        cache.close()
        server.stop()
    assert server.violations == []


def test_an_address_in_the_place_of_the_name(contract):
    cache = SecretCache("127.0.0.1", contract.port, token=TOKEN)

    assert cache.secret("plain") == VALUE
    cache.close()
    assert contract.violations == [f"Host is b'127.0.0.1:{contract.port}'"]
    contract.violations.clear()


def test_nobody_is_waited_for_with_patience_and_then_said():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(Unreachable, match=rf"nobody answers on port {port} of this machine .*is the layer attached"):
        SecretCache(port=port, token=TOKEN, patience=0).secret("plain")

    cache = SecretCache(port=port, token=TOKEN, patience=30, timeout=30)
    found = []
    thread = threading.Thread(target=lambda: found.append(cache.secret("plain")))
    thread.start()
    thread.join(0.1)
    with serving(port=port):
        thread.join(30)
        cache.close()
    assert found == [VALUE]


FRAMINGS = ("length", "chunks", "close")


@given(
    st.binary(max_size=300),
    st.sampled_from(FRAMINGS),
    st.lists(st.integers(0, 600), max_size=6),
    st.integers(200, 599).filter(lambda status: status not in (204, 304)),
)
@settings(deadline=None)
def test_wherever_an_answer_is_cut_it_is_the_same(body, framing, cuts, status):
    head = b"HTTP/1.1 %d Whatever\r\nX-Amzn-Errortype: Some:thing\r\n" % status
    if framing == "length":
        data = head + b"Content-Length: %d\r\n\r\n" % len(body) + body
    elif framing == "chunks":
        data = head + b"Transfer-Encoding: chunked\r\n\r\n" + http1.encode_chunk(body) + http1.encode_last_chunk()
    else:
        data = head + b"\r\n" + body
    at = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.settimeout(30)

        def send():
            for begin, end in itertools.pairwise(at):
                theirs.sendall(data[begin:end])
            theirs.shutdown(socket.SHUT_WR)

        thread = threading.Thread(target=send)
        thread.start()
        (found, found_head, found_body), reusable = wire._read(ours, monotonic() + 30)
        thread.join(30)
        assert ours.gettimeout() == 30
    assert (found, found_body) == (status, body)
    assert wire.field(found_head, b"x-amzn-errortype") == b"Some:thing"
    assert reusable == (framing != "close")


@given(st.binary(max_size=200) | st.binary(max_size=80).map(lambda data: b"HTTP/1.1 200 OK\r\nContent-Length: " + data))
@settings(deadline=None)
def test_rubbish_is_an_error_or_an_answer_and_never_a_hang(data):
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.settimeout(30)
        theirs.sendall(data)
        theirs.shutdown(socket.SHUT_WR)
        try:
            (status, _head, _body), _reusable = wire._read(ours, monotonic() + 30)
        except (BadAnswer, ConnectionResetError):
            return
        assert 200 <= status <= 999
