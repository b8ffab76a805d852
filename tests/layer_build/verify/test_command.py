"""The command `verify`: what it prints, how it ends, and what it refuses to look at."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from layer_build import cli, manifest, sources
from layer_build.archive import Archive
from layer_build.checks import capabilities, findings, size
from layer_build.checks.subject import Subject
from layer_build.targets import MAX_UNZIPPED
from layer_build.tree import Entry
from tests.layer_build.verify import (
    test_broken_binaries,
    test_broken_entries,
    test_broken_own,
    test_broken_secrets,
)
from tests.layer_build.verify.cases import BASH, HELLO, verify
from tests.layer_build.verify.layers import PYTHON, SCRIPT, File, changed, of_ours, write

ROOT = Path(__file__).parents[3]
README = ROOT / "layer_build" / "checks" / "README.md"


def shown(capsys, *words: object) -> tuple[int, str]:
    status = cli.main(["verify", *map(str, words)])
    return status, capsys.readouterr().out


def test_a_good_layer_is_clean(capsys, tmp_path):
    """What it was looked at for, the head-room, and one word."""
    layer = write(tmp_path / "hello.zip", BASH)
    unzipped = sum(len(file.data) for file in BASH.values())

    status, text = shown(capsys, layer)

    assert status == 0
    assert text.splitlines()[0] == "hello.zip: looked at as a layer for x86_64 and arm64, Python 3.11, 3.12, 3.13, 3.14"
    assert f"{MAX_UNZIPPED - unzipped:,} bytes" in text
    assert text.splitlines()[-1] == "verify: hello.zip: clean"


def test_findings_are_told_with_reason_and_fix(capsys, tmp_path):
    """Errors before notes, several files in one, and the count at the end."""
    files = {**BASH, **{f"hello/{n}": File(b"x", 0o600) for n in range(5)}, "extensions/lib/x": File(b"")}
    status, text = shown(capsys, write(tmp_path / "l.zip", files))

    lines = text.splitlines()
    assert status == 1
    first = lines.index("error not-readable: hello/0, hello/1, hello/2 and 2 more")
    assert lines[first + 1] == "    mode 0600: not everybody may read it"
    assert lines[first + 2].startswith("    why: Lambda runs functions and extensions as a user")
    assert lines[first + 3].startswith("    fix: chmod -R a+rX")
    assert lines.index("note subfolder-ignored: extensions/lib/") > first
    assert lines[-1] == "verify: l.zip: 1 error, 1 note"


def test_the_python_that_a_finding_is_about(capsys, tmp_path):
    """Only Amazon Linux 2 has the old env."""
    files = changed(BASH, at=HELLO, data=b"#!/usr/bin/env -S python3 -IS\n", mode=0o755)
    layer = write(tmp_path / "l.zip", files)

    assert f"error env-split: {HELLO} (Python 3.11)" in shown(capsys, layer)[1]
    assert shown(capsys, layer, "--python", "3.12,3.13")[0] == 0
    assert verify(capsys, layer)[1]["findings"][0]["pythons"] == ["3.11"]


def test_ours_says_itself_what_it_is_for(capsys, tmp_path):
    """Architecture and Python come from the layer's own files."""
    status, report = verify(capsys, write(tmp_path / "l.zip", of_ours()))

    assert (status, report["architectures"], report["pythons"]) == (0, ["x86_64"], [PYTHON])


def test_no_byte_code_by_choice_is_a_note(capsys, tmp_path):
    """Built with --no-bytecode: slower, and not broken."""
    files = {path: file for path, file in of_ours().items() if not path.endswith(".pyc")}
    made_by = json.loads(files["my-ext/provenance.json"].data)
    made_by["bytecode"] = {}
    files["my-ext/provenance.json"] = File(json.dumps(made_by).encode())

    status, report = verify(capsys, write(tmp_path / "l.zip", files))

    assert status == 0
    assert [one["code"] for one in report["findings"]] == ["bytecode-none"]


