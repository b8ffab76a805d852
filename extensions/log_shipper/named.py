"""Names that tell that what stands behind them is a secret, and how far that reaches in a text.

Every search is linear: each begins at the border of a word or at a sign, what repeats is bounded or never tried again, and
where a value has been found the search goes on behind it.
"""

from __future__ import annotations

import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

__all__ = ["folded", "is_count", "is_telling", "may_have_name", "named_values"]

#: Names (lower case, without - _ . and blanks) whose values are secrets, and what a name may end with.
_NAMES = frozenset((
    "auth", "authorization", "cookie", "setcookie", "session", "signature", "xamzsecuritytoken", "cvv", "cvc",
))  # fmt: skip
#: Of several: their values are counts at times, e.g. of the tokens of a language model.
_PLURALS = (
    "passwords", "passphrases", "secrets", "tokens", "apikeys", "accesskeys", "privatekeys", "secretkeys", "credentials",
)  # fmt: skip
_ENDINGS = (
    "password", "passwd", "passphrase", "pwd", "pass", "secret", "secretstring", "secretbinary", "secretkey", "apikey",
    "accesskey", "accountkey", "authkey", "privatekey", "signingkey", "encryptionkey", "token", "credential",
    "connectionstring", "authorization", "sessionid", "sessid", "amzsignature", "clientassertion", *_PLURALS,
)  # fmt: skip
_HARMLESS = frozenset(("nexttoken", "paginationtoken", "continuationtoken", "bypass", "compass"))
_COUNT = re.compile(r"-?\d{1,3}[kKmM%]?\Z")
_COUNT_OF_TOKENS = re.compile(r"-?\d{1,9}(?:[./]\d{1,9})?[kKmM%]?\Z")

_QUOTE = r"\\{0,64}[\"']"
#: a name, then = or :, in text, in JSON at any depth of escaping, in headers, in query parameters
_ASSIGNED = re.compile(r"(?<![A-Za-z0-9_.\-])([A-Za-z0-9_.\-]++)(\]?\\{0,64}[\"']?[ \t]*+(?::=|={1,3}>?|:)[ \t]*+)")
#: {"name": "Authorization", "value": "x"}, <add key="password" value="x"/>, - name: PASSWORD with value: x below it
_MEMBERS = re.compile(
    rf"(?<![A-Za-z0-9])(?:name|key|header)(?:{_QUOTE})?\s{{0,8}}[:=]\s{{0,8}}(?:{_QUOTE})?([A-Za-z0-9_.\-]{{1,64}})(?:{_QUOTE})?"
    rf"[\s,]{{1,32}}(?:{_QUOTE})?(?:value|val)((?:{_QUOTE})?\s{{0,8}}[:=]\s{{0,8}})",
    re.IGNORECASE,
)
#: [["Authorization", "x"]], [('Authorization', 'x')]
_PAIR = re.compile(rf"[\[(,]\s{{0,8}}[\[(]\s{{0,8}}{_QUOTE}([A-Za-z0-9_.\-]{{1,64}}){_QUOTE}(\s{{0,8}},\s{{0,8}})")
#: <password>x</password>
_TAG = re.compile(r"<(?:[A-Za-z0-9_\-]{1,64}:)?([A-Za-z_][A-Za-z0-9_.\-]{0,63})(?:\s[^<>]{0,256})?>")
_INSIDE_TAG = re.compile(r"\s{0,64}<!\[CDATA\[.{0,65536}?\]\]>|[^<]{1,65536}(?=<\\{0,64}/)", re.DOTALL)

_OPENING = re.compile(r"(\\{0,64})(\"{3}|'{3}|[\"'])")
#: what may stand before a quoted value: b"x", @"x"; a type: str = "x"; a call around it: Some("x"), SecretStr(value='x')
_PREFIX = re.compile(r"[A-Za-z@$#]{1,2}(?=\\{0,64}[\"'])")
_TYPE = re.compile(r"&?[A-Za-z_][A-Za-z0-9_.<>\[\]]{0,40}[ \t]{1,4}=[ \t]{0,4}")
_CALL = re.compile(r"[A-Za-z_][A-Za-z0-9_.:]{0,60}\((?=[^\r\n)]{0,128}[\"'])")
_BRACKET = re.compile(r"[\[{(]|[\]})]|\\{0,64}[\"']")
_BARE = re.compile(r"[^\s,;&\"'\\)\]}<>]{1,65536}")
_SCHEME = re.compile(r"(?:Bearer|Basic|Digest|Token|ApiKey|Splunk|AWS4-HMAC-SHA256|Negotiate)[ \t]{1,4}", re.IGNORECASE)
_HEADER = re.compile(r"(?:[^\r\n\\]|\\{1,64}[\"']){1,65536}")  # its line, quotes included
_WHOLE_LINE = ("authorization", "cookie", "setcookie", "auth")
_BLOCK = re.compile(r"([|>][+\-0-9]{0,2})?[ \t]*+(?:#[^\n]{0,256})?\r?\n")  # YAML: the value is in the lines below
_MARGIN = re.compile(r"[ \t\-\"']*+")


def folded(name: str, keep: str = "") -> str:
    """A name without case, dashes, underscores and dots."""
    return "".join(one for one in name.lower() if one.isalnum() or one in keep)


def is_telling(name: str) -> bool:
    """Whether a folded name tells that its value is a secret."""
    return name in _NAMES or (name.endswith(_ENDINGS) and name not in _HARMLESS)


