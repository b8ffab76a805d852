"""One sink from variables, several from a file; every mistake is one line, and never an error."""

from __future__ import annotations

import json
import re

import pytest

from extensions.log_shipper.settings import ShipperSettings, read_sinks


def read(tmp_path, text, **variables):
    path = tmp_path / "shipper.toml"
    path.write_text(text)
    environ = {f"LOG_SHIPPER_{name.upper()}": value for name, value in variables.items()}
    return read_sinks({"LOG_SHIPPER_CONFIG": str(path), **environ})


def test_variables_alone():
    """One sink, named after its kind."""
    ((name, settings),), complaints = read_sinks(
        {"LOG_SHIPPER_SINK": "stdout", "LOG_SHIPPER_SAMPLE": "0.5", "OTHER": "x"}
    )
    assert (name, settings.sink, settings.sample, complaints) == ("stdout", "stdout", 0.5, [])
    assert read_sinks({}) == ([], [])


def test_who_wins(tmp_path):
    """A sink's own settings, then variables, then the file's common ones."""
    text = 'min_level = "info"\nsample = 0.5\nservice = "file"\n[[sinks]]\nsink = "stdout"\nmin_level = "error"\n'
    ((_, settings),), complaints = read(tmp_path, text, sample="0.25", min_level="warn")
    assert (settings.min_level, settings.sample, settings.service, complaints) == ("error", 0.25, "file", [])


def test_one_sink_from_variables_beside_those_of_the_file(tmp_path):
    """All of them; names that are taken get a number, odd names become possible ones."""
    text = '[[sinks]]\nsink = "stdout"\n[[sinks]]\nsink = "stdout"\nname = "my sink/1"\n[[sinks]]\nsink = "stdout"\n'
    sinks, complaints = read(tmp_path, text, sink="stdout")
    assert [name for name, _settings in sinks] == ["stdout", "stdout-2", "my-sink-1", "stdout-3"]
    assert complaints == []


def test_a_sink_at_the_top_of_the_file(tmp_path):
    """Is one, where there are no tables."""
    sinks, complaints = read(
        tmp_path, 'sink = "file"\nendpoint = "/tmp/x"\ntypes = ["function"]\nflush_on_error = false\n'
    )
    ((name, settings),) = sinks
    assert (name, settings.endpoint, settings.types, settings.flush_on_error, complaints) == (
        "file",
        "/tmp/x",
        ("function",),
        False,
        [],
    )


@pytest.mark.parametrize(
    ("text", "said", "left"),
    [
        ("sink = [", "cannot be read", 0),
        ("sinks = 3\n", "sinks is no list of tables: write [[sinks]]", 0),
        ('[[sinks]]\nname = "a"\n', "a sink without a kind: write sink = one of http, otlp", 0),
        ('[[sinks]]\nsink = "stdout"\nsample = 7\n', 'sample="7" is not allowed: use a number from 0.0 to 1.0', 1),
        ('[[sinks]]\nsink = "stdout"\nsampel = 1\n', "sampel is not a setting and is ignored; did you mean SAMPLE?", 1),
        ('[[sinks]]\nsink = "stdot"\n', 'sink="stdot" is not allowed', 0),
        ('sampel = 1\n[[sinks]]\nsink = "stdout"\n', "sampel is not a setting", 1),
    ],
)
def test_what_is_wrong_with_the_file_is_one_line(tmp_path, text, said, left):
    """In the words of the file, with its path; the rest counts."""
    sinks, complaints = read(tmp_path, text)
    assert len(sinks) == left
    assert [line for line in complaints if said.lower() in line.lower() and "shipper.toml" in line], complaints


