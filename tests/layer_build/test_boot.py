"""The texts between Lambda and the kit."""

from __future__ import annotations

import ast
import subprocess
import sys

import pytest

from extension_kit.errors import ConfigError
from layer_build import boot
from tests.layer_build.launcher.layers import manifest

PORTS = '[{ name = "http", port = 2773, variables = ["A_PORT", "B_PORT"] }, { name = "proxy", port = 9009, fallback = true }]'
MAY = (("ssm.{region}.amazonaws.com", "* when ODD"), ("python",))
SPECS = (("http", 2773, ("A_PORT", "B_PORT"), ""), ("proxy", 9009, (), "/tmp/.extension-kit/ext/port"))


def test_the_launchers_file_says_all_that_it_needs():
    """As layer_build/README.md describes it."""
    assert boot.ports_of(manifest("ext", PORTS)) == SPECS
    assert boot.launcher_conf(manifest("ext", PORTS), ("3.13", "3.12"), False) == (
        "extension-kit-launcher 1\n"
        "pythons 3.13 3.12\n"
        "register early\n"
        "events INVOKE SHUTDOWN\n"
        "port http 2773 A_PORT,B_PORT -\n"
        "port proxy 9009 - /tmp/.extension-kit/ext/port\n"
    )
    assert boot.launcher_conf(manifest("ext", events="[]"), ("3.13",), True).endswith("register late\nevents\n")


def test_whose_what_is():
    """Which plug-ins register late, and whose a port is: what the launcher does not do for those that are not to run."""
    text = boot.launcher_conf(
        manifest("ext", PORTS), ("3.13",), ("a:ON", "b"), {"http": ("a:ON", "b"), "proxy": ("c",)}
    )
    assert text.splitlines()[2:] == [
        "register late a:ON,b", "events INVOKE SHUTDOWN", "port http 2773 A_PORT,B_PORT - a:ON,b",
        "port proxy 9009 - /tmp/.extension-kit/ext/port c",
    ]  # fmt: skip


def test_two_ports_cannot_share_the_file():
    ports = '[{ name = "a", port = 1, fallback = true }, { name = "b", port = 2, fallback = true }]'
    with pytest.raises(ConfigError, match=r"ext: only one port may have fallback: its number stands in /tmp/"):
        boot.launcher_conf(manifest("ext", ports), ("3.13",), False)


@pytest.mark.parametrize("pythons", [("3.13",), ("3.13", "3.11")])
@pytest.mark.parametrize("make", [boot.boot_source, boot.python_entry])
def test_what_python_begins_with_can_be_read_by_any_python_3(make, pythons):
    """It must be, to say that it is the wrong one."""
    made = make("ext", ("a.b:C",), pythons, SPECS, late=True, events=("SHUTDOWN",), may=MAY)
    tree = ast.parse(made, feature_version=(3, 6))

    constants = {
        node.targets[0].id: ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and node.targets[0].id.isupper() and node.targets[0].id not in ("FOLDER", "OPT")
    }
    assert constants == {
        "NAME": "ext", "PLUGINS": ("a.b:C",), "PORTS": SPECS, "LATE": True, "ONLY": {}, "EVENTS": ("SHUTDOWN",), "MAY": MAY,
        "PYTHONS": tuple((3, int(python[2:])) for python in pythons),
    }  # fmt: skip


def test_the_entry_in_python_names_its_interpreter_where_there_is_one_version():
    assert boot.python_entry("ext", ("a:B",), ("3.12",), ()).startswith("#!/var/lang/bin/python3.12 -ISXutf8\n")
    assert boot.python_entry("ext", ("a:B",), ("3.12", "3.13"), ()).startswith("#!/bin/sh\n''':'\n")


def test_the_entry_in_python_under_the_wrong_python_says_so(tmp_path):
    """There is no launcher to go back to."""
    (tmp_path / "extensions").mkdir()
    entry = tmp_path / "extensions" / "ext"
    entry.write_text(boot.python_entry("ext", ("a:B",), ("3.98", "3.99"), ()))
    entry.chmod(0o755)
    done = subprocess.run(
        [entry], env={"EXTENSION_KIT_PYTHON": sys.executable}, capture_output=True, text=True, timeout=20
    )

    assert done.returncode == 1
    found = "%d.%d" % sys.version_info[:2]
    assert done.stderr == f"[ext] this layer supports Python 3.98, 3.99, but {sys.executable} is {found}\n"
