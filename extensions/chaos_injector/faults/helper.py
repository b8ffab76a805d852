"""What a resource fault runs in a process of its own: ``helper.py burn DUTY`` and ``helper.py hog STEP COUNT VICTIM``.

Run by path, not imported: `python -I -S`. Orders come on standard input, one byte each; its end is the end of the injector,
however that came about, and ends this process as well: nothing of a fault outlives who started it.
"""

from __future__ import annotations

import os
import select
import sys
import time

_SLICE_S = 0.005  # between two looks at the orders
_PERIOD_S = 0.1  # of the duty cycle


def main(words: list[str]) -> None:
    if words[:1] == ["burn"]:
        _expendable(1000)
        _burn(int(words[1]) / 100)
    elif words[:1] == ["hog"]:
        step, count, victim = int(words[1]), int(words[2]), words[3] == "victim"
        _expendable(1000 if victim else 0)
        _hog(step, count)


def _expendable(score: int) -> None:
    """The kernel takes this process first when memory runs out, and neither the function nor an extension."""
    try:
        with open("/proc/self/oom_score_adj", "w") as file:
            file.write(str(score))
    except OSError:
        pass


def _ordered(seconds: float | None) -> bytes | None:
    """The next order (b"" at the end), or None where there is none within `seconds` (None: however long it takes)."""
    ready, _, _ = select.select([0], [], [], seconds)
    return os.read(0, 1) if ready else None


def _burn(duty: float) -> None:
    """``r``: run, DUTY of the time; ``p``: pause, which costs nothing."""
    running = False
    began = time.monotonic()
    while True:
        at = time.monotonic()
        into = (at - began) % _PERIOD_S
        resting = running and into >= duty * _PERIOD_S
        order = _ordered(None if not running else _PERIOD_S - into if resting else 0)
        if order == b"":
            return
        if order is not None:
            running, began = order == b"r", time.monotonic()
        elif running and not resting:
            until = at + _SLICE_S
            while time.monotonic() < until:
                pass


def _hog(step: int, count: int) -> None:
    """COUNT times STEP bytes, each page touched; ``+`` on standard output when they are there, ``-`` where they are refused."""
    import mmap

    held = []
    try:
        for _ in range(count):
            held.append(mmap.mmap(-1, step, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | mmap.MAP_POPULATE))
            if _ordered(0) == b"":
                return
    except (OSError, ValueError):
        os.write(1, b"-")
    else:
        os.write(1, b"+")
    while _ordered(None) != b"":
        pass


main(sys.argv[1:])
