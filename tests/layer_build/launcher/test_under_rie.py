"""The launcher under AWS's own emulator: the order and the hand-over hold in AWS's code as well."""

from __future__ import annotations

import time

import pytest

from extension_kit.backends import prepare, rie_binary
from extension_kit.backends.rie import RieEnvironment
from extension_kit.emulator.environment import Layout
from extension_kit.emulator.model import Profile
from tests.conftest import FUNCTION
from tests.layer_build.launcher.layers import OWN, layer


@pytest.fixture
def under_rie():
    why_not = prepare.why_no_namespaces()
    if why_not:
        pytest.skip(why_not)

    def run(*layers, each=lambda _log, _count: None):
        layout = Layout(function=FUNCTION, layers=layers)
        profile = Profile(handler="app.handler", timeout=5.0)
        with RieEnvironment(profile, layout, rie_binary.binary()) as environment:
            results = []
            for number in range(2):
                # Long enough for the extension to be asking for its next event when one starts: where it is not, AWS's
                # emulator takes its late request for the end of this invocation and never tells it of it.
                results.append(environment.invoke(b'{"spend_ms": 100}').result(20))
                each(environment.log, number + 1)
            environment.shutdown()
        assert [result.function_error for result in results] == ["", ""]
        return environment.log

    return run


def heard(log, count):
    """Wait until the extension has been told of each invoke: AWS's emulator answers without, and forgets it at the end."""
    until = time.monotonic() + 10
    while sum(event["text"] == "invoke" for event in log.of_kind("log")) < count and time.monotonic() < until:
        time.sleep(0.01)


def test_registered_by_the_launcher_served_by_python(under_rie, tmp_path):
    """One registration, events and SHUTDOWN under its identifier; its process is still counted as the extension's."""
    log = under_rie(layer(tmp_path / "layer"), each=heard)

    lines = [event["text"] for event in log.of_kind("log")]
    assert [line for line in lines if line.startswith(("start", "invoke", "shutdown"))] == [
        "start function", "invoke", "invoke", "shutdown sandboxterminated",
    ]  # fmt: skip
    assert {event["party"] for event in log.of_kind("process_start")} == {"ext", "runtime"}


def test_where_python_cannot_be_the_function_goes_on(under_rie, tmp_path):
    log = under_rie(layer(tmp_path / "layer", pythons=("3.99",)))

    (line,) = [event["text"] for event in log.of_kind("log") if event["text"].startswith("[ext]")]
    assert line == (
        f"[ext] no Python: this layer supports 3.99; /var/lang/bin/ has python{OWN}, and no layer brings one"
        "; the function goes on without it"
    )
