"""Interpreters that others built: what is promised is checked before anything is used."""

from __future__ import annotations

import pytest

from layer_build.cli import main
from tests.layer_build.interpreter.folders import archive, module, program


@pytest.fixture(autouse=True)
def _no_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("layer_build.interpreter.provider.certificates", lambda *_: (b"certificates", b"licence"))


def layout(name="python/install", python="3.13", **programs):
    """The paths of python-build-standalone around a program."""
    return {
        f"{name}/bin/python{python}": program(**programs), f"{name}/lib/python{python}/os.py": b"",
        f"{name}/bin/pip3": b"#!/bin/sh\n", f"{name}/share/terminfo/x": b"",
    }  # fmt: skip


def refused(tmp_path, capsys, files, *, arch="x86_64", sha256=""):
    """What is said of an archive of `files`, one line."""
    path = tmp_path / "python.tar.gz"
    found = archive(path, files)
    words = ["interpreter", "--arch", arch, "--from", path.as_uri(), "--sha256", sha256 or found]
    assert main(words) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert (
        not list((tmp_path / "cache" / "extension-kit").glob("interpreter-*"))
        if (tmp_path / "cache").exists()
        else True
    )
    return last


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({"python/readme": b""}, "has no python/bin/python3.X"),
        (layout() | layout(python="3.12"), "Python 3.12 and 3.13"),
        (layout(python="3.9"), "Python 3.9"),
        (layout(glibc="2.34"), "wants GLIBC_2.34; Amazon Linux 2 has 2.26"),
        (layout(arch="arm64"), "made for aarch64, not for x86_64"),
        (layout() | {"python/install/lib/python3.13/lib-dynload/_ssl.so": module(glibc="2.28")}, "_ssl.so: it wants GLIBC_2.28"),  # noqa: E501
        (layout() | {"python/install/bin/python3.13": b"#!/bin/sh"}, "python3.13: no ELF file"),
        ({"python/../../evil": b""}, "leads out of the folder"),
    ],
    ids=["no layout", "two", "too old", "glibc", "machine", "module", "script", "path"],
)  # fmt: skip
def test_what_cannot_be_used_is_refused(tmp_path, capsys, files, says):
    assert says in refused(tmp_path, capsys, files)


def test_other_bytes_than_those_that_were_named(tmp_path, capsys):
    assert "which is not the pinned one" in refused(tmp_path, capsys, layout(), sha256="0" * 64)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--from", "https://example.com/x.tar.gz"], "--from and --sha256 go together"),
        (["--sha256", "0" * 64], "--from and --sha256 go together"),
        (["--from", "https://example.com/x", "--sha256", "0" * 64, "--arch", "both"], "--from brings one architecture"),
        (["--from", "https://example.com/x", "--sha256", "12"], "64 digits"),
        (["--from", "/tmp/x", "--sha256", "0" * 64], "https:// or file://"),
    ],
)
def test_options_that_do_not_fit(capsys, words, says):
    given = words if "--arch" in words else [*words, "--arch", "x86_64"]

    assert main(["interpreter", *given]) == 2
    assert says in capsys.readouterr().err
