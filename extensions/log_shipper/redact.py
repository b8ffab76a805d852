"""Blots out secrets in what functions log: values of keys with telling names, tokens that show what they are, payment cards.

Nearly no line holds a secret, so a cheap look at the bytes (no regular expression, no decoding) lets the others pass untouched;
only where something could be is a line decoded and searched. That look must be conservative: whatever the search would find, it
lets through to the search. Escapes hide nothing: a line with ``\\u`` in it is always decoded.

No search here takes more than linear time: every expression begins at the border of a word, and what repeats is bounded. That
cannot be said of an operator's own expression, so that one sees a long text in windows.
"""

from __future__ import annotations

import re

from extension_kit.protocol.jsontext import dumps, loads
from extensions.log_shipper.cards import cards, is_card
from extensions.log_shipper.named import folded, is_count, is_telling, may_have_name, named_values

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

__all__ = ["Redactor"]

REPLACEMENT = "[REDACTED]"
_DEEPEST = 40  # levels of objects, and of texts in texts
_WINDOW = 32_768  # characters that an operator's expression sees at a time
_OVERLAP = 1_024
_LONGEST_NAME = 128  # that is remembered
_NOTHING = frozenset(("", "null", "none", "nil", "undefined", "true", "false", "***", "****", REPLACEMENT.lower()))
#: What a header is called, and what it says, where headers are a list of objects.
_NAME_MEMBERS = frozenset(("name", "key", "header"))
_VALUE_MEMBERS = frozenset(("value", "values", "val"))

# tokens ---------------------------------------------------------------------------------------------------------------------

_TOKENS = re.compile(
    r"(?<![A-Za-z0-9_\-])(?:"
    r"(?:AKIA|ASIA|ABIA|ACCA)[A-Z2-7]{16}(?![A-Za-z0-9])"  # AWS access key ids
    r"|eyJ[A-Za-z0-9_\-]{13,8192}\.[A-Za-z0-9_\-]{4,16384}(?:\.[A-Za-z0-9_\-]{0,8192}){0,3}"  # JSON web tokens
    r"|gh[pousr]_[A-Za-z0-9]{30,255}|github_pat_[A-Za-z0-9_]{22,255}"
    r"|gl(?:pat|ptt|dt|rt|cbt|ft|soat)-[A-Za-z0-9_\-]{16,255}"
    r"|xox[a-z]-[A-Za-z0-9\-]{12,255}|xapp-[A-Za-z0-9\-]{12,255}"
    r"|(?:sk|rk|pk)_(?:live|test)_[A-Za-z0-9]{10,255}|whsec_[A-Za-z0-9+/=]{16,255}"  # Stripe
    r"|AIza[A-Za-z0-9_\-]{30,255}|ya29\.[A-Za-z0-9_\-]{16,2048}|GOCSPX-[A-Za-z0-9_\-]{16,255}"  # Google
    r"|npm_[A-Za-z0-9]{30,255}|pypi-[A-Za-z0-9_\-]{16,1024}|hf_[A-Za-z0-9]{16,255}|dckr_pat_[A-Za-z0-9_\-]{16,255}"
    r"|SG\.[A-Za-z0-9_\-]{16,64}\.[A-Za-z0-9_\-]{16,128}"  # SendGrid
    r"|(?:AC|SK)[0-9a-f]{32}(?![A-Za-z0-9])"  # Twilio
    r"|sk-[A-Za-z0-9_\-]{16,255}"  # OpenAI, Anthropic
    r"|shp(?:at|ca|pa|ss)_[0-9a-fA-F]{16,64}|dop_v1_[0-9a-f]{32,128}|NRAK-[A-Z0-9]{16,64}|[0-9a-f]{36}NRAL"
    r"|hvs\.[A-Za-z0-9_\-]{16,255}|AGE-SECRET-KEY-1[A-Z0-9]{32,128}"
    r")"
)
_BEARER = re.compile(
    r"(?<![A-Za-z0-9])((?:Bearer|bearer|BEARER|Basic|basic|BASIC)[ \t]{1,4})([A-Za-z0-9._~+/=\-]{12,65536})"
)
_AWS_SECRET = re.compile(r"(?<![A-Za-z0-9/+=])[A-Za-z0-9/+]{40}(?![A-Za-z0-9/+=])")
#: With a password up to the last @ of the word, as that may hold any sign that nobody has escaped; not across ? and # where
#: there is an @ before them. A port and a path are no password.
_USERINFO = re.compile(
    r"(?<=://)(?:[^\s/@\"'\\?#:\[<>]{0,256}:(?!\d{1,5}(?:[/?#,;)\s]|\Z))"
    r"(?:[^\s\"'\\<>?#]{1,512}(?=@)|[^\s\"'\\<>]{1,512}(?=@))|[^\s/@\"'\\?#]{1,512}(?=@))"
)
_SLACK_HOOK = re.compile(r"(?<=hooks\.slack\.com/services/)[A-Za-z0-9/]{0,64}[A-Za-z0-9]{16,128}")
#: Letters, digits and _ to "a", dashes as they are, all else to a blank: a token is a run of at least 16, dashes included.
_RUNS = bytes(
    97 if code < 128 and (chr(code).isalnum() or code == 95) else 45 if code == 45 else 32 for code in range(256)
)
_UUID = b"aaaaaaaa-aaaa-aaaa-aaaa-aaaaaaaaaaaa"
_RUN = b"a" * 16
_DIGITS = bytes(48 if 48 <= code < 58 else code for code in range(256))
#: Letters to "a", ``:`` and ``=`` to "=": where a name that ends in a letter has a value, there is "a=" once what may stand
#: between them is taken away.
_NAMED_RUNS = bytes(97 if chr(code).isalpha() and code < 128 else 61 if code in (58, 61) else 32 for code in range(256))
_BETWEEN = b"\"'\\]\t _-."


