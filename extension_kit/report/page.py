"""A run as a page: one HTML file that needs, and is allowed, nothing from anywhere."""

from __future__ import annotations

from typing import Any


def html(record: dict[str, Any]) -> str:
    """The page."""
    return str(record)
