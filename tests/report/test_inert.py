"""What the page is made of: data that stay data, and a policy that allows nothing; no browser is needed to see that."""

from __future__ import annotations

import json
import re

from extension_kit.report.page import as_data, policy
from tests.conftest import ROOT


def test_data_cannot_leave_its_block():
    """Whatever it holds."""
    shown = as_data({"a": "</script><!--<script>&\u2028\ud800"})

    assert not set("<>&") & set(shown)
    assert shown.isascii()
    assert json.loads(shown) == {"a": "</script><!--<script>&\u2028\ud800"}


def test_the_policy_allows_nothing_else(run):
    """The page has the one policy, before anything that it governs."""
    page = run.report.read_text()
    style = (ROOT / "extension_kit" / "report" / "page.css").read_text()
    script = page.rpartition("<script>")[2].partition("</script>")[0]

    assert page.index("Content-Security-Policy") < page.index("<style>")
    assert policy(style, script) in page.replace("&#x27;", "'")
    assert policy(style, script).startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe" not in page.partition("<style>")[0]
    assert not re.search(r"""(?:src|href|action)=["'](?!#|data:)""", page.partition('id="data"')[0])
