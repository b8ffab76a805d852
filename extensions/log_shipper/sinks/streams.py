"""Sinks without a network: standard output, which CloudWatch shows as lines of an extension, and a file."""

from __future__ import annotations

import os

from extension_kit.delivery import AGAIN, DELIVERED, Verdict
from extensions.log_shipper.sinks.base import Sink
from extensions.log_shipper.sinks.generic import Envelopes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from extensions.log_shipper.settings import ShipperSettings
    from extensions.log_shipper.sinks.base import Origin

__all__ = ["FileSink", "StdoutSink", "append"]


class _Descriptor(Sink):
    """NDJSON to a descriptor. What was written of a line that did not fit is taken back, or finished by the next exchange."""

    most_lines = 10_000
    most_bytes = 1_048_576
    most_item_bytes = 1_048_576

    def __init__(self, settings: ShipperSettings, origin: Origin) -> None:
        super().__init__(settings, origin)
        self.encode = Envelopes(origin).encode  # type: ignore[method-assign]


class StdoutSink(_Descriptor):
    """``stdout``: one write a line, since whoever reads the other end splits at line ends."""

    def send(self, items: list[Any], seconds: float) -> Verdict:  # noqa: ARG002 - a pipe that nobody reads is left aside
        for item in items:
            line = item + b"\n"
            while line:
                line = line[os.write(1, line) :]
        return Verdict(DELIVERED)


class FileSink(_Descriptor):
    """``file``: appended, mode 0600."""

    def send(self, items: list[Any], seconds: float) -> Verdict:  # noqa: ARG002
        path = self.settings.endpoint
        try:
            append(path, b"\n".join(items) + b"\n")
        except OSError as error:
            return Verdict(AGAIN, f"{path}: {error.strerror}")
        return Verdict(DELIVERED)


def append(path: str, data: bytes) -> None:
    """All of `data` at the end of a file, or nothing of it."""
    os.makedirs(os.path.dirname(path) or ".", mode=0o700, exist_ok=True)
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        before = os.fstat(fd).st_size
        written = 0
        try:
            while written < len(data):
                written += os.write(fd, data[written:])
        except OSError:
            os.ftruncate(fd, before)
            raise
    finally:
        os.close(fd)
