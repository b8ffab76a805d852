"""Our emulator and AWS's give the same transcript, but for the rows of one table."""

from __future__ import annotations

from pathlib import Path

import pytest

from extension_kit.backends import prepare
from extension_kit.protocol import lifecycle as lc
from tests.conformance.compare import Row, both, compare
from tests.conformance.differences import REASONS, TABLE
from tests.conformance.scenarios import SCENARIOS

pytestmark = [
    pytest.mark.once,  # of AWS's emulator and ours, whose processes have one Python in any case
    pytest.mark.skipif(bool(prepare.why_no_namespaces()), reason="AWS's emulator needs namespaces"),
]


def listed(name: str) -> list[Row]:
    return [(*key, row[0], row[1]) for key, row in TABLE.items() if key[0] == name]


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_scenario_differs_as_the_table_says_and_in_nothing_else(name, tmp_path):
    """An unlisted difference fails, and so does a listed one that is none any more."""
    comparison = both(name, SCENARIOS[name], tmp_path)

    assert comparison.fields >= 3
    assert sorted(map(repr, comparison.rows)) == sorted(map(repr, listed(name)))


@pytest.mark.parametrize(
    ("kind", "state", "step", "following", "name"),
    [
        (lc.EXTERNAL, lc.READY, lc.NEXT, lc.READY, "a second next"),
        (lc.EXTERNAL, lc.REGISTERED, lc.REGISTER, lc.REGISTERED, "registering twice"),
        (lc.EXTERNAL, lc.RUNNING, lc.REPORT_INIT_ERROR, lc.INIT_ERROR, "init error after init"),
    ],
)
def test_a_break_of_our_lifecycle_table_turns_the_suite_red(kind, state, step, following, name, monkeypatch, tmp_path):
    """One step more than AWS's emulator allows: the transcripts part."""
    monkeypatch.setitem(lc.TABLE[kind][state], step, following)

    assert sorted(map(repr, both(name, SCENARIOS[name], tmp_path).rows)) != sorted(map(repr, listed(name)))


def test_every_row_has_a_reason_and_a_scenario():
    """And every reason a row."""
    assert {row[2] for row in TABLE.values()} == set(REASONS)
    assert {scenario for scenario, _field in TABLE} <= set(SCENARIOS)


def test_what_one_side_lacks_is_a_difference():
    """An exchange that is missing is one field, whichever side misses it; equal fields are counted."""
    ours = {"probe 1 register: status": 200, "probe 1 register: type": "json", "probe 2 next: status": 200}
    theirs = {"probe 1 register: status": 403, "probe 1 register: type": "json"}

    there, back = compare("s", ours, theirs), compare("s", theirs, ours)

    assert there.rows == (
        ("s", "probe 1 register: status", 200, 403), ("s", "probe 2 next: exchange", "present", "(absent)"),
    )  # fmt: skip
    assert (there.fields, back.fields, len(back.rows)) == (3, 3, 2)


def test_the_readme_tells_the_truth_about_the_table():
    """How many scenarios, how many differences."""
    readme = (Path(__file__).parents[2] / "extension_kit" / "guide" / "testing.md").read_text()

    assert f"{len(SCENARIOS)} scenarios" in readme
    assert f"{len(TABLE)} of them differ" in readme
