"""A dependency that phones home is refused, reported and harmless, whichever way it takes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from extension_kit.backends import prepare, rie_binary
from extension_kit.backends.rie import RieEnvironment
from extension_kit.emulator.environment import Layout
from extension_kit.emulator.model import Profile
from tests import phoning
from tests.conftest import FUNCTION
from tests.layer_build.launcher.layers import layer
from tests.scripted_api import INVOKE, REGISTERED, SHUTDOWN, Server, answer

ROOT = Path(__file__).parents[1]
ENTRY = """
import sys
sys.path[1:1] = {paths!r}
from extension_kit.runner import run
run(*{plugins!r}, name="caller")
"""


@pytest.fixture
def home():
    home = phoning.Home()
    yield home
    home.close()


def run(folder, home, plugins=("caller.plugin:Caller",), before="", subscribes=False, **variables):
    """Register, one invocation, SHUTDOWN; what the process has said."""
    server = Server([REGISTERED, *[answer(b'"OK"')] * subscribes, answer(INVOKE), answer(SHUTDOWN)])
    server.start()
    paths = [str(folder), str(ROOT), *(path for path in sys.path if "site-packages" in path)]
    variables = {
        "AWS_LAMBDA_RUNTIME_API": server.address, "HOME_ADDRESS": home.variable(), "PATH": os.environ["PATH"], **variables,
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", before + ENTRY.format(paths=paths, plugins=plugins)],
        env=variables, capture_output=True, text=True, timeout=90, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.replace("\r", ""), done.stderr


def said(output, word):
    """What follows `word` at the beginning of the only line that has it there."""
    (line,) = [line for line in output.splitlines() if line.startswith(f"{word} ")]
    return json.loads(line.removeprefix(word))


@pytest.mark.timeout(200)
def test_a_dependency_that_phones_home_is_refused_in_every_way(tmp_path, home):
    """And told, and counted; its plug-in's own work goes on. Without the guard the very same attempts get through."""
    folder = phoning.write(tmp_path)

    output, errors = run(folder, home)

    attempts = said(output, "CALLED")
    assert {way: result for way, result in attempts.items() if result != "refused"} == {}
    assert len(attempts) >= 31
    assert home.calls == 0
    assert said(output, "OWN") == 200
    counted = said(output, "COUNTED")
    assert set(counted) == {"egress_refused_connections", "egress_refused_lookups", "egress_refused_programs"}
    assert sum(counted.values()) >= len(attempts)
    told = [line for line in errors.splitlines() if "egress guard:" in line]
    begins = (
        f"[caller] egress guard: a look-up of {phoning.NAME} was refused: neither the manifest nor a setting names it"
    )
    assert sum(line.startswith(begins) for line in told) == 1
    assert len(told) < len(attempts), "one line for each target, not for each attempt"
    assert told[-1] == "[caller] egress guard: refused in all: " + ", ".join(
        f"{name.removeprefix('egress_refused_')} {n}" for name, n in sorted(counted.items())
    )

    output, errors = run(folder, home, EXTENSION_KIT_EGRESS_ALLOW="*")
    free = said(output, "CALLED")
    assert "refused" not in free.values()
    assert "egress guard" not in errors
    assert set(free) == set(attempts)
    programs = [way for way in free if way.startswith(("subprocess", "os.", "pty", "multiprocessing"))]
    assert {free[way] for way in programs} == {"reached"}
    if home.v4:
        by_address = [
            way for way in free if not way.startswith(("name", "get", "IPv6", "botocore")) and way not in programs
        ]
        assert {way: free[way] for way in by_address} == dict.fromkeys(by_address, "reached")
        assert home.calls > 5


AT_IMPORT = """
import socket
try:
    socket.create_connection(("192.0.2.1", 80), 3)
except PermissionError as error:
    found = str(error)
"""


def test_what_phones_home_when_it_is_imported_is_refused_then(tmp_path, home):
    """The guard is on duty before the first plug-in is imported."""
    folder = phoning.write(tmp_path)
    file = folder / "caller" / "plugin.py"
    file.write_text(
        AT_IMPORT + file.read_text().replace("import phoner", "").replace("phoner.phone", "(lambda *_: found)")
    )

    output, _errors = run(folder, home)

    assert "a connection to 192.0.2.1:80 was refused" in said(output, "CALLED")


