"""What its README says: the table of settings, the file with several sinks, the variables of its first example."""

from __future__ import annotations

import re
from pathlib import Path

from extensions.log_shipper.settings import KINDS, ShipperSettings, read_sinks
from extensions.log_shipper.sinks.make import check

README = (Path(__file__).parents[3] / "extensions" / "log_shipper" / "README.md").read_text()


def test_every_setting_is_in_its_table():
    """As the declarations have it."""
    assert ShipperSettings.markdown() in README


def test_every_sink_is_in_its_table():
    """By its name."""
    assert all(f"`{kind}`" in README for kind in KINDS)


def test_the_file_with_several_sinks(tmp_path):
    """Is read as the text says."""
    path = tmp_path / "log-shipper.toml"
    path.write_text(re.search(r"```toml.*?\n(.*?)```", README, re.DOTALL).group(1))
    sinks, complaints = read_sinks({"LOG_SHIPPER_CONFIG": str(path), "LOG_SHIPPER_TIMEOUT": "2s"})
    assert complaints == []
    assert [name for name, _settings in sinks] == ["loki", "archive", "pager"]
    for _name, settings in sinks:
        check(settings)
        assert (settings.tags, settings.exclude, settings.timeout) == (("team=payments",), "health check", 2_000)
    assert sinks[0][1].labels == ("job=shop",)
    assert sinks[2][1].min_level == "error"


def test_the_variables_of_the_first_example():
    """Are understood."""
    block = re.search(r"```text\n(LOG_SHIPPER_SINK.*?)```", README, re.DOTALL).group(1)
    ((name, settings),), complaints = read_sinks(dict(line.split("=", 1) for line in block.splitlines()))
    assert (name, complaints, settings.headers) == ("otlp", [], ("Authorization=Bearer {api_key}",))
    check(settings)
