"""``manifest.toml``: what an extension is, and what it may do. An operator reads it, `verify` holds the code to it.

    name = "my-shipper"                        # the file in /opt/extensions, and the name that is registered
    version = "1.0.0"                          # default: the kit's
    summary = "Sends log lines to my service." # a sentence for operators
    plugins = ["my_shipper.plugin:Shipper"]    # MODULE:CLASS, from this folder's own package
    pythons = ["3.12", "3.13"]                 # default: all that Lambda has

    [capabilities]
    hosts = [{ host = "logs.example.com", why = "where the lines go" }]   # "{region}" stands for the function's region
    subprocesses = [{ program = "tar", why = "packs what is sent" }]      # default: starts none
    variables = ["MY_SHIPPER_ENDPOINT"]        # environment variables that its own code reads
    iam = [{ actions = ["s3:PutObject"], resources = ["arn:aws:s3:::my-bucket/*"], why = "a copy of each batch" }]
    ports = [{ name = "http", port = 2773, variables = ["MY_PORT"], why = "what the function asks" }]
    events = ["INVOKE", "SHUTDOWN"]
    telemetry = ["platform", "function"]
    writes = ["/tmp/.extension-kit/my-shipper/"]

    [layer]
    leave_out = ["my_shipper/command.py"]      # files of its own that only people run
    source_only = ["my_shipper/rare/*"]        # no byte-code: what is rarely imported, and never when a request waits
    only_if = "MY_SHIPPER_ENABLED"             # while this is not true, no port is opened, nothing done before the registration

    [dependencies]
    lock = "requirements.lock"                 # pip's format with hashes, wheels only
    leave_out = ["requests/help.py"]           # files of dependencies that are never imported
    without = ["chardet"]                      # packages that a dependency names, and that this extension does without

Where a table with ``why`` is shown, a bare string does as well. A port that may be taken has ``fallback = true`` (any free
one is used, and written to ``/tmp/.extension-kit/NAME/port``). One with ``optional = true`` is opened by the plug-in itself,
where one of its variables names a number; only such a one may have ``protocol = "udp"``.

At run time the egress guard holds the process to ``hosts`` and ``subprocesses`` (extension_kit/README.md, "Glass box"). A host
has port 443 or the one behind its colon; ``*.NAME`` stands for all below a name; ``*`` for the endpoints that settings name,
which the guard knows by itself; with ``when = "VARIABLE"`` a host counts only where that variable says true, and ``*`` then
means whatever the function itself asks for, through a proxy of the extension's. ``program`` is a program's path, or its last
part; behind a blank may stand what the first argument that is no option must be, or end with (``python my_shipper/child.py``);
``python`` is the extension's own interpreter, ``fork`` a copy of its process, ``sh`` also what os.system starts.

Of a layer that was put together of several extensions the builder writes it: ``parts`` names them, and a port's ``extension``
says whose it is.
"""

from __future__ import annotations

import json
import re
import tomllib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from extension_kit.errors import ConfigError
from layer_build.targets import PYTHONS

if TYPE_CHECKING:
    from pathlib import Path

FILE = "manifest.toml"
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_VERSION = re.compile(r"[0-9A-Za-z][0-9A-Za-z.+-]{0,63}")
_PLUGIN = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\*?")  # a star at the end: all that begin so
_HOST = re.compile(r"(\*|(\*\.)?[A-Za-z0-9{}_-][A-Za-z0-9{}._-]*)(:\d+)?")
_NAMED = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_PROGRAM = re.compile(r"[!-~]+( [!-~]+)?")
_ACTION = re.compile(r"[a-z0-9-]+:[A-Za-z]+\*?")
_WHEN = re.compile(r"\?|[A-Za-z_][A-Za-z0-9_]*(=[^?]+)?\??")
_PORT_NAME = re.compile(r"[a-z][a-z0-9_-]{0,31}")
_EVENTS = ("INVOKE", "SHUTDOWN")
_STREAMS = ("platform", "function", "extension")


