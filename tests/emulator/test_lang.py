"""/var/lang/bin, where Lambda has the interpreter of functions in Python."""

from __future__ import annotations

import sys
from dataclasses import replace

import pytest

from extension_kit.emulator import namespaces, variables
from extension_kit.emulator.environment import Environment
from extension_kit.emulator.model import Profile
from tests.conftest import ISOLATED, PRELUDE

LOOKS = """
import shutil
say(sys.executable, "%d.%d" % sys.version_info[:2], os.environ.get("EXTENSION_KIT_PYTHON"), sys.flags.no_site)
say(shutil.which("python%d.%d" % sys.version_info[:2]))
register()
loop()
"""


@pytest.mark.skipif(not ISOLATED, reason="namespaces are refused here")
def test_an_extension_finds_the_functions_python_where_lambda_has_it(lab):
    """By path in its first line, and by name, as /var/lang/bin is the first of PATH."""
    extension = lab._write("ext", PRELUDE.replace(sys.executable, f"{namespaces.LANG_PYTHON} -IS", 1) + LOOKS, 0o755)
    environment = lab.start(extension)
    assert lab.invoke(environment).function_error == ""

    version = "%d.%d" % sys.version_info[:2]
    assert lab.lines(environment, "ext")[:2] == [
        f"{namespaces.LANG_PYTHON} {version} None 1",
        str(namespaces.LANG_PYTHON),
    ]


def test_nothing_of_it_is_left_on_this_machine(lab):
    """It is the environment's own, as /opt is."""
    before = namespaces.LANG_PYTHON.exists()
    environment = lab.start()
    lab.invoke(environment)
    assert namespaces.LANG_PYTHON.exists() == before


@pytest.mark.skipif(namespaces.LANG_PYTHON.exists(), reason="this machine has a Python where Lambda has it")
@pytest.mark.parametrize("chosen", ["", "/usr/bin/python-of-mine"])
def test_without_namespaces_extensions_are_told_where_it_is(chosen, lab):
    """Unless the user has said it; the function is told nothing of it."""
    own = {"EXTENSION_KIT_PYTHON": chosen} if chosen else {}
    made = lab.start(lab.extension("ext", LOOKS), variables=own)
    layout = replace(made.layout, namespaces=False)
    with Environment(Profile(handler="app.handler", timeout=5.0), layout) as environment:
        lab.invoke(environment)

    assert lab.lines(environment, "ext")[0].split()[2] == (chosen or sys.executable)
    assert any("EXTENSION_KIT_PYTHON" in note for note in environment.log.notes) == (not chosen)
    assert "EXTENSION_KIT_PYTHON" not in variables.for_extension({}, with_python=True)