def test_what_the_manifest_and_the_settings_name_is_reached(tmp_path, home):
    """Names by the addresses that are found for them, on their ports; other addresses of the same host stay closed."""
    if not home.v4:
        pytest.skip("this machine has no address but loopback")
    folder = phoning.write(tmp_path, phoning.MANIFEST.replace('"logs.example.com"', f'"{home.v4}:{home.port}"'))

    output, _errors = run(folder, home)

    attempts = said(output, "CALLED")
    assert {
        way: result
        for way, result in attempts.items()
        if way in ("IPv4", "IPv4 as one number", "asyncio", "urllib", "thread")
    } == dict.fromkeys(("IPv4", "IPv4 as one number", "asyncio", "urllib", "thread"), "reached")
    assert {attempts[way] for way in ("IPv6", "getaddrinfo", "subprocess", "os.fork")} == {"refused"}


BY_NAME = """
import _socket
original = _socket.getaddrinfo
def getaddrinfo(host, port, *more):
    # the audit event, and then an answer that no server here could give
    try:
        return original(host, port, *more)
    except _socket.gaierror:
        return [(2, 1, 6, "", ({address!r}, int(port)))]
_socket.getaddrinfo = getaddrinfo
"""


def test_a_name_opens_the_addresses_that_were_found_for_it(tmp_path, home):
    """For everything that goes by `_socket`; an address that nobody has looked up stays closed, though it is the same one."""
    if not home.v4:
        pytest.skip("this machine has no address but loopback")
    folder = phoning.write(tmp_path, phoning.MANIFEST.replace("logs.example.com", f"{phoning.NAME}:{home.port}"))

    output, _errors = run(folder, home, before=BY_NAME.format(address=home.v4))

    attempts = said(output, "CALLED")
    # In this order: the address first, when its name was not looked up yet.
    assert attempts["IPv4"] == attempts["urllib"] == "refused"
    by_name = {way: result for way, result in attempts.items() if way.startswith("name, ")}
    assert by_name == dict.fromkeys(by_name, "reached")
    assert len(by_name) >= 4


def calling(folder, call, manifest=phoning.MANIFEST):
    """The packages; at each invocation only `call` is made."""
    phoning.write(folder, manifest)
    file = folder / "caller" / "plugin.py"
    file.write_text(file.read_text().replace("phoner.phone(v4, v6, name, port)", call))
    return folder


@pytest.mark.parametrize("manifest", ["", phoning.MANIFEST])
def test_where_no_guard_is_wanted_that_is_said_at_level_debug(tmp_path, home, manifest):
    folder = calling(tmp_path, "phoner.outcome(phoner.forked)", manifest)
    variables = {"EXTENSION_KIT_EGRESS_ALLOW": "a.example,*"}

    output, errors = run(folder, home, EXTENSION_KIT_LOG_LEVEL="debug", **variables)

    assert said(output, "CALLED") == "reached"
    assert errors.splitlines().count("[caller] no egress guard: EXTENSION_KIT_EGRESS_ALLOW=*") == 1
    _output, errors = run(folder, home, **variables)
    assert "egress guard" not in errors


def test_where_nobody_says_what_may_be_done_that_is_told_as_soon_as_it_matters(tmp_path, home):
    """One line for the process, at the first that a guard would have refused; none where there is no such thing."""
    call = "[phoner.outcome(one) for one in (phoner.forked, phoner.typed, phoner.forked)]"

    output, errors = run(calling(tmp_path, call, ""), home)

    assert said(output, "CALLED") == ["reached"] * 3
    (line,) = [line for line in errors.splitlines() if "egress guard" in line]
    assert line.startswith(
        "[caller] no egress guard: the start of a copy of this process (fork) passes, and all else, since no plug-in has a "
        "manifest.toml beside its module"
    )
    _output, errors = run(calling(tmp_path / "quiet", "'nobody'", ""), home)
    assert "egress guard" not in errors


