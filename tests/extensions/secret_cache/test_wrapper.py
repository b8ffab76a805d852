"""The runtime starts with the secrets in its environment, or as it would have started, and is told apart by nothing else."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from socket import create_server

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extensions.secret_cache.environment import Problem, parse, reserved
from tests.clients import contract_server
from tests.clients.contract_server import TOKEN, serving

ROOT = Path(__file__).parents[3]
WRAPPER = ROOT / "extensions" / "secret_cache" / "wrapper"
SHELLS = [shell for shell in ("dash", "bash") if shutil.which(shell)]
#: Tells what it was given, to the byte; reads /proc since the interpreter adds to its own environment.
RUNTIME = f"""#!{sys.executable} -IS
import json, os, signal, sys
environment = open("/proc/self/environ", "rb").read().split(b"\\0")
print(json.dumps({{
    "argv": [os.fsencode(one).hex() for one in sys.argv[1:]],
    "environment": [one.hex() for one in environment if one],
    "timer": signal.getitimer(signal.ITIMER_REAL), "pid": os.getpid(),
    "descriptors": sorted(os.listdir("/proc/self/fd")), "blocked": len(signal.pthread_sigmask(signal.SIG_BLOCK, [])),
}}))
"""
#: What a shell sets by itself in any wrapper.
OF_THE_SHELL = ("PWD", "OLDPWD", "SHLVL", "_")


class Told:
    """What the runtime told, and what was written to stderr."""

    def __init__(self, done: subprocess.CompletedProcess) -> None:
        self.status, self.stderr = done.returncode, done.stderr.decode()
        found = json.loads(done.stdout) if done.stdout else {}
        self.started = bool(found)
        self.argv = [bytes.fromhex(one) for one in found.get("argv", [])]
        pairs = [bytes.fromhex(one).partition(b"=") for one in found.get("environment", [])]
        self.environment = {name.decode(): value for name, _, value in pairs if name.decode() not in OF_THE_SHELL}
        self.rest = {key: found.get(key) for key in ("timer", "descriptors", "blocked")}


@pytest.fixture
def contract():
    with serving() as server:
        yield server


@pytest.fixture
def runtime(tmp_path):
    path = tmp_path / "a runtime"
    path.write_text(RUNTIME)
    path.chmod(0o755)
    return path


@pytest.fixture(params=SHELLS)
def start(request, runtime, contract):
    """Runs the runtime behind the wrapper, in each shell; variables as keywords, None for one that is not there."""

    def start(wanted, *arguments, wrapper=WRAPPER, **variables):
        environment = {
            "PATH": os.environ["PATH"], "LANG": "C", "AWS_SESSION_TOKEN": TOKEN, "EXTENSION_KIT_PYTHON": sys.executable,
            "PARAMETERS_SECRETS_EXTENSION_HTTP_PORT": str(contract.port), "SECRET_CACHE_ENVIRONMENT": wanted, **variables,
        }  # fmt: skip
        environment = {name: value for name, value in environment.items() if value is not None}
        command = [request.param, wrapper, *(arguments or (runtime,))]
        done = subprocess.run(command, env=environment, capture_output=True, timeout=60, check=False)
        told = Told(done)
        told.before = {name: os.fsencode(value) for name, value in environment.items()}
        return told

    return start


def added(told):
    """The variables that the wrapper has added; none may be gone or changed."""
    assert {name: told.environment.get(name) for name in told.before} == told.before
    return {name: value for name, value in told.environment.items() if name not in told.before}


def test_every_kind_of_entry(start):
    told = start(
        " A=secret:plain, B = secret:db/main#password ,,C=secret:db/main#port,D=parameter:/app/db/password,"
        "E=parameter:/app/limit:1,F=secret:empty,G=secret:arn:aws:secretsmanager:eu-west-1:123456789012:secret:many-1-AbCdEf"
    )

    assert added(told) == {
        "A": "just text \N{SNOWMAN}".encode(), "B": 'p\u00e4ss,w"o\'rd\n'.encode(), "C": b"5432", "D": b"hunter2", "E": b"5",
        "F": b"", "G": b"value 1",
    }  # fmt: skip
    assert (told.status, told.stderr) == (0, "")


def test_a_secret_is_spread(start, monkeypatch):
    """Its strings as they are, other JSON as JSON; what is no variable, or reserved, is left out and said."""
    members = {
        "USER": "admin", "Pass": "$(touch x) `y` \\ \n '\"", "n": 1.5, "o": {"a": [1, None]}, "PATH": "/evil",
        "aws_secret_access_key": "s3cret", "LD_PRELOAD": "s3cret", "NODE_OPTIONS": "s3cret", "a-b": "s3cret", "": "s3cret",
        "zero": "s3\0cret", "half": "\ud800", "evil\nname": "s3cret",
    }  # fmt: skip
    monkeypatch.setitem(contract_server.SECRETS, "spread", {"AWSCURRENT": json.dumps(members)})

    told = start("*=secret:spread,USER=secret:plain")

    assert added(told) == {
        "USER": "just text \N{SNOWMAN}".encode(), "Pass": members["Pass"].encode(), "n": b"1.5", "o": b'{"a":[1,null]}',
    }  # fmt: skip
    assert told.stderr.count("\n") == 1
    assert "left out: 'PATH', 'aws_secret_access_key', 'LD_PRELOAD', 'NODE_OPTIONS', 'a-b' ..." in told.stderr
    assert "s3" not in told.stderr.replace("aws_secret", "")


def test_what_is_set_stays_unless_told_otherwise(start):
    kept = start("A=secret:plain,B=secret:empty", A="mine")
    assert added(kept) == {"B": b""}
    assert "set already, so kept: 'A'" in kept.stderr

    told = start("A=secret:plain", A="mine", SECRET_CACHE_ENVIRONMENT_OVERWRITE="true")
    assert told.environment["A"] == "just text \N{SNOWMAN}".encode()
    assert told.stderr == ""


def test_an_empty_variable_is_set_too(start):
    assert added(start("A=secret:plain", A="")) == {}


def test_nothing_else_changes(start, runtime):
    """Arguments with everything, variables of the function's own Python and loader, signals, timers, descriptors, locale."""
    arguments = [
        "",
        " ",
        "a b",
        "'",
        '"',
        "$HOME",
        "`x`",
        "\n\n",
        "*",
        "\\",
        "-c",
        "--",
        "\u00e9\N{SNOWMAN}",
        b"\xff\x81\x01",
    ]
    variables = {
        "PYTHONPATH": "/nowhere", "PYTHONHOME": "/nowhere", "PYTHONSTARTUP": "/nowhere", "LD_LIBRARY_PATH": "/nowhere",
        "LD_PRELOAD": "", "ODD": "a\nb='\"$x\u00e9 ", "BYTES": os.fsdecode(b"\xff\x81\x01\x7f"), "EMPTY": "",
    }  # fmt: skip
    plain = start("", runtime, *arguments, **variables)
    told = start("A=secret:plain", runtime, *arguments, **variables)

    assert told.argv == plain.argv == [os.fsencode(one) for one in arguments]
    assert added(told) == {"A": "just text \N{SNOWMAN}".encode()}
    assert added(plain) == {}
    assert told.rest == plain.rest
    assert told.rest["timer"] == [0.0, 0.0]