@dataclass(frozen=True)
class Host:
    """A host that the extension may talk to, ``{region}`` in it for the function's region; the port where it is not 443.

    ``when``: a variable without which it may not.
    """

    host: str
    why: str = ""
    when: str = ""


@dataclass(frozen=True)
class Program:
    """A program that the extension starts: its path, or the last part of it."""

    program: str
    why: str = ""


@dataclass(frozen=True)
class Permission:
    """IAM actions that the function's role needs for the extension.

    ``when``: the settings that make it so, any of them; empty: it always is. ``VARIABLE``: it is set; ``VARIABLE=VALUE``: one
    of the items between its commas is that (``*``: anything). With a ``?`` at the end: then it may be needed, which only the
    function knows; ``?`` alone: in any case. ``extension-kit check`` reads it; templates grant all.
    """

    actions: tuple[str, ...]
    resources: tuple[str, ...] = ("*",)
    why: str = ""
    when: tuple[str, ...] = ()


@dataclass(frozen=True)
class Port:
    """A port on loopback. ``variables``: what overrides it, the first that is set; ``fallback``: else any free one will do.

    ``optional``: neither launcher nor kit open it: the plug-in does, where one of its variables names a number.
    ``extension``: whose it is, in a layer of several; "" elsewhere.
    """

    name: str
    port: int
    variables: tuple[str, ...] = ()
    fallback: bool = False
    why: str = ""
    optional: bool = False
    protocol: str = "tcp"
    extension: str = ""


@dataclass(frozen=True)
class Manifest:
    """One extension, as its manifest has it; every field was checked."""

    name: str
    version: str
    summary: str
    plugins: tuple[str, ...]
    pythons: tuple[str, ...]
    hosts: tuple[Host, ...]
    variables: tuple[str, ...]
    iam: tuple[Permission, ...]
    ports: tuple[Port, ...]
    events: tuple[str, ...]
    telemetry: tuple[str, ...]
    writes: tuple[str, ...]
    lock: str
    leave_out: tuple[str, ...]
    without: tuple[str, ...] = ()
    own_leave_out: tuple[str, ...] = ()
    source_only: tuple[str, ...] = ()
    subprocesses: tuple[Program, ...] = ()
    only_if: str = ""
    parts: tuple[str, ...] = ()

    def port_file(self, port: Port) -> str:
        """Where the number of a port with ``fallback`` stands; "" for any other."""
        return f"/tmp/.extension-kit/{port.extension or self.name}/port" if port.fallback else ""  # noqa: S108 - design


def load(folder: Path, default_version: str) -> Manifest:
    """The manifest of the extension in `folder`; ConfigError in one line, with the file's path, for all that is wrong."""
    path = folder / FILE
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        raise ConfigError(
            f"{folder}: no {FILE}: it says what the extension is and may do, see layer_build/README.md"
        ) from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    return parse(text, default_version, str(path))


