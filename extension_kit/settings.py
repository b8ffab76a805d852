"""Settings from environment variables: declared once, never fatal.

One declaration gives the parsing, the range check, the warning line, the row in a README's table, the manifest's list
of variables and what ``extension-kit check`` looks at::

    class CollectorSettings(Settings):
        prefix = "METRICS_COLLECTOR_"
        cpu = flag(True, help="Report CPU times")                              # METRICS_COLLECTOR_CPU
        interval_ms = integer(0, minimum=0, maximum=60000, unit="ms", help="…")    # METRICS_COLLECTOR_INTERVAL_MS

    settings, warnings = CollectorSettings.parse(os.environ)

Two kinds of mistake are told apart. What an operator types into a variable must never harm a function, so a wrong value
costs one warning line and the default is used. What an author declares is wrong for everybody, so a declaration that
contradicts itself raises `ConfigError` when its class is created, which is when the author's first test runs.

A variable that is empty (or only white space) counts as not set: templates often cannot leave a variable out.

Nothing is imported here that an extension does not have anyway: this module is loaded before the first event.
"""

from __future__ import annotations

from extension_kit.declarations import (
    HIDDEN,
    Setting,
    byte_size,
    choice,
    clean,
    comma_list,
    duration,
    flag,
    flush_strategy,
    integer,
    number,
    pattern,
    text,
)
from extension_kit.errors import ConfigError
from extension_kit.protocol.values import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, ClassVar, Self

__all__ = [
    "KNOWN_KIT_VARIABLES",
    "KitSettings",
    "Setting",
    "Settings",
    "byte_size",
    "choice",
    "comma_list",
    "duration",
    "flag",
    "integer",
    "number",
    "pattern",
    "text",
]

_VARIABLE_NAME = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_")


class Settings(Value):
    """Base of a set of settings: subclass it, set ``prefix``, and declare one class attribute for each setting.

    An instance holds plain values, is frozen, and compares by value; its repr shows no secret. ``also_known`` names
    variables with the prefix that somebody else reads; a trailing ``*`` stands for any ending.
    """

    prefix: ClassVar[str] = ""
    also_known: ClassVar[tuple[str, ...]] = ()
    _declared: ClassVar[tuple[Setting, ...]] = ()

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        _require_variable(cls.prefix, "prefix")
        own = {name: value for name, value in vars(cls).items() if isinstance(value, Setting)}
        inherited = tuple(setting for setting in cls._declared if setting.attribute not in vars(cls))
        if inherited and "prefix" in vars(cls):
            raise ConfigError(f"{cls.__name__}: the prefix of inherited settings cannot be changed")
        for attribute, setting in own.items():
            if attribute.startswith("_") or hasattr(Settings, attribute):
                raise ConfigError(f"{cls.__name__}.{attribute}: a setting cannot have this name; choose another")
            setting.attribute = attribute
            setting.variable = setting.variable or cls.prefix + attribute.upper()
        cls._declared = inherited + tuple(own.values())
        _require_distinct(cls)

    def __init__(self, **values: Any) -> None:
        """All defaults, except for `values` by attribute; ConfigError for an unknown attribute or a wrong value."""
        for setting in self._declared:
            value = values.pop(setting.attribute, setting.default)
            self.__dict__[setting.attribute] = setting.check(value)
        if values:
            raise ConfigError(f"{type(self).__name__} has no setting {', '.join(sorted(values))}")

    @classmethod
    def parse(cls, environ: Mapping[str, str]) -> tuple[Self, tuple[str, ...]]:
        """The settings in `environ`, and one warning line for each wrong value or unknown name; never raises."""
        settings = cls.__new__(cls)
        warnings = []
        for setting in cls._declared:
            value, warning = setting.default, ""
            for variable in (setting.variable, *setting.aliases):
                written = environ.get(variable, "").strip()
                if written:
                    value, warning = setting.parse(written, variable)
                    break
            settings.__dict__[setting.attribute] = value
            if warning:
                warnings.append(warning)
        return settings, (*warnings, *cls._unknown(environ))

    @classmethod
    def declared(cls) -> tuple[Setting, ...]:
        """The settings in the order of their declaration."""
        return cls._declared

    @classmethod
    def table(cls) -> list[tuple[str, str, str, str]]:
        """Rows for a README: variable, default (empty: none), what is allowed, what it means."""
        return [setting.row() for setting in cls._declared]

    @classmethod
    def markdown(cls) -> str:
        """`table` as a Markdown table, a newline at its end; a test compares it with the README."""
        lines = ["| variable | default | allowed | meaning |", "|---|---|---|---|"]
        for variable, default, allowed, meaning in cls.table():
            cells = (f"`{variable}`", f"`{default}`" if default else "-", allowed, meaning)
            lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
        return "\n".join(lines) + "\n"

    @classmethod
    def _unknown(cls, environ: Mapping[str, str]) -> list[str]:
        """Warnings about variables that carry the prefix and that nobody reads: most often a slip of the pen."""
        if not cls.prefix:
            return []
        known = [name for setting in cls._declared for name in (setting.variable, *setting.aliases)]
        known += [name for name in cls.also_known if not name.endswith("*")]
        endings = tuple(name[:-1] for name in cls.also_known if name.endswith("*"))
        strange = [name for name in environ if name.startswith(cls.prefix) and name not in known]
        return [_ignored(name, known) for name in sorted(strange) if not name.startswith(endings)]

    def _fields(self) -> tuple[object, ...]:
        return tuple(getattr(self, setting.attribute) for setting in self._declared)

    def __repr__(self) -> str:
        inside = ", ".join(
            f"{setting.attribute}={HIDDEN if setting.secret and value else repr(value)}"
            for setting, value in zip(self._declared, self._fields(), strict=True)
        )
        return f"{type(self).__name__}({inside})"


