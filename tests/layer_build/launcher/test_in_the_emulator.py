"""The launcher where it lives: in a layer, started by the emulator, with a function beside it."""

from __future__ import annotations

import json
import os
import sys

import pytest

from tests.conftest import FUNCTION, ISOLATED
from tests.layer_build.launcher.layers import OWN, TALKER, layer

isolated = pytest.mark.skipif(not ISOLATED, reason="namespaces are refused here")
GOES_ON = "; the function goes on without it"


def order(environment):
    """What happened in the order in which it did: lines of the extension, processes, registrations."""
    return [
        event["text"] if event["kind"] == "log" else f"{event['kind']} {event['party']}"
        for event in environment.log.of_kind("log", "process_start", "registered", "request")
        if event["kind"] != "request" or event["call"] == "extension/register"
        if event["kind"] != "log" or event["party"] == "ext"
    ]


def test_the_runtime_starts_before_python_is_up(lab, tmp_path):
    """Registered by the launcher, at once: the plug-in's first line comes when the runtime is running already."""
    environment = lab.start(layers=(layer(tmp_path / "layer"),), function_name="orders")
    assert lab.invoke(environment).function_error == ""
    environment.idle(5)
    environment.shutdown()

    assert order(environment) == [
        "process_start ext", "request ext", "registered ext", "process_start runtime", "start orders", "invoke",
        "shutdown spindown",
    ]  # fmt: skip
    assert lab.exits(environment)["ext"] == "exit status 0"
    registered = environment.log.of_kind("registered")
    assert [event["events"] for event in registered] == [["INVOKE", "SHUTDOWN"]]


SERVER = """
class Main(Plugin):
    name = "server"
    def start(self, context):
        import time
        time.sleep(0.3)
        for name, sockets in sorted(context.sockets.items()):
            say(name, *sorted(socket.getsockname()[:2] for socket in sockets))
        for socket in context.sockets.get("http", ()):
            serve_once(socket)
"""
CALLER = """
import socket
answers = []
for address in ("127.0.0.1", "::1"):
    with socket.create_connection((address, 2773), 5) as peer:
        answers.append(peer.recv(1).decode())
def handler(event, context):
    return answers
"""


@isolated
def test_a_function_that_calls_a_declared_port_at_import_is_served(lab, tmp_path):
    """It waits in the backlog while Python boots and the plug-in takes its time, on both addresses."""
    made = layer(tmp_path / "layer", SERVER, ports='[{ name = "http", port = 2773 }]')
    environment = lab.start(layers=(made,), function=lab.function(CALLER))

    assert json.loads(lab.invoke(environment).payload) == ["!", "!"]
    assert order(environment).index("process_start runtime") < order(environment).index(
        "http ('127.0.0.1', 2773) ('::1', 2773)"
    )


PORTS = '[{ name = "a", port = 2773, variables = ["ONE_PORT", "A_PORT"] }, { name = "b", port = 3000 },' \
        ' { name = "c", port = 3000, fallback = true }]'  # fmt: skip
PORT_FILE = (
    SERVER
    + """
        import posix
        path = "/tmp/.extension-kit/ext/port"
        with open(path) as file:
            said = int(file.read())
        say("file says c:", said == context.sockets["c"][0].getsockname()[1], oct(posix.stat(path).st_mode & 0o777),
            oct(posix.stat("/tmp/.extension-kit").st_mode & 0o777))
"""
)


@isolated
@pytest.mark.parametrize("launcher", ["native", "python"])
@pytest.mark.parametrize(
    ("variables", "number", "warning"),
    [
        ({}, 2773, ""),
        ({"A_PORT": "4001"}, 4001, ""),
        ({"A_PORT": "4001", "ONE_PORT": " 4002 "}, 4002, ""),
        ({"ONE_PORT": ""}, 2773, ""),
        ({"ONE_PORT": "70000"}, 2773, "ONE_PORT='70000' is no port, 1 to 65535: 2773 is used"),
        ({"A_PORT": "3000"}, 3000, ""),
    ],
    ids=["default", "second", "first", "empty", "wrong", "equal"],
)
def test_ports_are_what_the_manifest_and_the_variables_say(launcher, variables, number, warning, lab, tmp_path):
    """One that is taken is missing and said to be; one with a file takes another number, and the file says which."""
    made = layer(tmp_path / "layer", PORT_FILE, ports=PORTS, launcher=launcher)
    environment = lab.start(layers=(made,), variables=variables)
    lab.invoke(environment)
    environment.idle(5)

    lines = lab.lines(environment, "ext")
    assert f"a ('127.0.0.1', {number}) ('::1', {number})" in lines
    assert "file says c: True 0o600 0o700" in lines
    assert ("b ('127.0.0.1', 3000) ('::1', 3000)" in lines) == (number != 3000)
    taken = [line for line in lines if "WARNING" in line]
    assert len(taken) == (number == 3000)
    assert all(line.startswith("[server] WARNING nothing can be asked on port b: port 3000: Address") for line in taken)
    assert [line for line in lines if line.startswith("[ext]")] == ([f"[ext] {warning}"] if warning else [])