def test_a_plugin_without_a_manifest_switches_the_guard_off_for_nobody(tmp_path, home):
    """It may do nothing itself, then, but what its settings name."""
    folder = phoning.write(tmp_path, "")
    plugins = ("caller.plugin:Caller", "extensions.metrics_collector.plugin:MetricsCollector")

    output, errors = run(folder, home, plugins=plugins, subscribes=True, HOME_STEP="6")

    assert set(said(output, "CALLED").values()) == {"refused"}
    assert "no egress guard" not in errors


def test_a_plugin_without_a_manifest_is_guarded_where_an_operator_says_whom_it_may_reach(tmp_path, home):
    folder = phoning.write(tmp_path, "")

    output, _errors = run(folder, home, EXTENSION_KIT_EGRESS_ALLOW="logs.example.com", HOME_STEP="6")

    assert set(said(output, "CALLED").values()) == {"refused"}


#: what no audit hook of Python's sees, or what another interpreter's does not
PAST_THE_GUARD = """
import ctypes, json, socket
try:
    import _interpreters
except ImportError:
    import _xxsubinterpreters as _interpreters

def by_c(v4, port):
    libc = ctypes.CDLL(None, use_errno=True)
    address = socket.AF_INET.to_bytes(2, "little") + port.to_bytes(2, "big") + socket.inet_aton(v4) + bytes(8)
    fd = libc.socket(2, 1, 0)
    if libc.connect(fd, address, 16):
        raise OSError(ctypes.get_errno(), "connect")

def by_raw_system_call():
    if ctypes.CDLL(None).syscall(39) <= 0:  # getpid, on this architecture or another: it is made
        raise OSError("no system call")

def by_another_interpreter(v4, port):
    has_configurations = hasattr(_interpreters, "new_config")
    interpreter = _interpreters.create("legacy") if has_configurations else _interpreters.create(isolated=False)
    code = f"import _socket; s = _socket.socket(); s.settimeout(3); s.connect(({v4!r}, {port})); s.close()"
    failed = _interpreters.run_string(interpreter, code)
    if failed:
        raise OSError(str(failed))

def phone(v4, v6, name, port):
    def by_name_of_connect():
        socket.socket().connect((name, port))
    return {
        "C": outcome(lambda: by_c(v4, port)), "interpreter": outcome(lambda: by_another_interpreter(v4, port)),
        "system call": outcome(by_raw_system_call), "look-up of connect": outcome(by_name_of_connect),
        "Python": outcome(lambda: tcp(socket.AF_INET, v4, port)),
    }
"""


def test_what_passes_the_guard(tmp_path, home):
    """It is none against those who want to pass: this is the list in extension_kit/README.md, Glass box."""
    if not home.v4:
        pytest.skip("this machine has no address but loopback")
    folder = phoning.write(tmp_path)
    (folder / "phoner.py").write_text(phoning.PHONER + PAST_THE_GUARD)

    output, errors = run(folder, home)

    assert "left out" not in errors, errors
    attempts = said(output, "CALLED")
    assert attempts.pop("Python") == "refused"
    # The name was asked for before anybody could say no: there is none of that name.
    assert attempts.pop("look-up of connect").startswith("gaierror")
    assert attempts == dict.fromkeys(("C", "interpreter", "system call"), "reached")
    assert home.calls == 2


@pytest.mark.parametrize(
    ("plugin", "variables"),
    [
        ("extensions.secret_cache.plugin:SecretCache", {"PARAMETERS_SECRETS_EXTENSION_HTTP_PORT": "1"}),
        ("extensions.log_shipper.plugin:LogShipper", {"LOG_SHIPPER_SINK": "stdout"}),
        ("extensions.metrics_collector.plugin:MetricsCollector", {}),
        ("extensions.chaos_injector.plugin:ChaosInjector", {}),
    ],
)
def test_each_of_ours_is_guarded_with_whatever_it_brings(tmp_path, home, plugin, variables):
    """In one process with a dependency that phones home: its manifest is found, and opens nothing for that."""
    folder = phoning.write(tmp_path)

    subscribes = "log_shipper" in plugin or "metrics" in plugin
    output, errors = run(
        folder, home, plugins=("caller.plugin:Caller", plugin), subscribes=subscribes, HOME_STEP="6", **variables
    )

    assert set(said(output, "CALLED").values()) == {"refused"}
    assert "no egress guard" not in errors
    assert "Traceback" not in errors


