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

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["Redactor"]

REPLACEMENT = "[REDACTED]"
_DEEPEST = 40  # levels of objects, and of texts in texts
_WINDOW = 32_768  # characters that an operator's expression sees at a time
_OVERLAP = 1_024

# names of keys --------------------------------------------------------------------------------------------------------------

#: Names (lower case, without - _ . and blanks) whose values are secrets, and what a name may end with.
_NAMES = frozenset((
    "auth", "authorization", "cookie", "setcookie", "session", "signature", "xamzsecuritytoken", "cvv", "cvc",
))  # fmt: skip
_ENDINGS = (
    "password", "passwd", "passphrase", "pwd", "pass", "secret", "secretkey", "apikey", "accesskey", "privatekey", "signingkey",
    "encryptionkey", "secretaccesskey", "token", "credential", "credentials", "connectionstring", "authorization", "sessionid",
    "sessid",
)  # fmt: skip
_HARMLESS = frozenset(("nexttoken", "paginationtoken", "continuationtoken", "bypass", "compass"))
#: a name, then = or :, in text, in JSON at any depth of escaping, in headers, in query parameters
_NAMED = re.compile(
    r"(?<![A-Za-z0-9_.\-])([A-Za-z][A-Za-z0-9_.\-]{0,63})(\]?\\{0,64}[\"']?[ \t]{0,4}[:=][ \t]{0,4}(?:>[ \t]{0,4})?)"
)
_QUOTED = re.compile(r"(\\{0,64})([\"'])")
_BARE = re.compile(r"[^\s,;&\"'\\)\]}<>]{1,65536}")
_SCHEME = re.compile(r"(?:Bearer|Basic|Digest|Token|ApiKey|Splunk|AWS4-HMAC-SHA256|Negotiate)[ \t]{1,4}", re.IGNORECASE)
_LINE = re.compile(r"[^\r\n\"'\\]{1,65536}")  # of a header: all of it, but for the quotes around
_WHOLE_LINE = ("authorization", "cookie", "setcookie", "auth")
_NOTHING = frozenset(("", "null", "none", "nil", "undefined", "true", "false", "***", "****", REPLACEMENT.lower()))

# tokens ---------------------------------------------------------------------------------------------------------------------