def test_a_large_value_passes_and_one_that_no_process_can_have_does_not(start, monkeypatch):
    monkeypatch.setitem(contract_server.SECRETS, "large", {"AWSCURRENT": "x" * (131_071 - 2)})
    monkeypatch.setitem(contract_server.SECRETS, "larger", {"AWSCURRENT": "x" * (131_071 - 1)})

    assert len(added(start("A=secret:large"))["A"]) == 131_069
    told = start("A=secret:larger")
    assert added(told) == {}
    assert "longer than 131071 bytes" in told.stderr


WRONG = {
    "no daemon": (
        "A=secret:plain",
        {"PARAMETERS_SECRETS_EXTENSION_HTTP_PORT": "1", "SECRET_CACHE_WRAPPER_TIMEOUT_MS": "600"},
        "nobody answers on port 1",
    ),
    "no token": ("A=secret:plain", {"AWS_SESSION_TOKEN": None}, "no token was sent"),
    "wrong token": ("A=secret:plain", {"AWS_SESSION_TOKEN": "s3cret"}, "401 AccessDeniedException: bad session token"),
    "unknown": ("A=secret:plain,B=secret:none", {}, "secret 'none': 400 ResourceNotFoundException"),
    "unknown parameter": ("A=secret:plain,B=parameter:none", {}, "parameter 'none': 400 ParameterNotFound"),
    "denied": ("A=secret:denied", {}, "AccessDeniedException"),
    "no key": ("A=secret:db/main#nothing", {}, "secret 'db/main' has no key 'nothing'"),
    "no JSON": ("*=secret:plain", {}, "secret 'plain' is no JSON object"),
    "binary": ("A=secret:binary", {}, "secret 'binary' cannot be a variable: it is binary"),
    "a value in the place of an entry": ("A=s3cret", {}, "the entry of 'A' is not NAME=secret:ID"),
    "no entry": ("B=secret:plain,s3cret", {}, "entry 2 is not NAME=secret:ID"),
    "reserved": ("AWS_SECRET_ACCESS_KEY=secret:plain", {}, "'AWS_SECRET_ACCESS_KEY' cannot be set: it is reserved"),
    "no interpreter": ("A=secret:plain", {"EXTENSION_KIT_PYTHON": "/nowhere"}, "no Python was found (/nowhere)"),
    "no Python at all": ("A=secret:plain", {"EXTENSION_KIT_PYTHON": "/bin/false"}, "no Python was found (/bin/false)"),
}  # fmt: skip


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("on_error", [None, "fail", "FAIL"])
def test_what_goes_wrong_is_one_line_and_the_runtime_starts_or_not(start, wrong, on_error):
    """All or nothing: a function with half of its secrets would fail in a stranger way. No value is shown."""
    wanted, variables, text = WRONG[wrong]

    told = start(wanted, SECRET_CACHE_WRAPPER_ON_ERROR=on_error, **variables)

    assert told.stderr.count("\n") == 1
    assert told.stderr.startswith("[secret-cache] wrapper: ")
    assert text in told.stderr
    assert "s3cret" not in told.stderr
    assert told.started == (on_error is None)
    if told.started:
        assert (told.status, added(told)) == (0, {})
    else:
        assert told.status == 1


