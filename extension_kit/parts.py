"""A plug-in that is split into parts, e.g. one for each destination: each is served as a plug-in of its own."""

from __future__ import annotations

from extension_kit.errors import ConfigError
from extension_kit.plugin import Context, Log, validate

TYPE_CHECKING = False
if TYPE_CHECKING:
    from extension_kit.plugin import Plugin

__all__ = ["parts_of"]


def parts_of(plugin: Plugin, context: Context) -> list[tuple[Plugin, Context]]:
    """What a plug-in splits into, each with the context that it is given; ConfigError for parts that cannot be."""
    found = []
    for part in plugin.split(context):
        if part is not plugin:
            validate(part)
        found.append((part, context if part is plugin else _context_of(part.name, context)))
    if len({part.name for part, _context in found}) != len(found):
        raise ConfigError(f"plug-in {plugin.name}: parts of the same name: {', '.join(part.name for part, _ in found)}")
    return found


def _context_of(name: str, whole: Context) -> Context:
    """The same facts, with a name, counters and a log of its own."""
    part = Context.__new__(Context)
    for slot in Context.__slots__:
        setattr(part, slot, getattr(whole, slot))
    part.name, part.counters = name, {}
    part.log = Log(name, whole.log._write, whole.log.level)
    return part
