"""Whatever a layer holds: verify says something of it, and never ends in an exception."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from extension_kit.errors import ConfigError
from layer_build import archive
from layer_build.checks import all_findings, launcher_conf, source
from layer_build.checks.report import Report, grouped
from layer_build.checks.size import Budget
from layer_build.checks.subject import Subject
from layer_build.tree import Entry
from tests.layer_build.verify.elves import elf, program
from tests.layer_build.verify.layers import CONF, MANIFEST, PLUGIN, of_bash, of_ours, write

EXAMPLES = int(os.environ.get("KIT_TESTS_FUZZ_EXAMPLES", "150"))
OURS = {path: Entry(file.data, file.mode) for path, file in of_ours().items()}
PATHS = [
    *OURS,
    "extensions/a", "extensions/a.py", "extensions/b/c", "python/x.pyc", "python/x.py", "python/boto3/__init__.py",
    "python/x.cpython-312-x86_64-linux-gnu.so", "python/__pycache__/x.cpython-312.pyc", "lib/libx.so.1", "my-ext", "a/b/c",
    "a/b", "b/manifest.toml", "b/provenance.json", "__pycache__/x.pyc", ".git/config", "\x00", "\udcff",
]  # fmt: skip
SNIPPETS = [
    b"",
    *(
        b"#!" + line
        for line in (b"", b" ", b"/usr/bin/env", b"/usr/bin/env -S", b"/usr/bin/env -S -i A=b", b"/opt/a/b\n", b"x\r\n")
    ),
    b"\xef\xbb\xbf#!",
    b"MZ",
    b"\xca\xfe\xba\xbe",
    program(),
    program()[:70],
    elf(needed=("../x", "")),
    *(text.encode() for text in (CONF, MANIFEST, PLUGIN)),
    *(b"[" * 3000, b"{" * 3000, b"a = " + b"[" * 3000, b"null", b"[]", b'{"format": 1}'),
    *(
        b"a = " + b"-" * 5000 + b"1",
        b"class A(A): pass\nclass B(A, B): prefix = 3\n",
        b"\0",
        b"x = b'\xff'",
        b"x = '\\d'",
    ),
    *(b"AKIA" + b"B" * 16, b"-----BEGIN PRIVATE KEY-----\n" * 50),
    *(b'h["Lambda-Extension-Name"] = "\xff"\n', b"import posix\nposix.environ[b'\xff']\n"),
]

entries = st.builds(
    Entry,
    data=st.one_of(st.sampled_from(SNIPPETS), st.binary(max_size=80)),
    mode=st.sampled_from([0o755, 0o644, 0, 0o100]),
    is_link=st.sampled_from([False, False, False, True]),
)
trees = st.dictionaries(st.sampled_from(PATHS), entries, max_size=8)


@settings(max_examples=EXAMPLES, deadline=None)
@given(trees, st.booleans())
def test_any_files(files, in_ours):
    """Broken in every part at once; what is said can be printed and is JSON."""
    subject = Subject(archive.Archive(Path("x"), {**OURS, **files} if in_ours else files, frozenset()))

    found = grouped(all_findings(subject))

    one = Report("x", subject, Budget(1), found)
    assert one.verdict.startswith("verify: x: ")
    assert one.text(80).encode()
    assert one.text().encode()
    assert len(json.loads(json.dumps(one.json()))["findings"]) == one.errors + one.notes


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), max_size=6), st.integers(0, 10_000))
def test_any_damage_to_a_zip(changes, cut):
    """Readable, or one line that says why not."""
    with tempfile.TemporaryDirectory() as folder:
        path = write(Path(folder) / "l.zip", of_bash())
        data = bytearray(path.read_bytes())
        for at, value in changes:
            data[at % len(data)] = value
        path.write_bytes(data[: len(data) - (cut if cut < len(data) and cut % 3 == 0 else 0)])
        try:
            subject = Subject(archive.read(path))
        except ConfigError as error:
            said = str(error)
        else:
            said = Report("x", subject, Budget(1), grouped(all_findings(subject))).verdict
    assert said
    assert "\n" not in said


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.one_of(st.binary(max_size=200), st.text(alphabet="port early INVOKE123.-\n,/", max_size=120).map(str.encode)))
def test_any_launchers_file(data):
    """Read, or its problems told."""
    conf = launcher_conf.parse(b"extension-kit-launcher 1\n" + data)

    assert conf.problems or conf.register in ("early", "late")


@pytest.mark.parametrize("data", [b"(" * 10_000, b"a." * 20_000 + b"b", b"x = " + b"not " * 20_000 + b"1"])
def test_source_that_is_nested_too_deeply(data):
    """Refused as no Python, as the interpreter itself would."""
    with pytest.raises((SyntaxError, ValueError)):
        source.read(data, "m")
