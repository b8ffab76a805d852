"""One event on its way to a destination: what of it is known, each found when somebody asks, in the platform's own bytes.

``message`` is the event's content as JSON, exactly as the platform wrote it unless redaction or stitching has changed it, so
that a destination whose format is JSON too can put it in without reading it.
"""

from __future__ import annotations

from zlib import crc32

from extension_kit.protocol.jsontext import dumps, loads
from extension_kit.protocol.timestamps import parse_ms

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from extension_kit.records import Record

__all__ = ["LEVELS", "Line", "trace_ids"]

#: The levels that filters know, the least severe first, and what else they are called (Python, Java, Node, Go, syslog).
LEVELS = ("TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL")
_ALSO = {
    "WARNING": "WARN", "NOTICE": "INFO", "INFORMATION": "INFO", "CRITICAL": "FATAL", "SEVERE": "ERROR", "ERR": "ERROR",
    "PANIC": "FATAL", "EMERGENCY": "FATAL", "ALERT": "FATAL", "FINE": "DEBUG", "VERBOSE": "DEBUG",
}  # fmt: skip
_BY_WORD = {level: level for level in LEVELS} | _ALSO
_LEVEL_KEYS = ("level", "severity", "levelname", "log.level", "severity_text", "severityText", "lvl")
_LONGEST_ID = 64
_SEARCHED = 160  # characters from the start of a text in which its level is looked for

# An envelope as Lambda writes it: {"time":"2026-11-23T08:00:00.700Z","type":"function","record":...}
_FUNCTION = b'","type":"function","record":'
_PLATFORM = b'","type":"platform.'
_TIME_AT = 9
_TIME_END = 33
_MESSAGE_AT = _TIME_END + len(_FUNCTION)


class Line:
    """``time``: as the platform wrote it; ``message``: JSON; ``id``: unique in the world; ``weight``: of how many records."""

    __slots__ = ("_content", "_level", "id", "message", "record", "time", "type", "weight")

    def __init__(self, record: Record, stream_id: str) -> None:
        raw, _request, batch, index = record
        self.record = record
        self.message: bytes
        if batch:
            self.id = f"{stream_id}-{batch}-{index}"
            self.weight = 1
        else:  # a notice of the kit's own: the platform has sent nothing like it
            self.id = f"{stream_id}-0-{crc32(raw):08x}"
            self.weight = 0
        self._level: str | None = None
        self._content: Any = self  # not read yet
        if raw.startswith(_FUNCTION, _TIME_END) and raw.startswith(b'{"time":"'):
            self.time = raw[_TIME_AT:_TIME_END].decode("latin-1")
            self.type = "function"
            self.message = raw[_MESSAGE_AT:-1]
        elif (platform := _spliced(raw)) is not None:
            self.time, self.type, self.message = platform
        else:
            self.time = record.time
            self.type = record.type
            self.message = _message_of(record)

    @property
    def is_platform(self) -> bool:
        return self.type not in ("function", "extension")

    @property
    def is_text(self) -> bool:
        """Whether the message is a string, and no object."""
        return self.message.startswith(b'"')

    @property
    def content(self) -> Any:
        """The message, decoded: a string or a dictionary, most often."""
        if self._content is self:
            try:
                self._content = loads(self.message)
            except ValueError:
                self._content = self.message.decode("utf-8", "replace")
        return self._content

    def change(self, message: bytes) -> None:
        """Put another message (JSON) in the place of this one."""
        self.message = message
        self._content = self
        self._level = None

    @property
    def text(self) -> str:
        """The message as one text: a string without the line end behind it, an object as compact JSON."""
        content = self.content
        return content.rstrip("\r\n") if isinstance(content, str) else self.message.decode("utf-8", "replace")

    @property
    def fields(self) -> dict[str, Any] | None:
        """The message as an object: one that it is, or one that its text holds as JSON; None for any other text."""
        content = self.content
        if isinstance(content, str):
            if content.lstrip()[:1] != "{":
                return None
            try:
                content = loads(content.encode("utf-8", "replace"))
            except ValueError:
                return None
        return content if isinstance(content, dict) else None

    @property
    def time_ms(self) -> int | None:
        return parse_ms(self.time)

    @property
    def nanoseconds(self) -> int:
        """Since 1970, 0 where the time is unknown, or none that fits into 64 bits without a sign."""
        nanoseconds = (self.time_ms or 0) * 1_000_000
        return nanoseconds if 0 <= nanoseconds < 2**64 else 0

    @property
    def request_id(self) -> str:
        """The platform's; of a line that is nobody's, the one that it names itself, as redaction has left it."""
        if self.is_platform or self.record[1][0]:
            return self.record.request_id
        fields = self.fields or {}
        own = fields.get("requestId") or fields.get("AWSRequestId")
        return own if isinstance(own, str) and len(own) <= _LONGEST_ID else ""

    @property
    def trace(self) -> str:
        """The X-Ray header of its request, "" where there is none."""
        return self.record.trace

    @property
    def level(self) -> str:
        """One of `LEVELS`, "" where the line does not say."""
        if self._level is None:
            self._level = "" if self.is_platform else self._find_level()
        return self._level

    def _find_level(self) -> str:
        if not self.is_text or b'\\"' in self.message[:_SEARCHED]:
            fields = self.fields
            if fields is not None:
                return _level_of(fields)
        return _level_in(self.message[1:_SEARCHED])


