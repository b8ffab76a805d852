"""What the bodies of the contract mean. Pure; no error that is raised here holds a body, not even as its context."""

from __future__ import annotations

from extension_kit.clients.errors import BadAnswer, NotFound
from extension_kit.protocol import jsontext

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

__all__ = ["by_path", "member", "parameter", "parameters", "secret", "secrets", "spread"]

_SUFFIX = 7  # characters at the end of a secret's ARN that Secrets Manager adds: "-" and six more


def secret(body: bytes, what: str) -> str | bytes:
    """The value in the answer of ``/secretsmanager/get``: a text, or the bytes of a binary secret."""
    value = _secret_value(_object(body, what))
    if value is None:
        raise BadAnswer(f"{what}: the answer holds neither SecretString nor SecretBinary", status=200)
    return value


def parameter(body: bytes, what: str) -> str:
    """The value in the answer of ``/systemsmanager/parameters/get``."""
    found = _object(body, what).get("Parameter")
    value = found.get("Value") if isinstance(found, dict) else None
    if not isinstance(value, str):
        raise BadAnswer(f"{what}: the answer holds no text (a reference to a binary secret has none)", status=200)
    return value


def secrets(body: bytes, what: str) -> dict[str, str | bytes]:
    """A batch: each value under the name, the ARN and the ARN without its suffix, whichever was asked for."""
    found: dict[str, str | bytes] = {}
    for one in _members(body, what, "SecretValues"):
        value = _secret_value(one)
        name, arn = one.get("Name"), one.get("ARN")
        if value is not None and isinstance(name, str) and isinstance(arn, str):
            found[arn[:-_SUFFIX]] = found[arn] = found[name] = value
    return found


def parameters(body: bytes, what: str) -> dict[str, str]:
    """A batch: each value under the name and the ARN, with the selector (``:3``, ``:label``) where there was one."""
    found: dict[str, str] = {}
    for one in _members(body, what, "Parameters"):
        value, selector = one.get("Value"), one.get("Selector") or ""
        for name in (one.get("ARN"), one.get("Name")):
            if isinstance(value, str) and isinstance(name, str) and isinstance(selector, str):
                found[name + selector] = value
    return found


def by_path(body: bytes, what: str) -> dict[str, str]:
    """All values below a path, by full name."""
    found = _members(body, what, "Parameters")
    return {
        one["Name"]: one["Value"]
        for one in found
        if isinstance(one.get("Name"), str) and isinstance(one.get("Value"), str)
    }


def spread(value: str | bytes, what: str) -> dict[str, str]:
    """The members of a secret that is a JSON object; those that are no text as JSON. NotFound where it is none."""
    found = _loads(value.encode() if isinstance(value, str) else value)
    if not isinstance(found, dict):
        raise NotFound(f"{what} is no JSON object, so that it has no keys", status=200)
    return {key: _text(member) for key, member in found.items()}


def member(value: str | bytes, key: str, what: str) -> str:
    """One member of a secret that is a JSON object, as `spread` has it; NotFound where there is none."""
    found = _loads(value.encode() if isinstance(value, str) else value)
    if not isinstance(found, dict):
        raise NotFound(f"{what} is no JSON object, so that it has no key {key!r}", status=200)
    if key not in found:
        raise NotFound(f"{what} has no key {key!r}", status=200)
    return _text(found[key])


def _text(value: object) -> str:
    if isinstance(value, str):
        return value
    import json

    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _secret_value(found: dict[str, Any]) -> str | bytes | None:
    text, binary = found.get("SecretString"), found.get("SecretBinary")
    if isinstance(text, str):
        return text
    if not isinstance(binary, str):
        return None
    from binascii import a2b_base64

    try:
        return a2b_base64(binary, strict_mode=True)
    except ValueError:
        return None


def _members(body: bytes, what: str, name: str) -> Iterator[dict[str, Any]]:
    found = _object(body, what).get(name)
    if not isinstance(found, list):
        raise BadAnswer(f"{what}: the answer holds no list {name}", status=200)
    return (one for one in found if isinstance(one, dict))


def _object(body: bytes, what: str) -> dict[str, Any]:
    found = _loads(body)
    if not isinstance(found, dict):
        raise BadAnswer(f"{what}: the answer is no JSON object", status=200)
    return found


def _loads(data: bytes) -> object:
    """None for what is no JSON. The error must not live on as the context of ours: it holds the text that could not be read."""
    try:
        return jsontext.loads(data)
    except ValueError:
        return None