def is_count(name: str, value: Any) -> bool:
    """Whether the value of a folded name says only how many there are: ``max_tokens=512``, ``secrets: 3 loaded``."""
    if not name.endswith(_PLURALS):
        return False
    if isinstance(value, dict):
        return all(isinstance(one, (int, float)) and is_count(name, one) for one in value.values())
    if not isinstance(value, (str, int, float)):
        return False
    shape = _COUNT_OF_TOKENS if name.endswith("tokens") else _COUNT
    return shape.match(str(value)) is not None


def may_have_name(lower: bytes) -> bool:
    """Whether a line in lower case may hold a name that tells. A chain of constants: a loop would take twice as long."""
    return (
        b"pass" in lower or b"secret" in lower or b"token" in lower or b"auth" in lower or b"pwd" in lower
        or b"sess" in lower or b"cookie" in lower or b"credential" in lower or b"sig" in lower or b"cvv" in lower
        or b"cvc" in lower or b"onnection" in lower or b"assertion" in lower
        or (b"key" in lower and (b"api" in lower or b"access" in lower or b"private" in lower or b"signing" in lower
                                 or b"encryption" in lower or b"account" in lower))
    )  # fmt: skip


def named_values(text: str, tells: Callable[[str], bool]) -> Iterator[tuple[str, int, int]]:
    """Each name that tells, and from where to where its value reaches; a value may stand inside another's."""
    for way in (_ASSIGNED, _MEMBERS, _PAIR):
        at = 0
        for match in way.finditer(text):
            if match.start() < at:
                continue
            name = match[1]
            if text[match.start() - 1 : match.start()] == "\\" and name[0] in "nrt" and not tells(name):
                name = name[1:]  # the line end before it, in JSON inside a text
            if tells(name) or _is_query_signature(text, match):
                start, at = _value_at(text, match, name)
                yield name, start, at
    if "</" in text or "\\/" in text:
        for match in _TAG.finditer(text):
            inside = _INSIDE_TAG.match(text, match.end()) if tells(match[1]) else None
            if inside is not None:
                yield match[1], inside.start(), inside.end()


def _is_query_signature(text: str, match: re.Match[str]) -> bool:
    """Azure's ``?sig=``; anywhere else the word is too short to tell anything."""
    return match[1] == "sig" and match[2] == "=" and text[match.start() - 1 : match.start()] in ("?", "&", ";")


def _value_at(text: str, match: re.Match[str], name: str) -> tuple[int, int]:
    """From where to where the value reaches."""
    at = match.end()
    declared = _TYPE.match(text, at) if "=" not in match[2] else None
    if declared is None:
        return _value_from(text, at, match, name)
    # What looks like a type may be the value, so that goes too.
    return at, _value_from(text, declared.end(), match, name)[1]


def _value_from(text: str, at: int, match: re.Match[str], name: str) -> tuple[int, int]:
    """To the closing quote or bracket, to the end of a block or of a header, or as far as a bare word does."""
    prefix = _PREFIX.match(text, at)
    opening = _OPENING.match(text, prefix.end() if prefix else at)
    if opening is not None:
        return opening.end(), _closing(text, opening.end(), opening[1], opening[2])
    call = _CALL.match(text, at)
    if call is not None:
        return at, _end_of_word(text, _closing_bracket(text, call.end() - 1))
    if text[at : at + 1] in ("{", "["):
        return at, _end_of_word(text, _closing_bracket(text, at))
    block = _BLOCK.match(text, at)
    if block is not None:
        column = _column(text, match.start())
        is_value = block[1] or column >= 0  # what is only the end of a sentence has no value in the lines below
        return at, _end_of_block(text, block.end(), max(0, column)) if is_value else at
    if "=" not in match[2] and folded(name).endswith(_WHOLE_LINE):
        return at, _end_of_header(text, match.start(), at)
    scheme = _SCHEME.match(text, at)
    start = scheme.end() if scheme else at
    return start, _end_of_word(text, start)


def _end_of_word(text: str, at: int) -> int:
    bare = _BARE.match(text, at)
    return bare.end() if bare else at


def _end_of_header(text: str, name_at: int, at: int) -> int:
    """The end of the line; where the header as a whole stands in quotes, their end."""
    before = text[max(0, name_at - 65) : name_at]
    if before[-1:] in ("'", '"'):
        escapes = before[:-1][len(before[:-1].rstrip("\\")) :]
        return _closing(text, at, escapes, before[-1])
    line = _HEADER.match(text, at)
    return line.end() if line else at


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


def _closing_bracket(text: str, at: int) -> int:
    """Behind the bracket that closes the one at `at`; brackets in quotes are none. Else the end."""
    depth = 0
    while (sign := _BRACKET.search(text, at)) is not None:
        kind, at = sign[0][-1], sign.end()
        if kind in "\"'":
            at = min(len(text), _closing(text, at, sign[0][:-1], kind) + len(sign[0]))
            continue
        depth += 1 if kind in "[{(" else -1
        if depth <= 0:
            return at
    return len(text)


def _column(text: str, name_at: int) -> int:
    """In which column a name stands that begins its line; -1 for another."""
    line_at = text.rfind("\n", 0, name_at) + 1
    margin = _MARGIN.match(text, line_at, name_at)
    return name_at - line_at if margin is not None and margin.end() == name_at else -1


def _end_of_block(text: str, at: int, column: int) -> int:
    """Where the lines end that stand further to the right than `column`; empty ones between them belong to it."""
    end = at
    while at < len(text):
        line_end = text.find("\n", at) + 1 or len(text)
        line = text[at:line_end]
        if line.strip():
            if len(line) - len(line.lstrip(" \t")) <= column:
                break
            end = at + len(line.rstrip("\r\n"))
        at = line_end
    return end