class Redactor:
    """``keys``: further names, ``*`` for anything; ``patterns``: that compile; ``detectors``: some of keys, tokens, cards."""

    def __init__(
        self,
        keys: tuple[str, ...] = (),
        patterns: tuple[str, ...] = (),
        detectors: tuple[str, ...] = ("keys", "tokens", "cards"),
        replacement: str = REPLACEMENT,
    ) -> None:
        self._with = replacement
        self._keys = "keys" in detectors
        self._tokens = "tokens" in detectors
        self._cards = "cards" in detectors
        self._patterns = [re.compile(pattern) for pattern in patterns]
        own = [folded(key, "*") for key in keys]
        self._own = [
            re.compile(".{0,64}".join(map(re.escape, key.split("*"))) + r"\Z") for key in own if key.strip("*")
        ]
        # Of an own name the longest part without a sign that folding takes away stands in the line, if the name does.
        self._signs = tuple({max(re.split(r"[^A-Za-z0-9]", key.lower()), key=len).encode() for key in keys} - {b""})
        self._known: dict[str, bool] = {}

    def redact(self, value: bytes) -> tuple[bytes, int]:
        """`value`, one JSON value, without its secrets, and how many they were. The same object where there was none."""
        if not self._is_suspicious(value):
            return value, 0
        try:
            content = loads(value)
        except ValueError:
            content = value.decode("utf-8", "replace")
            changed, found = self._in_text(content, 0)
            return (dumps(changed), found) if found else (value, 0)
        changed, found = self._in_value(content, 0)
        written = dumps(changed) if found else value
        if self._patterns and isinstance(changed, (dict, list)):
            text, more = self._in_whole(written.decode(), changed)
            return (_as_json(text), found + more) if more else (written, found)
        return written, found

    # the cheap look

    def _is_suspicious(self, value: bytes) -> bool:
        if b"\\u" in value or self._patterns:
            return True
        if self._tokens and _may_have_token(value):
            return True
        if self._cards and b"0000000000000" in value.translate(_DIGITS, b" -"):
            return True
        if self._keys and _may_have_value(value) and may_have_name(value.lower()):
            return True
        return bool(self._signs) and any(sign in value.lower() for sign in self._signs)

    # the search

    def _in_value(self, value: Any, depth: int) -> tuple[Any, int]:
        if depth > _DEEPEST:
            return self._with, 1  # nothing that deep is worth the risk
        if isinstance(value, str):
            return self._in_text(value, depth)
        if isinstance(value, dict):
            return self._in_object(value, depth)
        if isinstance(value, list):
            return self._in_list(value, depth)
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return self._in_number(value)
        return value, 0

    def _in_list(self, value: list[Any], depth: int) -> tuple[list[Any], int]:
        inside, total = [], 0
        for one in value:
            if self._is_pair(one):
                inside.append([one[0], self._with])
                total += one[1] != self._with
                continue
            changed, count = self._in_value(one, depth + 1)
            inside.append(changed)
            total += count
        return inside, total

    def _in_number(self, value: float) -> tuple[Any, int]:
        if self._cards and isinstance(value, int) and is_card(str(abs(value))):
            return self._with, 1
        if self._patterns and self._without_patterns(dumps(value).decode())[1]:
            return self._with, 1
        return value, 0

    def _in_object(self, value: dict[str, Any], depth: int) -> tuple[dict[str, Any], int]:
        inside: dict[str, Any] = {}
        total = 0
        in_header = self._is_header(value)
        for name, one in value.items():
            if (self._is_secret(name, one) or (in_header and name.lower() in _VALUE_MEMBERS)) and not _is_nothing(one):
                changed, count = self._with, int(one != self._with)
            else:
                changed, count = self._in_value(one, depth + 1)
                if self._patterns and self._is_matched(name, changed):
                    changed, count = self._with, 1
            clean, in_name = self._in_text(name, depth + 1) if len(name) > 8 or self._patterns else (name, 0)
            inside[clean] = changed
            total += count + in_name
        return inside, total

    def _is_header(self, value: dict[str, Any]) -> bool:
        """Whether an object is a name that tells, and its value: ``{"name": "Authorization", "value": "x"}``."""
        return any(
            name.lower() in _NAME_MEMBERS and isinstance(one, str) and self._tells(one) for name, one in value.items()
        )

    def _is_pair(self, value: Any) -> bool:
        """Whether a member of a list is a name that tells, and its value: ``["Authorization", "x"]``."""
        if not isinstance(value, list) or len(value) != 2 or not isinstance(value[0], str):
            return False
        return self._is_secret(value[0], value[1]) and not _is_nothing(value[1])

    def _is_matched(self, name: str, value: Any) -> bool:
        """Whether an operator's expression matches a name and its value together, and not the name alone."""
        if value == self._with or isinstance(value, (dict, list)):
            return False
        written = dumps(name).decode()
        pairs = (f"{written}{colon}{dumps(value).decode()}" for colon in (":", ": "))
        return any(end > len(written) for pair in pairs for _start, end in self._matches(pair))

    def _in_text(self, text: str, depth: int) -> tuple[str, int]:
        if text.lstrip()[:1] in ("{", "[") and depth < _DEEPEST:
            try:
                content = loads(text.encode("utf-8", "surrogatepass"))
            except (ValueError, UnicodeError):
                pass
            else:
                changed, found = self._in_value(content, depth + 1)
                text, more = self._in_whole(dumps(changed).decode() if found else text, changed)
                return text, found + more
        total = 0
        if self._tokens:
            text, total = self._without_tokens(text)
        if self._keys or self._own:
            text, found = self._without_named(text)
            total += found
        if self._cards:
            text, found = self._blotted(text, cards(text))
            total += found
        text, found = self._without_patterns(text)
        return text, total + found

    def _without_tokens(self, text: str) -> tuple[str, int]:
        total = 0
        if "-----BEGIN" in text:
            text, total = self._without_pem(text)
        if any(mark in text for mark in ("AKIA", "ASIA")):
            text, found = self._sub(_AWS_SECRET, text)
            total += found
        for pattern in (_TOKENS, _USERINFO, _SLACK_HOOK):
            text, found = self._sub(pattern, text)
            total += found
        found = 0

        def blot(match: re.Match[str]) -> str:
            nonlocal found
            if not any(one.isdigit() or one in "=_.+/-" for one in match[2]) or match[2] in self._with:
                return match[0]  # "basic understanding" is two words
            found += 1
            return match[1] + self._with

        text = _BEARER.sub(blot, text)
        return text, total + found

    def _without_pem(self, text: str) -> tuple[str, int]:
        """Private keys, from their first line to their last; to the end where that is missing."""
        parts, at, found = [], 0, 0
        while (begin := text.find("-----BEGIN", at)) >= 0:
            label = text[begin + 10 : begin + 60].partition("-----")[0]
            if "PRIVATE KEY" not in label:
                parts.append(text[at : begin + 10])
                at = begin + 10
                continue
            end = text.find("-----END", begin)
            close = text.find("-----", end + 8) if end >= 0 else -1
            parts += [text[at:begin], self._with]
            found += 1
            at = close + 5 if close >= 0 else len(text)
        return "".join([*parts, text[at:]]), found

    def _without_named(self, text: str) -> tuple[str, int]:
        """Values behind names that tell: ``password=x``, ``"password": "x"``, ``Authorization: Bearer x``."""
        spans = []
        for name, start, end in named_values(text, self._tells):
            value = text[start:end]
            if not _is_nothing(value) and not value.startswith(self._with) and not self._counts(name, value):
                spans.append((start, end))
        return self._blotted(text, spans)

    def _without_patterns(self, text: str) -> tuple[str, int]:
        return self._blotted(text, self._matches(text)) if self._patterns else (text, 0)

    def _in_whole(self, text: str, content: Any) -> tuple[str, int]:
        """What an operator's expressions leave of a JSON text: as it is written, or else without its blanks."""
        changed, found = self._without_patterns(text)
        if self._patterns and not found:
            changed, found = self._without_patterns(dumps(content).decode())
        return (changed, found) if found else (text, 0)

    def _matches(self, text: str) -> list[tuple[int, int]]:
        """What an operator's expressions match, but for what is blotted out already."""
        found = [
            (at + one.start(), at + one.end())
            for pattern in self._patterns
            for at in range(0, max(1, len(text) - _OVERLAP), _WINDOW - _OVERLAP)
            for one in pattern.finditer(text[at : at + _WINDOW])
        ]
        return [(start, end) for start, end in found if start < end and not self._is_blot(text, start, end)]

    def _is_blot(self, text: str, start: int, end: int) -> bool:
        """Whether a part of a text lies within a mark of ours."""
        length = len(self._with)
        return end - start <= length and self._with in text[max(0, end - length) : start + length]

    def _blotted(self, text: str, spans: Iterable[tuple[int, int]]) -> tuple[str, int]:
        """The text without some parts of it, those that overlap as one; the same object where there are none."""
        parts: list[str] = []
        at = found = 0
        for start, end in sorted(spans):
            if start >= at:
                parts += [text[at:start], self._with]
                found += 1
            at = max(at, end)
        return ("".join([*parts, text[at:]]), found) if found else (text, 0)

    def _sub(self, pattern: re.Pattern[str], text: str) -> tuple[str, int]:
        return self._blotted(text, [one.span() for one in pattern.finditer(text) if one[0] != self._with])

    def _is_secret(self, name: str, value: Any) -> bool:
        """Whether a key's name tells that its value is a secret, and no count."""
        return self._tells(name) and not self._counts(name, value)

    def _counts(self, name: str, value: Any) -> bool:
        name = folded(name)
        return is_count(name, value) and not self._is_own(name)

    def _tells(self, name: str) -> bool:
        known = self._known.get(name)
        if known is None:
            if len(self._known) > 4_096:
                self._known.clear()
            short = folded(name)
            known = self._is_own(short) or (self._keys and is_telling(short))
            if len(name) <= _LONGEST_NAME:
                self._known[name] = known
        return known

    def _is_own(self, name: str) -> bool:
        return any(own.match(name) for own in self._own)


