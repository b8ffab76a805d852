"""What an extension's own code does against what its manifest says that it may do.

Its own package is read, neither the kit nor dependencies; what a text cannot tell (computed names, other people's code) is not
seen. The manifest is what an operator decides by, so what it does not say is an error.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from extension_kit.settings import KNOWN_KIT_VARIABLES
from layer_build.checks import source
from layer_build.checks.findings import ERROR, NOTE, rule
from layer_build.checks.own import load_manifest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from layer_build.checks.findings import Finding
    from layer_build.checks.source import Class, Facts
    from layer_build.checks.subject import Own, Subject
    from layer_build.manifest import Manifest

_BLACK_BOX = "an operator who goes by the manifest does not know of it"

NOT_PYTHON = rule(
    "source-broken",
    ERROR,
    "not Python: {problem}",
    "'SyntaxError' when the extension starts: Extension.Crash, or it idles",
    "correct it, and build the layer anew",
)
NO_PLUGIN = rule(
    "plugin-missing",
    ERROR,
    "the manifest names the plug-in {plugin}, which is not in the layer",
    "it cannot be imported when the extension starts: Extension.Crash, or it idles",
    "correct the manifest's plugins, and build the layer anew",
)
VARIABLE = rule(
    "variable-undeclared",
    ERROR,
    "line {line} reads the environment variable {variable}, which the manifest does not list",
    _BLACK_BOX,
    'add "{variable}" to capabilities.variables',
)
NETWORK = rule(
    "network-undeclared",
    ERROR,
    "line {line} imports {module}, but the manifest lists no {wanted}",
    _BLACK_BOX + ", and the egress guard blocks it",
    "add what it talks to to capabilities.hosts, what it listens on to capabilities.ports",
)
IAM = rule(
    "iam-undeclared",
    NOTE,
    "line {line} has {what}, but the manifest lists no IAM action",
    "the function's role is made from the manifest: 'AccessDeniedException' at the first call",
    "add the actions to capabilities.iam",
)
TELEMETRY = rule(
    "telemetry-undeclared",
    ERROR,
    "{plugin} subscribes to {stream}, which the manifest does not list",
    _BLACK_BOX + ": function telemetry is everything that the function logs",
    'add "{stream}" to capabilities.telemetry',
)
TELEMETRY_UNUSED = rule(
    "telemetry-unused",
    NOTE,
    "the manifest lists the telemetry {stream}, to which no plug-in subscribes",
    "the manifest asks an operator for more than the extension needs",
    "take it out of capabilities.telemetry",
)
EARLY = rule(
    "registers-too-early",
    ERROR,
    "{plugin} has before_register, but launcher.conf says: register early",
    "the launcher registers before Python is up: the hook would run after the registration, beside the runtime's start",
    "build the layer anew: the builder writes 'register late' where a plug-in has the hook",
)
PROCESSES = rule(
    "starts-processes",
    NOTE,
    "line {line} starts a process: {what}",
    "it costs CPU and memory of the function, and what it does is not seen here",
    "nothing, if that is meant",
)
PROCESS = rule(
    "process-undeclared",
    ERROR,
    "line {line} starts a process: {what}, but the manifest lists no subprocesses",
    _BLACK_BOX + ", and the egress guard refuses it",
    "add the program to capabilities.subprocesses",
)
WRITES = rule(
    "write-undeclared",
    ERROR,
    "line {line} writes {target}, which the manifest does not list",
    _BLACK_BOX + "; /tmp is the function's as well",
    'add "{target}" to capabilities.writes',
)
READ_ONLY = rule(
    "write-outside-tmp",
    ERROR,
    "line {line} writes {target}",
    "\"OSError: [Errno 30] Read-only file system: '{target}'\": only /tmp can be written on Lambda",
    "write below /tmp, best below context.directory",
)

#: what Lambda itself sets for everybody, and no secret; AWS docs, "Defined runtime environment variables"
_FROM_LAMBDA = ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_LAMBDA_*", "TZ", "LANG", "PATH", *KNOWN_KIT_VARIABLES)
#: modules that talk to others, that listen, and that may be for either
_CLIENTS = (
    "http.client", "urllib.request", "ftplib", "smtplib", "imaplib", "poplib", "xmlrpc.client", "requests", "urllib3", "httpx",
    "aiohttp", "websockets", "grpc", "boto3", "botocore", "kafka", "confluent_kafka", "redis", "pymongo", "psycopg", "psycopg2",
    "pymysql", "asyncpg", "extension_kit.aws", "extension_kit.delivery",
)  # fmt: skip
_SERVERS = ("http.server", "socketserver", "extension_kit.io.server", "extension_kit.proxy")
_EITHER = ("socket", "_socket", "ssl")
_AWS = ("boto3", "botocore", "extension_kit.aws")
_ACTION = re.compile(r"(?:[a-z][a-z0-9-]+):[A-Z][a-z]+[A-Z][A-Za-z]+\*?")
_NOT_FILES = ("/dev/", "/proc/")


def check(subject: Subject) -> Iterator[Finding]:
    """Each part of this kit whose manifest can be read."""
    for own in subject.own:
        manifest = load_manifest(subject, own)
        if manifest is None:
            continue
        code = _Code(subject, own, manifest)
        yield from code.problems
        for path, facts in code.facts.items():
            yield from _variables(path, facts, manifest, code)
            yield from _network(path, facts, manifest)
            yield from _files(path, facts, manifest)
            for what, line in facts.starts:
                # What a program of the layer's becomes (a wrapper: the runtime) is no process of the extension's.
                listed = manifest.subprocesses or ".exec" in what
                yield (PROCESSES if listed else PROCESS).at(path, line=line, what=what)
        yield from _plugins(subject, own, manifest, code)


class _Code:
    """The extension's own modules: facts by path, classes by their whole name."""

    def __init__(self, subject: Subject, own: Own, manifest: Manifest) -> None:
        self.facts: dict[str, Facts] = {}
        self.classes: dict[str, tuple[str, Class]] = {}
        self.problems: list[Finding] = []
        root = f"{own.name}/lib/"
        for path in subject.files:
            if path.endswith(".py") and path.startswith(root) and _is_own(path.removeprefix(root), manifest):
                self._read(path, path.removeprefix(root), subject.files[path].data)

    def _read(self, path: str, inside: str, data: bytes) -> None:
        is_package = inside.endswith("/__init__.py") or inside == "__init__.py"
        module = inside.removesuffix("/__init__.py").removesuffix(".py").replace("/", ".")
        try:
            facts = source.read(data, module, is_package)
        except (SyntaxError, ValueError) as error:
            self.problems.append(NOT_PYTHON.at(path, problem=error))
            return
        self.facts[path] = facts
        self.classes |= {f"{module}.{name}": (path, one) for name, one in facts.classes.items()}

    def lineage(self, name: str) -> list[Class]:
        """A class and its bases, as far as they are the extension's own."""
        found: list[Class] = []
        names = [name]
        while names:
            _path, one = self.classes.get(names.pop(0), ("", None))
            if one is not None and one not in found:
                found.append(one)
                names += one.bases
        return found


