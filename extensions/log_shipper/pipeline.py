"""From records to lines that are to be sent: filters, sampling, the rate limit, stitching, redaction, the limit on length.

Order matters: what is filtered costs nothing further; an event of several lines is put together before anybody looks for
secrets in it; and nothing leaves this module, for a destination or for the dead letters, that redaction has not seen.
"""

from __future__ import annotations

from zlib import crc32

from extension_kit.protocol.jsontext import dumps, in_json
from extensions.log_shipper.line import LEVELS, Line

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from re import Pattern
    from typing import Any

    from extension_kit.records import Record
    from extensions.log_shipper.settings import ShipperSettings

__all__ = ["Pipeline", "Taken", "tags_of"]

FILTERED = "filtered"
SAMPLED = "sampled"
RATE_LIMITED = "dropped: rate limit"
UNREADABLE = "dropped: cannot be encoded"
_MOST_STITCHED = 500  # lines of one event
_ALWAYS = ("ERROR", "FATAL")
_LONGEST_KEY = 200  # lines, those of others between them included
_BASE64 = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=")
_LONG_WORD = 16  # characters, from which on a word in a key's line may be a part of it
_BLOT = b'"[REDACTED]"'


class Taken:
    """What has become of some records, in order: the lines to send, and what the others were kept back for.

    ``span``: how many were taken; ``records``: how many of them the kit counts, in lines and in ``outcomes`` together.
    ``trouble``: with the last line that could not be made ready.
    """

    __slots__ = ("lines", "outcomes", "records", "span", "trouble")

    def __init__(self) -> None:
        self.lines: list[Line] = []
        self.outcomes: dict[str, int] = {}
        self.records = self.span = 0
        self.trouble = ""

    def keep_back(self, outcome: str, weight: int) -> None:
        self.records += weight
        self.outcomes[outcome] = self.outcomes.get(outcome, 0) + weight


class Pipeline:
    """Of one sink. `stream_id`: what makes ids unique; `own_name`: of this extension, whose own lines are never sent again."""

    def __init__(
        self,
        settings: ShipperSettings,
        own_name: str,
        redact: Callable[[bytes], tuple[bytes, int]] | None,
        stream_id: Callable[[], str],
    ) -> None:
        self.redactions = 0
        self.cut = 0
        self._settings = settings
        self._redact = redact
        self._stream_id = stream_id
        self._own = f"[{own_name}"
        self._types = frozenset(settings.types)
        if settings.sink == "stdout":
            self._types -= {"extension"}  # what it writes would be one of them
        self._least = LEVELS.index(settings.min_level.upper()) if settings.min_level != "all" else -1
        self._include = _compiled(settings.include)
        self._exclude = _compiled(settings.exclude)
        self._first = _compiled(settings.multiline_start)
        self._share = int(settings.sample * 2**32)
        self._looks = bool(self._least >= 0 or self._include or self._exclude)
        self._bucket = _Bucket(settings.rate_limit)
        self._key_lines = 0  # that may still belong to a private key

    def take(
        self,
        records: list[Record],
        start: int,
        most_lines: int,
        most_bytes: int,
        last: bool,
        *,
        whole_batches: bool = False,
    ) -> Taken:
        """Some of `records` from `start` on, until there is enough to send. ``last``: no more will come, so what seems to go on
        ends here. ``whole_batches``: not in the middle of what the platform has posted at once, so that it is cut in the same
        places when it is read again after a crash.
        """
        taken, size = Taken(), 0
        stream_id = self._stream_id()
        at = start
        while at < len(records):
            enough = len(taken.lines) >= most_lines or size >= most_bytes
            if enough and not (whole_batches and records[at][2] == records[at - 1][2]):
                break
            counted = 1 if records[at][2] else 0
            try:
                line, span, outcome = self._line_at(records, at, stream_id, last)
            except Exception as error:  # noqa: BLE001 - a function writes what it likes; it costs this one record
                taken.trouble = f"{type(error).__name__}: {error}"[:200]
                line, span, outcome = None, 1, UNREADABLE
            if not span:
                break
            at += span
            if outcome or line is None:
                taken.keep_back(outcome, line.weight if line is not None else counted)
                continue
            taken.lines.append(line)
            taken.records += line.weight
            size += len(line.message) + 100
        taken.span = at - start
        return taken

    def _line_at(self, records: list[Record], at: int, stream_id: str, last: bool) -> tuple[Line | None, int, str]:
        """The line that begins with record `at`, of how many records it is, and why it is not sent ("" where it is).

        No record at all where it is not whole yet.
        """
        record = records[at]
        outcome = self._unwanted(record, stream_id)
        if outcome:
            return None, 1, outcome
        line = Line(record, stream_id)
        if self._first is not None and not line.is_platform:
            line.weight = self._event_at(records, at, line, last)
            if not line.weight:
                return None, 0, ""
        outcome = self._keep_back(line)
        if not outcome:
            self._finish(line)
        return line, line.weight or 1, outcome

    # filters

    def _unwanted(self, record: Record, stream_id: str) -> str:
        """Why a record is not sent, from its type or since it is ours; "" where it may be.

        Ours is what this extension says, and what a sink has written to standard output: it bears an id of this stream.
        """
        kind = record.type
        if kind not in self._types and not (kind not in ("function", "extension") and "platform" in self._types):
            return FILTERED
        if kind == "extension" and (f"{stream_id}-".encode() in record[0] or record.text.startswith(self._own)):
            return FILTERED
        return ""

    def _keep_back(self, line: Line) -> str:
        """Why a line is not sent, from what it says; "" where it is."""
        if line.is_platform:
            return ""
        if self._looks and not self._passes(line):
            return FILTERED
        if self._share < 2**32 and not self._is_sampled(line):
            return SAMPLED
        return "" if self._bucket.take(line) else RATE_LIMITED

    def _passes(self, line: Line) -> bool:
        if self._least >= 0 and line.level and LEVELS.index(line.level) < self._least:
            return False
        if self._include is not None and not self._include.search(line.text):
            return False
        return self._exclude is None or not self._exclude.search(line.text)

    def _is_sampled(self, line: Line) -> bool:
        """A request's lines share its fate, in every environment and process; errors are always sent."""
        return crc32(line.request_id.encode("utf-8", "replace")) < self._share or line.level in _ALWAYS

    # events of several lines

    def _event_at(self, records: list[Record], at: int, line: Line, last: bool) -> int:
        """Join to `line` the ones that belong to it; how many records it is then, 0 where more may be to come.

        It ends with the next line that looks like a first one, with another request's line, with a platform event (the end of
        the request, most often), and at the limits.
        """
        first = self._first
        assert first is not None
        texts, size = [line.content], len(line.message)
        if not isinstance(texts[0], str):
            return 1
        for end in range(at + 1, len(records)):
            record = records[end]
            text = record.content if record.type == line.type else None
            if not isinstance(text, str) or first.search(text) or record[1] is not line.record[1]:
                return self._join(line, texts)
            size += len(record.raw)
            if len(texts) >= _MOST_STITCHED or size > self._settings.max_line:
                return self._join(line, texts)
            texts.append(text)
        return self._join(line, texts) if last else 0

    @staticmethod
    def _join(line: Line, texts: list[str]) -> int:
        if len(texts) > 1:
            line.change(in_json("\n".join(text.rstrip("\r\n") for text in texts)).encode("utf-8", "replace"))
        return len(texts)

    # what every line gets

    def _finish(self, line: Line) -> None:
        if not line.message.isascii() or b"\\u" in line.message:
            _mend_text(line)
        if self._redact is not None:
            message, found = self._redact(line.message)
            if b"-----BEGIN" in line.message or self._key_lines:
                message, found = self._without_rest_of_key(line, message, found)
            if found:
                line.change(message)
                self.redactions += found
        if len(line.message) > self._settings.max_line:
            self.cut += 1
            line.change(shortened(line, self._settings.max_line))

    def _without_rest_of_key(self, line: Line, message: bytes, found: int) -> tuple[bytes, int]:
        """A private key that was logged line by line: the lines after its first, as long as no line is its last.

        What cannot be a part of it passes: empty lines, headers, another request's lines between.
        """
        if line.is_platform:
            return message, found
        begin, end = line.message.rfind(b"-----BEGIN"), line.message.rfind(b"-----END")
        if found and b"PRIVATE KEY" in line.message[begin : begin + 60] and begin >= 0:
            self._key_lines = _LONGEST_KEY if begin > end else 0
        elif self._key_lines:
            self._key_lines = self._key_lines - 1 if end < 0 else 0
            if _may_be_of_key(line.content):
                return _BLOT, found or 1
        return message, found


