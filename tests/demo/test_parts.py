"""Parts of the demo that need no run of it: the command line, what is written, the layers that are kept, what is noise."""

from __future__ import annotations

import os
import time
from dataclasses import replace

import pytest

from tests.demo import __main__ as demo
from tests.demo import costs, layers
from tests.demo.costs import Cost


@pytest.fixture
def no_run(monkeypatch):
    """It is an error to get as far as building anything."""
    monkeypatch.setattr(demo, "_ready", lambda *_: pytest.fail("it has begun"))
    monkeypatch.setattr(demo.signal, "signal", lambda *_: None)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--seed", "x"], "argument --seed: invalid int value: 'x'"),
        (["--rounds", "-1"], "--orders is 1 to 200, --rounds 0 to 100"),
        (["--colour"], "unrecognized arguments: --colour"),
        (["--json", "/nowhere/table.json"], "--json /nowhere/table.json: cannot be written: No such file or directory"),
    ],
)
def test_what_is_wrong_is_one_line_before_anything_is_done(no_run, words, says, capsys):
    assert demo.main(words) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"demo: {says}")
    assert err.count("\n") == 1


def test_reports_that_could_not_be_written_are_told_before(no_run, monkeypatch, tmp_path, capsys):
    (tmp_path / "file").touch()
    monkeypatch.setattr(demo, "_REPORTS", tmp_path / "file")
    assert demo.main([]) == 2
    monkeypatch.setattr(demo, "_REPORTS", tmp_path)
    (tmp_path / "stream-emulator.html").mkdir()
    assert demo.main([]) == 2
    first, second = capsys.readouterr().err.splitlines()
    assert first == f"demo: {tmp_path / 'file'}: cannot be made: File exists"
    assert second == f"demo: report {tmp_path / 'stream-emulator.html'}: cannot be written: Is a directory"


def test_layers_of_before_are_removed_when_nobody_can_have_them(tmp_path):
    """Not the new one, not one that a demo has taken within the hour, not another extension's."""
    long_ago = time.time() - 7200
    names = ("x-arm64-1.zip", "x-arm64-2.zip", "x-arm64-new.zip", "y-arm64-1.zip")
    for name in names:
        (tmp_path / name).touch()
        if name != "x-arm64-2.zip":
            os.utime(tmp_path / name, (long_ago, long_ago))
    layers._forget_old(tmp_path / "x-arm64-new.zip", "x-arm64-*.zip")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x-arm64-2.zip", "x-arm64-new.zip", "y-arm64-1.zip"]


def test_a_layer_that_cannot_be_built_leaves_the_old_one(tmp_path, monkeypatch):
    old = tmp_path / f"secret-cache-{layers.architecture()}-python0.0-old.zip"
    old.touch()
    os.utime(old, (0, 0))
    monkeypatch.setattr(layers, "CACHE", tmp_path)
    with pytest.raises(layers.ConfigError, match="cannot be built"):
        layers._built("secret-cache", "0.0", lambda _text: None, [])
    assert list(tmp_path.iterdir()) == [old]


def test_of_one_round_nothing_is_a_fact():
    """By how much the shop varies from round to round is not known: every difference may be chance."""
    alone = Cost(100.0, 10.0, 0.0, 0.0, 5.0, 1e6, 0.5)
    more = Cost(135.0, 12.0, 25.0, 40.0, 5.0, 1e6, 0.5)
    one = dict.fromkeys(costs.VARIANTS, more) | {costs.ALONE: alone}
    other = {**one, costs.ALONE: replace(alone, init=103.0)}
    figures = {"init": 35.0, "response": 2.0, "after": 25.0, "cold": 40.0}
    assert all(costs.is_noise([one], figure, value) for figure, value in figures.items())
    assert not any(costs.is_noise([one, other], figure, value) for figure, value in figures.items())
    assert costs.is_noise([one, other], "init", 3.0)
    assert not costs.is_noise([one], "peak", 1e6), "memory is measured, and no difference"