def _is_own(inside: str, manifest: Manifest) -> bool:
    """Whether a file below lib/ belongs to the package (or is the module) that a plug-in is in."""
    for plugin in manifest.plugins:
        module = plugin.partition(":")[0].replace(".", "/")
        package = module.rpartition("/")[0]
        if inside == f"{module}.py" or inside.startswith(f"{package or module}/"):
            return True
    return False


def _variables(path: str, facts: Facts, manifest: Manifest, code: _Code) -> Iterator[Finding]:
    allowed = (*manifest.variables, *_FROM_LAMBDA, *(name for port in manifest.ports for name in port.variables))
    read = [*facts.variables, *(pair for one in facts.classes.values() for pair in _settings(one, code))]
    for variable, line in dict.fromkeys(read):
        if not any(variable == one or (one.endswith("*") and variable.startswith(one[:-1])) for one in allowed):
            yield VARIABLE.at(path, line=line, variable=variable)


def _settings(one: Class, code: _Code) -> Iterator[tuple[str, int]]:
    """The variables of a class of settings: its prefix and the attribute, or what ``env`` says; and the aliases."""
    bases = [base for name in one.bases for base in code.lineage(name)]
    prefix = next((str(each.values["prefix"]) for each in [one, *bases] if "prefix" in each.values), "")
    if any(base.endswith("Settings") for base in one.bases):
        for attribute, env, aliases, line in one.settings:
            for name in (env or prefix + attribute.upper(), *aliases):
                yield name, line


