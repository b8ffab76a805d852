"""Every example of every page, run as it stands, in the order of its page, in a folder that looks like the checkout."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from extension_kit.settings import KitSettings
from tests import pages
from tests.pages import ROOT, Desk, blocks, follow, section

#: the part of the README that a script of its own follows from a clone on, see test_newcomer.py
START = "Five-minute start"
#: how many scripts of each page are run: a page that loses them would pass
RUN = {
    "README.md": 0,
    "extension_kit/guide/cost.md": 1,
    "extension_kit/guide/layers.md": 4,
    "extension_kit/guide/testing.md": 2,
    "extension_kit/guide/writing.md": 3,
    "extensions/chaos_injector/README.md": 1,
    "extensions/log_shipper/README.md": 1,
    "extensions/metrics_collector/README.md": 1,
    "extensions/secret_cache/README.md": 1,
    "layer_build/PUBLISHING.md": 1,
}


@pytest.fixture
def desk():
    """Not below /tmp: an environment has its own."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        yield Desk(Path(folder))


def runnable(page: str) -> list[pages.Block]:
    """The blocks of a page, but for those that test_newcomer.py follows."""
    start = section(page, START) if page == "README.md" else []
    return [block for block in blocks(page) if block not in start]


@pytest.mark.once
@pytest.mark.timeout(300)
@pytest.mark.parametrize("page", RUN)
def test_the_examples_do_what_the_page_says(page, desk):
    """They end well, and print what is shown."""
    assert follow(runnable(page), desk) == RUN[page]


def test_no_page_with_examples_is_forgotten():
    scripts = {
        page for page in pages.pages() for block in runnable(page)
        if block.language == "sh" and not {"needs", "tested"} & set(block.attributes)
    }  # fmt: skip
    assert scripts == {page for page, count in RUN.items() if count}


def test_the_settings_of_the_kit_are_documented():
    """The table is made from the declarations."""
    assert KitSettings.markdown() in (ROOT / "extension_kit" / "README.md").read_text()


def test_a_wrong_example_is_noticed(desk):
    """A script that fails, and one that prints something else."""
    wrong = [pages.Block("page.md", 7, "sh", {}, "echo one; false; echo two\n")]
    with pytest.raises(AssertionError, match=r"page.md:7: exit status 1\none"):
        follow(wrong, desk)
    other = [
        pages.Block("page.md", 1, "sh", {}, "echo one\n"),
        pages.Block("page.md", 5, "text", {"prints": ""}, "two\n"),
    ]
    with pytest.raises(AssertionError, match=r"page.md:5: it did not print\ntwo"):
        follow(other, desk)