GUARDED = """
import sys
sys.path[1:1] = {paths!r}
import _socket
from extension_kit.egress import guard
from extension_kit.io.clock import Clock
guard((), ((), ()), (), {{}}, Clock(), lambda line: None, lambda thread: None)
"""


def guarded(script):
    """What a process prints that has the guard and runs `script`."""
    paths = [str(ROOT), *(path for path in sys.path if "site-packages" in path)]
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", GUARDED.format(paths=paths) + script],
        capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


IMPORTED_OTHERWISE = """
from importlib import import_module
fork_exec = import_module("_posixsubprocess").fork_exec
import multiprocessing
try:
    multiprocessing.get_context("spawn").Process(target=int).start()
except PermissionError as error:
    print(error)
"""


def test_programs_are_refused_however_that_was_imported_which_starts_them():
    """An import by `importlib` raises no audit event."""
    assert "egress guard: the start of" in guarded(IMPORTED_OTHERWISE)


def test_sockets_of_packets_are_refused_when_they_are_made():
    """What is sent through one that is bound is seen by nobody; other sockets are made as ever."""
    script = """
for family in (_socket.AF_PACKET, 40):
    try:
        _socket.socket(family, _socket.SOCK_RAW).close()
        print("made")
    except OSError as error:
        print("refused" if "egress guard" in str(error) else error)
import socket
for family in (_socket.AF_INET, _socket.AF_INET6, _socket.AF_UNIX, _socket.AF_NETLINK):
    socket.socket(family, _socket.SOCK_DGRAM).close()
one, other = socket.socketpair()
socket.socket(fileno=one.detach()).close()
_socket.socket().close()
print("others are made")
"""
    assert guarded(script).splitlines() == ["refused", "refused", "others are made"]


def test_every_look_up_is_noted():
    script = """
import socket
for name in ("getaddrinfo", "gethostbyname", "gethostbyname_ex", "gethostbyaddr"):
    print(hasattr(getattr(_socket, name), "original"))
    # its own getaddrinfo calls the other
    print(name == "getaddrinfo" or getattr(socket, name) is getattr(_socket, name))
"""
    assert guarded(script).split() == ["True"] * 8


def test_nothing_is_said_when_the_interpreter_ends():
    """Objects that die with the guard's own names still open files."""
    script = """
import os
from extension_kit import egress
class Last:
    def __del__(self, open=open, write=os.write):
        try:
            open("/dev/null").close()
            write(1, b"opened\\n")
        except BaseException as error:
            write(1, repr(error).encode())
egress.zzz = Last()
"""
    assert guarded(script) == "opened\n"


def test_a_mistake_in_making_the_guard_is_told_and_harmless(tmp_path, home):
    before = """
import sys
sys.path[1:1] = {paths!r}
from extension_kit import egress
def guard(*arguments):
    raise RuntimeError("odd")
egress.guard = guard
"""

    paths = [str(ROOT)]
    output, errors = run(calling(tmp_path, "'nobody'"), home, before=before.format(paths=paths))

    assert said(output, "CALLED") == "nobody"
    (line,) = [line for line in errors.splitlines() if "egress guard" in line]
    assert line.startswith("[caller] internal error: RuntimeError: odd")
    assert line.endswith("; there is no egress guard")


THROUGH_A_PROXY = """
import sys
sys.path[1:1] = {paths!r}
import _socket, socket
from extension_kit.egress import guard
from extension_kit.io.clock import Clock
from layer_build.boot import may_of
from layer_build.manifest import load
from pathlib import Path
may = may_of(load(Path({root!r}, "extensions", "chaos_injector"), "1"))
from extensions.chaos_injector.faults.egress import _connect
guard((), may, (), {{"CHAOS_EGRESS": {on!r}}}, Clock(), lambda line: None, lambda thread: None)
found = _connect({address!r}, {port})
print(found if isinstance(found, str) else "connected")
try:
    socket.create_connection(({address!r}, {port}), 3)
except PermissionError:
    print("refused")
"""