def test_an_entry_in_python_needs_no_launcher_files(capsys, tmp_path):
    """--launcher python: neither launcher.conf nor boot.py."""
    files = of_ours()
    entry = f"#!/var/lang/bin/python{PYTHON} -IS\nimport sys\n".encode()
    made_by = json.loads(files["my-ext/provenance.json"].data)
    made_by |= {"launcher": "python", "launcher_sha256": hashlib.sha256(entry).hexdigest()}
    files["my-ext/provenance.json"] = File(json.dumps(made_by).encode())
    files["extensions/my-ext"] = File(entry, 0o755)
    del files["my-ext/launcher.conf"], files["my-ext/boot.py"]

    status, report = verify(capsys, write(tmp_path / "l.zip", files))

    assert (status, report["findings"]) == (0, [])


def test_what_is_attached_beside_it_counts(capsys, tmp_path):
    """A function's folder, another layer's zip, a number: each with its size, and what is left."""
    layer = write(tmp_path / "hello.zip", BASH)
    unzipped = sum(len(file.data) for file in BASH.values())
    function = tmp_path / "function"
    function.mkdir()
    (function / "app.py").write_bytes(bytes(500))
    other = write(tmp_path / "other.zip", {"lib/x": File(bytes(70_000))})
    beside = ("--with", function, "--with", other, "--with", "100,000,000")

    status, text = shown(capsys, layer, *beside)
    assert status == 0
    for name, number in (("function", 500), ("other.zip", 70_000), ("together", 100_070_500 + unzipped)):
        assert f"  {name:<40} {number:>13,} bytes" in text
    assert f"{MAX_UNZIPPED - 100_070_500 - unzipped:,} bytes" in text

    status, report = verify(capsys, layer, *beside, "--with", MAX_UNZIPPED - 100_070_500 - unzipped)
    assert (status, report["budget"]["left"]) == (0, 0)
    status, report = verify(capsys, layer, *beside, "--with", MAX_UNZIPPED - 100_070_500 - unzipped + 1)
    (found,) = report["findings"]
    assert (status, found["code"], report["budget"]["left"]) == (1, "too-large-together", -1)
    assert "Function code combined with layers exceeds the maximum allowed size of 262144000 bytes" in found["why"]
    assert "1 more than Lambda allows" in found["what"]


def test_limits_of_size(capsys, tmp_path, monkeypatch):
    """Alone too large is an error; too large for a request is a note. With limits that a test can reach."""
    layer = write(tmp_path / "hello.zip", BASH)
    monkeypatch.setattr(size, "MAX_UNZIPPED", 100)
    monkeypatch.setattr(size, "MAX_DIRECT", 50)

    status, report = verify(capsys, layer)

    texts = {one["code"]: one["why"] for one in report["findings"]}
    assert status == 1
    assert set(texts) == {"too-large", "zip-over-50-mb"}
    assert "exceeds the maximum allowed size" in texts["too-large"]
    assert "RequestEntityTooLargeException" in texts["zip-over-50-mb"]


def test_a_secret_is_never_shown(capsys, tmp_path):
    """Where and what kind, in text and JSON; the examples of AWS's own docs are nobody's secret."""
    secret = "AKIA" + "Q3EGRN5T7WVB2XYZ"
    text = f"AKIAIOSFODNN7EXAMPLE\nAKIAI44QH8DHBEXAMPLE\n{secret}\n".encode()
    layer = write(tmp_path / "l.zip", changed(BASH, at="hello/conf", data=text))

    for words in ((), ("--json",)):
        status, out = shown(capsys, layer, *words)
        assert status == 1
        assert "an AWS access key id in line 3" in out
        assert secret[4:] not in out
    examples = write(tmp_path / "e.zip", changed(BASH, at="hello/conf", data=text.replace(secret.encode(), b"")))
    assert shown(capsys, examples)[0] == 0