def test_managed_instances_get_a_registration_for_shutdown_only(lab, tmp_path):
    """INVOKE would be refused there."""
    environment = lab.start(layers=(layer(tmp_path / "layer"),), init_type="lambda-managed-instances")
    lab.invoke(environment)
    environment.shutdown()

    assert [event["events"] for event in environment.log.of_kind("registered")] == [["SHUTDOWN"]]
    assert lab.lines(environment, "ext") == ["start function", "shutdown spindown"]


@pytest.mark.parametrize("launcher", ["native", "python"])
def test_the_manifest_says_which_events_are_registered(launcher, lab, tmp_path):
    """An extension that wants SHUTDOWN only never holds an invocation."""
    made = layer(tmp_path / "layer", events='["SHUTDOWN"]', launcher=launcher)
    if launcher == "python" and not ISOLATED:
        pytest.skip("namespaces are refused here")
    environment = lab.start(layers=(made,))
    lab.invoke(environment)
    environment.shutdown()

    assert [event["events"] for event in environment.log.of_kind("registered")] == [["SHUTDOWN"]]
    assert lab.lines(environment, "ext") == ["start function", "shutdown spindown"]


ASKS_FIRST = TALKER + """
    def before_register(self, context):
        say("before", context.registration is not None)
"""  # fmt: skip


def test_before_register_switches_early_registration_off(lab, tmp_path):
    """The layer says ``register late``: Python registers, the launcher binds all the same."""
    made = layer(tmp_path / "layer", ASKS_FIRST, late=True, ports='[{ name = "http", port = 0 }]')
    environment = lab.start(layers=(made,))
    lab.invoke(environment)

    assert order(environment)[:4] == ["process_start ext", "before False", "request ext", "registered ext"]
    assert "start function" in lab.lines(environment, "ext")


def test_before_register_in_a_layer_that_registers_early_is_called_late_and_said_to_be(lab, tmp_path):
    """Not forgotten without a word."""
    environment = lab.start(layers=(layer(tmp_path / "layer", ASKS_FIRST),))
    lab.invoke(environment)

    assert lab.lines(environment, "ext")[:3] == [
        "[ext] plug-in talker: before_register comes after the registration, which was made before the plug-in was there",
        "before True",
        "start function",
    ]


ENVIRONMENT = """
class Main(Plugin):
    name = "looker"
    def start(self, context):
        import posix, sys, extension_kit
        names = {name.decode() for name in posix.environ}
        say("cleaned", *sorted(name for name in names if name.startswith(("LD_", "SSL_CERT_", "OPENSSL_"))))
        say("library path", posix.environ.get(b"LD_LIBRARY_PATH"))
        say("kit", extension_kit.__file__.endswith("/opt/ext/lib/extension_kit/__init__.py"))
        say("path", [path for path in sys.path if "evil" in path], "sitecustomize" in sys.modules, "site" in sys.modules)
        say("flags", sys.flags.isolated, sys.flags.no_site, sys.flags.utf8_mode)
"""


