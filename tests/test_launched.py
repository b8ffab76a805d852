"""Python's end of the hand-over, without a launcher: the words on its command line are the test's."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from socket import create_connection, create_server, socket

import pytest

from tests.scripted_api import INVOKE, REGISTERED, SHUTDOWN, Server, answer

ROOT = Path(__file__).parents[1]
SCRIPT = """
import sys
sys.path.insert(0, sys.argv[1])
from extension_kit import Plugin
def say(*what):
    print(*what, flush=True)
class Main(Plugin):
    name = "main"
    def start(self, context):
        import posix
        say("start", context.registration.identifier, context.registration.function_name)
        for name, sockets in context.sockets.items():
            say(name, [posix.get_inheritable(one.fileno()) for one in sockets])
    def on_invoke(self, event): say("invoke")
    def on_shutdown(self, event, deadline): say("shutdown", event.reason)
class Early(Main):
    name = "early"
    def before_register(self, context): say("before", context.registration is not None)
class Second(Main):
    name = "second"
if __name__ == "__main__":
    from extension_kit.launched import run
    run("ext", tuple(sys.argv[2].split(",")), sys.argv[4:], late=sys.argv[3] == "late")
"""


def run(
    server: Server, *handed: str, plugins: str = "__main__:Main", late: str = "", fds: tuple[int, ...] = (), **more: str
):
    server.start()
    return subprocess.run(
        [sys.executable, "-I", "-S", "-X", "utf8", "-c", SCRIPT, str(ROOT), plugins, late, *handed], pass_fds=fds,
        env={"AWS_LAMBDA_RUNTIME_API": server.address, **more}, capture_output=True, text=True, timeout=30,
    )  # fmt: skip


@pytest.fixture
def connection():
    """Makes the connection that the launcher would have made."""
    made: list[socket] = []

    def connect(server: Server) -> int:
        host, _, port = server.address.rpartition(":")
        made.append(create_connection((host, int(port))))
        return made[-1].fileno()

    yield connect
    for one in made:
        one.close()


def test_it_goes_on_with_identifier_answer_and_connection(connection):
    """No second registration, no second connection."""
    server = Server([answer(INVOKE), answer(SHUTDOWN)])
    fd = connection(server)
    done = run(server, "abc", '{"functionName":"orders"}', str(fd), fds=(fd,))

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split("\n")[:3] == ["start abc orders", "invoke", "shutdown "]
    assert server.connections == 1
    assert all(b"\r\nLambda-Extension-Identifier: abc\r\n" in request for request in server.requests)
    assert {request.split()[1] for request in server.requests} == {b"/2020-01-01/extension/event/next"}


@pytest.mark.parametrize("word", ["-", "777"], ids=["none", "not open"])
def test_without_a_connection_it_makes_one(word):
    server = Server([answer(SHUTDOWN)])
    done = run(server, "abc", "{}", word)

    assert (done.returncode, done.stderr, server.connections) == (0, "", 1)


@pytest.mark.parametrize("body", ["{}", "", "no JSON", "[]", "\udcff"])
def test_an_answer_that_says_nothing_is_no_obstacle(body):
    server = Server([answer(SHUTDOWN)])
    done = run(server, "abc", body, "-")

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("start abc ")


def test_ports_are_there_by_name_and_those_that_are_not_are_said():
    """The sockets listen, and are not inherited by programs that a plug-in starts."""
    server = Server([answer(SHUTDOWN)])
    with create_server(("127.0.0.1", 0)) as one, create_server(("127.0.0.1", 0)) as two:
        fds = (one.fileno(), two.fileno())
        words = (f"http={fds[0]},{fds[1]}", "proxy!port 9009: Address in use", "odd!why=not,!")
        done = run(server, "abc", "{}", "-", *words, fds=fds)

    assert done.returncode == 0
    assert "http [False, False]\n" in done.stdout
    assert done.stderr.splitlines() == [
        "[main] WARNING nothing can be asked on port proxy: port 9009: Address in use",
        "[main] WARNING nothing can be asked on port odd: why=not,!",
    ]


def test_without_an_identifier_it_registers_itself():
    """Where a plug-in has ``before_register``, all are imported before."""
    server = Server([REGISTERED, answer(SHUTDOWN)])
    done = run(server, "", "", "-", plugins="__main__:Early", late="late")

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split("\n")[:2] == ["before False", "start abc "]
    assert b"/register " in server.requests[0]


@pytest.mark.parametrize("handed", [("abc", "{}", "-"), ("", "", "-"), ()], ids=["registered", "not", "no launcher"])
def test_before_register_is_never_passed_over(handed):
    """Called late, with a line, where the registration could not wait for it."""
    server = Server([*([] if handed[:1] == ("abc",) else [REGISTERED]), answer(SHUTDOWN)])
    done = run(server, *handed, plugins="__main__:Early")

    assert done.stdout.split("\n")[:2] == ["before True", "start abc "]
    assert done.stderr == (
        "[ext] plug-in early: before_register comes after the registration, which was made before the plug-in was there\n"
    )


@pytest.mark.parametrize("late", ["", "late"])
@pytest.mark.parametrize(
    ("wanted", "starts", "lines"),
    [
        ("", 2, []),
        ("second", 1, []),
        (" main , second,", 2, []),
        (
            "secnd",
            0,
            ["[ext] EXTENSION_KIT_PLUGINS: no plug-in is called 'secnd'; there are main, second; none is run"],
        ),
    ],
)
def test_a_layer_that_holds_several_runs_those_that_are_wanted(late, wanted, starts, lines):
    """EXTENSION_KIT_PLUGINS, by the plug-ins' names; the process stays, even where none is left."""
    server = Server([REGISTERED, answer(SHUTDOWN)])
    done = run(
        server, "", "", "-", plugins="__main__:Main,__main__:Second", late=late,
        EXTENSION_KIT_PLUGINS=wanted, EXTENSION_KIT_ON_FAILURE="crash",
    )  # fmt: skip

    assert (done.returncode, done.stderr.splitlines()) == (0, lines)
    assert done.stdout.count("start ") == starts