@pytest.mark.parametrize("drips", [b"", b"x"], ids=["silent", "dripping"])
def test_a_daemon_that_hangs_costs_no_more_than_the_limit(start, drips):
    """One that drips makes no single read take too long."""
    over = threading.Event()
    with create_server(("127.0.0.1", 0)) as listener:

        def hang():
            connection, _ = listener.accept()
            with connection:
                connection.recv(65_536)
                connection.sendall(b"HTTP/1.1 200 OK\r\nX-Long: ")
                while not over.wait(0.02):
                    try:
                        connection.sendall(drips)
                    except OSError:
                        return

        thread = threading.Thread(target=hang)
        thread.start()
        told = start(
            "A=secret:plain", SECRET_CACHE_WRAPPER_TIMEOUT_MS="200",
            PARAMETERS_SECRETS_EXTENSION_HTTP_PORT=str(listener.getsockname()[1]),
        )  # fmt: skip
        over.set()
        thread.join(10)

    assert added(told) == {}
    assert "no answer in time" in told.stderr or "within 200 ms" in told.stderr


def test_the_limit_is_for_everything_together(start, contract):
    """Three answers, each well within it, are not."""
    contract.delay = 0.2

    told = start(
        ",".join(f"A{number}=secret:many-{number}" for number in range(45)), SECRET_CACHE_WRAPPER_TIMEOUT_MS="400"
    )

    assert added(told) == {}
    assert "the cache did not answer within 400 ms" in told.stderr


