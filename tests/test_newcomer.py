"""A newcomer's path: every command of the README's "Five-minute start", from a clone on, with an empty home."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.pages import ROOT, blocks, section
from tests.pages import absent as missing_line
from tests.test_readme import START

#: what a newcomer's shell has; how packages are fetched is the machine's own affair
KEPT = ("PATH", "LANG", "LC_ALL", "TERM", "PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS", "PIP_CERT", "SSL_CERT_FILE",
        "PIP_TRUSTED_HOST", "PIP_CONFIG_FILE", "PIP_NO_INDEX", "REQUESTS_CA_BUNDLE", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY",
        "PYENV_ROOT", "PYENV_VERSION")  # fmt: skip


def committed(folder: Path) -> Path:
    """A repository with what is in this checkout now, so that what was not committed yet is tested as well."""
    there = folder / "published"
    subprocess.run(["git", "clone", "--quiet", "--no-hardlinks", str(ROOT), str(there)], check=True, timeout=60)
    command = ["git", "-c", "user.name=test", "-c", "user.email=test@example.com"]
    changed = subprocess.run(
        ["git", "diff", "HEAD", "--binary"], cwd=ROOT, capture_output=True, check=True, timeout=60
    ).stdout
    if changed:
        subprocess.run(["git", "apply", "--index"], input=changed, cwd=there, check=True, timeout=60)
        subprocess.run([*command, "commit", "--quiet", "--message", "now"], cwd=there, check=True, timeout=60)
    return there


def caches() -> dict[str, str]:
    """Where this machine keeps what it has fetched before, packages and the launcher's compiler: fetched once, if at all."""
    kept = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return {"XDG_CACHE_HOME": kept, "PIP_CACHE_DIR": os.environ.get("PIP_CACHE_DIR") or f"{kept}/pip"}


@pytest.fixture
def room():
    """Not below /tmp: an environment has its own."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        yield Path(folder)


@pytest.mark.once
@pytest.mark.timeout(900)
def test_from_a_clone_to_an_extension_of_ones_own_in_a_layer(room):
    """Each script goes on where the one before it has ended; what the page shows is printed."""
    home = room / "home"
    home.mkdir()
    environ = {name: os.environ[name] for name in KEPT if name in os.environ}
    # The Python that runs this is the newcomer's: a venv's own `bin` is not on a newcomer's PATH.
    base = Path(sys.base_prefix) / "bin"
    environ |= {
        "HOME": str(home), "REPOSITORY": str(committed(room)), **caches(),
        "PATH": f"{base}{os.pathsep}{environ['PATH']}",
    }  # fmt: skip
    here, printed, ran = room, "", 0
    for block in section("README.md", START):
        assert "needs" not in block.attributes, f"{block.place}: a newcomer cannot skip it"
        if block.language == "sh":
            script = f"set -euo pipefail\n{block.text}\npwd > {room}/here\n"
            done = subprocess.run(
                ["bash", "-c", script], cwd=here, env=environ, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT, timeout=600, check=False, encoding="utf-8", errors="replace",
            )  # fmt: skip
            assert done.returncode == 0, f"{block.place}:\n{done.stdout}"
            printed, ran, here = done.stdout, ran + 1, Path((room / "here").read_text().strip())
        elif "prints" in block.attributes:
            missing = missing_line(block.text, printed)
            assert missing is None, f"{block.place}: {missing}\nis not in\n{printed}"
    assert ran >= 3
    assert list(here.glob("dist/*.zip")), "no layer was built"


def test_the_start_is_no_longer_than_it_says():
    """Five minutes are few commands."""
    lines = [
        line for block in section("README.md", START) if block.language == "sh" for line in block.text.splitlines()
    ]
    assert 5 <= len(lines) <= 12
    assert len(blocks("README.md")) >= 5