def _may_be_of_key(content: Any) -> bool:
    """Whether a line, or a member of an object, ends in a word of base64: alone, or behind what a logger writes before it."""
    if isinstance(content, dict):
        return any(isinstance(one, str) and _may_be_of_key(one) for one in content.values())
    if not isinstance(content, str):
        return False
    for row in content.partition("-----END")[0].splitlines():
        words = row.split()
        if words and _BASE64.issuperset(words[-1]):
            length = len(words[-1])
            # The last line of a key may be short; base64 comes in fours, or ends in what fills them up.
            if length >= _LONG_WORD or (len(words) == 1 and (length % 4 == 0 or words[0].endswith("="))):
                return True
    return False


def _mend_text(line: Line) -> None:
    """What is no UTF-8, or half of a surrogate pair, would make a strict receiver refuse everything that comes with it."""
    message = line.message
    try:
        message.decode()
    except UnicodeDecodeError:
        line.change(message.decode("utf-8", "replace").encode())
    if b"\\ud" in message or b"\\uD" in message:
        line.change(dumps(line.content))


def shortened(line: Line, most: int) -> bytes:
    """The message as a text that fits into `most` bytes of JSON, with a note of how much is missing."""
    text = line.text
    room, kept = most - 64, text[:most]
    while len(message := dumps(kept)) > room and kept:
        kept = kept[: max(0, len(kept) * room // len(message) - 8)]
    return dumps(f"{kept}... [{len(text) - len(kept)} characters cut]")


class _Bucket:
    """So many lines a second, by the time that stands on them: what a freeze or a backlog does to clocks changes nothing."""

    def __init__(self, per_second: int) -> None:
        self._most = per_second
        self._left = float(per_second)
        self._at_ms = 0

    def take(self, line: Line) -> bool:
        if not self._most:
            return True
        now_ms = line.time_ms or self._at_ms
        self._left = min(self._most, self._left + max(0, now_ms - self._at_ms) * self._most / 1000)
        self._at_ms = max(now_ms, self._at_ms)
        if self._left < min(line.weight, self._most):
            return False  # an event of more lines than that is let through when the bucket is full, and paid off afterwards
        self._left -= line.weight
        return True


def tags_of(pairs: tuple[str, ...]) -> dict[str, str]:
    """``name=value`` pairs; one without a name or an equals sign is left out."""
    found = (pair.partition("=") for pair in pairs)
    return {name.strip(): value.strip() for name, equals, value in found if name.strip() and equals}


def _compiled(pattern: str) -> Pattern[str] | None:
    if not pattern:
        return None
    import re

    return re.compile(pattern)
