"""The kit under the only telemetry source that AWS itself has written: its emulator in Managed Instances mode."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from extension_kit.backends import rie_binary
from tests import rie_managed

ROOT = Path(__file__).parents[1]
PLUGIN = f"""#!{sys.executable}
import sys
sys.path.insert(0, {str(ROOT)!r})
from extension_kit import Plugin, run
class Keeper(Plugin):
    name = "keeper"
    telemetry = ("platform", "function")
    def start(self, context):
        self.held = []
    def on_telemetry(self, records):
        self.held += [record.type + " " + record.request_id + " " + record.text for record in records]
    def flush(self, reason, deadline):
        with open("{rie_managed.SHARED}/kept", "a") as file:
            file.write("".join(line + "\\n" for line in self.held))
        self.held = []
run(Keeper(), name="keeper")
"""
FUNCTION = """
def handler(event, context):
    print("line of " + event["n"] + "\\n", end="", flush=True)
    return event["n"]
"""


def test_every_record_of_awss_own_source_is_delivered(tmp_path):
    """Registered for SHUTDOWN only, on the newest schema, flushed by the clock; the last line accounts for all of it."""
    why_not = rie_managed.why_not()
    if why_not:
        pytest.skip(why_not)
    extension = tmp_path / "keeper"
    extension.write_text(PLUGIN)
    extension.chmod(0o755)
    function = tmp_path / "function"
    function.mkdir()
    (function / "app.py").write_text(FUNCTION)
    with rie_managed.RieManaged(
        [extension], function, "app.handler", rie_binary.binary(), concurrency=2, timeout=5.0
    ) as running:
        for number in range(5):
            status, _headers, _body = running.invoke(
                json.dumps({"n": f"n{number}"}).encode(), {"Content-Type": "application/json"}
            )
            assert status == 200
        kept = running.shared / "kept"
        rie_managed.until(lambda: kept.exists() and kept.read_text().count("platform.report ") == 5)
        running.shutdown()
        output = "\n".join(running.output())
        lines = kept.read_text().splitlines()

    assert [line for line in lines if line.startswith("platform.initStart ")]
    assert sorted(line.split()[-1] for line in lines if line.startswith("function ")) == [
        f"n{number}" for number in range(5)
    ]
    assert f"plug-in keeper: {len(lines)} records = {len(lines)} delivered + 0 dropped + 0 pending" in output