@pytest.mark.parametrize("text", ["x = " + "[" * 3_000 + "]" * 3_000, "a" + ".a" * 3_000 + " = 1"])
def test_a_file_that_is_nested_too_deeply(tmp_path, text):
    """One line, and no end of the extension. Python 3.13 and later read a deep table, which is no setting then."""
    sinks, complaints = read(tmp_path, text, sink="stdout")
    assert len(sinks) == 1
    (line,) = complaints
    assert re.search(
        r"shipper\.toml(: a is not a setting and is ignored|"
        r" cannot be read: it is nested too deeply; only variables count$)",
        line,
    )
    assert len(line) < 400


def test_urls_are_shown_nowhere(tmp_path):
    """Neither what a variable holds nor what the file does: a password or a key may stand in one."""
    long = "https://user:s3cr3t@logs.example.com/" + "x" * 5_000
    _, warnings = ShipperSettings.parse({"LOG_SHIPPER_ENDPOINT": long, "LOG_SHIPPER_PROXY": long})
    _, complaints = read(tmp_path, f'[[sinks]]\nsink = "http"\nendpoint = "{long}"\nproxy = "{long}"\n')
    assert len(warnings) == len(complaints) == 2
    assert "s3cr3t" not in f"{warnings}{complaints}"
    assert "s3cr3t" not in repr(ShipperSettings(endpoint="http://s3cr3t", proxy="http://s3cr3t"))


@pytest.mark.parametrize("size", ["0", "100"])
def test_a_request_has_room_for_a_line(size):
    """A size in which none fits is a mistake, which costs a warning and no lines."""
    settings, warnings = ShipperSettings.parse({"LOG_SHIPPER_BATCH_BYTES": size})
    assert settings.batch_bytes == 16_777_216
    assert "from 16KiB to 16MiB" in warnings[0]


def test_a_file_that_is_not_there():
    """Variables count all the same; a mistake in one is told by whoever parses them, not twice."""
    sinks, complaints = read_sinks(
        {"LOG_SHIPPER_CONFIG": "/nowhere", "LOG_SHIPPER_SINK": "stdout", "LOG_SHIPPER_API_KEY": "a\nb"}
    )
    assert len(sinks) == 1
    assert complaints == [
        "LOG_SHIPPER_CONFIG: /nowhere cannot be read: No such file or directory; only variables count"
    ]
    _, warnings = ShipperSettings.parse({"LOG_SHIPPER_API_KEY": "a\nb"})
    assert warnings[0].startswith("LOG_SHIPPER_API_KEY=(not shown) is not allowed")


@pytest.mark.parametrize(
    "wrong", [{"redact_pattern": "("}, {"redact_pattern": "a\nb"}, {"redact_pattern": "a{9999999999}"}]
)
def test_without_its_redaction_a_sink_is_left_out(tmp_path, wrong):
    """From variables, from the file's common settings, from a sink's own, where the other sinks stay."""
    environ = {f"LOG_SHIPPER_{name.upper()}": value for name, value in wrong.items()}
    sinks, complaints = read_sinks({"LOG_SHIPPER_SINK": "stdout", **environ})
    assert sinks == []
    assert [line for line in complaints if line.startswith("sink stdout: nothing is sent until")] == complaints
    ((name, value),) = wrong.items()
    written = f"{name} = {json.dumps(value)}\n"
    sinks, complaints = read(tmp_path, f'{written}[[sinks]]\nsink = "stdout"\n')
    assert sinks == []
    assert [line for line in complaints if f"{name}=" in line and "is not allowed" in line]
    sinks, complaints = read(tmp_path, f'[[sinks]]\nsink = "stdout"\n{written}[[sinks]]\nsink = "stdout"\nname = "b"\n')
    assert [name for name, _settings in sinks] == ["b"]


def test_a_wrong_list_of_detectors_is_all_of_them():
    """Nothing leaves for it that should not."""
    ((_name, settings),), complaints = read_sinks({"LOG_SHIPPER_SINK": "stdout", "LOG_SHIPPER_REDACT": "none,keyz"})
    assert (settings.redact, complaints) == (("keys", "tokens", "cards"), [])
