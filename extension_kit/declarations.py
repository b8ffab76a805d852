"""The kinds of settings and how each is declared, read, checked and shown; `settings` binds them to variables.

Nothing here reads an environment: a `Setting` is given what was written and tells what it means.
"""

from __future__ import annotations

from extension_kit.errors import ConfigError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

__all__ = ["Setting", "byte_size", "choice", "comma_list", "duration", "flag", "integer", "number", "pattern", "text"]

HIDDEN = "(not shown)"
_LONGEST_SHOWN = 200
_LARGEST_FLOAT = 1.7976931348623157e308
_ALPHANUMERIC = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789")
_TRUE = ("true", "1", "yes", "on")
_FALSE = ("false", "0", "no", "off")


class Setting:
    """One declared setting; made by `text`, `flag`, `integer`, …, and bound to its name by its `Settings` class.

    ``variable`` is the environment variable, ``attribute`` the name in the class, ``aliases`` are further variables,
    read in this order where the first is not set. ``allowed`` says in words what may be written.
    """

    def __init__(self, default: Any, help: str, env: str, aliases: Iterable[str], secret: bool) -> None:
        self.default = default
        self.help = help
        self.variable = env
        self.aliases = tuple(aliases)
        self.secret = secret
        self.attribute = ""
        self.allowed = ""
        self.clamp = False
        self.nothing = "nothing"  # what a warning calls an empty value
        if secret and default:
            raise ConfigError("a secret setting cannot have a default: it would be public; leave it empty")

    def read(self, written: str) -> Any:
        """What `written` (stripped, not empty) means; ValueError where it is not allowed."""
        raise NotImplementedError

    def show(self, value: Any) -> str:
        """`value` as one would write it in the variable."""
        return str(value)

    def nearest(self, value: Any) -> Any:
        """The allowed value that is nearest to `value`, for a setting that clamps."""
        return value

    def check(self, value: Any) -> Any:
        """`value`, given in Python; ConfigError where it could not be written in the variable and read back."""
        # An empty value is never read from a variable: it is what "not set" stands for.
        same = value in ("", ())
        if not same and type(value) is type(self.default):
            try:
                same = self.read(self.show(value)) == value
            except (ValueError, TypeError, _OutOfRange):
                same = False
        if not same or type(value) is not type(self.default):
            what = HIDDEN if self.secret else clean(repr(value))
            name = self.attribute or self.variable or "default"
            raise ConfigError(f"{name} = {what} is not allowed: use {self.allowed}")
        return value

    def row(self) -> tuple[str, str, str, str]:
        """The setting's row in a table: variable, default (empty: none), what is allowed, what it means."""
        also = f" Also read from {', '.join(self.aliases)}." if self.aliases else ""
        return self.variable, self.show(self.default), self.allowed, self.help + also

    def parse(self, written: str, variable: str) -> tuple[Any, str]:
        """The value to use, and the warning line ("" where `written` is fine)."""
        try:
            return self.read(written), ""
        except _OutOfRange as error:
            used = self.nearest(error.value) if self.clamp else self.default
        except ValueError:
            used = self.default
        shown = HIDDEN if self.secret else _quoted(written)
        instead = self.nothing if self.secret or self.show(used) == "" else clean(self.show(used))
        return used, f"{variable}={shown} is not allowed: use {self.allowed}; {instead} is used instead"


class _OutOfRange(Exception):
    """A number was understood, but lies outside of its range."""

    def __init__(self, value: Any) -> None:
        super().__init__()
        self.value = value


class _Text(Setting):
    def __init__(self, default: str, maximum_length: int, characters: str, **common: Any) -> None:
        super().__init__(default, **common)
        self._longest = maximum_length
        self._characters = _ALPHANUMERIC | frozenset(characters) if characters else None
        spelled = " ".join("space" if character == " " else character for character in characters)
        alphabet = f" made of A-Z a-z 0-9 {spelled}" if characters else " on one line"
        self.allowed = f"text{alphabet}, up to {maximum_length} characters"
        self.check(default)

    def read(self, written: str) -> str:
        if len(written) > self._longest or not _is_one_line(written):
            raise ValueError
        if self._characters is not None and not self._characters.issuperset(written):
            raise ValueError
        return written