@isolated
def test_nothing_of_the_functions_environment_reaches_our_python(lab, tmp_path):
    """Variables of the dynamic linker, of OpenSSL and of Python; a proxy; modules with our names on its path."""
    function = lab.function("def handler(event, context):\n    return 'good'\n")
    evil = function / "evil"
    (evil / "extension_kit").mkdir(parents=True)
    for module in ("extension_kit/__init__.py", "code.py", "sitecustomize.py", "json.py"):
        # The function's own Python reads its sitecustomize as well: only the extension's process shall end of it.
        (evil / module).write_text("import os, sys\nif '/opt/' in ' '.join(sys.orig_argv): os._exit(9)\n")
    (evil / "json.py").unlink()
    variables = {
        "LD_PRELOAD": "/nowhere.so", "LD_LIBRARY_PATH": "/var/task/evil", "LD_AUDIT": "", "SSL_CERT_FILE": "/nowhere",
        "SSL_CERT_DIR": "/nowhere", "OPENSSL_CONF": "/nowhere", "PYTHONPATH": "/var/task/evil",
        "PYTHONSTARTUP": "/var/task/evil/code.py", "HTTP_PROXY": "http://127.0.0.1:1", "http_proxy": "http://127.0.0.1:1",
    }  # fmt: skip
    environment = lab.start(layers=(layer(tmp_path / "layer", ENVIRONMENT),), function=function, variables=variables)
    assert lab.invoke(environment).payload == b'"good"'
    environment.idle(5)

    assert lab.lines(environment, "ext") == [
        "cleaned LD_LIBRARY_PATH", "library path b'/var/lang/lib'", "kit True", "path [] False False", "flags 1 1 1",
    ]  # fmt: skip


@isolated
def test_the_layer_changes_nothing_in_the_function(lab, tmp_path):
    """Its import path, its environment, its modules: the same with and without."""
    function = lab.function(
        "import os, sys\ndef handler(event, context):\n"
        "    return sys.path, {n: v for n, v in os.environ.items() if 'TOKEN' not in n and 'TRACE' not in n}\n"
    )
    with_it = lab.start(layers=(layer(tmp_path / "layer"),), function=function)
    without = lab.start(function=function)

    assert json.loads(lab.invoke(with_it).payload) == json.loads(lab.invoke(without).payload)


def test_several_plugins_in_one_layer_and_a_choice_of_them(lab, tmp_path):
    """EXTENSION_KIT_PLUGINS names those that run; a name that is not there is said, with those that are."""
    second = (
        TALKER + "\nclass Other(Main):\n    name = 'other'\n    def on_invoke(self, event):\n        say('other')\n"
    )
    made = layer(tmp_path / "layer", second, plugins=("code:Main", "code:Other"))
    environment = lab.start(layers=(made,), variables={"EXTENSION_KIT_PLUGINS": "other, athor"})
    lab.invoke(environment)
    environment.idle(5)

    assert lab.lines(environment, "ext") == [
        "[ext] EXTENSION_KIT_PLUGINS: no plug-in is called 'athor'; there are talker, other", "start function", "other",
    ]  # fmt: skip


TWO = """
class Main(Plugin):
    name = "main"
    def start(self, context):
        say("main has", *sorted(context.sockets))
class Early(Plugin):
    name = "early"
    def before_register(self, context):
        say("early", "before" if context.registration is None else "after", *sorted(context.sockets))
"""
AFTER = "[ext] plug-in early: before_register comes after the registration, which was made before the plug-in was there"
NOBODY = "[ext] EXTENSION_KIT_PLUGINS: no plug-in is called 'x'; there are main, early; none is run"


@isolated
@pytest.mark.parametrize("launcher", ["native", "python"])
@pytest.mark.parametrize(
    ("variables", "lines"),
    [
        ({}, ["early after a", "main has a", AFTER]),
        ({"ON": "no"}, ["early after a", "main has a", AFTER]),
        ({"ON": " Yes "}, ["early before a b", "main has a b"]),
        ({"ON": "TRUE", "EXTENSION_KIT_PLUGINS": " , "}, ["early before a b", "main has a b"]),
        ({"ON": "1", "EXTENSION_KIT_PLUGINS": "main"}, ["main has a"]),
        ({"ON": "on", "EXTENSION_KIT_PLUGINS": ",  early ,"}, ["early before b"]),
        ({"ON": "1", "EXTENSION_KIT_PLUGINS": "x"}, [NOBODY]),
        ({"ON": "1", "EXTENSION_KIT_PLUGINS": "x\x01y"}, ["early before a b", "main has a b", "odd"]),
    ],
    ids=lambda value: ",".join(map(ascii, value.values())) if isinstance(value, dict) else "",
)
def test_what_is_not_to_run_has_no_port_and_holds_nobody_up(variables, lines, launcher, lab, tmp_path):
    """The launcher, and Python where there is none, read EXTENSION_KIT_PLUGINS and a plug-in's variable as the kit does."""
    made = layer(
        tmp_path / "layer", TWO, ports='[{ name = "a", port = 0 }, { name = "b", port = 0 }]', launcher=launcher,
        plugins=("main=code:Main", "early=code:Early"), late=("early:ON",), only={"a": ("main",), "b": ("early:ON",)},
    )  # fmt: skip
    environment = lab.start(layers=(made,), variables=variables)
    lab.invoke(environment)
    environment.idle(5)

    found = lab.lines(environment, "ext")
    assert sorted(
        "odd" if line.endswith("use a comma-separated list; every plug-in is used instead") else line for line in found
    ) == sorted(lines)