def parse(text: bytes, default_version: str, place: str = FILE) -> Manifest:
    """The manifest in `text`; `place` begins every error."""
    try:
        content = tomllib.loads(text.decode())
    except UnicodeDecodeError as error:
        line = text.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{place}: not TOML: line {line} is not UTF-8") from error
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigError(f"{place}: not TOML: {error}") from error
    top = _Reader(
        place,
        "",
        content,
        ("name", "version", "summary", "plugins", "pythons", "parts", "capabilities", "layer", "dependencies"),
    )
    may = _Reader(place, "capabilities.", top.table("capabilities"),
                  ("hosts", "subprocesses", "variables", "iam", "ports", "events", "telemetry", "writes"))  # fmt: skip
    layer = _Reader(place, "layer.", top.table("layer"), ("leave_out", "source_only", "only_if"))
    needs = _Reader(place, "dependencies.", top.table("dependencies"), ("lock", "leave_out", "without"))
    ports = tuple(
        _port(one)
        for one in may.tables(
            "ports", ("name", "port", "variables", "fallback", "optional", "protocol", "extension", "why")
        )
    )
    if len({port.name for port in ports}) < len(ports):
        raise ConfigError(f"{place}: capabilities.ports: two have the same name")
    return Manifest(
        name=top.text("name", _NAME, "lower-case letters, digits, '.', '_' and '-', at most 64"),
        version=top.text("version", _VERSION, "e.g. 1.0.0", default_version),
        summary=top.text("summary", None, "a sentence", ""),
        plugins=top.texts("plugins", _PLUGIN, "MODULE:CLASS", needed=True),
        pythons=top.one_of("pythons", tuple(PYTHONS), tuple(PYTHONS)),
        hosts=tuple(
            Host(one.text("host", _HOST, "a host name"), one.why(), one.text("when", _NAMED, "a variable", ""))
            for one in may.tables("hosts", ("host", "why", "when"), "host")
        ),
        variables=may.texts("variables", _VARIABLE, "names of environment variables"),
        iam=tuple(
            Permission(
                one.texts("actions", _ACTION, "service:Action", needed=True),
                one.texts("resources", None, "ARNs") or ("*",),
                one.why(),
                one.texts("when", _WHEN, "VARIABLE, VARIABLE=VALUE, either with a ? behind it, or ?"),
            )
            for one in may.tables("iam", ("actions", "resources", "why", "when"), "actions")
        ),
        ports=ports,
        events=may.one_of("events", _EVENTS, _EVENTS),
        telemetry=may.one_of("telemetry", _STREAMS, ()),
        writes=may.texts("writes", re.compile("/tmp/.*"), "paths below /tmp, the only place that can be written"),
        lock=needs.text("lock", re.compile(r"[^/].*"), "a file in the extension's folder", ""),
        leave_out=needs.texts("leave_out", None, "paths"),
        without=needs.texts("without", _VERSION, "names of packages"),
        own_leave_out=layer.texts("leave_out", None, "paths"),
        source_only=layer.texts("source_only", None, "paths"),
        subprocesses=tuple(
            Program(one.text("program", _PROGRAM, "a program"), one.why())
            for one in may.tables("subprocesses", ("program", "why"), "program")
        ),
        only_if=layer.text("only_if", _VARIABLE, "the name of an environment variable", ""),
        parts=top.texts("parts", _NAME, "names of extensions"),
    )


def _port(one: _Reader) -> Port:
    number = one.content.get("port")
    if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number <= 65_535:
        raise one.wrong("port", number, "a port, 0 to 65535")
    fallback = one.content.get("fallback", False)
    if not isinstance(fallback, bool):
        raise one.wrong("fallback", fallback, "true or false")
    optional = one.content.get("optional", False)
    if not isinstance(optional, bool) or (optional and (fallback or not one.content.get("variables"))):
        raise one.wrong("optional", optional, "true or false, and true only with variables and without fallback,")
    protocol = one.text("protocol", re.compile("tcp|udp" if optional else "tcp"), '"tcp", or "udp" if optional,', "tcp")
    name = one.text("name", _PORT_NAME, "lower-case letters, digits, '_' and '-'")
    variables = one.texts("variables", _VARIABLE, "names of variables")
    extension = one.text("extension", _NAME, "the name of an extension", "")
    return Port(name, number, variables, fallback, one.why(), optional, protocol, extension)


