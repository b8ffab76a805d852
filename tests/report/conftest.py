"""One real run, with everything that a report shows: its record, and a browser to open pages in."""

from __future__ import annotations

import json
import subprocess
import sys
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from extensions.chaos_injector.audit import Audit
from tests.conftest import PRELUDE, ROOT
from tests.report.browser import Browser, missing

if TYPE_CHECKING:
    from collections.abc import Iterator

#: what a function may print
HOSTILE = (
    "</script><script>window.hurt = 1</script>",
    "<img src=x onerror='window.hurt = 1'>",
    "<!--<script> {{data}} {{script}} ]]> &lt;b&gt; \u2028 \u202e \x00",
)
FUNCTION = f"""
import time
def handler(event, context):
    if event.get("say"):
        for line in {HOSTILE!r}:
            print(line)
    time.sleep(event.get("ms", 5) / 1000)
    if event.get("fail"):
        raise ValueError("bang")
    return "done"
"""
#: works on after the response, and tells of a fault as the chaos injector does
WATCHER = """
register()
print({decision!r}, flush=True)
while True:
    status, event = next()
    if event["eventType"] == "SHUTDOWN":
        sys.exit(0)
    time.sleep(0.06)
"""


def decision() -> str:
    """A line as the chaos injector writes it."""
    lines: list[str] = []
    clock = SimpleNamespace(wall_ms=lambda: 1_800_000_000_000, monotonic_ns=lambda: 1)
    fault = SimpleNamespace(id="slow", type="delay", percentage=100)
    experiment = SimpleNamespace(id="friday", owner="tests", seed="s")
    Audit(lines.append, lambda *_count: None, clock).line("inject", experiment, fault, request_id="r", ms=80)  # type: ignore[arg-type]
    return lines[0]


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """``record``, and the files that the command wrote: ``json``, ``html``, ``trace``; ``output``: what it printed."""
    folder = tmp_path_factory.mktemp("run")
    (folder / "function").mkdir()
    (folder / "function" / "app.py").write_text(FUNCTION)
    watcher = folder / "watcher"
    watcher.write_text(PRELUDE + WATCHER.format(decision=decision()))
    watcher.chmod(0o755)
    arguments = []
    for number, event in enumerate(({"say": True, "ms": 20}, {}, {"fail": True}, {"ms": 30}, {}, {})):
        (folder / f"{number}.json").write_text(json.dumps(event))
        arguments += ["--event", str(folder / f"{number}.json")]
    names = {"json": "record.json", "report": "page.html", "trace": "trace.json"}
    done = subprocess.run(
        [
            sys.executable, "-m", "extension_kit.cli", "run",
            "--function", str(folder / "function"), "--handler", "app.handler",
            "--extension", str(watcher), "--plugin", "extensions.metrics_collector.plugin:MetricsCollector",
            "--fault", "telemetry-duplicated:every=3", "--gap-ms", "80", *arguments,
            *(part for option, name in names.items() for part in (f"--{option}", str(folder / name))),
        ],
        cwd=ROOT, capture_output=True, text=True, timeout=90, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    record = json.loads((folder / "record.json").read_text())
    return SimpleNamespace(
        record=record, output=done.stdout, folder=folder, **{key: folder / name for key, name in names.items()}
    )


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """A window of 1400 x 900."""
    if missing():
        pytest.skip(missing())
    with Browser() as opened:
        yield opened
