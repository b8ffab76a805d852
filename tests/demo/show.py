"""What the demo prints: up to 100 columns, in colour where a terminal takes it, in plain characters where it has no others."""

from __future__ import annotations

import json
import os
import threading
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

WIDTH = 100
_CODES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "cyan": "36"}
_PLAIN = {"✓": "ok", "✗": "!!", "·": "-", "─": "-", "±": "+-"}
_WORDS = {
    "delay": "held back on its way in",
    "error": "failed before its code sees it",
    "status_code": "statusCode changed on its way out",
    "slow_stream": "streamed slowly, chunk by chunk",
}


class Show:
    """Writes to ``out``. ``heading``, ``fact``, ``line``; ``paint`` for a word of a line."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._lock = threading.Lock()  # a container's output comes on a thread of its own
        self._colour = out.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
        try:
            "".join(_PLAIN).encode(out.encoding or "ascii")
            self._plain = False
        except UnicodeEncodeError:
            self._plain = True

    def paint(self, text: str, *styles: str) -> str:
        if not self._colour or not styles:
            return text
        return f"\x1b[{';'.join(_CODES[style] for style in styles)}m{text}\x1b[0m"

    def line(self, text: str = "", end: str = "\n") -> None:
        if self._plain:
            for letter, word in _PLAIN.items():
                text = text.replace(letter, word)
            text = text.encode(self._out.encoding or "ascii", "replace").decode(self._out.encoding or "ascii")
        with self._lock:
            self._out.write(text + end)
            self._out.flush()

    def heading(self, text: str) -> None:
        self.line()
        self.line(self.paint(text, "bold"))

    def fact(self, name: str, text: str, *styles: str) -> None:
        """A line of two columns; a long one goes on below itself."""
        first, *more = _wrapped(text, WIDTH - 15)
        self.line(f"  {self.paint(f'{name:<12}', 'dim')} {self.paint(first, *styles)}")
        for rest in more:
            self.line(f"{'':15}{self.paint(rest, *styles)}")


def _wrapped(text: str, width: int) -> list[str]:
    lines = [""]
    for word in text.split():
        if lines[-1] and len(lines[-1]) + 1 + len(word) > width:
            lines.append("")
        lines[-1] += f" {word}" if lines[-1] else word
    return lines


class Orders:
    """A listener for a run that is shown: a line for each order when it has ended, one for each fault when it is heard of."""

    def __init__(self, show: Show, events: Sequence[dict[str, Any]], describe: Callable[[dict[str, Any]], str]) -> None:
        self._show = show
        self._events = events
        self._describe = describe
        self._ended = 0
        self._response: dict[str, Any] = {}

    def __call__(self, event: dict[str, Any]) -> None:
        kind = event["kind"]
        if kind == "response":
            self._response = event
        elif kind == "log":
            self._heard(event["text"])
        elif kind == "invoke_end" and self._ended < len(self._events):
            self._order(event)
        elif kind == "init_end":
            self._show.line(f"    init         {event['duration_ms']:9.1f} ms")
        elif kind in ("fatal", "launch_error"):
            self._show.line(self._show.paint(f"    {kind}: {event['error_type']}", "red"))

    def _heard(self, text: str) -> None:
        if '"source":"chaos-injector"' not in text or '"action":"inject"' not in text:
            return
        decision = json.loads(text)
        what = _WORDS.get(decision["type"], decision["type"])
        roll = f"rolled {decision['roll']:.1f} of 100, below {decision['percentage']:g}"
        said = f"chaos injector: {what}"
        self._show.line(self._show.paint(f"             {said:<52} {roll}", "yellow"))

    def _order(self, event: dict[str, Any]) -> None:
        order = self._events[self._ended]
        self._ended += 1
        failed = bool(self._response.get("error_type"))
        mark = self._show.paint("✗", "red") if failed else self._show.paint("✓", "green")
        response = self._response.get("duration_ms", 0.0)
        after = event["duration_ms"] - response
        more = f"  {after:6.1f} ms after the response" if after >= 0.05 else ""
        self._show.line(f"    order {order['order']:>3}  {mark} {response:8.1f} ms{more:<34}  {self._describe(order)}")
