"""The four extensions in one process: what they do together is what they do in four, and the layer that carries them."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from extension_kit.backends import rie_binary
from extension_kit.backends.rie import RieEnvironment
from extension_kit.emulator.environment import Environment, Layout
from extension_kit.emulator.model import Profile
from layer_build.cli import main
from tests.conftest import ISOLATED
from tests.extensions.chaos_injector.conftest import experiment
from tests.layer_build.launcher.layers import ARCH, OWN
from tests.together import FUNCTION, PLUGINS, SHIPPER, WRAPPER, Running, World, armed, four_processes, one_process

pytestmark = [pytest.mark.skipif(not ISOLATED, reason="namespaces are refused here"), pytest.mark.once]

#: metrics that count what was invoked, and so do not depend on how long anything took
COUNTED = (
    "faas.invocations", "faas.errors", "faas.timeouts", "faas.coldstarts", "chaos.injected", "lambda.response.size",
)  # fmt: skip
FAULTS = (
    {"type": "error", "id": "e", "percentage": 15, "params": {}},
    {"type": "mutate_event", "id": "m", "percentage": 20, "params": {"set": {"mutated": 1}}},
)
#: of the platform's events those that tell of the extensions themselves, of which there are fewer
OF_EXTENSIONS = ("platform.extension", "platform.telemetrySubscription")


@pytest.fixture
def world():
    with World() as made:
        yield made


def outcome(folder, groups, count=40):
    """All that can be seen from outside of so many invocations, some of which fail, but for times and sizes of processes."""
    keys = armed(experiment(*FAULTS, seed="together"))
    with World() as world, Running(folder, groups, world.variables(**keys), world=world) as running:
        answers = []
        for n in range(count):
            if n == count // 2:
                world.aws.rotate("db", "two")
                running.step_clock(400)
            answers.append(running.invoke(n, lines=n % 4, fail=n % 7 == 3))
        running.shutdown()
        events = [one for one in world.lines.accepted if one["type"] not in OF_EXTENSIONS]
        accounts = {name: [one.split(" = ")[1] for one in found] for name, found in running.accounts().items()}
        return {
            "answers": answers,
            "faults": running.audit(),
            "asked of AWS": sorted((call.operation, call.ids) for call in world.aws.calls),
            "lines": [(one["record"], one["requestId"]) for one in events if one["type"] == "function"],
            "events": Counter((one["type"], one.get("requestId")) for one in events),
            "metrics": {one.name for one in world.metrics.accepted},
            "counted": {name: world.metrics.total(name) for name in COUNTED},
            "refused": [*world.lines.refused, *world.metrics.refused, *world.aws.refusals],
        }, (running, accounts, len(world.lines.accepted))


def test_in_one_process_and_in_four_the_results_are_the_same(tmp_path):
    """Answers, faults, lines, metrics, what AWS is asked; and each plug-in accounts for all that it has had."""
    (tmp_path / "one").mkdir()
    (tmp_path / "four").mkdir()
    one, (joint, in_one, shipped_by_one) = outcome(tmp_path / "one", one_process())
    four, (_, in_four, shipped_by_four) = outcome(tmp_path / "four", four_processes())

    for what in one:
        assert one[what] == four[what], what
    assert one["refused"] == []
    assert {fault for _, fault in one["faults"]} == {"e", "m"}
    assert {"one", "two"} == {answer["secret"] for answer in one["answers"] if isinstance(answer, dict)}
    for accounts, shipped in ((in_one, shipped_by_one), (in_four, shipped_by_four)):
        assert accounts.keys() == {SHIPPER, "metrics-collector"}
        assert accounts[SHIPPER][0].startswith(f"{shipped} delivered + 0 dropped + 0 pending")
        assert " + 0 dropped + 0 pending" in accounts["metrics-collector"][0]
    assert (joint.count("registered"), joint.count("telemetry_subscribed")) == (1, 1)


# the layer


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dist")
    names = ",".join(name.replace("-", "_") for name in PLUGINS)
    assert main(["build", "--plugins", names, "--arch", ARCH, "--python", OWN, "--out", str(folder)]) == 0
    (path,) = folder.glob("*.zip")
    return path


@pytest.fixture(params=["emulator", "rie"])
def start(request, built, lab):
    started = []

    def start(variables):
        layout = Layout(function=lab.function(FUNCTION), layers=(built,), variables=variables, namespaces=True)
        profile = Profile(handler="app.handler", timeout=10.0)
        if request.param == "emulator":
            environment = Environment(profile, layout)
            lab.environments.append(environment)
        else:
            environment = RieEnvironment(profile, layout, rie_binary.binary())
            started.append(environment)
        return environment

    yield start
    for environment in started:
        environment.shutdown()


def said(environment):
    return [event["text"] for event in environment.log.of_kind("log")]


def answers(environment, count):
    found = [environment.invoke(json.dumps({"n": n}).encode()).result(30) for n in range(count)]
    assert environment.idle(20)
    return [json.loads(one.payload) for one in found if not one.function_error]


def test_the_layer_with_everything_on(start, world):
    """Both wrappers, one after the other; the secret cache's ports, the injector's, a sink and a receiver: one process."""
    chaos = armed(experiment({"type": "mutate_event", "id": "m", "percentage": 100, "params": {"set": {"mutated": 1}}}))
    variables = world.variables(
        **chaos, EXTENSION_KIT_NEXT_WRAPPER="/opt/secret-cache/wrapper", SECRET_CACHE_ENVIRONMENT="FROM_CACHE=secret:db"
    )
    assert variables["AWS_LAMBDA_EXEC_WRAPPER"] == WRAPPER
    environment = start(variables)
    expected = {"mutated": 1, "from_cache": "one", "secret": "one", "parameter": "5"}
    found = answers(environment, 4)
    environment.shutdown()

    assert found == [{"n": n, **expected} for n in range(4)]
    assert len({event["pid"] for event in environment.log.of_kind("process_start") if "party" in event}) <= 2
    assert [line for line in said(environment) if "wrapper: " in line or " WARNING " in line or " ERROR " in line] == []
    assert world.metrics.total("faas.invocations") == 4
    assert [*world.lines.refused, *world.metrics.refused, *world.aws.refusals] == []
    if isinstance(environment, Environment):  # AWS's emulator has no telemetry here
        assert [event["party"] for event in environment.log.of_kind("registered")] == ["extension-kit"]
        assert len(environment.log.of_kind("telemetry_subscribed")) == 1
        assert world.lines.lines() == [f"line {n} {line}" for n in range(4) for line in range(2)]


def test_what_is_not_chosen_is_not_there(start, world):
    """No port, no import, nobody who registers late for it; the injector's wrapper starts the runtime as it was."""
    variables = world.variables(**armed(experiment()), EXTENSION_KIT_PLUGINS="log-shipper, metrics-collector")
    environment = start({**variables, "EXTENSION_KIT_LOG_LEVEL": "debug"})
    result = environment.invoke(json.dumps({"n": 1}).encode()).result(30)
    assert environment.idle(20)
    environment.shutdown()

    assert "Connection refused" in json.loads(result.payload)["errorMessage"]  # nobody has the secret cache's port
    assert [line for line in said(environment) if "[chaos-injector] wrapper: no port in" in line]
    assert not [line for line in said(environment) if "secret-cache" in line]
    assert world.metrics.total("faas.invocations") == 1


def test_names_that_no_plugin_has_are_told_in_one_line(start, world):
    environment = start(world.variables(EXTENSION_KIT_PLUGINS="secret_cache, log-shiper,,secret-cache"))
    assert [one["secret"] for one in answers(environment, 2)] == ["one", "one"]
    environment.shutdown()

    told = [line for line in said(environment) if "EXTENSION_KIT_PLUGINS" in line]
    assert told == [
        "[extension-kit] EXTENSION_KIT_PLUGINS: no plug-in is called 'secret_cache', 'log-shiper'; there are "
        "secret-cache, log-shipper, metrics-collector, chaos-injector"
    ]
    assert world.lines.accepted == []
