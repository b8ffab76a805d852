"""What the demo prints where a terminal has neither colours nor letters, and where it has both."""

from __future__ import annotations

import io

import pytest

from tests.demo.show import Show


class Terminal(io.TextIOWrapper):
    """As a terminal with an encoding."""

    def isatty(self) -> bool:
        return True


def printed(kind, encoding):
    out = kind(io.BytesIO(), encoding=encoding)
    show = Show(out)
    show.line(show.paint("✓ done ─ ·", "green"))
    out.seek(0)
    return out.read()


@pytest.mark.parametrize(
    ("kind", "encoding", "variables", "expected"),
    [
        (Terminal, "utf-8", {}, "\x1b[32m✓ done ─ ·\x1b[0m\n"),
        (Terminal, "utf-8", {"NO_COLOR": "1"}, "✓ done ─ ·\n"),
        (Terminal, "utf-8", {"TERM": "dumb"}, "✓ done ─ ·\n"),
        (Terminal, "ascii", {"NO_COLOR": "1"}, "ok done - -\n"),
        (io.TextIOWrapper, "utf-8", {}, "✓ done ─ ·\n"),
    ],
)
def test_colours_and_letters(kind, encoding, variables, expected, monkeypatch):
    """NO_COLOR, dumb terminals and pipes get no colours; ASCII gets words."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert printed(kind, encoding) == expected
