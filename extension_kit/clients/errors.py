"""What a caller of the secret cache can be told. No error holds a value, a token or a piece of an answer that had one.

``code`` is what the server put into ``X-Amzn-Errortype`` (AWS's own extension sends it with a wrong token only), "" where
nothing did; ``status`` is the HTTP status, 0 where no answer came.
"""

from __future__ import annotations

from extension_kit.errors import ExtensionKitError

__all__ = [
    "AccessDenied",
    "BadAnswer",
    "NotFound",
    "NotReady",
    "Refused",
    "SecretCacheError",
    "Unreachable",
    "refusal",
]

#: The exact text of AWS's extension before its first invocation; callers compare it, and so does this one.
NOT_READY = b"not ready to serve traffic, please wait"

_NOT_FOUND = ("ResourceNotFoundException", "ParameterNotFound", "ParameterVersionNotFound")
_LONGEST = 200  # characters of the server's own text that are shown


class SecretCacheError(ExtensionKitError):
    """Anything that keeps a value from its caller."""

    def __init__(self, message: str, *, code: str = "", status: int = 0) -> None:
        super().__init__(message)
        self.code = code
        self.status = status


class Unreachable(SecretCacheError):
    """Nobody listens, or no answer came in time: the layer is missing, or the process has ended."""


class BadAnswer(SecretCacheError):
    """What came is not what the contract promises: somebody else may be listening on that port."""


class Refused(SecretCacheError):
    """The server answered that it cannot or will not hand out the value."""


class NotFound(Refused):
    """There is no such secret, parameter, version or stage."""


class AccessDenied(Refused):
    """The token is wrong, the id is not on the allow-list, or the function's role may not read it."""


class NotReady(Refused):
    """AWS's own extension before the function's first invocation: it serves nobody during init."""


def refusal(what: str, status: int, code: str, body: bytes, token: str) -> Refused:
    """The error for an answer other than 200. `what`: the request in words; `token` is blotted out wherever it is echoed."""
    text = body[: 4 * _LONGEST].decode("utf-8", "replace").strip()
    if text.startswith("{"):
        code, text = _aws_shape(body, code, text)
    if token:
        text = text.replace(token, "***")
    text = "".join(one if one.isprintable() else " " for one in text)[:_LONGEST]
    kind: type[Refused] = Refused
    if status == 400 and body == NOT_READY:
        kind, text = NotReady, f"{text} (AWS's own extension answers from the first invocation on, not during init)"
    elif status in (401, 403) or code.startswith("AccessDenied"):
        kind = AccessDenied
        text += "" if token else " (no token was sent: none of the variables that may hold it is set)"
    elif status == 404 or code in _NOT_FOUND:
        kind = NotFound
    words = " ".join(word for word in (str(status) if status else "", code) if word)
    return kind(f"{what}: {words}: {text}" if text else f"{what}: {words}", code=code, status=status)


def _aws_shape(body: bytes, code: str, text: str) -> tuple[str, str]:
    """``{"__type": ..., "message": ...}``, as the Workload Credentials Provider writes it; not always valid JSON."""
    from extension_kit.protocol import jsontext

    try:
        found = jsontext.loads(body)
    except ValueError:
        return code, text
    kind, message = found.get("__type"), found.get("message", found.get("Message"))
    if isinstance(kind, str):
        code = code or kind.rpartition("#")[2]
    return code, message if isinstance(message, str) else text