def _ignored(name: str, known: list[str]) -> str:
    """Its value is not shown: it may be a secret whose name was misspelled."""
    from extension_kit.nearest import nearest

    guess = nearest(name, known)
    return f"{clean(name)} is not a setting and is ignored" + (f"; did you mean {guess}?" if guess else "")


def _require_variable(name: str, what: str) -> None:
    if not _VARIABLE_NAME.issuperset(name) or name[:1].isdigit():
        raise ConfigError(f"{what} {name!r} is no environment variable: use A-Z, 0-9 and _, no digit first")


def _require_distinct(cls: type[Settings]) -> None:
    seen: set[str] = set()
    for setting in cls.declared():
        for variable in (setting.variable, *setting.aliases):
            _require_variable(variable, f"{cls.__name__}.{setting.attribute}: variable")
            if not variable or variable in seen:
                raise ConfigError(f"{cls.__name__}.{setting.attribute}: variable {variable!r} is already taken")
            seen.add(variable)


#: All variables of the kit by design, also those that a later part reads: none of them is "unknown". A ``*`` stands for
#: any ending (the name of an AWS service).
KNOWN_KIT_VARIABLES = (
    "EXTENSION_KIT_AWS_ENDPOINT_URL",
    "EXTENSION_KIT_AWS_ENDPOINT_URL_*",
    "EXTENSION_KIT_CA_BUNDLE",
    "EXTENSION_KIT_EGRESS_ALLOW",
    "EXTENSION_KIT_FLUSH",
    "EXTENSION_KIT_FLUSH_MARGIN_MS",
    "EXTENSION_KIT_LOG_LEVEL",
    "EXTENSION_KIT_NEXT_WRAPPER",
    "EXTENSION_KIT_ON_FAILURE",
    "EXTENSION_KIT_PLUGINS",
    "EXTENSION_KIT_PYTHON",
    "EXTENSION_KIT_SELF_METRICS",
    "EXTENSION_KIT_SPOOL_MAX_BYTES",
    "EXTENSION_KIT_SPOOL_MEMORY_BYTES",
    "EXTENSION_KIT_TELEMETRY_PORT",
)


class KitSettings(Settings):
    """What the kit itself reads, for all plug-ins of a process."""

    prefix = "EXTENSION_KIT_"
    also_known = KNOWN_KIT_VARIABLES

    log_level = choice(
        "warning", ("debug", "info", "warning", "error"), help="The least severe messages of the kit that are logged."
    )
    on_failure = choice(
        "idle",
        ("idle", "crash"),
        help="After a failure: keep answering Lambda and do nothing else (idle), or end the environment (crash).",
    )
    flush = flush_strategy(
        "adaptive", help="When plug-ins send what they hold; see the page on flushing (`extension_kit/flush.py`)."
    )
    flush_margin_ms = integer(
        150,
        minimum=0,
        maximum=10_000,
        unit="ms",
        help="Kept free before an invocation's deadline, whatever is pending.",
    )
    spool_max_bytes = byte_size(
        67_108_864,
        minimum=1_048_576,
        maximum=8_589_934_592,
        help="Telemetry that is kept under /tmp until it is delivered; at most a quarter of what is free there.",
    )
    spool_memory_bytes = byte_size(
        4_194_304,
        minimum=262_144,
        maximum=268_435_456,
        help="Telemetry that a plug-in may hold before it has sent it; also what is kept where /tmp cannot be written.",
    )
    telemetry_port = integer(
        0, minimum=0, maximum=65_535, help="Port of the telemetry listener; 0: any free one, which never collides."
    )
    plugins = comma_list(
        (),
        empty="every plug-in",
        help="The plug-ins to run, by name, in a layer that holds several. Empty: all of them.",
    )
