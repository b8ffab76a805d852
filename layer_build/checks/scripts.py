"""The first line of a script: whether the kernel of Lambda can start what it names.

Sources: execve(2) (what the kernel makes of the line, its length: 127 bytes before Linux 5.1, 255 since); env(1) of coreutils
(``-S`` came with 8.30; Amazon Linux 2 has 8.22, Amazon Linux 2023 has 8.32); AWS docs, "Lambda runtimes".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from layer_build.checks.findings import ERROR, NOTE, rule
from layer_build.targets import PYTHONS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from layer_build.checks.findings import Finding
    from layer_build.checks.subject import Subject

_CRASH = "the process ends at once, before it has registered: Extension.Crash; no invocation works"

CARRIAGE_RETURN = rule(
    "cr-in-shebang",
    ERROR,
    "the first line ends with a carriage return, as Windows editors write it",
    "the kernel looks for an interpreter whose name ends with it: 'fork/exec /opt/{path}: no such file or directory', "
    "Extension.LaunchError (UnknownError)",
    "save it with Unix line ends: dos2unix FILE, or '*.sh text eol=lf' in .gitattributes",
)
BYTE_ORDER_MARK = rule(
    "byte-order-mark",
    ERROR,
    "a UTF-8 byte order mark stands before #!",
    "the kernel sees no script: 'fork/exec /opt/{path}: exec format error', Extension.LaunchError (UnknownError)",
    "save it as UTF-8 without a byte order mark",
)
INTERPRETER_MISSING = rule(
    "interpreter-missing",
    ERROR,
    "the interpreter {interpreter} is not known to be there",
    "'fork/exec /opt/{path}: no such file or directory', Extension.LaunchError (UnknownError): "
    "the file meant is the interpreter",
    "name one that the runtime has (/bin/sh, /bin/bash, /var/lang/bin/python3.X) or one below /opt that the layer brings",
)
INTERPRETER_MODE = rule(
    "interpreter-not-executable",
    ERROR,
    "the interpreter {interpreter}, which is in the layer, has mode {mode}",
    "'fork/exec /opt/{path}: permission denied', Extension.LaunchError (PermissionDenied)",
    "chmod 0755 the interpreter",
)
COMMAND_MISSING = rule(
    "env-command-missing",
    ERROR,
    "env is to find {command}, which is not known to be on the runtime's PATH",
    "\"env: '{command}': No such file or directory\"; " + _CRASH,
    "attach it to functions of that runtime only, or bring the interpreter: a single file for the target is the safest",
)
ENV_SPLIT = rule(
    "env-split",
    ERROR,
    "env -S is used",
    "Amazon Linux 2 has coreutils 8.22, whose env does not know it: \"env: invalid option -- 'S'\"; " + _CRASH,
    "name the interpreter with its path and at most one argument: #!/var/lang/bin/python3.11 -IS",
)
ARGUMENTS = rule(
    "shebang-arguments",
    ERROR,
    "{interpreter} is given several words: {words}",
    "the kernel passes everything behind the interpreter as one argument, blanks included: no such option, no such command; "
    + _CRASH,
    "one argument at most (-IS instead of -I -S), or a program that starts the interpreter",
)
TOO_LONG = rule(
    "shebang-too-long",
    ERROR,
    "the first line has {length} bytes",
    "the kernel reads 255 of them (execve(2), since Linux 5.1): 'exec format error', Extension.LaunchError",
    "a shorter path to the interpreter",
)
LONG = rule(
    "shebang-long",
    NOTE,
    "the first line has {length} bytes",
    "kernels before Linux 5.1 read 127 of them (execve(2)); Lambda does not say which kernel it has",
    "a shorter path to the interpreter",
)

_LONGEST, _LONGEST_OLD = 255, 127
_MARK = b"\xef\xbb\xbf"
_SHELLS = ("/bin/sh", "/bin/bash", "/usr/bin/sh", "/usr/bin/bash")
_ENVS = ("/usr/bin/env", "/bin/env")
_ON_PATH = ("sh", "bash", "env", "python3")
_OLD_ENV = (2, 26)  # the glibc of Amazon Linux 2


def is_script(data: bytes) -> bool:
    """Whether it was meant as a script: it has a first line with #!, a byte order mark before it or not."""
    return data.removeprefix(_MARK).startswith(b"#!")


def first_bytes(path: str, data: bytes) -> Iterator[Finding]:
    """What an editor may have put there: with it nothing of the line is understood."""
    if data.startswith(_MARK):
        yield BYTE_ORDER_MARK.at(path)
    elif b"\r" in data.split(b"\n", 1)[0]:
        yield CARRIAGE_RETURN.at(path)


def shebang(subject: Subject, path: str, data: bytes) -> Iterator[Finding]:
    """What is wrong with the first line of the script at `path`."""
    spoilt = list(first_bytes(path, data))
    if spoilt:
        yield from spoilt
        return
    line = data.split(b"\n", 1)[0]
    if len(line) > _LONGEST_OLD:
        yield (TOO_LONG if len(line) > _LONGEST else LONG).at(path, length=len(line))
    words = line[2:].decode("utf-8", "backslashreplace").strip(" \t").split(None, 1)
    interpreter, argument = [*words, "", ""][:2]
    if interpreter in _ENVS:
        yield from _env(subject, path, interpreter, argument)
        return
    if len(argument.split()) > 1:
        yield ARGUMENTS.at(path, interpreter=interpreter, words=argument)
    yield from _interpreter(subject, path, interpreter)


def _env(subject: Subject, path: str, env: str, argument: str) -> Iterator[Finding]:
    words = argument.split()
    if words and words[0].startswith(("-S", "--split-string")):
        old = tuple(python for python in subject.pythons if PYTHONS[python] == _OLD_ENV)
        if old:
            yield ENV_SPLIT.at(path, old)
        attached = words[0].removeprefix("--split-string=").removeprefix("-S")
        words = [word for word in ([attached] if attached else []) + words[1:] if "=" not in word and word[:1] != "-"]
    elif len(words) > 1:
        yield ARGUMENTS.at(path, interpreter=env, words=argument)
        return
    command = words[0] if words else ""
    if command.startswith("/"):
        yield from _interpreter(subject, path, command)
        return
    missing = tuple(python for python in subject.pythons if not _on_path(subject, command, python))
    if missing:
        yield COMMAND_MISSING.at(path, subject.only(missing), command=command or "no command")


def _on_path(subject: Subject, command: str, python: str) -> bool:
    """PATH is /var/lang/bin, the system's folders, and /opt/bin."""
    return command in (*_ON_PATH, f"python{python}") or subject.find(f"bin/{command}") is not None


def _interpreter(subject: Subject, path: str, interpreter: str) -> Iterator[Finding]:
    if interpreter in (*_SHELLS, *_ENVS, "/var/lang/bin/python3"):
        return
    if interpreter.startswith("/opt/"):
        entry = subject.find(interpreter.removeprefix("/opt/"))
        if entry is not None:
            if subject.has_modes and not entry.mode & 0o001:
                yield INTERPRETER_MODE.at(path, interpreter=interpreter, mode=f"{entry.mode:04o}")
            return
    missing = tuple(python for python in subject.pythons if interpreter != f"/var/lang/bin/python{python}")
    if missing:
        yield INTERPRETER_MISSING.at(path, subject.only(missing), interpreter=interpreter or "(none)")