def _spliced(raw: bytes) -> tuple[str, str, bytes] | None:
    """Time, type and content of an event that the platform has written itself, without reading it; None of any other."""
    if raw.startswith(_PLATFORM, _TIME_END) and raw.startswith(b'{"time":"') and b"\\" not in raw[_TIME_AT:_TIME_END]:
        end = raw.find(b'"', _TIME_END + len(_PLATFORM))
        if raw.startswith(b'","record":{', end) and raw.endswith(b"}}"):
            return (
                raw[_TIME_AT:_TIME_END].decode("latin-1"),
                raw[_TIME_END + 10 : end].decode("latin-1"),
                raw[end + 11 : -1],
            )
    return None


def _message_of(record: Record) -> bytes:
    """The content of an envelope of any form, as JSON; of what is no envelope, the bytes themselves as a string."""
    content = record.content
    if content is None and not record.type:
        content = record.raw.decode("utf-8", "replace")
    return dumps(content)


def _level_of(fields: dict[str, Any]) -> str:
    for key in _LEVEL_KEYS:
        value = fields.get(key)
        if isinstance(value, str) and value.upper() in _BY_WORD:
            return _BY_WORD[value.upper()]
        if isinstance(value, int) and not isinstance(value, bool) and value % 10 == 0 and 10 <= value <= 60:
            return LEVELS[value // 10 - 1]  # pino and bunyan number them from 10 to 60
    return ""


def _level_in(start: bytes) -> str:
    """The first word that is a level, in capitals, among the first of a text: where Lambda's runtimes put it, or anywhere."""
    if start[:1] == b"[":  # Python: [INFO]\t2026-11-23T08:00:00.700Z\t8476a536-...\ttext
        word = start[1 : start.find(b"]", 1, 16)]
    elif start[24:26] == b"\\t" and start[62:64] == b"\\t":  # Node: 2026-11-23T08:00:00.700Z\t8476a536-...\tINFO\ttext
        word = start[64 : start.find(b"\\", 64, 80)]
    else:
        word = b""
    return _BY_BYTES[word] if word in _BY_BYTES else _search_level(start)


def _search_level(start: bytes) -> str:
    best, found = len(start), ""
    for word, level in _BY_BYTES.items():
        at = start.find(word, 0, best)
        if at >= 0 and _stands_alone(start, at, at + len(word)):
            best, found = at, level
    return found


def _stands_alone(text: bytes, start: int, end: int) -> bool:
    """Whether a word is not a part of another. A tabulator or a line end before it ends in a letter, in JSON: "\\t"."""
    before, after = text[start - 1 : start] if start else b"", text[end : end + 1]
    if after.isalnum() or after == b"_":
        return False
    return not (before.isalnum() or before == b"_") or (before in b"tnr" and text[start - 2 : start - 1] == b"\\")


_BY_BYTES = {word.encode(): level for word, level in _BY_WORD.items()}


def trace_ids(header: str) -> tuple[str, str]:
    """Trace and span id of an X-Ray header (``Root=1-5f35ae12-0c0f...;Parent=2be9...``) as W3C hex digits; "" where none."""
    parts = dict(part.partition("=")[::2] for part in header.split(";"))
    root = parts.get("Root", "").split("-")
    trace = "".join(root[1:]) if len(root) == 3 else ""
    span = parts.get("Parent", "")
    return (trace if _is_hex(trace, 32) else ""), (span if _is_hex(span, 16) else "")


def _is_hex(text: str, length: int) -> bool:
    return len(text) == length and all(one in "0123456789abcdef" for one in text) and text.strip("0") != ""
