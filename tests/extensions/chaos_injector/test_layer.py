"""The layer as it is built: launcher, wrapper, what has no byte-code, programs that are started by their path."""

from __future__ import annotations

import sys
import zipfile

import pytest

from extension_kit.backends import rie_binary
from extension_kit.backends.rie import RieEnvironment
from extension_kit.emulator.environment import Environment, Layout
from extension_kit.emulator.model import Profile
from layer_build.cli import main
from tests.conftest import ISOLATED
from tests.extensions.chaos_injector.conftest import FUNCTIONS, NODE, WRAPPER, Chaos, experiment, is_alive
from tests.layer_build.launcher.layers import ARCH, OWN

pytestmark = pytest.mark.skipif(not ISOLATED, reason="namespaces are refused here")


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dist")
    assert main(["build", "chaos-injector", "--arch", ARCH, "--python", OWN, "--out", str(folder)]) == 0
    (path,) = folder.glob("*.zip")
    return path


@pytest.fixture(params=["emulator", "rie"])
def start(request, built):
    started = []

    def start(document, runtime="python", **given):
        variables = {
            "AWS_LAMBDA_EXEC_WRAPPER": WRAPPER,
            **({"CHAOS_EXPERIMENT": document} if document else {}),
            **given,
        }
        layout = Layout(
            function=FUNCTIONS / "chaos" if runtime == "python" else None,
            bootstrap=NODE if runtime == "node" else None,
            layers=(built,), variables=variables, namespaces=True,
        )  # fmt: skip
        profile = Profile(handler="app.handler", timeout=10.0, memory_mb=512)
        if request.param == "emulator":
            environment = Environment(profile, layout)
        else:
            environment = RieEnvironment(profile, layout, rie_binary.binary())
        started.append(environment)
        return Chaos(environment, runtime)

    yield start
    for environment in started:
        environment.shutdown()
        pids = [event["pid"] for event in environment.log.of_kind("process_start") if "pid" in event]
        assert not [pid for pid in pids if is_alive(pid)], "a process was left behind"


@pytest.mark.parametrize("runtime", ["python", "node"])
def test_armed(start, runtime):
    """Faults of every kind that needs something of the layer: children, a proxy, files, late imports."""
    chaos = start(
        experiment(
            ("delay", {"ms": 200}), ("cpu", {"workers": 1, "duty_percent": 20}), ("memory", {"mb": 32}), ("tmp", {"mb": 8}),
            ("egress_latency", {"latency": 5}), ("sink", {"action": "drop"}), ("descriptors", {"limit": 60}),
            ("mutate_event", {"set": {"y": 2}}), ("status_code", {"status_code": 418}),
        ),
        runtime, CHAOS_ENABLED="1", CHAOS_EGRESS="1",
    )  # fmt: skip
    chaos.answer({"http": "x"})
    found = chaos.answer({"http": "x"})

    assert chaos.ms >= 200
    assert found["statusCode"] == 418
    assert not chaos.audit("unable"), chaos.audit("unable")
    assert len(chaos.told("inject", count=18)) == 18
    chaos.write("off", "")
    chaos.answer()
    found = chaos.answer({"x": 1})
    assert found["event"] == {"x": 1}
    assert found["api"].startswith("127.0.0.1:")
    assert found["proxies"]["HTTP_PROXY"].startswith("http://127.0.0.1:")
    assert chaos.is_clean(), (chaos.files(), chaos.helpers())


def test_inert_without_the_first_key(start):
    chaos = start(experiment(("error", {})))

    found = chaos.answer({"x": 1})

    assert (found["event"], found["api"], found["proxies"]) == ({"x": 1}, "127.0.0.1:9001", {})
    assert chaos.files() == set()
    assert chaos.lines == []
    listening = chaos.call(_listening)
    assert listening <= {9001, 8080}, "the port of the proxy is closed again"


def _listening():
    """Ports of loopback that somebody listens on, in this network."""
    found = set()
    for name in ("tcp", "tcp6"):
        with open(f"/proc/thread-self/net/{name}") as file:
            for line in file.read().splitlines()[1:]:
                local, state = line.split()[1], line.split()[3]
                if state == "0A":
                    found.add(int(local.rpartition(":")[2], 16))
    return found


def test_what_is_in_it(built):
    """The command's modules are not; what is rarely imported has no byte-code; the wrapper can be started."""
    with zipfile.ZipFile(built) as archive:
        names = archive.namelist()
        assert archive.getinfo("chaos-injector/wrapper").external_attr >> 16 & 0o777 == 0o755
        late = [
            line for line in archive.read("chaos-injector/launcher.conf").decode().splitlines() if "register" in line
        ]
    assert late == ["register late chaos-injector:CHAOS_ENABLED"]
    ours = {name.removeprefix("chaos-injector/lib/extensions/chaos_injector/") for name in names}
    assert not ours & {"driver.py", "destinations.py", "preview.py", "chaostoolkit.py", "__main__.py"}
    tag = f"cpython-{sys.version_info[0]}{sys.version_info[1]}"
    assert f"__pycache__/armed.{tag}.pyc" in ours
    assert f"faults/__pycache__/egress.{tag}.pyc" not in ours
    assert {"faults/egress.py", "faults/helper.py"} <= ours