def _as_json(text: str) -> bytes:
    """What an expression has left of a JSON text: as it is where it is one still, else as a string."""
    data = text.encode()
    try:
        loads(data)
    except ValueError:
        return dumps(text)
    return data


# Chains of constants: a loop over them would take twice as long, and this is asked of every line.


def _may_have_token(value: bytes) -> bool:
    if (
        b"@" in value
        or b"-----" in value
        or b"earer" in value
        or b"asic" in value
        or b"EARER" in value
        or b"ASIC" in value
    ):
        return True
    runs = value.translate(_RUNS)
    if _RUN not in runs:
        if _UUID in runs and b"-" + _UUID not in runs:  # nearly every line has its request's id
            runs = runs.replace(_UUID, b" ")
        runs = runs.replace(b"-", b"a")
    return (_RUN in runs and _has_mark(value)) or b"whsec_" in value


def _has_mark(value: bytes) -> bool:
    """Whether a line holds what one of `_TOKENS` begins with, or ends with."""
    return (
        b"AKIA" in value or b"ASIA" in value or b"ABIA" in value or b"ACCA" in value or b"eyJ" in value or b"gh" in value
        or b"github_pat_" in value or b"gl" in value or b"xox" in value or b"xapp-" in value or b"k_live_" in value
        or b"k_test_" in value or b"AIza" in value or b"ya29." in value or b"GOCSPX-" in value or b"npm_" in value
        or b"pypi-" in value or b"hf_" in value or b"dckr_" in value or b"SG." in value or b"AC" in value or b"SK" in value
        or b"sk-" in value or b"shp" in value or b"dop_v1_" in value or b"NRA" in value or b"hvs." in value
        or b"AGE-" in value or b"services/" in value
    )  # fmt: skip


def _may_have_value(value: bytes) -> bool:
    """Whether anything may be the value of a name: behind = or :, in a tag, or beside it in a list."""
    if b"a=" in value.translate(_NAMED_RUNS, _BETWEEN) or b"<" in value:
        return True
    return (b"[" in value or b"(" in value) and (b"'" in value or b'\\"' in value or value[:1] != b'"')


def _is_nothing(value: Any) -> bool:
    """What blotting out would only hide: no value at all."""
    if isinstance(value, str):
        return value.strip().lower() in _NOTHING
    return value is None or isinstance(value, bool) or value in ({}, [])
