"""/opt before anything is started from it."""

from __future__ import annotations

import threading
import time

from extension_kit.emulator import layers


def test_a_program_that_is_still_being_written_is_waited_for(tmp_path):
    """exec would say "text file busy"; no longer than the limit, though."""
    program = tmp_path / "program"
    program.write_text("#!/bin/sh\n")
    layers.settle([program, tmp_path / "missing"])
    with program.open("a"):
        began = time.monotonic()
        layers.settle([program], 0.05)
        assert time.monotonic() - began >= 0.05
        waiting = threading.Thread(target=layers.settle, args=([program], 30.0))
        waiting.start()
        assert waiting.is_alive()
    waiting.join(10)

    assert not waiting.is_alive()
