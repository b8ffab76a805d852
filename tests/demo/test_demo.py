"""The demo: what its table says is what the receivers hold, it says so when that is not so, and it leaves nothing behind."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from tests.conftest import ISOLATED
from tests.demo import functions, layers
from tests.demo.accounts import settle
from tests.demo.receivers import KEY, SHOWN, Receivers
from tests.demo.runs import Demo, arm, disarm
from tests.demo.show import WIDTH
from tests.receivers.programs import or_skip
from tests.receivers.rotel import Rotel

pytestmark = [
    pytest.mark.once,
    pytest.mark.timeout(300),  # layers may have to be built
    pytest.mark.skipif(not ISOLATED, reason="no namespaces here: layers lie under /opt"),
]
SEED = 2281


@pytest.fixture(autouse=True)
def _rotel(tmp_path):
    """Its one receiver that is not a package of the tests'."""
    with or_skip(Rotel, tmp_path, "metrics"):
        pass


def demo(*arguments):
    command = [sys.executable, "-m", "tests.demo", *arguments]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=layers.ROOT, **pipes) as running:
        try:
            out, errors = running.communicate(timeout=280)
        except BaseException:
            running.terminate()  # it cleans up
            raise
    return subprocess.CompletedProcess(command, running.returncode, out, errors)


def left_over():
    return list(layers.CACHE.parent.glob("run-*"))


