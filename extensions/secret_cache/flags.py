"""What the AppConfig agent does itself with feature flags: choose some of them, and among the variants of each. No I/O.

Source: AWS docs, AppConfig user guide, "Retrieving basic and multi-variant feature flags" and "Feature flag samples" (the form
in which a configuration arrives). Whatever is no document of feature flags is passed on byte for byte.
"""

from __future__ import annotations

from extension_kit.errors import ExtensionKitError
from extension_kit.protocol.jsontext import dumps, loads
from extensions.secret_cache.flag_rules import RuleError, is_true

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

__all__ = ["FlagError", "read_context", "select"]

_VARIANTS = b'"_variants"'
_MOST_VALUES = 100


class FlagError(ExtensionKitError):
    """``status``: of HTTP."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


def read_context(headers: Iterable[str]) -> dict[str, str]:
    """What callers say of themselves: ``key=value`` in each header ``Context``, several between commas. FlagError otherwise."""
    context: dict[str, str] = {}
    for header in headers:
        for pair in header.split(","):
            key, found, value = pair.partition("=")
            if not found or not key.strip():
                raise FlagError(400, "a header Context is not key=value")
            context[key.strip()] = value.strip()
    if len(context) > _MOST_VALUES:
        raise FlagError(400, f"more than {_MOST_VALUES} context values")
    return context


def select(body: bytes, flags: tuple[str, ...], context: Mapping[str, str]) -> bytes:
    """The answer to a request for `flags` (none: all of them) out of the configuration `body`.

    One flag is answered by itself, several as an object. FlagError for a flag that is not there, and for a rule that cannot be
    evaluated.
    """
    if not flags and _VARIANTS not in body:
        return body
    try:
        document = loads(body)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        if flags:
            raise FlagError(400, "this configuration holds no feature flags")
        return body
    missing = [flag for flag in flags if flag not in document]
    if missing:
        raise FlagError(404, "this configuration has no such flag")
    chosen = {name: _resolved(document[name], context) for name in flags or document}
    return dumps(chosen[flags[0]] if len(flags) == 1 else chosen)


def _resolved(flag: Any, context: Mapping[str, str]) -> Any:
    """A flag with variants becomes the first whose rule holds, or that has none."""
    variants = flag.get("_variants") if isinstance(flag, dict) else None
    if not isinstance(variants, list):
        return flag
    for variant in variants:
        if not isinstance(variant, dict):
            continue
        rule = variant.get("rule")
        try:
            holds = not rule or is_true(str(rule), context)
        except RuleError as error:
            raise FlagError(500, str(error)) from None
        if holds:
            attributes = variant.get("attributeValues")
            return {
                **(attributes if isinstance(attributes, dict) else {}),
                "_variant": str(variant.get("name", "")),
                "enabled": variant.get("enabled") is True,
            }
    raise FlagError(500, "no variant of a flag applies, and none is the default")