class _Reader:
    """One table of the file: takes fields out of it, and says where and what when they are wrong."""

    def __init__(self, place: str, prefix: str, content: Any, known: tuple[str, ...]) -> None:
        self.place = place
        self.prefix = prefix
        self.content: dict[str, Any] = content
        unknown = sorted(set(content) - set(known))
        if unknown:
            raise ConfigError(f"{place}: {prefix}{unknown[0]} is not known; known here: {', '.join(known)}")

    def wrong(self, key: str, value: object, wanted: str) -> ConfigError:
        return ConfigError(f"{self.place}: {self.prefix}{key} is {value!r}: {wanted} wanted")

    def text(self, key: str, pattern: re.Pattern[str] | None, wanted: str, default: str | None = None) -> str:
        value = self.content.get(key, default)
        if value is None:
            raise ConfigError(f"{self.place}: {self.prefix}{key} is missing: {wanted} wanted")
        if not isinstance(value, str) or (key in self.content and pattern is not None and not pattern.fullmatch(value)):
            raise self.wrong(key, value, wanted)
        return value

    def texts(self, key: str, pattern: re.Pattern[str] | None, wanted: str, *, needed: bool = False) -> tuple[str, ...]:
        value = self.content.get(key, [])
        if not isinstance(value, list) or (needed and not value):
            raise self.wrong(key, value, f"a list of {wanted}")
        for one in value:
            if not isinstance(one, str) or (pattern is not None and not pattern.fullmatch(one)):
                raise self.wrong(key, one, wanted)
        return tuple(value)

    def one_of(self, key: str, allowed: tuple[str, ...], default: tuple[str, ...]) -> tuple[str, ...]:
        if key not in self.content:
            return default
        found = self.texts(key, None, f"some of {', '.join(allowed)}")
        for one in found:
            if one not in allowed:
                raise self.wrong(key, one, f"some of {', '.join(allowed)}")
        return tuple(one for one in allowed if one in found)

    def table(self, key: str) -> dict[str, Any]:
        value = self.content.get(key, {})
        if not isinstance(value, dict):
            raise self.wrong(key, value, "a table")
        return value

    def tables(self, key: str, known: tuple[str, ...], short: str = "") -> list[_Reader]:
        """A list of tables; where `short` is given, a bare string stands for a table with that field only."""
        value = self.content.get(key, [])
        if not isinstance(value, list):
            raise self.wrong(key, value, "a list")
        found = []
        for one in value:
            if short and isinstance(one, str):
                one = {short: [one] if short == "actions" else one}
            if not isinstance(one, dict):
                raise self.wrong(key, one, "a table")
            found.append(_Reader(self.place, f"{self.prefix}{key}: ", one, known))
        return found

    def why(self) -> str:
        return self.text("why", None, "a sentence", "")


def dump(manifest: Manifest) -> str:
    """A manifest as text again, for a layer that was put together of several."""

    def quote(value: object) -> str:
        """A JSON string is a TOML string, and so is a list of them, but for surrogates and DEL."""
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")

    def table(pairs: list[tuple[str, Any]]) -> str:
        said = [f"{key} = {quote(value)}" for key, value in pairs if value not in ("", [], False) or key == "port"]
        return "{ " + ", ".join(said) + " }"

    hosts = [table([("host", one.host), ("when", one.when), ("why", one.why)]) for one in manifest.hosts]
    starts = [table([("program", one.program), ("why", one.why)]) for one in manifest.subprocesses]
    iam = [
        table(
            [
                ("actions", list(one.actions)),
                ("resources", list(one.resources)),
                ("why", one.why),
                ("when", list(one.when)),
            ]
        )
        for one in manifest.iam
    ]
    ports = []
    for one in manifest.ports:
        fields: list[tuple[str, Any]] = [("name", one.name), ("port", one.port), ("variables", list(one.variables))]
        fields += [("fallback", one.fallback), ("optional", one.optional)]
        fields += [("protocol", one.protocol)] if one.protocol != "tcp" else []
        fields += [("extension", one.extension)] if one.extension else []
        ports.append(table([*fields, ("why", one.why)]))
    lines = [f"{key} = {quote(getattr(manifest, key))}" for key in ("name", "version", "summary")]
    lines += [f"{key} = {quote(list(getattr(manifest, key)))}" for key in ("plugins", "pythons")]
    lines += [f"parts = {quote(list(manifest.parts))}"] if manifest.parts else []
    lines += ["", "[capabilities]"]
    lists = (("hosts", hosts), ("subprocesses", starts), ("iam", iam), ("ports", ports))
    lines += [f"{key} = [{', '.join(value)}]" for key, value in lists]
    lines += [
        f"{key} = {quote(list(getattr(manifest, key)))}" for key in ("variables", "events", "telemetry", "writes")
    ]
    if manifest.source_only or manifest.only_if:
        lines += ["", "[layer]", f"source_only = {quote(list(manifest.source_only))}"]
        lines += [f"only_if = {quote(manifest.only_if)}"] if manifest.only_if else []
    return "\n".join(lines) + "\n"