_TOKENS = re.compile(
    r"(?<![A-Za-z0-9_\-])(?:"
    r"(?:AKIA|ASIA|ABIA|ACCA)[A-Z2-7]{16}(?![A-Za-z0-9])"  # AWS access key ids
    r"|eyJ[A-Za-z0-9_\-]{5,8192}\.[A-Za-z0-9_\-]{4,16384}(?:\.[A-Za-z0-9_\-]{0,8192}){0,3}"  # JSON web tokens
    r"|gh[pousr]_[A-Za-z0-9]{30,255}|github_pat_[A-Za-z0-9_]{22,255}"
    r"|gl(?:pat|ptt|dt|rt|cbt|ft|soat)-[A-Za-z0-9_\-]{16,255}"
    r"|xox[a-z]-[A-Za-z0-9\-]{10,255}|xapp-[A-Za-z0-9\-]{10,255}"
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
_BEARER = re.compile(r"(?<![A-Za-z0-9])((?:Bearer|Basic)[ \t]{1,4})([A-Za-z0-9._~+/=\-]{12,65536})", re.IGNORECASE)
_AWS_SECRET = re.compile(r"(?<![A-Za-z0-9/+=])[A-Za-z0-9/+]{40}(?![A-Za-z0-9/+=])")
_USERINFO = re.compile(r"(?<=://)[^\s/@\"'\\?#]{1,512}(?=@)")
_SLACK_HOOK = re.compile(r"(?<=hooks\.slack\.com/services/)[A-Za-z0-9/]{8,128}")
_CARD = re.compile(r"(?<![0-9A-Za-z.\-])[0-9](?:[ \-]?[0-9]){12,18}(?![0-9A-Za-z\-])")
#: Letters and digits to "a", all else to a blank: a token is a run of at least 16 (the parts of a UUID are not).
_RUNS = bytes(97 if chr(code).isalnum() and code < 128 else 32 for code in range(256))
_RUN = b"a" * 16
_DIGITS = bytes(48 if 48 <= code < 58 else code for code in range(256))
#: Letters to "a", ``:`` and ``=`` to "=": where a name that ends in a letter has a value, there is "a=" once what may stand
#: between them is taken away.
_NAMED_RUNS = bytes(97 if chr(code).isalpha() and code < 128 else 61 if code in (58, 61) else 32 for code in range(256))
_BETWEEN = b"\"'\\]\t "
_MARKS = (
    b"AKIA", b"ASIA", b"ABIA", b"ACCA", b"eyJ", b"gh", b"github_pat_", b"gl", b"xox", b"xapp-", b"k_live_", b"k_test_",
    b"whsec_", b"AIza", b"ya29.", b"GOCSPX-", b"npm_", b"pypi-", b"hf_", b"dckr_", b"SG.", b"AC", b"SK", b"sk-", b"shp",
    b"dop_v1_", b"NRA", b"hvs.", b"AGE-", b"services/",
)  # fmt: skip


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
        folded = [_folded(key, "*") for key in keys]
        self._own = [
            re.compile(".{0,64}".join(map(re.escape, key.split("*"))) + r"\Z") for key in folded if key.strip("*")
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
        return (dumps(changed), found) if found else (value, 0)

    # the cheap look

    def _is_suspicious(self, value: bytes) -> bool:
        if b"\\u" in value or self._patterns:
            return True
        if self._tokens and _may_have_token(value):
            return True
        if self._cards and b"0000000000000" in value.translate(_DIGITS, b" -"):
            return True
        if self._keys and b"a=" in value.translate(_NAMED_RUNS, _BETWEEN) and _may_have_name(value.lower()):
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
            found = [self._in_value(one, depth + 1) for one in value]
            return [one for one, _count in found], sum(count for _one, count in found)
        if self._cards and isinstance(value, int) and _is_card(str(value)):
            return self._with, 1
        return value, 0

    def _in_object(self, value: dict[str, Any], depth: int) -> tuple[dict[str, Any], int]:
        found: dict[str, Any] = {}
        total = 0
        for name, one in value.items():
            if self._is_secret(name) and not _is_nothing(one):
                changed, count = (one, 0) if one == self._with else (self._with, 1)
            else:
                changed, count = self._in_value(one, depth + 1)
            clean, in_name = self._in_text(name, depth + 1) if len(name) > 8 else (name, 0)
            found[clean] = changed
            total += count + in_name
        return found, total

    def _in_text(self, text: str, depth: int) -> tuple[str, int]:
        if text.lstrip()[:1] in ("{", "[") and depth < _DEEPEST:
            try:
                content = loads(text.encode("utf-8", "surrogatepass"))
            except (ValueError, UnicodeError):
                pass
            else:
                changed, found = self._in_value(content, depth + 1)
                return (dumps(changed).decode() if found else text), found
        total = 0
        if self._tokens:
            text, total = self._without_tokens(text)
        if self._keys or self._own:
            text, found = self._without_named(text)
            total += found
        if self._cards:
            text, found = self._sub(_CARD, text, _is_card)
            total += found
        for pattern in self._patterns:
            text, found = self._without_pattern(pattern, text)
            total += found
        return text, total

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
        parts, at, found = [], 0, 0
        for match in _NAMED.finditer(text):
            if match.start() < at or not self._is_secret(match[1]):
                continue
            start, end = self._value_at(text, match.end(), _folded(match[1]))
            if _is_nothing(text[start:end]) or text.startswith(self._with, start):
                continue
            parts += [text[at:start], self._with]
            at, found = end, found + 1
        return ("".join([*parts, text[at:]]), found) if found else (text, 0)

    def _value_at(self, text: str, at: int, name: str) -> tuple[int, int]:
        """From where to where the value reaches that begins at `at`: to the closing quote, or as far as a bare word does."""
        opening = _QUOTED.match(text, at)
        if opening is not None:
            close = _closing(text, opening.end(), opening[1], opening[2])
            return opening.end(), close
        scheme = _SCHEME.match(text, at)
        if text[at : at + 1] in ("{", "["):
            bracket = _LINE.match(text, at)
            return at, bracket.end() if bracket else at + 1
        if name.endswith(_WHOLE_LINE) and "=" not in text[max(0, at - 2) : at]:
            line = _LINE.match(text, at)
            return at, line.end() if line else at
        start = scheme.end() if scheme else at
        bare = _BARE.match(text, start)
        return start, bare.end() if bare else start

    def _without_pattern(self, pattern: re.Pattern[str], text: str) -> tuple[str, int]:
        if len(text) <= _WINDOW:
            return self._sub(pattern, text)
        spans: list[tuple[int, int]] = []
        for start in range(0, len(text), _WINDOW - _OVERLAP):
            spans += [
                (start + one.start(), start + one.end()) for one in pattern.finditer(text[start : start + _WINDOW])
            ]
        parts, at, found = [], 0, 0
        for start, end in sorted(spans):
            if end > max(at, start) and text[start:end] != self._with:
                parts += [text[at:start], self._with]
                at, found = end, found + 1
        return "".join([*parts, text[at:]]), found

    def _sub(self, pattern: re.Pattern[str], text: str, wanted: Any = None) -> tuple[str, int]:
        found = 0

        def blot(match: re.Match[str]) -> str:
            nonlocal found
            if not match[0] or match[0] == self._with or (wanted is not None and not wanted(match[0])):
                return match[0]
            found += 1
            return self._with

        return pattern.sub(blot, text), found

    def _is_secret(self, name: str) -> bool:
        """Whether a key's name tells that its value is a secret."""
        known = self._known.get(name)
        if known is None:
            if len(self._known) > 4_096:
                self._known.clear()
            known = self._known[name] = self._tells(_folded(name))
        return known

    def _tells(self, name: str) -> bool:
        if any(own.match(name) for own in self._own):
            return True
        return self._keys and (name in _NAMES or (name.endswith(_ENDINGS) and name not in _HARMLESS))


def _closing(text: str, at: int, escapes: str, quote: str) -> int:
    """Where the quoted text ends that begins at `at`: before the same quote behind as many backslashes; else at the end."""
    want = len(escapes)
    while (found := text.find(quote, at)) >= 0:
        behind = found
        while behind > at and text[behind - 1] == "\\" and found - behind <= 64:
            behind -= 1
        count = found - behind
        if count <= want:
            return behind
        at = found + 1
    return len(text)


# One chain of constants each: a loop over them would take twice as long, and this is asked of every line.


def _may_have_token(value: bytes) -> bool:
    if b"@" in value or b"-----" in value or b"earer " in value or b"asic " in value or b"EARER " in value:
        return True
    return _RUN in value.translate(_RUNS) and any(mark in value for mark in _MARKS)


def _may_have_name(lower: bytes) -> bool:
    """Whether a line in lower case may hold one of `_NAMES`, or something that ends as `_ENDINGS` do."""
    return (
        b"pass" in lower or b"secret" in lower or b"token" in lower or b"auth" in lower or b"pwd" in lower
        or b"sess" in lower or b"cookie" in lower or b"credential" in lower or b"signature" in lower or b"cvv" in lower
        or b"cvc" in lower or b"onnection" in lower
        or (b"key" in lower and (b"api" in lower or b"access" in lower or b"private" in lower or b"signing" in lower
                                 or b"encryption" in lower))
    )  # fmt: skip


def _folded(name: str, keep: str = "") -> str:
    """A name without case, dashes, underscores and dots."""
    return "".join(one for one in name.lower() if one.isalnum() or one in keep)


def _is_nothing(value: Any) -> bool:
    """What blotting out would only hide: no value at all."""
    if isinstance(value, str):
        return value.strip().lower() in _NOTHING
    return value is None or isinstance(value, bool) or value in ({}, [])


def _is_card(text: str) -> bool:
    """A number that a card could have: a known prefix, its length, and the check digit (ISO/IEC 7812)."""
    digits = [int(one) for one in text if one.isdigit()]
    if not 13 <= len(digits) <= 19 or not _has_card_prefix("".join(map(str, digits))):
        return False
    total = sum(digits[-1::-2]) + sum(one * 2 - 9 * (one > 4) for one in digits[-2::-2])
    return total % 10 == 0


def _has_card_prefix(number: str) -> bool:
    length, two, four = len(number), int(number[:2]), int(number[:4])
    if number[0] == "4":
        return length in (13, 16, 19)
    if 51 <= two <= 55 or 2221 <= four <= 2720:
        return length == 16
    if two in (34, 37):
        return length == 15
    if two in (36, 38, 39) or 3000 <= four <= 3059:
        return length in (14, 16, 19)
    return (3528 <= four <= 3589 or two in (62, 65) or four == 6011 or 6440 <= four <= 6499) and length >= 16
