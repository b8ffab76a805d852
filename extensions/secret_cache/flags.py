"""What the AppConfig agent does itself with feature flags: choose some of them, and among the variants of each. No I/O.

Source: AWS docs, AppConfig user guide, "Retrieving basic and multi-variant feature flags" and "Feature flag samples for AWS
AppConfig Agent local development mode" (the forms in which a configuration arrives).

AppConfig has two answers for a profile of feature flags. To most callers it sends JSON in which only the default variant of
each flag is left: nothing is to be evaluated there. Whoever asks with `ACCEPT`, as the agent does, is sent Amazon Ion where a
flag has variants: rules, and what each variant answers as JSON text. JSON with ``_variants`` (what users write, and stand-ins
for AppConfig send) is understood too. Whatever else a configuration is, it is passed on byte for byte.
"""

from __future__ import annotations

from extension_kit.errors import ExtensionKitError
from extension_kit.protocol.jsontext import dumps, loads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

    from extensions.secret_cache.flag_rules import Context
    from extensions.secret_cache.ion import Expression

__all__ = ["ACCEPT", "FlagError", "is_ion", "read_context", "select"]

#: The agent's ``Accept`` for GetLatestConfiguration.
ACCEPT = "application/ion;type=AWS.AppConfig.FeatureFlags;q=1.0,*/*;q=0.1"

_VARIANTS = b'"_variants"'
_MOST_VALUES = 100
_DOCUMENT = {"flags", "values", "version"}


class FlagError(ExtensionKitError):
    """``status``: of HTTP. 400: not understood; 404: no such flag; 500: the configuration cannot be evaluated."""

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


def is_ion(content_type: str) -> bool:
    """Whether a configuration of this type is flags in Ion; the answer to a caller is then ``application/json``."""
    kind, _, parameters = content_type.replace(" ", "").lower().partition(";")
    return kind == "application/ion" and "type=aws.appconfig.featureflags" in parameters.split(";")


def select(body: bytes, flags: tuple[str, ...], context: Context, content_type: str = "") -> bytes:
    """The answer to a request for `flags` (none: all of them) out of the configuration `body`.

    One flag is answered by itself, several as an object. FlagError for a flag that is not there, and for a rule that cannot be
    evaluated.
    """
    try:
        if is_ion(content_type):
            return _from_ion(body, flags, context)
        return _from_json(body, flags, context) if flags or _VARIANTS in body else body
    except RecursionError:
        raise FlagError(500, "this configuration is nested too deeply") from None


def _check(flags: tuple[str, ...], document: Mapping[str, Any]) -> None:
    if any(flag not in document for flag in flags):
        raise FlagError(404, "this configuration has no such flag")


def _holds(rule: str | Expression, context: Context, flag: str) -> bool:
    from extensions.secret_cache.flag_rules import RuleError, is_true  # most functions have no flags with variants

    try:
        return is_true(rule, context, flag)
    except RuleError as error:
        raise FlagError(500, str(error)) from None


# JSON


def _from_json(body: bytes, flags: tuple[str, ...], context: Context) -> bytes:
    try:
        document = loads(body)
    except ValueError:
        document = None
    if isinstance(document, dict) and _as_written(document):
        document = {name: _without_notes(flag) for name, flag in document["values"].items()}
    if not isinstance(document, dict):
        if flags:
            raise FlagError(400, "this configuration holds no feature flags")
        return body
    _check(flags, document)
    chosen = {name: _resolved(name, document[name], context) for name in flags or document}
    return dumps(chosen[flags[0]] if len(flags) == 1 else chosen)


def _as_written(document: dict[str, Any]) -> bool:
    """Whether it is flags as users write them, with definitions and values apart, and not yet what AppConfig sends."""
    return (
        document.keys() <= _DOCUMENT
        and isinstance(document.get("version"), str)
        and isinstance(document.get("values"), dict)
    )


def _without_notes(flag: Any) -> Any:
    """A flag as users write it, made what AppConfig sends: no times, and nothing but that where it is off."""
    if not isinstance(flag, dict) or "_variants" in flag:
        return flag
    if flag.get("enabled") is not True:
        return {"enabled": False}
    return {name: value for name, value in flag.items() if not name.startswith("_")}


def _resolved(name: str, flag: Any, context: Context) -> Any:
    """A flag with variants becomes the first whose rule holds, or that has none; one that is off has no attributes."""
    variants = flag.get("_variants") if isinstance(flag, dict) else None
    if not isinstance(variants, list):
        return flag
    for variant in variants:
        if not isinstance(variant, dict):
            continue
        rule = variant.get("rule")
        if not rule or _holds(str(rule), context, name):
            enabled = variant.get("enabled") is True
            chosen: dict[str, Any] = {"_variant": str(variant.get("name", "")), "enabled": enabled}
            attributes = variant.get("attributeValues")
            if enabled and isinstance(attributes, dict):
                chosen.update((key, value) for key, value in attributes.items() if key not in chosen)
            return chosen
    raise FlagError(500, "no variant of a flag applies, and none is the default")


# Ion


def _from_ion(body: bytes, flags: tuple[str, ...], context: Context) -> bytes:
    """Each value of the document has the name of a flag; what variants answer is passed on as it is written there."""
    document = _read_ion(body, flags)
    _check(flags, document)
    chosen = {name: _text_of(name, document[name], context) for name in flags or document}
    if len(flags) == 1:
        return chosen[flags[0]]
    return b"{" + b",".join(dumps(name) + b":" + text for name, text in chosen.items()) + b"}"


def _read_ion(body: bytes, flags: tuple[str, ...]) -> dict[str, Any]:
    from extensions.secret_cache.ion import IonError, Named, Symbol, read_all
    from extensions.secret_cache.ion_binary import MARKER, read_named

    try:
        if body.startswith(MARKER):
            return read_named(body, flags)
        values = read_all(body.decode("utf-8"))
    except (IonError, UnicodeDecodeError) as error:
        reason = str(error) if isinstance(error, IonError) else "it is not UTF-8"
        raise FlagError(500, f"these feature flags cannot be read: {reason}") from None
    named = [value for value in values if not (isinstance(value, Symbol) and value == "$ion_1_0")]
    if not all(isinstance(value, Named) for value in named):
        raise FlagError(500, "these feature flags cannot be read: a value without a name")
    return {value.name: value.value for value in named}


def _text_of(name: str, flag: Any, context: Context) -> bytes:
    """The JSON of the first variant whose rule holds: ``[[rule, json], …, json]``, or that of a flag without variants."""
    from extensions.secret_cache.ion import Expression, Named, Symbol

    for variant in flag if isinstance(flag, list) else [flag]:
        if isinstance(variant, Named):  # with the name that stands in its JSON too
            variant = variant.value
        rule, text = variant if isinstance(variant, list) and len(variant) == 2 else (None, variant)
        if not isinstance(text, str) or isinstance(text, Symbol) or not isinstance(rule, (Expression, type(None))):
            raise FlagError(500, "a variant of a flag is not a rule and a text")
        if rule is None or _holds(rule, context, name):
            encoded = text.encode("utf-8", "replace")
            try:
                loads(encoded)
            except ValueError:
                raise FlagError(500, "what a variant of a flag answers is not JSON") from None
            return encoded
    raise FlagError(500, "no variant of a flag applies, and none is the default")