class _Pattern(Setting):
    def __init__(self, default: str, **common: Any) -> None:
        super().__init__(default, **common)
        self.allowed = "a regular expression of Python's"
        self.check(default)

    def read(self, written: str) -> str:
        if not _is_one_line(written):
            raise ValueError
        import re  # 5 ms, paid only where one is set

        try:
            re.compile(written)
        except (re.error, OverflowError, RecursionError):
            raise ValueError from None
        return written


class _Flag(Setting):
    def __init__(self, default: bool, **common: Any) -> None:
        super().__init__(default, **common)
        self.allowed = "true or false (also 1/0, yes/no, on/off)"
        self.check(default)

    def read(self, written: str) -> bool:
        word = written.lower()
        if word not in _TRUE and word not in _FALSE:
            raise ValueError
        return word in _TRUE

    def show(self, value: Any) -> str:
        return "true" if value else "false"


class _Ranged(Setting):
    """A value with an order; `minimum` and `maximum` are allowed themselves, None means no bound."""

    what = ""

    def __init__(self, default: Any, minimum: Any, maximum: Any, unit: str, clamp: bool, **common: Any) -> None:
        super().__init__(default, **common)
        if minimum is not None and maximum is not None and minimum > maximum:
            raise ConfigError(f"minimum {minimum} is above maximum {maximum}")
        self.minimum, self.maximum, self.clamp = minimum, maximum, clamp
        low = f" from {self.show(minimum)}" if minimum is not None else ""
        high = f" {'to' if low else 'up to'} {self.show(maximum)}" if maximum is not None else ""
        self.allowed = f"{self.what}{low}{high}" + (f" ({unit})" if unit else "")
        self.check(default)

    def read(self, written: str) -> Any:
        value = self.convert(written)
        if (self.minimum is not None and value < self.minimum) or (self.maximum is not None and value > self.maximum):
            raise _OutOfRange(value)
        return value

    def convert(self, written: str) -> Any:
        raise NotImplementedError

    def nearest(self, value: Any) -> Any:
        return self.minimum if self.minimum is not None and value < self.minimum else self.maximum


class _Integer(_Ranged):
    what = "a whole number"

    def convert(self, written: str) -> int:
        digits = written[1:] if written[0] in "+-" else written
        _require_digits(digits)
        return int(written)


class _Number(_Ranged):
    what = "a number"

    def convert(self, written: str) -> float:
        # float() also takes "nan", "1_0" and digits of other scripts, none of which anybody means.
        if not written.isascii() or "_" in written:
            raise ValueError
        value = float(written)
        if not -_LARGEST_FLOAT <= value <= _LARGEST_FLOAT:
            raise ValueError
        return value

    def check(self, value: Any) -> Any:
        return super().check(float(value) if type(value) is int else value)


