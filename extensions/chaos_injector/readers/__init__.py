"""From the text of a document to an experiment: whose format it is, and the reader for it.

`read` raises `Refused` and nothing else, whatever it is given. A document that says that nothing is armed gives None.
"""

from __future__ import annotations

from extensions.chaos_injector.checking import Mistakes, clean_line
from extensions.chaos_injector.plan import Refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from extensions.chaos_injector.plan import Experiment
    from extensions.chaos_injector.settings import ChaosSettings

__all__ = ["LARGEST", "Reading", "parse", "read", "read_fields"]

LARGEST = 65_536  # bytes of a document
_DEEPEST = 20  # objects and lists in one another
_MOST_DOTS = 10  # in a key of TOML
_IN_KEYS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_- \t")


class Reading:
    """What a reader is given besides the document, and where it leaves what should be told.

    ``source``: where the document was found; ``notes``: lines about what was skipped or is read another way.
    """

    def __init__(self, settings: ChaosSettings, now_ms: int, source: str = "", function: str = "") -> None:
        self.settings = settings
        self.now_ms = now_ms
        self.source = source
        self.function = function
        self.mistakes = Mistakes()
        self.notes: list[str] = []
        self.hangs_on_time = False  # whether what is wrong may be right later

    def note(self, line: str) -> None:
        if len(self.notes) < 50:
            self.notes.append(clean_line(line))


def read(data: bytes, reading: Reading) -> Experiment | None:
    """The experiment in a document, None where it says that there is none; Refused for anything that is wrong with it."""
    return read_fields(parse(data), reading)


def read_fields(fields: dict[str, Any], reading: Reading) -> Experiment | None:
    """The same of what `parse` has given."""
    try:
        found: Experiment | None = _reader(fields)(fields, reading)
        return found
    except Refused:
        raise
    except RecursionError:
        raise Refused(("the document is nested too deeply: use the fields of the README",)) from None


def parse(data: bytes) -> dict[str, Any]:
    """The object that a document in JSON or TOML is; Refused where it is none."""
    if len(data) > LARGEST:
        raise Refused((f"the document has {len(data)} bytes: use at most {LARGEST}",))
    try:
        text = data.decode("utf-8").strip()
    except UnicodeDecodeError as error:
        raise Refused((f"the document is no UTF-8 (byte {error.start}): save it as UTF-8",)) from None
    text = text.removeprefix("\ufeff").strip()
    if not text:
        raise Refused(("the document is empty: write an experiment, or delete it to disarm",))
    fields = _from_json(text) if text[0] in "{" else _from_toml(text)
    _require_shallow(fields)
    return fields


def _from_json(text: str) -> dict[str, Any]:
    import json

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, value in pairs:
            if name in found:
                raise ValueError(f'the field "{name[:80]}" is there twice: remove one of them')
            found[name] = value
        return found

    def no_number(name: str) -> Any:
        raise ValueError(f"{name} is no number of JSON: write one, or leave the field out")

    try:
        fields = json.loads(text, object_pairs_hook=unique, parse_constant=no_number)
    except (ValueError, RecursionError) as error:
        raise Refused((clean_line(f"the document is no JSON: {error}; correct it there"),)) from None
    assert isinstance(fields, dict)  # it begins with a brace
    return fields


def _from_toml(text: str) -> dict[str, Any]:
    import tomllib

    # Its time grows with the square of a key's dots.
    if _most_dots(text) > _MOST_DOTS:
        raise Refused((f"a key of the document has more than {_MOST_DOTS} dots: use the fields of the README",))
    try:
        fields = {name: _plain(value) for name, value in tomllib.loads(text).items()}
    except (ValueError, RecursionError) as error:
        raise Refused(
            (clean_line(f"the document is neither an object of JSON nor TOML: {error}; correct it there"),)
        ) from None
    return fields


def _most_dots(text: str) -> int:
    """The most dots that a key of a text in TOML has; what is in strings, which keys may be of, and in comments is none."""
    most = dots = at = 0
    while at < len(text):
        one = text[at]
        if one in "\"'":
            at = _string_end(text, at)
            continue
        if one == "#":
            at = text.find("\n", at)
            if at < 0:
                break
        dots = dots + (one == ".") if one == "." or one in _IN_KEYS else 0
        most = max(most, dots)
        at += 1
    return most


def _string_end(text: str, at: int) -> int:
    """Where the string that begins at `at` has ended: behind its quotes, or at the end of its line."""
    quote = text[at]
    whole = quote * 3 if text.startswith(quote * 3, at) else quote
    at += len(whole)
    while at < len(text) and not text.startswith(whole, at):
        if text[at] == "\n" and whole == quote:
            return at
        at += 2 if text[at] == "\\" and quote == '"' else 1
    at += len(whole)
    for _ in range(2 if whole != quote else 0):  # up to two quotes before the last three are the string's
        at += text.startswith(quote, at)
    return at


def _plain(value: Any) -> Any:
    """TOML's times as text, as JSON has them."""
    if isinstance(value, dict):
        return {name: _plain(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    return value.isoformat() if hasattr(value, "isoformat") else value


def _require_shallow(fields: dict[str, Any]) -> None:
    level: list[Any] = [fields]
    for _depth in range(_DEEPEST):
        level = [
            inner
            for one in level
            for inner in (one.values() if isinstance(one, dict) else one)
            if isinstance(inner, (dict, list))
        ]
        if not level:
            return
    raise Refused(("the document is nested too deeply: use the fields of the README",))


#: fields that no other format has
_OWN = ("faults", "armed_until", "version", "off")
_FOREIGN = (
    ("isEnabled", "failureMode"), ("actions", "actionId", "experiment", "experimentTemplate"), ("fault_type",),
)  # fmt: skip


def _reader(fields: dict[str, Any]) -> Callable[[dict[str, Any], Reading], Experiment | None]:
    """Told by fields that no other format has; what is none of them is read as our own, whose reader says what is wrong.

    Refused where two formats are told: what the one says to hold back, the reader of the other does not look at.
    """
    variables = tuple(name for name in fields if name.startswith("CHAOS_EXTENSION__"))
    told = [next((name for name in names if name in fields), "") for names in (_OWN, *_FOREIGN, variables)]
    both = [name for name in told if name]
    if len(both) > 1:
        raise Refused(
            (
                clean_line(
                    f"{both[0]} and {both[1]} are of different formats: use one document for each, and correct this one"
                ),
            )
        )
    _own, v0, fis_action, injection, variable = told
    if v0:
        from extensions.chaos_injector.readers import failure_lambda

        return failure_lambda.read_v0
    if fis_action:
        from extensions.chaos_injector.readers import fis

        return fis.read
    if injection:
        from extensions.chaos_injector.readers import chaos_injection

        return chaos_injection.read
    if variable:
        from extensions.chaos_injector.readers import aws_cli_tools

        return aws_cli_tools.read
    if not both:
        from extensions.chaos_injector.readers import failure_lambda

        if failure_lambda.is_one(fields):
            return failure_lambda.read
    from extensions.chaos_injector.readers import native

    return native.read
