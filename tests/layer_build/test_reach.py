"""Which modules of the kit a layer carries, by what its code imports."""

from __future__ import annotations

import subprocess
import sys

import pytest

from layer_build import reach, sources
from layer_build.tree import Entry

PLAIN = "from extension_kit import Plugin\nclass Mine(Plugin):\n    name = 'my-ext'\n"
TELEMETRY = {
    "extension_kit/telemetry.py",
    "extension_kit/flusher.py",
    "extension_kit/spool.py",
    "extension_kit/records.py",
}


def needed(code, path="my_ext/plugin.py"):
    return reach.needed(sources.kit(), {path: Entry(code.encode())})


def test_a_plug_in_that_only_hears_of_invokes_carries_no_telemetry():
    found = needed(PLAIN + "    def on_invoke(self, event): ...\n")

    assert found & TELEMETRY == set()
    assert "extension_kit/io/server.py" not in found
    assert {"extension_kit/runner.py", "extension_kit/plugin.py", "extension_kit/io/client.py"} <= found


@pytest.mark.parametrize(
    "more",
    [
        "    telemetry = ('platform',)\n",
        "    telemetry: tuple[str, ...] = ('platform',)\n",
        "    def on_telemetry(self, records): ...\n",
        "    def on_runtime_done(self, record): ...\n",
        "    def flush(self, reason, deadline): ...\n",
        "    flush = object()\n",
    ],
)
def test_who_hears_telemetry_carries_what_it_takes(more):
    assert needed(PLAIN + more) >= TELEMETRY


def test_who_looks_for_a_restore_carries_the_clocks_watch():
    assert "extension_kit/io/freeze.py" not in needed(PLAIN)
    assert "extension_kit/io/freeze.py" in needed(PLAIN + "    def on_restore(self, event): ...\n")


@pytest.mark.parametrize(
    ("code", "module"),
    [
        ("def f():\n    from extension_kit.aws import Aws\n", "extension_kit/aws/__init__.py"),
        ("import extension_kit.records\n", "extension_kit/records.py"),
        ("from extension_kit import register_internal\n", "extension_kit/internal.py"),
        ("from extension_kit.io import server\n", "extension_kit/io/server.py"),
    ],
)
def test_what_is_imported_anywhere_is_carried(code, module):
    assert module not in needed(PLAIN)
    assert module in needed(PLAIN + code)


def test_what_only_type_checkers_read_is_not():
    code = "TYPE_CHECKING = False\nif TYPE_CHECKING:\n    from extension_kit.records import Record\n"

    assert "extension_kit/records.py" not in needed(PLAIN + code)


def test_who_takes_the_kit_as_a_whole_gets_all_of_it():
    assert needed("import extension_kit\n") == set(sources.kit())


def test_a_dependency_counts_too():
    assert needed(PLAIN + "    flush = 1\n", "somebody/plugin.py") >= TELEMETRY


def test_no_carried_module_misses_another_when_it_is_imported(tmp_path):
    """Every module of the smallest layer is imported, from nothing else than that layer."""
    kit = sources.kit()
    found = needed(PLAIN)
    for path in found:
        place = tmp_path / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(kit[path].data)
    modules = [path.removesuffix(".py").removesuffix("/__init__").replace("/", ".") for path in sorted(found)]

    script = f"import sys\nsys.path.insert(0, {str(tmp_path)!r})\n" + "".join(f"import {name}\n" for name in modules)
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", script], capture_output=True, text=True, timeout=60, check=False
    )

    assert done.stderr == ""
    assert len(modules) > 15
