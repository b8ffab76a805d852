"""From the target of a request to what is asked for. No I/O.

A query is read as Go reads it, which AWS's extension is written in: pairs between ``&``, ``+`` is a blank, the first of
several values counts. Of ``version`` and ``label`` the one that comes first counts (AWS docs, using Parameter Store
parameters in Lambda functions), so pairs stay in their order.
"""

from __future__ import annotations

from extension_kit.errors import ExtensionKitError
from extensions.secret_cache.asks import ParameterAsk, PathAsk, SecretAsk, name_in_arn

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from extension_kit.aws import Role

    Roles = Callable[[str], Role]

__all__ = ["BadQuery", "Query", "parameter_ask", "path_ask", "secret_ask", "split_target"]

_LONGEST = 2_048  # characters of an id or a name: AWS allows 2,048 (SecretId), 2,048 (Name with its ARN)
_HEX = frozenset(b"0123456789abcdefABCDEF")
_TRUE, _FALSE = ("true", "1", "t"), ("false", "0", "f", "")
_ROLE_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+=,.@_-/")
_DIGITS_IN_ACCOUNT = 12


class BadQuery(ExtensionKitError):
    """What is asked cannot be understood; the text says why, without the value."""


class Query:
    """The pairs of a query, in their order."""

    __slots__ = ("pairs",)

    def __init__(self, raw: bytes) -> None:
        self.pairs: list[tuple[str, str]] = []
        for pair in raw.split(b"&"):
            if pair:
                name, _, value = pair.partition(b"=")
                self.pairs.append((decode(name, plus=True), decode(value, plus=True)))

    def get(self, name: str) -> str:
        """The first value; "" where there is none."""
        return next((value for one, value in self.pairs if one == name), "")

    def get_all(self, name: str) -> list[str]:
        return [value for one, value in self.pairs if one == name]

    def first_of(self, *names: str) -> str:
        """The value of whichever of `names` comes first."""
        return next((value for one, value in self.pairs if one in names), "")

    def flag(self, name: str) -> bool:
        """BadQuery for what is neither true nor false."""
        value = self.get(name).lower()
        if value not in (*_TRUE, *_FALSE):
            raise BadQuery(f"invalid {name} value")
        return value in _TRUE


def split_target(target: bytes) -> tuple[bytes, bytes]:
    """Path and query, both as they came."""
    path, _, query = target.partition(b"?")
    return path, query.partition(b"#")[0]


def decode(raw: bytes, *, plus: bool = False) -> str:
    """Without its %-escapes; BadQuery for an escape that is none, and for what is no UTF-8 or a control character."""
    if plus:
        raw = raw.replace(b"+", b" ")
    if b"%" in raw:
        first, *rest = raw.split(b"%")
        for piece in rest:
            if len(piece) < 2 or not _HEX.issuperset(piece[:2]):
                raise BadQuery("a % that begins no escape")
        raw = first + b"".join([bytes((int(piece[:2], 16),)) + piece[2:] for piece in rest])
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        raise BadQuery("an escape that is no UTF-8") from None
    if not text.isprintable():
        raise BadQuery("a character that cannot be printed")
    return text


def secret_ask(id: str, query: Query, roles: Roles) -> SecretAsk:
    """``secretId``, ``versionId``, ``versionStage``, ``roleArn``."""
    return SecretAsk(
        _id(id, "secretId"), query.get("versionId"), query.get("versionStage"), _role(query.get("roleArn"), roles)
    )


def parameter_ask(name: str, query: Query, roles: Roles) -> ParameterAsk:
    """``name``, ``version`` or ``label``, ``withDecryption``, ``roleArn``. A selector may also stand behind the name."""
    id, selector = split_selector(_id(name, "name"))
    selector = query.first_of("version", "label") or selector
    return ParameterAsk(id, selector, query.flag("withDecryption"), _role(query.get("roleArn"), roles))


def path_ask(query: Query, roles: Roles) -> PathAsk:
    """``path``, ``recursive``, ``withDecryption``, ``roleArn``."""
    path = _id(query.get("path"), "path")
    return PathAsk(path, query.flag("recursive"), query.flag("withDecryption"), _role(query.get("roleArn"), roles))


def split_selector(name: str) -> tuple[str, str]:
    """``/a:3`` is version 3 of ``/a``; an ARN has colons of its own."""
    if name.startswith("arn:"):
        parts = name.split(":")
        return (":".join(parts[:6]), ":".join(parts[6:])) if name_in_arn(":".join(parts[:6])) else (name, "")
    id, _, selector = name.partition(":")
    return id, selector


def _id(id: str, name: str) -> str:
    if not id:
        raise BadQuery(f"missing parameter {name}")
    if len(id) > _LONGEST:
        raise BadQuery(f"{name} is longer than {_LONGEST} characters")
    return id


def _role(arn: str, roles: Roles) -> Role | None:
    if not arn:
        return None
    parts = arn.split(":")
    account = parts[4] if len(parts) == 6 else ""
    if not (
        len(parts) == 6 and parts[0] == "arn" and parts[1].startswith("aws") and parts[2:4] == ["iam", ""]
        and len(account) == _DIGITS_IN_ACCOUNT and account.isascii() and account.isdigit()
        and parts[5].startswith("role/") and _ROLE_CHARACTERS.issuperset(parts[5]) and len(arn) <= _LONGEST
    ):  # fmt: skip
        raise BadQuery("roleArn is no ARN of a role")
    return roles(arn)