@pytest.mark.parametrize(("on", "through"), [("true", "connected"), ("false", "egress guard: ")])
def test_the_chaos_injectors_proxy_goes_where_the_function_wants_to(home, on, through):
    """While CHAOS_EGRESS is on, and nobody else in the process with it."""
    if not home.v4:
        pytest.skip("this machine has no address but loopback")
    paths = [str(ROOT), *(path for path in sys.path if "site-packages" in path)]
    script = THROUGH_A_PROXY.format(paths=paths, root=str(ROOT), on=on, address=home.v4, port=home.port)

    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", script], capture_output=True, text=True, timeout=60, check=False
    )

    first, second = done.stdout.splitlines()
    assert through in first
    assert second == "refused"


# in a layer, beside a function

IN_A_LAYER = """
import json, phoner
class Main(Plugin):
    name = "talker"
    budgets = {"on_invoke": 30.0}
    def start(self, context):
        self.context = context
    def on_invoke(self, event):
        say("invoke")
        ways = [*phoner.by_address("192.0.2.1", "2001:db8::1", 80), *phoner.by_name("phone-home.test", 80)]
        ways += phoner.by_program()
        say("CALLED " + json.dumps({label: phoner.outcome(call) for label, call in ways[:: self.step]}))
    def on_shutdown(self, event, deadline):
        say("shutdown", event.reason)
        say("COUNTED " + json.dumps(self.context.counters))
    step = 1
"""


def phoning_layer(folder, more="", step=1):
    made = layer(folder, IN_A_LAYER.replace("step = 1", f"step = {step}"), more=more)
    (made / "ext" / "lib" / "phoner.py").write_text(phoning.PHONER)
    return made


def test_beside_a_function_nobody_notices(lab, tmp_path):
    """The layer's own manifest counts; the function answers as ever, the extension lives until SHUTDOWN."""
    environment = lab.start(layers=(phoning_layer(tmp_path / "layer"),), memory_mb=1_769, timeout=60.0)
    results = [lab.invoke(environment) for _ in range(2)]
    environment.idle(60)
    environment.shutdown()

    lines = lab.lines(environment, "ext")
    assert [result.function_error for result in results] == ["", ""]
    called = [json.loads(line.removeprefix("CALLED ")) for line in lines if line.startswith("CALLED ")]
    assert [set(attempts.values()) for attempts in called] == [{"refused"}] * 2
    assert lab.exits(environment)["ext"] == "exit status 0"
    told = [line for line in lines if "egress guard:" in line]
    assert len(told) == len(set(told)), "what is refused again is not told again"
    assert told[-1].startswith("[ext] egress guard: refused in all: connections ")
    assert environment.platform.healthy


def test_a_layer_may_do_what_its_manifest_says(lab, tmp_path):
    may = 'hosts = ["192.0.2.1:80"]\nsubprocesses = ["true"]'
    environment = lab.start(layers=(phoning_layer(tmp_path / "layer", may),), memory_mb=1_769, timeout=60.0)
    lab.invoke(environment)
    environment.idle(60)
    environment.shutdown()

    attempts = json.loads(
        next(line for line in lab.lines(environment, "ext") if line.startswith("CALLED ")).removeprefix("CALLED ")
    )
    assert {attempts[way] for way in ("subprocess", "os.posix_spawn")} == {"reached"}
    assert attempts["IPv4"] != "refused"  # but whatever becomes of it: no such host is there
    assert {attempts[way] for way in ("IPv6", "getaddrinfo", "os.system", "os.fork")} == {"refused"}


@pytest.mark.once
def test_under_awss_own_emulator(tmp_path):
    """One form of each kind."""
    why_not = prepare.why_no_namespaces()
    if why_not:
        pytest.skip(why_not)
    made = Layout(function=FUNCTION, layers=(phoning_layer(tmp_path / "layer", step=7),))
    with RieEnvironment(Profile(handler="app.handler", timeout=20.0), made, rie_binary.binary()) as environment:
        # Long enough for the extension to be asking for its next event, else AWS's emulator never tells it of this one.
        result = environment.invoke(b'{"spend_ms": 100}').result(30)
        environment.idle(20)
        environment.shutdown()

    lines = [event["text"] for event in environment.log.of_kind("log")]
    assert result.function_error == ""
    attempts = json.loads(next(line for line in lines if line.startswith("CALLED ")).removeprefix("CALLED "))
    assert len(attempts) >= 4
    assert set(attempts.values()) == {"refused"}
    assert any("egress guard: refused in all: " in line for line in lines)
