"""``build --runtime any``: layers that carry an interpreter, and what `verify` holds them to. It is one in name only."""

from __future__ import annotations

import json

import pytest

from layer_build import interpreters, provenance, sbom, tree
from layer_build.checks.subject import Subject
from layer_build.cli import main
from layer_build.commands.verify import report
from layer_build.interpreter import made
from layer_build.tree import Entry
from tests.layer_build.interpreter.folders import PYC, finished, program
from tests.layer_build.test_build import author

PLACE = "extension-kit-python/3.13"
PROGRAM = f"{PLACE}/bin/python3.13"
BYTECODE = () if interpreters.find("3.13") else ("--no-bytecode",)


@pytest.fixture
def interpreter(tmp_path):
    return finished(tmp_path / "interpreter")


@pytest.fixture
def layer(tmp_path, interpreter, capsys):
    """Builds an extension as a layer for any runtime; its zip."""

    def build(*words):
        folder = author(tmp_path / "source")
        given = ["build", str(folder), "--runtime", "any", "--arch", "x86_64", "--interpreter", str(interpreter)]
        assert main([*given, *BYTECODE, "--out", str(tmp_path / "out"), *words]) == 0, capsys.readouterr().err
        (path,) = (tmp_path / "out").glob("*.zip")
        return path

    return build


def test_the_layout(layer, interpreter):
    """The place is the same for every layer of ours, so that several share it."""
    path = layer()
    files = tree.read(path)

    assert path.name == "my-ext-2.1-x86_64-any.zip"
    assert {name.split("/")[0] for name in files} == {"extensions", "my-ext", "extension-kit-python"}
    assert files[PROGRAM] == Entry(program(), 0o755)
    assert {name for name in files if name.startswith(PLACE)} == set(made.tree(interpreter))
    assert b"pythons 3.13\n" in files["my-ext/launcher.conf"].data
    made_by = provenance.parse(files["my-ext/provenance.json"].data)
    assert (made_by.interpreter, made_by.interpreter_sha256) == ("3.13.5", made.load(interpreter).sha256)


def test_the_list_of_parts_has_the_interpreter_and_its_fixes(layer):
    """For who looks for vulnerabilities: OpenSSL 3.5.7 with these fixes is not OpenSSL 3.5.7."""
    _subject, parts = sbom.read(tree.read(layer())["my-ext/sbom.cdx.json"].data)
    found = {part.name: part for part in parts}

    assert found["openssl"].version == "3.5.7"
    assert ("security fixes", "CVE-2026-1.patch") in found["extension-kit-python"].notes


def test_it_is_always_the_same(layer, tmp_path):
    before = layer().read_bytes()
    (tmp_path / "out" / "my-ext-2.1-x86_64-any.zip").unlink()
    (tmp_path / "source").rename(tmp_path / "elsewhere")

    assert layer().read_bytes() == before


def test_nothing_is_found_in_it(layer):
    one = report(layer())

    assert [finding for finding, _paths in one.groups if finding.level == "error"] == []


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--launcher", "python"], "a layer for any runtime has the native one"),
        (["--arch", "arm64"], "none for arm64 was named"),
        (["--python", "3.12"], "this layer is for 3.12"),
        (["--runtime", "python"], "--interpreter is for --runtime any"),
    ],
)
def test_options_that_do_not_fit(tmp_path, interpreter, capsys, words, says):
    folder = author(tmp_path / "source")
    given = [
        "build",
        str(folder),
        "--runtime",
        "any",
        "--arch",
        "x86_64",
        "--interpreter",
        str(interpreter),
        "--no-bytecode",
    ]

    assert main([*given, "--out", str(tmp_path / "out"), *words]) == 2
    assert says in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("content", [None, b"{}", b"[]", b"nonsense", b'{"format": 1}', b'{"format": 9}'])
def test_a_folder_that_is_no_interpreter(tmp_path, interpreter, capsys, content):
    if content is None:
        (interpreter / made.FILE).unlink()
    else:
        (interpreter / made.FILE).write_bytes(content)
    given = ["build", str(author(tmp_path / "source")), "--runtime", "any", "--arch", "x86_64", "--no-bytecode"]

    assert main([*given, "--interpreter", str(interpreter), "--out", str(tmp_path / "out")]) == 2
    assert f"{interpreter}: no interpreter (" in capsys.readouterr().err


def found(path):
    """Codes of the errors, with what they say."""
    groups = report(path).groups
    return {(finding.code, finding.what) for finding, _paths in groups if finding.level == "error"}


def changed(path, *, without="", **files):
    """The zip at `path` with other files."""
    content = {name: entry for name, entry in tree.read(path).items() if not without or not name.startswith(without)}
    tree.write_zip({**content, **files}, path)
    return path


@pytest.mark.parametrize(
    ("without", "files", "says"),
    [
        (PROGRAM, {}, "has no bin/python3.13"),
        ("", {PROGRAM: Entry(program(), 0o644)}, "no execute bit"),
        ("", {PROGRAM: Entry(program() + b"x", 0o755)}, "is not the one in provenance.json"),
        (f"{PLACE}/lib/python3.13/os.pyc", {}, "has no os.pyc"),
        (f"{PLACE}/lib/python3.13/lib-dynload", {}, "lib-dynload is missing"),
        ("", {"extension-kit-python/3.12/bin/python3.12": Entry(program(), 0o755),
              "extension-kit-python/3.12/lib/python3.12/os.pyc": Entry(b"\xcb\x0d\r\n" + PYC[4:]),
              "extension-kit-python/3.12/lib/python3.12/lib-dynload/.keep": Entry(b"")}, "so nothing uses it"),
    ],
    ids=["missing", "mode", "other", "library", "lib-dynload", "unused"],
)  # fmt: skip
def test_an_interpreter_that_is_not_whole(layer, without, files, says):
    (error,) = found(changed(layer(), without=without, **files))

    assert error[0] == "own-interpreter"
    assert says in error[1]


def test_everything_in_it_must_run_on_amazon_linux_2(layer):
    """A module for glibc 2.34 is right for python3.13, and wrong where the same layer shall run on java8.al2."""
    codes = found(changed(layer(), **{"my-ext/lib/fast.so": Entry(program(glibc="2.34"))}))

    assert ("glibc-too-new", "it wants GLIBC_2.34; the runtime's operating system has GLIBC_2.26") in codes


def test_byte_code_of_its_library_must_be_its_own(layer):
    wrong = {f"{PLACE}/lib/python3.13/abc.pyc": Entry(b"\xcb\x0d\r\n" + PYC[4:])}

    assert {code for code, _what in found(changed(layer(), **wrong))} == {"bytecode-other-python"}


def test_what_provenance_said_before_there_were_interpreters(layer):
    """Layers of the version before are still read."""
    content = json.loads(tree.read(layer())["my-ext/provenance.json"].data)
    del content["interpreter"], content["interpreter_sha256"]

    assert provenance.parse(json.dumps(content).encode()).interpreter == ""


def test_it_is_counted_as_part_of_the_layer(layer):
    """The limit is for everything that is unzipped."""
    from layer_build import archive

    path = layer()
    assert tree.size(Subject(archive.read(path)).files) > len(program())
