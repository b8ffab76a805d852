"""An environment with the chaos injector attached: a function in Python or in Node, in our emulator or under AWS's."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path

import pytest

from extension_kit.backends import prepare, rie_binary
from extension_kit.backends.rie import RieEnvironment
from extension_kit.emulator.environment import Environment, Layout
from extension_kit.emulator.model import Profile
from extension_kit.protocol.timestamps import format_ms
from extension_kit.testing import _CLOCK, _STEPPED_CLOCK, _write_clock
from tests.conftest import ISOLATED, ROOT

PLUGIN = "extensions.chaos_injector.plugin:ChaosInjector"
WRAPPER = "/opt/chaos-injector/wrapper"
FUNCTIONS = ROOT / "tests" / "functions"
NODE = FUNCTIONS / "node_runtime" / "bootstrap"
FOLDER = "tmp/.extension-kit/chaos-injector"
#: what may be in the injector's folder while nothing is going on
CALM = {"port", "upstream", "egress-port", "runtime.pid", "lease", "experiment.json", "active", "kills", "off", "token"}


def experiment(*faults, seconds=600, **fields):
    """A document: each of `faults` is (type, params) or a table."""
    tables = []
    for number, fault in enumerate(faults):
        table = fault if isinstance(fault, dict) else {"type": fault[0], "params": fault[1]}
        tables.append({"id": f"fault-{number}", "percentage": 100, **table})
    document = {
        "version": 1, "id": "test", "owner": "tests", "armed_until": format_ms(int(time.time() * 1000) + seconds * 1000),
        "scope": {"functions": ["*"]}, "faults": tables,
    }  # fmt: skip
    return json.dumps({**document, **fields})


class Chaos:
    """One environment, with what the tests look at."""

    def __init__(self, environment, runtime) -> None:
        self.environment = environment
        self.runtime = runtime
        self.offset_ms = 0

    def invoke(self, event=None, patience=60):
        began = time.monotonic()
        result = self.environment.invoke(json.dumps(event or {}).encode()).result(patience)
        self.ms = (time.monotonic() - began) * 1000
        assert self.environment.idle(patience)
        return result

    def answer(self, event=None):
        """What the function returns; a failure of it fails the test."""
        result = self.invoke(event)
        assert not result.function_error, result.payload
        return json.loads(result.payload)

    @property
    def lines(self):
        """What has been written by whomever, but for the audit's lines."""
        return [event["text"] for event in self.environment.log.of_kind("log")]

    def audit(self, *actions):
        found = [json.loads(line) for line in self.lines if line.startswith('{"source":"chaos-injector"')]
        return [line for line in found if not actions or line["action"] in actions]

    def told(self, *actions, count=1):
        """The same, waited for: AWS's emulator hands lines on in its own time."""
        deadline = time.monotonic() + 10
        while len(found := self.audit(*actions)) < count:
            assert time.monotonic() < deadline, (found, self.lines)
            time.sleep(0.005)
        return found

    def told_line(self, text):
        """Wait for a line, of whomever, with `text` in it."""
        deadline = time.monotonic() + 10
        while not any(text in line for line in self.lines):
            assert time.monotonic() < deadline, self.lines
            time.sleep(0.005)

    def actions(self):
        return [line["action"] for line in self.audit()]

    def call(self, function):
        """Run `function()` where the environment's processes are: its /tmp, its network."""
        place = self.environment._place
        return place.call(function) if place is not None else function()

    def files(self):
        """What lies in the injector's folder."""
        return self.call(lambda: set(_names(f"/{FOLDER}")))

    def has(self, *kinds):
        """Whether something of each kind lies there: ``fill`` for ``fill-1``."""
        names = self.files()
        return all(any(name.partition("-")[0] == kind for name in names) for kind in kinds)

    def write(self, name, text):
        """A file of the injector's folder, whole or not at all."""

        def write():
            path = Path(f"/{FOLDER}/{name}")
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            path.with_suffix(".part").write_text(text)
            path.with_suffix(".part").replace(path)

        self.call(write)

    def step_clock(self, seconds):
        """The injector's wall clock jumps; the platform's as well."""
        self.offset_ms += round(seconds * 1000)
        _write_clock(self.environment.opt, self.offset_ms)
        self.environment.call(lambda: self.environment.step_clock(round(seconds * 1000)))

    def is_clean(self):
        """No file, and no process, of a fault is left."""
        return not self.files() - CALM and not self.helpers()

    def helpers(self):
        """Processes that faults have started in this environment, by number; zombies too."""
        here = self.call(lambda: Path("/proc/thread-self/ns/net").readlink())
        found = []
        for entry in Path("/proc").iterdir():
            try:
                ours = entry.name.isdigit() and b"helper.py" in (entry / "cmdline").read_bytes()
                if ours and (entry / "ns/net").readlink() == here:
                    found.append(int(entry.name))
            except OSError:
                pass
        return found


