"""Files in extensions/: Lambda starts every one of them, whatever it is called and whatever it was meant for.

Sources: AWS docs, "Lambda Extensions API" and "Using Lambda layers with extensions"; AWS's open-source emulator; the error
texts are those of Lambda's logs (e.g. elastic/apm-aws-lambda #92, aws-samples/aws-lambda-extensions #38 and #54).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from layer_build import elf
from layer_build.checks import scripts
from layer_build.checks.findings import ERROR, NOTE, rule
from layer_build.checks.subject import EXTENSIONS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from layer_build.checks.findings import Finding
    from layer_build.checks.subject import Subject
    from layer_build.tree import Entry

NONE = rule(
    "no-extension",
    NOTE,
    "no file in extensions/",
    "Lambda starts nothing: this is a layer of libraries",
    "nothing, if that is meant; an extension is a file /opt/extensions/NAME",
)
TOO_DEEP = rule(
    "folder-too-deep",
    ERROR,
    "extensions/ lies inside {folder}/",
    "Lambda looks into /opt/extensions only: nothing is started, and nothing says why",
    "make the zip from inside the folder: cd {folder} && zip -r ../layer.zip .",
)
DISABLED = rule(
    "extensions-disabled",
    ERROR,
    "the file with which extensions are switched off",
    "where it lies in /opt Lambda starts no extension at all, those of other layers included",
    "remove it",
)
TOO_MANY = rule(
    "too-many-extensions",
    ERROR,
    "{count} files in extensions/",
    "a function may have 10 extensions, all layers and internal ones counted: Extension.LaunchError (TooManyExtensions)",
    "fewer of them in a layer, or several plug-ins in one process",
)
SUBFOLDER = rule(
    "subfolder-ignored",
    NOTE,
    "a folder inside extensions/",
    "Lambda starts files that lie directly in extensions/ and looks no deeper",
    "put what belongs to an extension elsewhere in the layer, e.g. into NAME/",
)
FOLDER_LINK = rule(
    "link-to-folder",
    ERROR,
    "a link to a folder",
    "Lambda looks at the link, which is no folder, and starts it: 'fork/exec /opt/{path}: permission denied', "
    "Extension.LaunchError (PermissionDenied)",
    "link to a program, or put the link elsewhere in the layer",
)
STRAY = rule(
    "stray-file",
    ERROR,
    "not an extension, by its name: {guess}",
    "every file in extensions/ is started: 'fork/exec /opt/{path}: {refusal}', Extension.LaunchError; no invocation works",
    "move it out of extensions/, e.g. into a folder NAME/ beside it",
)
NOT_EXECUTABLE = rule(
    "not-executable",
    ERROR,
    "mode {mode}: not everybody may execute it",
    "'fork/exec /opt/{path}: permission denied', Extension.LaunchError (PermissionDenied); no invocation works",
    "chmod 0755 before it is zipped, with a tool that keeps modes",
)
NO_FORMAT = rule(
    "no-shebang",
    ERROR,
    "neither a program nor a script: it begins with {begins}",
    "'fork/exec /opt/{path}: exec format error', Extension.LaunchError (UnknownError); no invocation works",
    "begin a script with its interpreter, e.g. #!/bin/bash in the very first bytes",
)
NOT_A_PROGRAM = rule(
    "not-a-program",
    ERROR,
    "{kind}, not a program",
    "it is started all the same: 'exec format error', Extension.LaunchError, or it ends at once: Extension.Crash",
    "link it as a program, or move it out of extensions/",
)
OTHER_NAME = rule(
    "registered-name",
    ERROR,
    "registers as {literal!r}, but the file's name is {names}",
    "Lambda takes it for an internal extension: 403 Extension.InvalidEventType where it asks for SHUTDOWN, else it waits for "
    "the registration of the file until the init phase times out",
    "register with the file's own name: basename of $0, os.path.basename(sys.argv[0])",
)

_MOST = 10  # AWS docs, "Lambda quotas" and Extensions API
_STRAY_SUFFIXES = (
    ".md",
    ".txt",
    ".rst",
    ".json",
    ".yaml",
    ".yml",
    ".toml",
    ".cfg",
    ".ini",
    ".conf",
    ".pyc",
    ".zip",
    ".log",
)
_STRAY_NAMES = ("readme", "license", "notice", "changelog", "makefile", "dockerfile", "thumbs.db", "__init__.py")
_HEADER = re.compile(
    rb"""lambda-extension-name(?:
        ['"]\s*(?:\]\s*=|[:,])\s*(?:b|r)?['"]([^'"${}%<>\\\n]+)['"]    # a key and a value
        | :[ ]*([A-Za-z0-9._-]+)(?=['"\\\r\n])                         # one string: NAME: VALUE
    )""",
    re.IGNORECASE | re.VERBOSE,
)
_SOURCES = (".py", ".sh", ".bash", ".js", ".mjs", ".cjs", ".ts", ".rb", ".pl")


def check(subject: Subject) -> Iterator[Finding]:
    """What Lambda would start, and what happens then."""
    if "disable-extensions-jwigqn8j" in subject.files:
        yield DISABLED.at("disable-extensions-jwigqn8j")
    if not subject.started:
        yield from _none(subject)
    if len(subject.started) > _MOST:
        yield TOO_MANY.at(EXTENSIONS, count=len(subject.started))
    for folder in sorted(subject.folders):
        if folder.startswith(EXTENSIONS) and folder.count("/") == 1:
            yield SUBFOLDER.at(f"{folder}/")
    for path in subject.started:
        entry = subject.find(path)
        if entry is not None:
            yield from _file(subject, path, entry)
        elif subject.resolve(path):
            yield FOLDER_LINK.at(path)  # a link to nothing is told by `paths`
    for path, entry in subject.files.items():
        if path not in subject.started and entry.mode & 0o111 and scripts.is_script(entry.data):
            yield from scripts.first_bytes(path, entry.data)  # a wrapper, a tool in bin/
    yield from _names(subject)


def _none(subject: Subject) -> Iterator[Finding]:
    deep = sorted({path.split("/")[0] for path in subject.files if re.fullmatch(r"[^/]+/extensions/[^/]+", path)})
    for folder in deep:
        yield TOO_DEEP.at(f"{folder}/{EXTENSIONS}", folder=folder)
    if not deep and not subject.own:  # what is missing from ours is an error, and `own` says so
        yield NONE.at(EXTENSIONS)


def _file(subject: Subject, path: str, entry: Entry) -> Iterator[Finding]:
    data = entry.data
    executable = not subject.has_modes or entry.mode & 0o001
    program = data.startswith(elf.MAGIC) or scripts.is_script(data) or foreign(data)
    guess = _guess(path.removeprefix(EXTENSIONS), bool(executable and program))
    if guess:
        yield STRAY.at(path, guess=guess, refusal="exec format error" if executable else "permission denied")
        return
    if not executable:
        yield NOT_EXECUTABLE.at(path, mode=f"{entry.mode:04o}")
    if scripts.is_script(data):
        yield from scripts.shebang(subject, path, data)
    elif data.startswith(elf.MAGIC):
        one = subject.elves.get(subject.resolve(path))
        library = isinstance(one, elf.Elf) and one.kind == "shared" and not one.interpreter and bool(one.needed)
        if isinstance(one, elf.Elf) and (library or one.kind not in ("shared", "executable")):
            yield NOT_A_PROGRAM.at(path, kind="a shared library" if library else f"an ELF file of kind {one.kind}")
    elif not foreign(data):  # else `binaries` says what it is
        yield NO_FORMAT.at(path, begins=repr(data[:12].decode("latin-1")) if data else "nothing: it is empty")


def foreign(data: bytes) -> str:
    """The system that a program is for, where that is not Linux; "" otherwise."""
    if data[:4] in (b"\xcf\xfa\xed\xfe", b"\xce\xfa\xed\xfe", b"\xfe\xed\xfa\xcf", b"\xfe\xed\xfa\xce"):
        return "macOS"
    # A Java class begins with the same four bytes as a universal binary; behind them is its version, 45 or more.
    if data[:4] == b"\xca\xfe\xba\xbe" and len(data) > 8 and int.from_bytes(data[4:8], "big") < 45:
        return "macOS"
    header = int.from_bytes(data[60:64], "little")
    return "Windows" if data[:2] == b"MZ" and data[header : header + 4] == b"PE\0\0" else ""


def _guess(name: str, starts: bool) -> str:
    """What a file in extensions/ seems to be instead of an extension; "" where it may well be one."""
    if name.startswith("."):
        return "a hidden file"
    if name.lower() == "__init__.py":
        return "part of a Python package"
    if starts:
        return ""
    if name.lower().split(".")[0] in _STRAY_NAMES or name.lower() in _STRAY_NAMES or name.endswith(_STRAY_SUFFIXES):
        return "text or data"
    return "a Python module" if name.endswith(".py") else ""


def _names(subject: Subject) -> Iterator[Finding]:
    """Literal names in registrations. Libraries below python/ may register as internal extensions, with any name."""
    names = [path.removeprefix(EXTENSIONS) for path in subject.started]
    for path, entry in subject.files.items():
        started = path in subject.started and scripts.is_script(entry.data)
        source = path.endswith(_SOURCES) and not path.startswith(("python/", EXTENSIONS))
        if not names or not (started or source):
            continue
        allowed = [path.removeprefix(EXTENSIONS)] if started else names
        for match in _HEADER.finditer(entry.data):
            literal = (match[1] or match[2]).decode("utf-8", "replace").strip()
            if literal not in allowed:
                yield OTHER_NAME.at(path, literal=literal, names=" or ".join(allowed))
