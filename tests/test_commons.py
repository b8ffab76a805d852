"""What the plug-ins of one process share is given back, whoever has taken it."""

from __future__ import annotations

import json
import subprocess
import sys

from tests.conftest import ROOT

SCRIPT = """
import json, os, resource, sys
sys.path.insert(0, sys.argv[1])
from extension_kit.commons import Commons
lines = []
resource.setrlimit(resource.RLIMIT_NOFILE, (1000, 1024))
commons = Commons(lines.append)
found = {"lowered": resource.getrlimit(resource.RLIMIT_NOFILE)}
before = sys.modules.copy()
for _ in range(2):
    commons.before()
    sys.modules.clear()
    commons.before()  # another's hook begins meanwhile
    commons.after("bad", "start")
found["modules"] = sys.modules == before
os.close(1)
os.close(2)
taken = os.open("/dev/null", os.O_RDONLY)  # somebody else's, with the number of standard output
commons.after("worse", "on_invoke")
found["streams"] = [taken, os.fstat(2).st_ino == os.fstat(3).st_ino or os.fstat(2).st_ino == os.fstat(4).st_ino]
os.close(taken)
commons.after("bad", "on_invoke")
leak = []
def take_all():
    try:
        while True:
            leak.append(os.open("/dev/null", os.O_RDONLY))
    except OSError:
        pass  # kept to itself
take_all()
commons.after("bad", "on_invoke")
found["restored"] = resource.getrlimit(resource.RLIMIT_NOFILE)
take_all()
commons.after("bad", "on_invoke")
os.closerange(10, 1000)
resource.setrlimit(resource.RLIMIT_NOFILE, (5, 1024))
sys.meta_path.clear()
commons.after("bad", "start")
found["limit and importers"] = [resource.getrlimit(resource.RLIMIT_NOFILE), len(sys.meta_path) > 0]
print(json.dumps({**found, "lines": lines}), flush=True)
"""


def test_what_one_takes_is_given_back_and_told_once():
    """Modules also where another's hook begins while they are gone; a number that somebody else has by now is left to them."""
    done = subprocess.run(
        [sys.executable, "-I", "-c", SCRIPT, str(ROOT)], capture_output=True, text=True, timeout=30, check=True
    )

    assert json.loads(done.stdout) == {
        "lowered": [872, 1024],
        "modules": True,
        "streams": [1, True],
        "restored": [1000, 1024],
        "limit and importers": [[1000, 1024], True],
        "lines": [
            "after start of plug-in bad modules were gone from sys.modules: they are back",
            "after on_invoke of plug-in worse standard error was closed: it is open again",
            "after on_invoke of plug-in bad standard output was closed: it is open again",
            "after on_invoke of plug-in bad no file could be opened any more: 128 that were kept back are given",
            "after start of plug-in bad sys.meta_path was empty: it is as before",
        ],
    }