def is_alive(pid):
    """Whether a process runs, or is stopped; one that has ended and was not waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except OSError:
        return False


def _names(folder):
    try:
        return [path.name for path in Path(folder).iterdir()]
    except OSError:
        return []


@pytest.fixture(scope="session")
def layer(tmp_path_factory):
    """A layer with the wrapper; the injector itself runs from this checkout."""
    folder = tmp_path_factory.mktemp("layer") / "chaos-injector"
    folder.mkdir()
    shutil.copy(ROOT / "extensions" / "chaos_injector" / "wrapper", folder / "wrapper")
    (folder / "wrapper").chmod(0o755)
    (folder.parent / _CLOCK).parent.mkdir()
    _write_clock(folder.parent, 0)
    return folder.parent


class Starter:
    """Starts environments, each with a function and the injector; all are ended with the test."""

    def __init__(self, layer, folder) -> None:
        self.layer = layer
        self.folder = folder
        self.started = []

    def __call__(
        self, document=None, *, backend="emulator", runtime="python", plugins=(PLUGIN,), wrapper=True, enabled=True,
        function=None, variables=None, layers=(), source="env", **profile,
    ):  # fmt: skip
        given = {"CHAOS_ENABLED": "1"} if enabled else {}
        given |= {"AWS_LAMBDA_EXEC_WRAPPER": WRAPPER} if wrapper else {}
        given |= {"CHAOS_EXPERIMENT": document} if document and source == "env" else {}
        given |= variables or {}
        paths = tuple(map(Path, prepare.search_path(str(ROOT))))
        extensions = []
        for plugin in plugins:
            path = self.folder / prepare.plugin_class(plugin, "tests").name
            prepare.write_launcher(path, (plugin,), [str(path) for path in paths], _STEPPED_CLOCK)
            extensions.append(path)
        layout = Layout(
            function=(function or FUNCTIONS / "chaos") if runtime == "python" else None,
            bootstrap=NODE if runtime == "node" else None,
            layers=(self.layer, *layers),
            extensions=tuple(extensions),
            variables=given,
            namespaces=True,
            visible=(*paths, *(path.parent for path in map(Path, (shutil.which("node") or "/usr/bin/node",)))),
        )
        settings = Profile(**{"handler": "app.handler", "timeout": 10.0, **profile})
        if backend == "rie":
            environment = RieEnvironment(settings, layout, rie_binary.binary())
        else:
            environment = Environment(settings, layout)
        self.started.append(environment)
        chaos = Chaos(environment, runtime)
        if document and source == "file":
            chaos.write("experiment.json", document)
        return chaos


@pytest.fixture
def start(layer, tmp_path):
    if not ISOLATED:
        pytest.skip("no namespaces here: /tmp and /opt are this machine's own")
    starter = Starter(layer, tmp_path)
    yield starter
    for environment in starter.started:
        environment.shutdown()
        pids = [event["pid"] for event in environment.log.of_kind("process_start") if "pid" in event]
        # An orphan that has ended may wait for process 1 to take notice.
        assert not [pid for pid in pids if is_alive(pid)], "a process was left behind"


@pytest.fixture(params=["python", "node"])
def runtime(request):
    if request.param == "node" and shutil.which("node") is None:
        pytest.skip("no Node here")
    return request.param
