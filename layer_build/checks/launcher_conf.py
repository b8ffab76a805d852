"""``<name>/launcher.conf``, read back as layer_build/README.md describes it."""

from __future__ import annotations

from dataclasses import dataclass

_FIRST = "extension-kit-launcher 1"
_ORDER = ("pythons", "register", "events")


@dataclass(frozen=True)
class PortLine:
    """A port that the launcher binds: the variables that override it, the file that it is written to ("" for none)."""

    name: str
    port: int
    variables: tuple[str, ...]
    file: str


@dataclass(frozen=True)
class Conf:
    """The file's content; ``problems``: what a launcher would not understand, a sentence each."""

    pythons: tuple[str, ...] = ()
    register: str = ""
    events: tuple[str, ...] = ()
    ports: tuple[PortLine, ...] = ()
    problems: tuple[str, ...] = ()


def parse(data: bytes) -> Conf:
    """What the file says; never raises."""
    try:
        lines = data.decode("ascii").split("\n")
    except UnicodeDecodeError as error:
        return Conf(problems=(f"byte {error.start} is not ASCII",))
    problems = [] if lines[-1] == "" else ["no newline at the end"]
    lines = [line for line in lines if line]
    if not lines or lines[0] != _FIRST:
        return Conf(problems=(f"the first line is not {_FIRST!r}",))
    keys = [line.split(" ")[0] for line in lines[1:]]
    if tuple(keys[:3]) != _ORDER or any(key != "port" for key in keys[3:]):
        problems.append(f"lines in the order {' '.join(keys)}: pythons, register, events, then ports wanted")
        return Conf(problems=tuple(problems))
    pythons, register, events = (tuple(line.split(" ")[1:]) for line in lines[1:4])
    if register != ("early",) and (register[:1] != ("late",) or len(register) > 2):
        problems.append(f"register {' '.join(register)!r}: early, late or late PLUGIN,... wanted")
    ports = [_port(line, problems) for line in lines[4:]]
    return Conf(pythons, " ".join(register), events, tuple(port for port in ports if port), tuple(problems))


def _port(line: str, problems: list[str]) -> PortLine | None:
    words = line.split(" ")[1:]
    if len(words) not in (4, 5) or not words[1].isdigit() or int(words[1]) > 65_535:
        problems.append(f"{line!r}: port NAME NUMBER VARIABLES-or-- FILE-or-- [PLUGIN,...] wanted")
        return None
    name, number, variables, file = words[:4]
    return PortLine(
        name, int(number), () if variables == "-" else tuple(variables.split(",")), "" if file == "-" else file
    )
