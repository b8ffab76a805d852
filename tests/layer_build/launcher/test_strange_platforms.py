"""The launcher against a platform that answers strangely: it never hangs, never dies of it, and says what is wrong."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from layer_build.launcher import build
from tests.layer_build.launcher.layers import ARCH, layer
from tests.scripted_api import CLOSE, INVOKE, REGISTERED, SHUTDOWN, Server, answer

IDENTIFIER = b"Lambda-Extension-Identifier: abc\r\n"
ABOUT = b'{"functionName":"orders","handler":"a.b"}'
#: in the place of Python: says what it was called with
ECHO = '#!/bin/sh\nshift 5\nprintf "%s|" "$@"\n'
#: what the fuzzed answers are made from
SEEDS = (
    answer(ABOUT, headers=IDENTIFIER),
    b"HTTP/1.1 100 Continue\r\n\r\n" + answer(ABOUT, headers=IDENTIFIER),
    b'HTTP/1.1 200 OK\r\n%bTransfer-Encoding: chunked\r\n\r\n5;x=y\r\n{"a":\r\n2\r\n1}\r\n0\r\nA: b\r\n\r\n'
    % IDENTIFIER,
)
EXAMPLES = int(os.environ.get("KIT_TESTS_FUZZ_EXAMPLES", "100"))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = layer(tmp_path_factory.mktemp("layer") / "opt")
    (folder / "echo").write_text(ECHO)
    (folder / "echo").chmod(0o755)
    return folder


class Patient(Server):
    """Takes it well when the launcher does not read an answer to its end."""

    def _serve(self, connection) -> None:
        try:
            super()._serve(connection)
        except ConnectionError:
            pass


class HangsUp(Patient):
    """Closes the connection after its first answer: what is missing of it will never come."""

    def _serve(self, connection) -> None:
        if self.connections > 1:
            super()._serve(connection)
            return
        self.requests.append(connection.recv(65536))
        connection.sendall(self._answers.pop(0))


def start(folder: Path, address: str, *arguments: str, python: str = "", **variables: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [folder / "extensions" / "ext", *arguments],
        env={"AWS_LAMBDA_RUNTIME_API": address, "EXTENSION_KIT_PYTHON": python or str(folder / "echo"), **variables},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace",
    )  # fmt: skip


def run(folder: Path, *answers: bytes, arguments: tuple[str, ...] = (), kind=Patient, **variables: str):
    """Status, what was handed over (identifier, answer, connection), the lines, the server."""
    server = kind(list(answers))
    server.start()
    with start(folder, server.address, *arguments, **variables) as process:
        out, err = process.communicate(timeout=60)
    return process.returncode, out.split("|")[:-1], err.splitlines(), server


def test_the_request_to_register_is_the_kits_own(made):
    """One write, one connection, handed over open; what it asks for and how is what `extensions_api` sends."""
    from extension_kit.protocol.extensions_api import register_request

    status, handed, lines, server = run(made, answer(ABOUT, headers=IDENTIFIER))

    assert (status, lines) == (0, [])
    assert handed[0:2] == ["abc", ABOUT.decode()]
    assert handed[2].isdigit()
    assert server.requests == [register_request(server.address, "ext", ("INVOKE", "SHUTDOWN"))]


@pytest.mark.parametrize(
    ("strange", "body"),
    [
        (b"HTTP/1.1 200 OK\r\n%bTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n" % IDENTIFIER, "{}"),
        (b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n%b\r\n3\r\n{"a\r\n4<pause>\r\n":1}\r\n0\r\nX: y\r\n\r\n'
         % IDENTIFIER, '{"a":1}'),
        (b"HTTP/1.1 200 OK\r\n%bTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n" % IDENTIFIER, "{}"),
        (b"HTTP/1.1 200 OK\r\n%b\r\n" % IDENTIFIER + ABOUT, "{}"),
        (b"HTTP/1.1 200 OK\r\n%bContent-Length: many\r\n\r\n" % IDENTIFIER + ABOUT, "{}"),
        (b"HTTP/1.1 200 OK\r\n%bContent-Length: 1\r\nContent-Length: 2\r\n\r\n{}" % IDENTIFIER, "{}"),
        (answer(b"{}", headers=IDENTIFIER + b"Connection: close\r\n"), "{}"),
        (answer(b"{}", headers=IDENTIFIER).replace(b"HTTP/1.1", b"HTTP/1.0"), "{}"),
        (answer(b"{}", headers=IDENTIFIER) + b"HTTP/1.1 200 OK\r\n", "{}"),
        (answer(b"x" * 1_500_000, headers=IDENTIFIER), "{}"),
        (b"HTTP/1.1 200 OK\r\n%bContent-Length: 50\r\n\r\n{" % IDENTIFIER, "{}"),
    ],
    ids=["chunks", "more chunks", "a chunk too long", "no length", "no number", "two lengths", "close", "1.0", "more behind",
         "1.5 MB", "cut"],
)  # fmt: skip
def test_an_unusual_answer_costs_the_connection_and_nothing_else(strange, body, made):
    """The identifier is what counts; Python connects anew."""
    status, handed, lines, _server = run(made, strange)

    assert (status, handed, lines) == (0, ["abc", body, "-"], [])


@pytest.mark.parametrize(
    "usual",
    [
        answer(ABOUT, headers=b"LAMBDA-EXTENSION-IDENTIFIER:abc  \r\n"),
        b"HTTP/1.1 103 Early Hints\r\nA: b\r\n\r\n" + answer(ABOUT, headers=IDENTIFIER),
        answer(ABOUT, headers=IDENTIFIER + b"X-Long: %b\r\n" % (b"y" * 100_000)),
        answer(ABOUT, headers=IDENTIFIER)[:40] + b"<pause>" + answer(ABOUT, headers=IDENTIFIER)[40:],
    ],
    ids=["other spelling", "interim", "a long field", "pieces"],
)
def test_what_is_only_rare_keeps_the_connection(usual, made):
    status, handed, lines, _server = run(made, usual)

    assert (status, handed[:2], lines) == (0, ["abc", ABOUT.decode()], [])
    assert handed[2].isdigit()


ERROR = b'{"errorMessage": "no \\"such\\" thing\\u0007", "errorType":"Extension.Strange"}'


@pytest.mark.parametrize(
    ("answers", "line"),
    [
        ([answer(ERROR, b"403 Forbidden")], 'register: 403 Extension.Strange: no "such" thingu0007'),
        ([answer(b"\x00\x07", b"400 Bad")], "register: 400 no error type: no message"),
        ([answer(b"{}")], "register: 200 without a usable Lambda-Extension-Identifier"),
        ([answer(b"{}", headers=b"Lambda-Extension-Identifier: %b\r\n" % (b"a" * 500))],
         "register: 200 without a usable Lambda-Extension-Identifier"),
        ([answer(b"{}", headers=b"Lambda-Extension-Identifier: a\xffb\r\n")],
         "register: 200 without a usable Lambda-Extension-Identifier"),
        ([answer(b"", b"500 Broken")] * 4, "register: 500 no error type: no message"),
        ([CLOSE] * 4, "register: {address} cannot be reached: Connection reset by peer"),
        ([b"SSH-2.0-OpenSSH\r\n"] * 4, "register: {address} cannot be reached: Bad message"),
    ],
    ids=["refused", "refused oddly", "no identifier", "long identifier", "no ASCII", "500", "cut", "another protocol"],
)  # fmt: skip
def test_a_refusal_is_one_line_with_awss_own_words(answers, line, made):
    """And status 1: the platform does not want it."""
    status, handed, lines, server = run(made, *answers)

    assert (status, handed) == (1, [])
    assert lines == [f"[ext] cannot register: {line.format(address=server.address)}"]
    assert len(server.requests) == len(answers)


def test_what_may_pass_is_tried_again(made):
    """429, 5xx and a lost connection, as the kit does it."""
    status, handed, lines, server = run(
        made, answer(b"", b"429 Slow down"), CLOSE, answer(b"", b"503 Soon"), answer(ABOUT, headers=IDENTIFIER)
    )

    assert (status, handed[0], lines, len(server.requests)) == (0, "abc", [], 4)


def test_outside_an_environment_it_says_so(made):
    done = subprocess.run([made / "extensions" / "ext"], env={}, capture_output=True, text=True, timeout=10)

    assert (done.returncode, done.stderr) == (
        2,
        "[ext] AWS_LAMBDA_RUNTIME_API is not set: this is not a Lambda environment\n",
    )


@pytest.mark.parametrize("address", ["localhost:9001", "runtime.internal:80"])
def test_an_address_that_has_to_be_looked_up_is_left_to_python(address, made):
    """The launcher resolves no names."""
    with start(made, address) as process:
        out, err = process.communicate(timeout=20)

    assert (process.returncode, out, err) == (0, "||-|", "")


def test_a_platform_on_ipv6_is_one_too(made):
    from socket import AF_INET6, create_server

    try:
        listener = create_server(("::1", 0), family=AF_INET6)
    except OSError:
        pytest.skip("no IPv6 here")
    with listener, start(made, f"[::1]:{listener.getsockname()[1]}") as process:
        connection, _ = listener.accept()
        with connection:
            request = connection.recv(65536)
            connection.sendall(REGISTERED)
            out, _err = process.communicate(timeout=20)

    assert request.startswith(b"POST /2020-01-01/extension/register ")
    assert out.startswith("abc|{}|")


def mutilated(seed: int) -> bytes:
    """An answer that was cut somewhere, or with some bytes changed."""
    random_ = random.Random(seed)
    whole = bytearray(random_.choice(SEEDS))
    if random_.random() < 0.5:
        return bytes(whole[: random_.randrange(len(whole))])
    for _ in range(random_.randint(1, 4)):
        whole[random_.randrange(len(whole))] = random_.choice(b"\x00\r\n :0z\xff" + bytes([random_.randrange(256)]))
    return bytes(whole)


def test_no_mutilated_answer_kills_or_stops_it(made):
    """Cut anywhere or changed, and closed: the identifier is taken, or it is asked for again, or refused with one line."""

    def one(seed: int) -> tuple[int, int, list[str]]:
        status, _handed, lines, _server = run(
            made, mutilated(seed), *[answer(ABOUT, headers=IDENTIFIER)] * 4, kind=HangsUp
        )
        return seed, status, lines

    with ThreadPoolExecutor(16) as pool:
        for seed, status, lines in pool.map(one, range(3 * EXAMPLES)):
            assert (status, len(lines)) in ((0, 0), (1, 1)), (seed, status, lines)


# where it stays in the place of Python

IDLE = ("--idle", "abc", "-", "something is wrong")
LARGE = INVOKE[:-1] + b',"x":"' + b'SHUTDOWN \\"eventType\\":\\"SHUTDOWN\\"' * 100_000 + b'"}'
IN_CHUNKS = (
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n"
    + INVOKE[:5]
    + b"\r\n11\r\n"
    + INVOKE[5:]
    + b"\r\n0\r\n\r\n"
)


def test_idling_takes_every_event_until_shutdown(made):
    """Large ones, chunked ones, ones it does not know, with blanks; one connection as long as the platform keeps it."""
    events = [answer(INVOKE), answer(LARGE), IN_CHUNKS, answer(b"garbage"), answer(b'{"eventType":"NEW"}')]
    last = answer(b'{ "deadlineMs": 1, "eventType" : "SHUTDOWN" }')
    status, _handed, lines, server = run(made, *events, last, arguments=IDLE)

    assert (status, lines) == (0, ["[ext] something is wrong; the function goes on without it"])
    assert server.connections == 1
    assert {request.split(b"\r\n")[0] for request in server.requests} == {
        b"GET /2020-01-01/extension/event/next HTTP/1.1"
    }


def test_idling_needs_next_to_no_memory(made):
    """However large the events are: it looks at them as they pass."""
    server = Server([answer(LARGE), answer(LARGE), answer(SHUTDOWN)])
    peaks = []

    def look(reply: bytes) -> bytes:
        status = Path(f"/proc/{process.pid}/status").read_text()
        peaks.append(int(status.split("VmHWM:")[1].split()[0]))
        return reply

    server.before = look
    with start(made, server.address, *IDLE) as process:
        server.start()
        assert process.wait(timeout=60) == 0

    assert max(peaks) < 1024  # kB


def test_idling_goes_on_after_lost_connections_and_refusals(made):
    """A refusal is said once and asked about again more slowly; a closed idle connection is normal."""
    answers = [answer(INVOKE), CLOSE, answer(INVOKE), answer(b"{}", b"403 Forbidden"), answer(b"{}"), answer(SHUTDOWN)]
    status, _handed, lines, server = run(made, *answers, arguments=IDLE)

    assert (status, len(server.requests)) == (0, 6)
    assert lines[1:] == ["[ext] next: refused with 403: trying again, slowly"]


@pytest.mark.parametrize(
    ("answers", "line"),
    [
        ([answer(b"", b"500 Container error")], "next: 500: the platform reports a container error: shutting down"),
        ([CLOSE, CLOSE], "next: {address} no longer answers: shutting down"),
        ([answer(INVOKE)], "next: {address} no longer answers: shutting down"),
    ],
    ids=["500", "cut twice", "gone"],
)
def test_idling_ends_where_the_platform_is_gone(answers, line, made):
    status, _handed, lines, server = run(made, *answers, arguments=IDLE)

    assert (status, lines[1:]) == (1, [f"[ext] {line.format(address=server.address)}"])


def test_idling_registers_first_where_nobody_has(made):
    """For SHUTDOWN alone: no invocation shall wait for a process that does nothing."""
    status, _handed, lines, server = run(
        made, REGISTERED, answer(SHUTDOWN), arguments=("--idle", "", "-", "50 % of %s\nis %n wrong")
    )

    assert (status, lines) == (0, ["[ext] 50 % of %s?is %n wrong; the function goes on without it"])
    assert server.requests[0].endswith(b'{"events":["SHUTDOWN"]}')
    assert b"Identifier: abc\r\n" in server.requests[1]


def test_crash_reports_an_init_error(made):
    """With a type that says what failed; then it ends."""
    status, _handed, lines, server = run(
        made, answer(b"{}", b"202 Accepted"), arguments=IDLE, EXTENSION_KIT_ON_FAILURE="crash"
    )

    assert (status, len(lines)) == (1, 1)
    assert server.requests[0].startswith(b"POST /2020-01-01/extension/init/error HTTP/1.1\r\n")
    assert b"\r\nLambda-Extension-Function-Error-Type: Extension.LaunchFailed\r\n" in server.requests[0]


def test_no_mutilated_event_kills_or_stops_it_while_idling(made):
    """Cut or changed: it is an event, or asked for again, or the end of the platform."""

    def one(seed: int) -> tuple[int, int]:
        bad = mutilated(seed).replace(b" 403", b" 200")
        status, _handed, _lines, _server = run(made, bad, *[answer(SHUTDOWN)] * 2, arguments=IDLE, kind=HangsUp)
        return seed, status

    with ThreadPoolExecutor(16) as pool:
        for seed, status in pool.map(one, range(EXAMPLES)):
            assert status in (0, 1), (seed, status)


def test_the_one_for_arm64_does_the_same(tmp_path):
    """Under qemu, where this machine has it and is none of those itself."""
    qemu = shutil.which("qemu-aarch64-static") or shutil.which("qemu-aarch64")
    if ARCH != "arm64" and qemu is None:
        pytest.skip("qemu-aarch64 is not installed")
    folder = layer(tmp_path / "opt", ports='[{ name = "http", port = 0 }]')
    program = folder / "extensions" / "ext"
    program.write_bytes(build.binary("arm64"))
    emulated = [] if ARCH == "arm64" else [str(qemu), "-0", str(program)]
    for python, expected in ((sys.executable, "start \ninvoke\nshutdown \n"), ("/nowhere", "")):
        server = Server([REGISTERED, answer(INVOKE), answer(SHUTDOWN)])
        server.start()
        done = subprocess.run(
            [*emulated, program], env={"AWS_LAMBDA_RUNTIME_API": server.address, "EXTENSION_KIT_PYTHON": python},
            capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        assert (done.returncode, done.stdout) == (0, expected)
        assert done.stderr.endswith("; the function goes on without it\n" if python == "/nowhere" else "")