@isolated
@pytest.mark.parametrize("pythons", [(OWN,), ("3.99", OWN)], ids=["one version", "several"])
def test_the_entry_in_python_does_the_same(pythons, lab, tmp_path):
    """Found by its first line, isolated, with the port bound before the registration."""
    made = layer(
        tmp_path / "layer", SERVER, ports='[{ name = "http", port = 2773 }]', launcher="python", pythons=pythons
    )
    environment = lab.start(layers=(made,), function=lab.function(CALLER))

    assert json.loads(lab.invoke(environment).payload) == ["!", "!"]


def test_the_entry_in_python_without_an_interpreter_says_what_it_looked_for(lab, tmp_path):
    """There is no launcher that could go on: the environment ends, with a line."""
    made = layer(tmp_path / "layer", launcher="python", pythons=("3.98", "3.99"))
    environment = lab.start(layers=(made,), variables={"EXTENSION_KIT_PYTHON": "/nowhere/python"})

    assert lab.invoke(environment).error_type == "Extension.Crash"
    assert "[ext] no Python was found: this layer supports 3.98 3.99; looked for /nowhere/python" in lab.lines(
        environment, "ext"
    )


def broken(kind, folder):
    """A layer with one thing wrong in it: the layer, the variables."""
    made = layer(folder, pythons=("3.98", "3.99") if kind in ("no python", "another python") else (OWN,))
    variables = {}
    if kind == "another python":
        variables["EXTENSION_KIT_PYTHON"] = sys.executable
    elif kind == "python is not there":
        variables["EXTENSION_KIT_PYTHON"] = "/nowhere/python"
    elif kind == "python cannot be executed":
        (made / "ext" / "not-a-program").write_text("plain text")
        (made / "ext" / "not-a-program").chmod(0o755)
        variables["EXTENSION_KIT_PYTHON"] = "/opt/ext/not-a-program"
    elif kind == "no conf":
        (made / "ext" / "launcher.conf").unlink()
    elif kind == "strange conf":
        conf = made / "ext" / "launcher.conf"
        conf.write_text(conf.read_text() + "colour green\n")
    elif kind == "no kit":
        (made / "ext" / "lib" / "extension_kit").unlink()
    return made, variables


BROKEN = {
    "no python": f"no Python: this layer supports 3.98, 3.99; /var/lang/bin/ has python{OWN}, and no layer brings one",
    "another python": "this layer supports Python 3.98, 3.99, but ",
    "python is not there": "EXTENSION_KIT_PYTHON=/nowhere/python cannot be run: No such file or directory",
    "python cannot be executed": "/opt/ext/not-a-program cannot be executed: Exec format error",
    "no conf": "/opt/ext/launcher.conf cannot be read: No such file or directory",
    "strange conf": "/opt/ext/launcher.conf: line 5 is not understood",
    "no kit": "the kit cannot be imported from /opt/ext/lib: ModuleNotFoundError: No module named 'extension_kit'",
}


@isolated
@pytest.mark.parametrize("kind", BROKEN)
def test_where_python_cannot_be_the_function_goes_on(kind, lab, tmp_path):
    """One line that says what is wrong; then every event is taken, and SHUTDOWN ends the process well."""
    made, variables = broken(kind, tmp_path / "layer")
    environment = lab.start(layers=(made,), variables=variables)
    for _ in range(3):
        assert lab.invoke(environment).function_error == ""
    environment.idle(5)
    environment.shutdown()

    (line,) = lab.lines(environment, "ext")
    assert line.startswith(f"[ext] {BROKEN[kind]}")
    assert line.endswith(GOES_ON)
    assert lab.exits(environment)["ext"] == "exit status 0"