def test_a_daemon_that_comes_late_is_waited_for(start):
    with create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    done = threading.Event()

    def serve():
        time.sleep(0.4)
        with serving(port=port):
            done.wait(60)

    thread = threading.Thread(target=serve)
    thread.start()
    told = start("A=secret:plain", PARAMETERS_SECRETS_EXTENSION_HTTP_PORT=str(port))
    done.set()
    thread.join(10)

    assert added(told) == {"A": "just text \N{SNOWMAN}".encode()}


@pytest.mark.parametrize("written", ["x", "0", "99", "9001", "-1", "1.5"])
def test_a_limit_that_is_none_is_said_and_the_default_used(start, written):
    told = start("A=secret:plain", SECRET_CACHE_WRAPPER_TIMEOUT_MS=written)

    assert added(told) == {"A": "just text \N{SNOWMAN}".encode()}
    assert f"SECRET_CACHE_WRAPPER_TIMEOUT_MS={written!r} is not from 100 to 9000: 5000 is used" in told.stderr


def test_other_wrappers_come_after_this_one_each_once(start, tmp_path, runtime):
    """A list; each takes itself off, so that two of this kind do not call each other for ever."""
    other = tmp_path / "other wrapper"
    other.write_text('#!/bin/sh\nOTHER="$EXTENSION_KIT_NEXT_WRAPPER" exec "$@" more\n')
    other.chmod(0o755)
    for wanted in ("A=secret:plain", ""):
        told = start(wanted, EXTENSION_KIT_NEXT_WRAPPER=f"{WRAPPER}:{other}:/nowhere")

        assert told.argv == [b"more"]
        assert told.environment["OTHER"] == b"/nowhere"
        assert ("A" in told.environment) == bool(wanted)
    told = start("A=secret:plain", EXTENSION_KIT_NEXT_WRAPPER=str(other))
    assert told.argv == [b"more"]
    assert "EXTENSION_KIT_NEXT_WRAPPER" not in told.environment


@pytest.mark.parametrize("what", ["/nowhere", "/tmp", ""])
def test_a_next_wrapper_that_is_none_is_left_out(start, what):
    told = start("A=secret:plain", EXTENSION_KIT_NEXT_WRAPPER=f"{what}:")

    assert told.started
    assert told.environment["A"] == "just text \N{SNOWMAN}".encode()
    assert "no program: left out" in told.stderr


def test_a_command_that_cannot_be_started_ends_as_a_shell_has_it(start):
    told = start("A=secret:plain", "/nowhere/runtime")

    assert told.status == 127
    assert "'/nowhere/runtime' cannot be started: FileNotFoundError: No such file or directory" in told.stderr


def test_a_command_is_looked_for_on_the_path(start, runtime):
    named = runtime.with_name("runtime")
    runtime.rename(named)
    told = start("A=secret:plain", "runtime", PATH=f"{named.parent}:{os.environ['PATH']}")

    assert told.environment["A"] == "just text \N{SNOWMAN}".encode()


def test_nothing_to_start(start):
    told = start("A=secret:plain", "")
    assert told.status == 127
    done = subprocess.run(["sh", WRAPPER], capture_output=True, timeout=60, check=False)
    assert (done.returncode, b"nothing to start" in done.stderr) == (2, True)


def test_the_process_stays_the_same(runtime, contract):
    """The runtime is the process that Lambda has started, not a child of it."""
    environment = {
        "AWS_SESSION_TOKEN": TOKEN, "EXTENSION_KIT_PYTHON": sys.executable, "SECRET_CACHE_ENVIRONMENT": "A=secret:plain",
        "PARAMETERS_SECRETS_EXTENSION_HTTP_PORT": str(contract.port),
    }  # fmt: skip
    with subprocess.Popen([WRAPPER, runtime], env=environment, stdout=subprocess.PIPE) as process:
        found = json.loads(process.stdout.read())
        assert found["pid"] == process.pid