def test_names_cannot_command_the_terminal(capsys, tmp_path):
    """A zip's names may hold anything; what is not printable is escaped."""
    status, text = shown(capsys, write(tmp_path / "l.zip", changed(BASH, at="hello/\x1b[2J\n", data=b"", mode=0o600)))

    assert status == 1
    assert "\x1b" not in text
    assert "hello/\\x1b[2J\\n" in text


def test_several_layers_are_looked_at_one_by_one(capsys, tmp_path):
    """Each has its own verdict; one error is enough for the exit status."""
    good = write(tmp_path / "good.zip", BASH)
    bad = write(tmp_path / "bad.zip", changed(BASH, at=HELLO, data=SCRIPT))

    status, text = shown(capsys, good, bad)

    assert status == 1
    assert "verify: good.zip: clean" in text
    assert text.endswith("verify: bad.zip: 1 error\n")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["{tmp}/missing.zip"], "missing.zip: no such file or directory"),
        (["{tmp}/text.zip"], "text.zip: not a readable zip"),
        (["{tmp}/good.zip", "--python", "2.7"], "Python '2.7': layers can be built for 3.11, 3.12, 3.13, 3.14"),
        (["{tmp}/good.zip", "--with", "much"], "--with much: neither a zip, nor a folder, nor a number of bytes"),
        (["{tmp}/good.zip", "--with", "{tmp}/text.zip"], "text.zip: not a readable zip"),
        (["{tmp}/good.zip", "--arch", "mips"], "invalid choice: 'mips'"),
        ([], "the following arguments are required: LAYER"),
    ],
)
def test_what_cannot_be_looked_at_is_one_line(tmp_path, words, says):
    """Exit status 2, nothing on stdout."""
    write(tmp_path / "good.zip", BASH)
    (tmp_path / "text.zip").write_text("no zip")
    command = [sys.executable, "-m", "layer_build", "verify", *(word.format(tmp=tmp_path) for word in words)]

    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)

    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1
    assert says in done.stderr


def test_a_damaged_entry_is_told(capsys, tmp_path):
    """The sum of an entry does not match: a finding, not an end."""
    layer = write(tmp_path / "l.zip", changed(BASH, at="hello/data", data=b"0123456789abcdef", method=0))
    layer.write_bytes(layer.read_bytes().replace(b"0123456789abcdef", b"0123456789abcdeF"))

    status, report = verify(capsys, layer)

    assert status == 1
    assert [one["code"] for one in report["findings"]] == ["unreadable-entry"]
    assert "Bad CRC-32" in report["findings"][0]["what"]


def test_the_readme_lists_every_rule():
    """The table is what `findings.markdown` prints."""
    assert findings.markdown() in README.read_text()


def test_every_rule_is_shown_by_a_broken_layer():
    """A rule that no layer breaks is not known to work. Those of size, and the note on byte-code, stand above."""
    cases = [
        *test_broken_entries.CASES, *test_broken_binaries.CASES, *test_broken_secrets.SECRETS, *test_broken_own.CASES,
    ]  # fmt: skip
    here = {"too-large", "too-large-together", "zip-over-50-mb", "bytecode-none", "no-extension"}

    assert len({case.name for case in cases}) == len(cases)
    assert set(findings.RULES) == {case.code for case in cases} | here


@pytest.mark.parametrize(
    "folder", sorted((ROOT / "extensions").glob("*/manifest.toml")), ids=lambda path: path.parent.name
)
def test_our_extensions_do_what_their_manifests_say(folder):
    """The code in this checkout, as it would lie in a layer, against its own manifest."""
    said = manifest.load(folder.parent, "1")
    name = said.name
    files = {f"{name}/lib/{path}": entry for path, entry in sources.extension(folder.parent, said).items()}
    files |= {f"{name}/manifest.toml": Entry(folder.read_bytes()), f"{name}/boot.py": Entry(b"")}
    subject = Subject(Archive(folder, files, frozenset()))

    found = list(capabilities.check(subject))

    assert [own.name for own in subject.own] == [name]
    assert [one for one in found if one.level == findings.ERROR] == []
