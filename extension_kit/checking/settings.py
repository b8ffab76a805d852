"""The settings of the kit and of the plug-ins against the variables, and what plug-ins find by trying."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING

from extension_kit.checking.findings import ERROR, NOTE, WARNING, Finding
from extension_kit.io.clock import Clock
from extension_kit.plugin import Context, Log
from extension_kit.settings import KitSettings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from extension_kit.checking.subject import Attached, Subject
    from extension_kit.settings import Settings

_GROUP = "settings"
_VARIABLE = re.compile(r"[^\s=]+")
_MEANT = re.compile(r"did you mean (\w+)\?$")


def check(subject: Subject) -> Iterator[Finding]:
    """Wrong values, unknown names; unless offline, what each plug-in has tried and could not do."""
    yield from _parsed("extension-kit", KitSettings, subject.environ)
    for name, settings in subject.settings.items():
        yield from _parsed(name, settings, subject.environ)
    for spec in subject.unseen:
        yield Finding(
            _GROUP, NOTE, spec, "its settings cannot be looked at: its code is in a layer, and cannot be imported here",
            "check it in its own project, or name it with --plugin where it is",
        )  # fmt: skip
    for one in () if subject.offline else subject.plugins:
        if subject.runs(one.plugin.name):
            yield from _tried(one, subject.environ)


def _parsed(about: str, settings: type[Settings], environ: Mapping[str, str]) -> Iterator[Finding]:
    for line in settings.parse(environ)[1]:
        yield Finding(_GROUP, WARNING, about, line, _fix(line, settings))


def _fix(line: str, settings: type[Settings]) -> str:
    found = _VARIABLE.match(line)
    variable = found[0] if found else ""
    meant = _MEANT.search(line)
    if meant:
        return f"set {meant[1]} instead of {variable}, or leave {variable} out"
    for setting in settings.declared():
        if variable in (setting.variable, *setting.aliases):
            return f"set {variable} to {setting.allowed}; or leave it out"
    return f"leave {variable} out"


def _tried(one: Attached, environ: Mapping[str, str]) -> Iterator[Finding]:
    plugin = one.plugin
    settings = plugin.settings.parse(environ)[0] if plugin.settings is not None else None
    context = Context(plugin.name, environ, Log(plugin.name, sys.stderr.write), Clock(), settings)
    try:
        lines = list(plugin.check(context))
    except (Exception, SystemExit) as error:  # an author's code
        where = f"{type(plugin).__module__}.{type(plugin).__qualname__}.check"
        yield Finding(_GROUP, ERROR, plugin.name, f"its check has failed: {error!r}", f"correct {where}")
        return
    fix = "put right what it names: address, key, permission, network (--offline: nothing is tried)"
    for line in lines:
        yield Finding(_GROUP, WARNING, plugin.name, line, fix)