class _Scaled(_Ranged):
    """A whole number with a unit behind it; `units` maps the written unit to its factor, the largest first."""

    units: tuple[tuple[str, int], ...] = ()
    spellings: Mapping[str, int]

    def convert(self, written: str) -> int:
        digits = written.rstrip("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
        unit = written[len(digits) :].lower()
        digits = digits.rstrip()
        _require_digits(digits)
        if unit not in self.spellings and int(digits) != 0:
            raise ValueError
        return int(digits) * self.spellings.get(unit, 1)

    def show(self, value: Any) -> str:
        for unit, factor in self.units:
            if value and value % factor == 0:
                return f"{value // factor}{unit}"
        return "0"


class _ByteSize(_Scaled):
    what = "a size such as 512, 64KiB or 16MiB (k, m, g are powers of 1024)"
    units = (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("", 1))
    spellings = {"": 1, "b": 1} | {
        letter + rest: 1 << shift for letter, shift in (("k", 10), ("m", 20), ("g", 30)) for rest in ("", "b", "ib")
    }


class _Duration(_Scaled):
    what = "a time such as 250ms, 5s, 2m or 1h"
    units = (("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1))
    spellings = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000}  # noqa: RUF012 - read only, as the rows above it


class _Choice(Setting):
    def __init__(self, default: str, choices: Iterable[str], **common: Any) -> None:
        super().__init__(default, **common)
        self.choices = tuple(choices)
        self._by_word = {one.lower(): one for one in self.choices}
        if not self.choices or len(self._by_word) != len(self.choices) or default not in self.choices:
            raise ConfigError(f"choices {self.choices!r} must be different words, {default!r} among them")
        self.allowed = f"one of {', '.join(self.choices)}"
        self.check(default)

    def read(self, written: str) -> str:
        if written.lower() not in self._by_word:
            raise ValueError
        return self._by_word[written.lower()]


class _FlushStrategy(Setting):
    def __init__(self, default: str, **common: Any) -> None:
        super().__init__(default, **common)
        self.allowed = "end, end,<10 to 3600000 ms>, periodic,<1 to 3600 s>, continuous, pipeline or adaptive"

    def read(self, written: str) -> str:
        strategy = "".join(written.lower().split())
        try:
            from extension_kit.flush import Policy

            Policy.parse(strategy)
        except ConfigError:
            raise ValueError from None
        except ImportError:
            pass  # a layer whose plug-ins have nothing to flush does not carry it
        return strategy


class _CommaList(Setting):
    def __init__(self, default: tuple[str, ...], choices: Iterable[str], empty: str, **common: Any) -> None:
        super().__init__(default, **common)
        self.choices = tuple(choices)
        self.nothing = empty
        among = f" of {', '.join(self.choices)}" if self.choices else ""
        self.allowed = f"a comma-separated list{among}"
        self.check(default)

    def read(self, written: str) -> tuple[str, ...]:
        items = tuple(item for item in (part.strip() for part in written.split(",")) if item)
        if not _is_one_line(written) or (self.choices and not set(items) <= set(self.choices)):
            raise ValueError
        return items

    def show(self, value: Any) -> str:
        return ",".join(value)


def text(
    default: str,
    *,
    help: str,
    env: str = "",
    aliases: Iterable[str] = (),
    secret: bool = False,
    maximum_length: int = 4096,
    characters: str = "",
) -> str:
    """Declare one line of text; `characters`, where given, are all that it may hold beside ASCII letters and digits.

    A secret is shown nowhere: not in a warning, not in a repr, not in a table. White space around the text is dropped.
    """
    common = {"help": help, "env": env, "aliases": aliases, "secret": secret}
    declared: Any = _Text(default, maximum_length, characters, **common)
    value: str = declared
    return value


def pattern(default: str, *, help: str, env: str = "", aliases: Iterable[str] = ()) -> str:
    """Declare a regular expression; the value is its text, which compiles."""
    declared: Any = _Pattern(default, help=help, env=env, aliases=aliases, secret=False)
    value: str = declared
    return value


def flag(default: bool, *, help: str, env: str = "", aliases: Iterable[str] = ()) -> bool:
    """Declare a switch: true/false, 1/0, yes/no, on/off, in any case."""
    declared: Any = _Flag(default, help=help, env=env, aliases=aliases, secret=False)
    value: bool = declared
    return value


def integer(
    default: int,
    *,
    help: str,
    minimum: int | None = None,
    maximum: int | None = None,
    unit: str = "",
    clamp: bool = False,
    env: str = "",
    aliases: Iterable[str] = (),
) -> int:
    """Declare a whole number; what is out of range becomes the default, or with `clamp` the nearest bound."""
    declared: Any = _Integer(default, minimum, maximum, unit, clamp, help=help, env=env, aliases=aliases, secret=False)
    value: int = declared
    return value


def number(
    default: float,
    *,
    help: str,
    minimum: float | None = None,
    maximum: float | None = None,
    unit: str = "",
    clamp: bool = False,
    env: str = "",
    aliases: Iterable[str] = (),
) -> float:
    """Declare a finite number; what is out of range becomes the default, or with `clamp` the nearest bound."""
    bounds = (None if minimum is None else float(minimum), None if maximum is None else float(maximum))
    common = {"help": help, "env": env, "aliases": aliases, "secret": False}
    declared: Any = _Number(float(default), *bounds, unit, clamp, **common)
    value: float = declared
    return value


def byte_size(
    default: int,
    *,
    help: str,
    minimum: int = 0,
    maximum: int | None = None,
    clamp: bool = False,
    env: str = "",
    aliases: Iterable[str] = (),
) -> int:
    """Declare a size in bytes; k, KB and KiB all mean 1024 bytes, as Lambda's own MB means 1024 x 1024."""
    declared: Any = _ByteSize(default, minimum, maximum, "", clamp, help=help, env=env, aliases=aliases, secret=False)
    value: int = declared
    return value


def duration(
    default_ms: int,
    *,
    help: str,
    minimum_ms: int = 0,
    maximum_ms: int | None = None,
    bare: str = "",
    clamp: bool = False,
    env: str = "",
    aliases: Iterable[str] = (),
) -> int:
    """Declare a time, in milliseconds for the program; an operator must write the unit (``5s``), so none is guessed.

    ``bare``: the unit of a number without one, where somebody else has defined the variable so.
    """
    common = {"help": help, "env": env, "aliases": aliases, "secret": False}
    declared: Any = _Duration(default_ms, minimum_ms, maximum_ms, "", clamp, **common)
    if bare:
        declared.spellings = {**declared.spellings, "": declared.spellings[bare]}
        declared.allowed += f" (without a unit: {bare})"
    value: int = declared
    return value


def choice(default: str, choices: Iterable[str], *, help: str, env: str = "", aliases: Iterable[str] = ()) -> str:
    """Declare one word of several, written in any case; the value is the word as it stands in `choices`."""
    declared: Any = _Choice(default, choices, help=help, env=env, aliases=aliases, secret=False)
    value: str = declared
    return value


def flush_strategy(default: str, *, help: str) -> str:
    """Declare a strategy of `extension_kit.flush`; the value is its text without blanks."""
    declared: Any = _FlushStrategy(default, help=help, env="", aliases=(), secret=False)
    value: str = declared
    return value


def comma_list(
    default: tuple[str, ...],
    *,
    help: str,
    choices: Iterable[str] = (),
    empty: str = "nothing",
    secret: bool = False,
    env: str = "",
    aliases: Iterable[str] = (),
) -> tuple[str, ...]:
    """Declare a list of items between commas, all of them among `choices` where given; empty items are dropped.

    ``empty``: what the warning about a wrong value calls an empty list.
    """
    declared: Any = _CommaList(default, choices, empty, help=help, env=env, aliases=aliases, secret=secret)
    value: tuple[str, ...] = declared
    return value


def _require_digits(digits: str) -> None:
    # int() alone would also take "1_000" and the digits of other scripts; 4300 digits are more than it converts.
    if not digits or len(digits) > 100 or not digits.isascii() or not digits.isdigit():
        raise ValueError


def _is_one_line(written: str) -> bool:
    """Whether nothing in `written` is a control character, a line break or an undecodable byte.

    Bytes of the environment that are no UTF-8 arrive as lone surrogates, which raise as soon as they are encoded.
    """
    return written.isprintable() or not any(_is_control(ord(character)) for character in written)


def _is_control(code: int) -> bool:
    return code < 32 or 127 <= code < 160 or code in (0x2028, 0x2029) or 0xD800 <= code < 0xE000


def clean(written: str) -> str:
    """`written`, fit for one line of a log: control characters escaped, no longer than 200 characters."""
    shown = written[:_LONGEST_SHOWN]
    if not shown.isprintable():
        shown = "".join(one if one.isprintable() else repr(one)[1:-1] for one in shown)
    if len(written) <= _LONGEST_SHOWN and len(shown) <= _LONGEST_SHOWN:
        return shown
    return f"{shown[:_LONGEST_SHOWN]}... ({len(written)} characters)"


def _quoted(written: str) -> str:
    return f'"{clean(written)}"'