def test_a_plugin_that_is_not_wanted_reads_no_settings(tmp_path):
    """Its warnings would be about something that does not run."""
    (tmp_path / "noisy.py").write_text(
        "from extension_kit import Plugin\nfrom extension_kit.settings import Settings, integer\n"
        "class S(Settings):\n    prefix = 'NOISY_'\n    size = integer(1, minimum=1, maximum=2, help='size')\n"
        "class Noisy(Plugin):\n    name = 'noisy'\n    settings = S\n"
    )
    script = SCRIPT.replace("import sys\n", f"import sys\nsys.path.insert(0, {str(tmp_path)!r})\n", 1)
    server = Server([answer(SHUTDOWN)])
    server.start()
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", script, str(ROOT), "noisy:Noisy,__main__:Main", "", "abc", "{}", "-"],
        env={"AWS_LAMBDA_RUNTIME_API": server.address, "NOISY_SIZE": "9", "EXTENSION_KIT_PLUGINS": "main"},
        capture_output=True, text=True, timeout=30,
    )  # fmt: skip

    assert (done.returncode, done.stderr) == (0, "")


def test_outside_an_environment_no_port_is_bound(tmp_path):
    """Who starts the file by hand is told what it is for, and no port file is left behind."""
    script = f"import sys; sys.path.insert(0, {str(ROOT)!r})\nfrom extension_kit.launched import run\n" \
             f"run('ext', (), [], ports=(('http', 0, (), {str(tmp_path / 'port')!r}),))"  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", script], env={}, capture_output=True, text=True, timeout=30
    )

    assert done.returncode == 2
    assert "AWS_LAMBDA_RUNTIME_API is not set" in done.stderr
    assert os.listdir(tmp_path) == []