def _network(path: str, facts: Facts, manifest: Manifest) -> Iterator[Finding]:
    wanted = dict.fromkeys(_EITHER if not manifest.hosts and not manifest.ports else (), "hosts and no ports")
    wanted |= dict.fromkeys(_CLIENTS if not manifest.hosts else (), "hosts")
    wanted |= dict.fromkeys(_SERVERS if not manifest.ports else (), "ports")
    for module, line in facts.imports:
        if module in wanted:
            yield NETWORK.at(path, line=line, module=module, wanted=wanted[module])
            break
    if not manifest.iam:
        uses = [(f"the import of {module}", line) for module, line in facts.imports if module in _AWS]
        uses += [(f"the IAM action {text}", line) for text, line in facts.strings if _ACTION.fullmatch(text)]
        for what, line in uses[:1]:
            yield IAM.at(path, line=line, what=what)


def _files(path: str, facts: Facts, manifest: Manifest) -> Iterator[Finding]:
    own = f"/tmp/.extension-kit/{manifest.name}/"  # noqa: S108 - named in the design
    for target, line in [*facts.writes, *((own, line) for line in facts.own_directory)]:
        if target.startswith(_NOT_FILES):
            continue
        if not target.startswith("/tmp/"):  # noqa: S108 - Lambda's only writable place
            yield READ_ONLY.at(path, line=line, target=target)
        elif not target.startswith(manifest.writes):
            yield WRITES.at(path, line=line, target=target)


def _plugins(subject: Subject, own: Own, manifest: Manifest, code: _Code) -> Iterator[Finding]:
    subscribed: set[str] = set()
    known = True
    for plugin in manifest.plugins:
        module, _, name = plugin.partition(":")
        root = f"{own.name}/lib/{module.replace('.', '/')}"
        path, one = code.classes.get(f"{module}.{name}", (f"{root}.py", None))
        if one is None:
            known = False  # what it subscribes to cannot be told
            if f"{root}.py" not in subject.files and f"{root}/__init__.py" not in subject.files:
                yield NO_PLUGIN.at(f"{own.name}/manifest.toml", plugin=plugin)
            continue
        classes = code.lineage(f"{module}.{name}")
        methods = frozenset[str]().union(*(each.methods for each in classes))
        streams = next((each.values["telemetry"] for each in classes if "telemetry" in each.values), ())
        listed = [str(stream) for stream in streams] if isinstance(streams, (tuple, list)) else []
        if "on_runtime_done" in methods and "platform" not in listed:
            listed.append("platform")  # where the kit learns of the end of an invocation
        subscribed |= set(listed)
        for stream in listed:
            if stream not in manifest.telemetry:
                yield TELEMETRY.at(path, plugin=name, stream=stream)
        if own.conf and own.conf.register == "early" and "before_register" in methods:
            yield EARLY.at(path, plugin=name)
    for stream in manifest.telemetry:
        if known and stream not in subscribed:
            yield TELEMETRY_UNUSED.at(f"{own.name}/manifest.toml", stream=stream)
