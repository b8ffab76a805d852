"""Pictures of a run, made from its record alone: a page, a text, a trace for Chrome's viewer and Perfetto, and the costs.

A record that was written yesterday (``extension-kit run --json FILE``) can be drawn today: nothing else is looked at.
"""

from __future__ import annotations

from extension_kit.report.chrome import trace
from extension_kit.report.costs import Cost, costs
from extension_kit.report.model import Invocation, Lane, Mark, Span, Timeline
from extension_kit.report.page import html
from extension_kit.report.reading import load, timeline
from extension_kit.report.text import text

__all__ = [
    "Cost",
    "Invocation",
    "Lane",
    "Mark",
    "Span",
    "Timeline",
    "costs",
    "html",
    "load",
    "text",
    "timeline",
    "trace",
]
