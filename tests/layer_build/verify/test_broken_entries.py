"""Broken zips, and broken files in extensions/."""

from __future__ import annotations

import zipfile

import pytest

from tests.layer_build.verify.cases import BASH, HELLO, Case, refused, script
from tests.layer_build.verify.layers import SCRIPT, File, changed

LAUNCH = "Extension.LaunchError"
PATHS = [
    Case("leaves /opt", changed(BASH, at="../evil", data=b"x"), "leaves-opt", ("out of /opt",)),
    Case("absolute path", changed(BASH, at="/etc/evil", data=b"x"), "leaves-opt", ("out of /opt",)),
    Case(
        "backslash",
        changed(BASH, at="hello\\other.txt", data=b"x"),
        "backslash",
        ("backslash", "not found and not started"),
    ),
    Case("twice", BASH, "duplicate-entry", ("2 entries",), again=((HELLO, File(SCRIPT, 0o755)),)),
    Case(
        "twice, spelled otherwise",
        BASH,
        "duplicate-entry",
        ("2 entries",),
        again=((f"./{HELLO}", File(SCRIPT, 0o755)),),
    ),
    Case("file and folder", changed(BASH, at="hello", data=b"x"), "duplicate-entry", ("2 entries",)),
    Case(
        "encrypted",
        changed(BASH, at="hello/words.txt", data=b"x", encrypted=True),
        "encrypted",
        ("Could not unzip uploaded file",),
    ),
    Case(
        "bzip2",
        changed(BASH, at="hello/words.txt", data=b"x", method=zipfile.ZIP_BZIP2),
        "unreadable-entry",
        ("method 12", "Could not unzip uploaded file"),
    ),
    Case(
        "no Unix modes",
        {path: File(file.data, unix=False) for path, file in BASH.items()},
        "no-unix-modes",
        ("without Unix modes", "permission denied", "PermissionDenied", LAUNCH),
    ),
    Case(
        "private file",
        changed(BASH, at="hello/words.txt", data=b"x", mode=0o600),
        "not-readable",
        ("0600", "[Errno 13] Permission denied"),
    ),
    Case(
        "link out of the layer",
        changed(BASH, at="hello/link", data=b"../../etc/hosts", link=True),
        "link-outside",
        ("outside of the layer",),
    ),
    Case(
        "link to a home",
        changed(BASH, at="hello/link", data=b"/home/me/words", link=True),
        "link-outside",
        ("/home/me/words",),
    ),
    Case(
        "link to nothing",
        changed(BASH, at="hello/link", data=b"word.txt", link=True),
        "link-dangling",
        ("word.txt", "no such file"),
    ),
    Case(
        "link to itself",
        changed(BASH, at="hello/link", data=b"link", link=True),
        "link-dangling",
        ("which the layer does not have",),
    ),
    Case(
        "link to the runtime",
        changed(BASH, at="hello/link", data=b"/var/lang/bin/python3", link=True),
        "link-to-system",
        ("/var/lang",),
    ),
    Case("Mac leftovers", changed(BASH, at="__MACOSX/hello/._words.txt", data=b"x"), "mac-leftover", ("macOS",)),
]
ENTRIES = [
    Case(
        "not executable",
        changed(BASH, at=HELLO, data=SCRIPT, mode=0o644),
        "not-executable",
        ("0644", f"fork/exec /opt/{HELLO}: permission denied", LAUNCH, "PermissionDenied", "chmod 0755"),
    ),
    Case("executable for its owner", changed(BASH, at=HELLO, data=SCRIPT, mode=0o744), "not-executable", ("0744",)),
    Case(
        "carriage return",
        script(b"#!/bin/bash\r\n"),
        "cr-in-shebang",
        (f"fork/exec /opt/{HELLO}: no such file or directory", "dos2unix"),
    ),
    Case(
        "byte order mark",
        changed(BASH, at=HELLO, data=b"\xef\xbb\xbf" + SCRIPT, mode=0o755),
        "byte-order-mark",
        ("byte order mark", "exec format error"),
    ),
    Case(
        "no first line",
        script(b"set -eu\n"),
        "no-shebang",
        ("neither a program nor a script", "exec format error", LAUNCH),
    ),
    Case("empty", changed(BASH, at=HELLO, data=b"", mode=0o755), "no-shebang", ("it is empty", "exec format error")),
    Case(
        "unknown interpreter",
        script(b"#!/usr/local/bin/python3\n"),
        "interpreter-missing",
        ("/usr/local/bin/python3", "no such file"),
    ),
    Case(
        "interpreter of another version",
        script(b"#!/var/lang/bin/python3.9 -IS\n"),
        "interpreter-missing",
        ("python3.9",),
    ),
    Case(
        "interpreter not in the layer", script(b"#!/opt/hello/python\n"), "interpreter-missing", ("/opt/hello/python",)
    ),
    Case(
        "interpreter in the layer, not executable",
        script(b"#!/opt/hello/words.txt\n"),
        "interpreter-not-executable",
        ("0644", "denied"),
    ),
    Case(
        "env node",
        script(b"#!/usr/bin/env node\n"),
        "env-command-missing",
        ("env: 'node': No such file or directory", "Extension.Crash"),
    ),
    Case(
        "env -S on Amazon Linux 2",
        script(b"#!/usr/bin/env -S python3 -IS\n"),
        "env-split",
        ("coreutils 8.22",),
        ("--python", "3.11"),
    ),
    Case(
        "several arguments",
        script(b"#!/var/lang/bin/python3 -I -S\n"),
        "shebang-arguments",
        ("-I -S", "as one argument"),
    ),
    Case("several arguments for env", script(b"#!/usr/bin/env python3 -I\n"), "shebang-arguments", ("python3 -I",)),
    Case("300 bytes", script(b"#!/bin/bash -" + b"e" * 300 + b"\n"), "shebang-too-long", ("313 bytes", "255")),
    Case("200 bytes", script(b"#!/bin/bash -" + b"e" * 187 + b"\n"), "shebang-long", ("200 bytes", "127")),
    Case(
        "a README",
        changed(BASH, at="extensions/README.md", data=b"# Hello\n"),
        "stray-file",
        ("text or data", "permission denied", LAUNCH),
    ),
    Case(
        "a module",
        changed(BASH, at="extensions/helper.py", data=b"X = 1\n", mode=0o755),
        "stray-file",
        ("a Python module", "exec format error"),
    ),
    Case(
        "a package", changed(BASH, at="extensions/__init__.py", data=b""), "stray-file", ("part of a Python package",)
    ),
    Case(
        ".DS_Store",
        changed(BASH, at="extensions/.DS_Store", data=b"\0\0\0\1Bud1"),
        "stray-file",
        ("a hidden file",),
        beside=("mac-leftover",),
    ),
    Case("data", changed(BASH, at="extensions/config.json", data=b"{}"), "stray-file", ("text or data",)),
    Case(
        "a link to a folder",
        changed(BASH, at="extensions/more", data=b"../hello", link=True),
        "link-to-folder",
        ("a link to a folder", "permission denied"),
    ),
    Case(
        "a sub-folder",
        changed(BASH, at="extensions/lib/x.sh", data=SCRIPT, mode=0o755),
        "subfolder-ignored",
        ("looks no deeper",),
    ),
    Case(
        "eleven",
        {**BASH, **{f"extensions/e{n}": File(SCRIPT, 0o755) for n in range(10)}},
        "too-many-extensions",
        ("11", "TooManyExtensions"),
    ),
    Case(
        "switched off",
        changed(BASH, at="disable-extensions-jwigqn8j", data=b""),
        "extensions-disabled",
        ("no extension at all",),
    ),
    Case(
        "one folder too deep",
        {f"layer/{path}": file for path, file in BASH.items()},
        "folder-too-deep",
        ("inside layer/", "cd layer"),
    ),
    Case(
        "another name in a header",
        script(b'#!/bin/bash\ncurl -H "Lambda-Extension-Name: hello" x\n'),
        "registered-name",
        ("'hello'", "hello.sh", "Extension.InvalidEventType"),
    ),
    Case(
        "another name in a module",
        changed(BASH, at="hello/main.py", data=b'h = {"Lambda-Extension-Name": "hello"}\n'),
        "registered-name",
        ("registers as 'hello'", "basename"),
    ),
]


CASES = [*PATHS, *ENTRIES]


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_a_broken_layer_is_refused(capsys, tmp_path, case):
    """Its own code, its own words, and nothing else is said."""
    refused(case, capsys, tmp_path)