@isolated
@pytest.mark.parametrize("kind", BROKEN)
def test_crash_on_failure_ends_the_environment_with_a_type_of_its_own(kind, lab, tmp_path):
    """``EXTENSION_KIT_ON_FAILURE=crash``: init/error, then the end."""
    made, variables = broken(kind, tmp_path / "layer")
    environment = lab.start(layers=(made,), variables={**variables, "EXTENSION_KIT_ON_FAILURE": "Crash"})

    assert lab.invoke(environment).error_type == "Extension.InitError"
    line = lab.lines(environment, "ext")[0]
    assert line.startswith(f"[ext] {BROKEN[kind]}")
    assert line.endswith("; the environment ends, as EXTENSION_KIT_ON_FAILURE=crash wants it")
    posted = [event for event in environment.log.of_kind("request") if event["call"] == "extension/init/error"]
    assert posted


REFUSED = """
import errno, os, socket
def handler(event, context):
    with socket.socket() as peer:
        return [errno.errorcode.get(peer.connect_ex(("127.0.0.1", 2773))), os.path.exists("/tmp/.extension-kit/ext/port")]
"""


@isolated
@pytest.mark.parametrize("kind", BROKEN)
def test_callers_are_refused_where_nobody_will_ever_answer(kind, lab, tmp_path):
    """Nothing listens on, not even in the backlog of a socket that was handed over; no file says that something does."""
    made, variables = broken(kind, tmp_path / "layer")
    if kind not in ("no conf", "strange conf"):
        conf = made / "ext" / "launcher.conf"
        conf.write_text(conf.read_text() + "port http 2773 - /tmp/.extension-kit/ext/port\n")
    environment = lab.start(layers=(made,), function=lab.function(REFUSED), variables=variables)
    lab.invoke(environment)  # by then the launcher has come back

    assert json.loads(lab.invoke(environment).payload) == ["ECONNREFUSED", False]


@isolated
@pytest.mark.parametrize("when", ["before register", "before Python", "in Python", "idle"])
def test_killing_it_is_a_crash_whenever_it_happens_and_the_next_environment_is_well(when, lab, tmp_path):
    """What Lambda defines: Extension.Crash, a reset, and everything anew with the next invoke."""
    slow = tmp_path / "slow-python"
    slow.write_text(f'#!/bin/sh\n[ -e /opt/mended ] || sleep 30\nexec {sys.executable} "$@"\n')
    slow.chmod(0o755)
    made = layer(tmp_path / "layer", pythons=("3.99",) if when == "idle" else (OWN,))
    (made / "slow-python").write_bytes(slow.read_bytes())
    (made / "slow-python").chmod(0o755)
    variables = {"EXTENSION_KIT_PYTHON": "/opt/slow-python"} if when == "before Python" else {}
    environment = lab.start(layers=(made,), variables=variables)
    conf = environment.opt / "ext" / "launcher.conf"
    text = conf.read_text()
    if when == "before register":
        conf.unlink()
        os.mkfifo(conf)  # it waits there for somebody who writes
    environment.start()
    wanted = {"before register": ("process_start", "ext"), "before Python": ("process_start", "runtime")}
    kind, party = wanted.get(when, ("init_end", None))
    lab.until(lambda: any(event.get("party") == party for event in environment.log.of_kind(kind)))
    if when == "before register":
        conf.unlink()
        conf.write_text(text)
    (environment.opt / "mended").touch()
    assert environment.call(lambda: environment.kill_from_outside("ext"))
    lab.until(lambda: bool(environment.log.of_kind("process_exit")))

    ended = environment.log.of_kind("process_exit")[0]
    assert (ended["party"], ended["detail"], ended["state"]) == ("ext", "signal: kill", "Crashed")
    results = [lab.invoke(environment) for _ in range(2)]
    if when in ("in Python", "idle"):  # noticed with the next invoke, which fails of it
        assert results[0].error_type == "Extension.Crash"
    assert results[1].function_error == ""


def test_without_namespaces_extensions_are_told_which_python(lab, tmp_path):
    """/var/lang/bin has none on this machine; a note in the record says what was done about it."""
    from extension_kit.emulator import namespaces
    from extension_kit.emulator.environment import Environment, Layout
    from extension_kit.emulator.model import Profile

    if namespaces.LANG_PYTHON.exists():
        pytest.skip("this machine has a Python where Lambda has it")
    made = layer(tmp_path / "layer")
    layout = Layout(function=FUNCTION, layers=(made,), namespaces=False)
    with Environment(Profile(handler="app.handler", timeout=5.0), layout) as environment:
        assert lab.invoke(environment).function_error == ""

    assert lab.lines(environment, "ext")[0] == "start function"
    assert f"extensions are told EXTENSION_KIT_PYTHON={sys.executable}" in " ".join(environment.log.notes)
