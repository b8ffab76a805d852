"""Where lines go that a sink will never take, or that nobody has taken when the environment ends.

``file:/tmp/...`` or ``s3://bucket/prefix``: NDJSON, each line as the sink would have had it, with the sink's name and the
reason. What redaction has blotted out is blotted out here as well: it sees every line before a sink does.
"""

from __future__ import annotations

from extension_kit.protocol.jsontext import dumps, loads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from extension_kit.aws import Aws
    from extension_kit.io.clock import Clock

__all__ = ["DeadLetters"]

_SECONDS = 0.4  # of an environment's last two


class DeadLetters:
    """``bury`` keeps items; whether it has. ``name``: of the sink."""

    def __init__(self, written: str, name: str, environ: Mapping[str, str], clock: Clock) -> None:
        self._path = written.removeprefix("file:") if written.startswith("file:") else ""
        self._bucket, _, self._prefix = written.removeprefix("s3://").partition("/") if not self._path else ("", "", "")
        self._name = name
        self._environ = environ
        self._clock = clock
        self._aws: Aws | None = None
        self.trouble = ""

    def bury(self, items: list[Any], reason: str) -> bool:
        """False, with `trouble`, where they could not be kept."""
        lines = [self._line(item, reason) for item in items]
        try:
            if self._path:
                from extensions.log_shipper.sinks.streams import append

                append(self._path, b"\n".join(lines) + b"\n")
            else:
                self._put(lines)
        except OSError as error:
            self.trouble = f"dead letters cannot be kept: {error.strerror or error}"
            return False
        return True

    def _line(self, item: Any, reason: str) -> bytes:
        """An item of whatever form, as a value of its own."""
        data = getattr(item, "json", None) or getattr(item, "data", None) or item
        try:
            value: Any = loads(data)
        except ValueError:
            value = _readable(data)
        return dumps({"sink": self._name, "reason": reason, "line": value})

    def _put(self, lines: list[bytes]) -> None:
        from extension_kit.aws import Aws, AwsError
        from extensions.log_shipper.sinks.amazon import put_lines

        aws = self._aws = self._aws or Aws(self._environ, clock=self._clock, retries=1)
        now_ms = self._clock.wall_ms()
        folder = f"{self._prefix.strip('/')}/{self._name}".strip("/")
        from zlib import crc32

        key = f"{folder}/{now_ms}-{crc32(b''.join(lines)):08x}.ndjson.gz"
        try:
            put_lines(aws, self._bucket, key, lines, now_ms + int(_SECONDS * 1000))
        except AwsError as error:
            raise OSError(str(error)) from None


def _readable(data: bytes) -> str:
    """Several values of JSON (an action and its document), or protobuf, as a text."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        from binascii import b2a_base64

        return "base64:" + b2a_base64(data, newline=False).decode()