def test_the_table_on_the_emulator(tmp_path):
    """Every check holds, every cost is there, no line is too wide, and no key is on the screen."""
    before = left_over()
    done = demo("--orders", "8", "--rounds", "1", "--json", str(tmp_path / "table.json"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert [line for line in done.stdout.splitlines() if len(line) > WIDTH] == []
    assert "not-to-be-seen" not in done.stdout
    table = json.loads((tmp_path / "table.json").read_text())
    assert [check for check in table["checks"] if not check["holds"]] == []

    assert re.search(r"egress guard +1  connections refused", done.stdout)
    assert "a connection to 203.0.113.1:443 was refused" in done.stdout

    rows = table["extensions"]
    assert list(rows) == [*layers.EXTENSIONS, "all four", "all, one process"]
    assert "one round does not tell it from chance" in done.stdout  # so every figure that is added is in brackets
    assert not re.search(r"^ (all|secret|log|metrics|chaos).* [+-]\d", done.stdout, re.MULTILINE)
    for name, row in rows.items():
        assert {
            key for key in ("init", "response", "after", "cpu", "peak", "layer", "usd") if row[key] is None
        } == set(), name
        assert row["cpu"] > 0, name
        assert row["peak"] > 5_000_000, name
    assert rows["log-shipper"]["counted"]["dropped"] == rows["log-shipper"]["counted"]["pending"] == 0
    assert rows["metrics-collector"]["counted"]["invocations"] == 8 + 3
    chaos = rows["chaos-injector"]["counted"]
    assert chaos["injected"] == sum(chaos[kind] for kind in ("delay", "error", "status_code", "slow_stream")) > 0
    assert re.search(rf"log-shipper +{rows['log-shipper']['counted']['delivered']} lines shipped", done.stdout)
    for report in table["reports"]:
        page = Path(report).read_text()
        assert "<html" in page.lower()
        assert "flush of log-shipper.cloudwatch: " in page
    assert left_over() == before


def test_under_awss_emulator(tmp_path):
    """No telemetry there: that is a line, and not a column of nothing."""
    done = demo("--backend", "rie", "--orders", "6", "--rounds", "0", "--json", str(tmp_path / "table.json"))
    assert done.returncode == 0, done.stdout + done.stderr
    table = json.loads((tmp_path / "table.json").read_text())
    assert [check for check in table["checks"] if not check["holds"]] == []
    assert {check["about"] for check in table["checks"]} == {
        *layers.EXTENSIONS, "stream", "receivers", "record", "egress guard",
    } - {"log-shipper"}  # fmt: skip
    assert "AWS's emulator has no Telemetry API" in done.stdout
    assert table["extensions"]["metrics-collector"]["counted"]["invocations"] == 6 + 2


def test_the_checks_can_fail(tmp_path):
    """A line too many at the receiver, an answer that a caller never had: each is found, and nothing else is."""
    zips = layers.built_all(layers.own_python(), print)
    with Receivers(tmp_path) as receivers:
        staged = functions.stage(tmp_path / "functions")
        running = Demo("emulator", SEED, zips, staged, receivers)
        arm(running)
        outcomes = [running.run("shop", functions.orders(SEED, 6)), running.run("stream", functions.parcels(SEED, 2))]
        disarm(running)

        def failing(outcomes, pages=(), seed=SEED):
            found = settle(outcomes, list(pages), receivers, seed, known_ids=True)
            return {check.what.partition(",")[0] for check in found.checks if not check.holds}

        assert failing(outcomes) == set()
        shop, stream = outcomes
        fewer = replace(shop, invoked=tuple(one for one in shop.invoked if b"Chaos" not in one.payload))
        assert {"errors made", "invocations counted at rotel", "faults of type error"} <= failing([fewer, stream])
        assert "decisions" in failing(outcomes, seed=SEED + 1)  # other dice than the seed's
        silent = [
            replace(
                one,
                events=tuple(event for event in one.events if '"source":"chaos-injector"' not in event.get("text", "")),
            )
            for one in outcomes
        ]
        assert "decisions" in failing(silent)  # nothing was decided, and nothing repeats: that is no agreement
        mute = [replace(one, events=tuple(event for event in one.events if event["kind"] != "log")) for one in outcomes]
        assert {"secrets answered", "calls to Secrets Manager", "decisions"} <= failing(mute)
        kept = "keys in records and reports"
        assert failing(outcomes, ["<p>" + KEY]) == {kept}
        spilt = {"kind": "log", "party": "metrics-collector", "text": functions.CARD}
        assert failing([replace(shop, events=(*shop.events, spilt)), stream]) == {kept}
        logs = receivers.moto.client("logs")
        logs.create_log_stream(logGroupName=SHOWN, logStreamName="more")
        event = {"timestamp": time.time_ns() // 1_000_000, "message": functions.CARD}
        logs.put_log_events(logGroupName=SHOWN, logStreamName="more", logEvents=[event])
        assert failing(outcomes) == {"lines delivered", "card numbers and keys that left the environment"}


def test_ctrl_c_leaves_nothing_behind():
    before = left_over()
    command = [sys.executable, "-m", "tests.demo", "--rounds", "1"]
    with subprocess.Popen(
        command, cwd=layers.ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as running:
        for line in running.stdout:
            if "order   2" in line:
                break
        started = psutil.Process(running.pid).children(recursive=True)
        running.send_signal(signal.SIGINT)
        running.stdout.read()
        assert running.wait(60) == 1
        assert "interrupted" in running.stderr.read()
    assert len(started) > 5, "moto, rotel, four extensions, the runtime"
    assert psutil.wait_procs(started, timeout=10)[1] == []
    assert left_over() == before


def test_the_sizes_in_the_guide_are_those_of_the_layers():
    """Within 2 %: what a byte-code compiler of another patch release makes of the same sources differs by less."""
    page = (layers.ROOT / "extension_kit/guide/layers.md").read_text()
    rows = re.findall(r"^\| ([a-z-]+) \| [\d.]+ \| (3\.\d+) \| (\d+) KB \| (\d+) KB \|", page, re.MULTILINE)
    python, column = layers.own_python(), {"x86_64": 0, "arm64": 1}[layers.architecture()]
    written = {name: int(sizes[column]) for name, version, *sizes in rows if version == python}
    zips = layers.built_all(python, print)
    assert written.keys() == zips.keys()
    wrong = {name: (written[name], path.stat().st_size / 1024) for name, path in zips.items()}
    assert {name: both for name, both in wrong.items() if abs(both[0] - both[1]) > both[1] / 50} == {}