@pytest.mark.parametrize("shell", SHELLS)
def test_no_signal_is_ignored_that_was_not(shell, contract):
    """Python ignores SIGPIPE, and a runtime that inherits that would not end when its reader does."""
    environment = {
        "PATH": os.environ["PATH"], "AWS_SESSION_TOKEN": TOKEN, "EXTENSION_KIT_PYTHON": sys.executable,
        "PARAMETERS_SECRETS_EXTENSION_HTTP_PORT": str(contract.port),
    }  # fmt: skip

    def signals(wanted):
        done = subprocess.run(
            [shell, WRAPPER, "grep", "-E", "Sig(Ign|Blk|Pnd)", "/proc/self/status"],
            env={**environment, "SECRET_CACHE_ENVIRONMENT": wanted},
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        return done.stdout

    assert signals("A=secret:plain") == signals("")
    assert len(contract.requests) == 1


@pytest.fixture
def layer(tmp_path):
    """As a layer has it, with an interpreter of its own, which passes on what it is called with."""
    folder = tmp_path / "opt" / "secret-cache"
    for part in ("extension_kit", "extensions/secret_cache"):
        shutil.copytree(ROOT / part, folder / "lib" / part, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(WRAPPER, folder / "wrapper")
    (folder / "launcher.conf").write_text("extension-kit-launcher 1\npythons 3.99 3.98\nregister early\n")
    python = tmp_path / "opt" / "extension-kit-python" / "3.98" / "bin" / "python3.98"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    return folder


def test_in_a_layer_it_finds_its_own_sources_and_interpreter(start, layer):
    """A version that only this layer has, so that neither Lambda's Python nor this checkout is what answers."""
    told = start("A=secret:plain", wrapper=layer / "wrapper", EXTENSION_KIT_PYTHON=None)
    assert (added(told), told.stderr) == ({"A": "just text \N{SNOWMAN}".encode()}, "")

    (layer / "launcher.conf").write_text("pythons 3.97\n")
    told = start("A=secret:plain", wrapper=layer / "wrapper", EXTENSION_KIT_PYTHON=None)
    assert added(told) == {}
    assert "no Python was found" in told.stderr


def test_a_layer_that_is_broken_does_no_harm(start, layer):
    (layer / "lib" / "extension_kit" / "clients" / "answers.py").write_text("broken(")
    told = start("A=secret:plain", wrapper=layer / "wrapper", EXTENSION_KIT_PYTHON=None)
    assert (added(told), "SyntaxError" in told.stderr) == ({}, True)

    shutil.rmtree(layer / "lib")
    told = start("A=secret:plain", wrapper=layer / "wrapper", EXTENSION_KIT_PYTHON=None)
    assert added(told) == {}
    assert "environment.py cannot be read" in told.stderr


def test_the_wrapper_can_be_executed_as_it_is_committed():
    listed = subprocess.run(
        ["git", "ls-files", "-s", "--", WRAPPER], cwd=ROOT, capture_output=True, text=True, check=True, timeout=30
    )
    assert listed.stdout.startswith("100755 ")


@pytest.mark.parametrize(
    "name",
    [
        "AWS_REGION", "aws_region", "LAMBDA_TASK_ROOT", "_HANDLER", "_X_AMZN_TRACE_ID", "PATH", "Path", "LD_PRELOAD",
        "PYTHONPATH", "SECRET_CACHE_ENVIRONMENT", "EXTENSION_KIT_PYTHON", "NODE_OPTIONS", "JAVA_TOOL_OPTIONS", "BASH_ENV", "",
        "1A", "A-B", "A B", "A=B", "\u00c4", "A\n",
    ],
)  # fmt: skip
def test_names_that_no_secret_may_bring(name):
    assert reserved(name)


@pytest.mark.parametrize("name", ["DB_PASSWORD", "a", "Path2", "LAMBDA", "TOKEN", "HTTPS_PROXY"])
def test_names_that_may(name):
    assert not reserved(name)


@given(st.text(st.sampled_from("A=:#,* secretparm/\n\udc80\0"), max_size=40) | st.text(max_size=30))
def test_whatever_is_written_is_read_or_refused(text):
    try:
        entries = parse(text)
    except Problem:
        return
    for name, kind, id, key in entries:
        assert name == "*" or not reserved(name)
        assert kind in ("secret", "parameter")
        assert id
        assert not key or (kind == "secret" and name != "*")
