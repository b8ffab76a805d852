"""``inspect``: what is in a layer of ours, in anyone's, and in a damaged one."""

from __future__ import annotations

import hashlib
import json

import pytest

from layer_build import contents, tree
from layer_build.cli import main
from layer_build.text import folders, table
from layer_build.tree import Entry
from tests.layer_build import sample


def shown(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    assert main(["inspect", *map(str, words)]) == 0
    return capsys.readouterr().out


def test_one_of_ours(tmp_path, capsys):
    path = sample.zipped(tmp_path / "layer.zip")
    out = shown(capsys, path)
    for line in (
        f"  zip SHA-256   {hashlib.sha256(path.read_bytes()).hexdigest()}",
        f"  tree SHA-256  {tree.tree_hash(sample.files())}",
        "  extensions/log-shipper  0755  120  native, static x86_64",
        "log-shipper 1.2.0: Sends log lines to my service.",
        "  It may talk to: logs.example.com (where the lines go); s3.{region}.amazonaws.com.",
        "  for             x86_64, Python 3.13",
        "  launcher        native, compiled by zig 0.17.1",
        f"  its SHA-256     {hashlib.sha256(sample.elf()).hexdigest()}",
        "  registered by   the launcher, before Python is up",
        "  ports it opens  http 2773 LOG_SHIPPER_PORT -",
        "  byte-code by    Python 3.13.0",
        "        runner.py     22,000    1 file",
    ):
        assert line in out.splitlines()
    assert [line.split()[:2] for line in out.split("(SBOM)\n")[1].splitlines()[:4]] == [
        ["extension-kit-launcher", "0.1.0"],
        ["certifi", "2026.10.18"],
        ["lambda-extension-kit", "0.1.0"],
        ["requests", "2.34.2"],
    ]
    assert "not understood" not in out
    assert "what the function sees of it" not in out
    unzipped = tree.size(sample.files())
    assert f"{unzipped:,}  bytes; 0.02% of the 262,144,000 that a function" in out


def test_the_same_from_a_folder(tmp_path, capsys):
    out = shown(capsys, sample.unpacked(tmp_path / "opt"))
    assert "  zip SHA-256   - (a folder)" in out
    assert f"  tree SHA-256  {tree.tree_hash(sample.files())}" in out


def test_a_layer_of_somebody_else(tmp_path, capsys):
    out = shown(capsys, sample.zipped(tmp_path / "agent.zip", sample.third_party())).splitlines()
    assert "  extensions/agent     0755  120  native, dynamic arm64" in out
    assert "  extensions/start.sh  0755   32  script, starts with #!/bin/bash" in out
    assert "It carries no manifest of ours: nothing in it says what it may do." in out
    assert "  python/  its modules are on the sys.path of Python functions" in out


def test_a_layer_without_extensions(tmp_path, capsys):
    out = shown(capsys, sample.zipped(tmp_path / "lib.zip", {"lib/x.so": Entry(b"x")}))
    assert "  nothing: no extension is in it" in out


def test_json_has_every_file_and_the_sentences(tmp_path, capsys):
    path = sample.zipped(tmp_path / "layer.zip")
    found = json.loads(shown(capsys, path, "--json"))
    assert [one["path"] for one in found["files"]] == sorted(sample.files())
    assert {one["path"]: one["mode"] for one in found["files"]}["extensions/log-shipper"] == "0755"
    assert (found["zipped"], found["unzipped"]) == (path.stat().st_size, tree.size(sample.files()))
    (one,) = found["extensions"]
    assert one["manifest"]["hosts"][0] == {"host": "logs.example.com", "why": "where the lines go", "when": ""}
    assert one["explained"][0].startswith("It may talk to: logs.example.com")
    assert one["provenance"]["dependencies"][1]["name"] == "requests"
    assert one["registers"] == "early"
    assert one["ports"] == ["http 2773 LOG_SHIPPER_PORT -"]
    assert {part["name"] for part in one["components"]} == {
        "extension-kit-launcher", "certifi", "lambda-extension-kit", "requests",
    }  # fmt: skip


def test_json_of_a_folder_of_somebody_else(tmp_path, capsys):
    found = json.loads(shown(capsys, sample.unpacked(tmp_path / "opt", sample.third_party()), "--json"))
    assert (found["sha256"], found["zipped"], found["extensions"]) == (None, None, [])
    assert found["seen_by_function"] == ["python/"]


def test_a_python_entry(tmp_path, capsys):
    out = shown(capsys, sample.zipped(tmp_path / "layer.zip", sample.files(launcher="python", dependencies={})))
    assert "Python, starts with #!/var/lang/bin/python3 -IS" in out
    assert "  launcher        python\n" in out
    assert "  registered by   Python\n" in out
    assert "  ports it opens  none\n" in out


def test_a_launcher_that_leaves_registering_to_python(tmp_path, capsys):
    layer = sample.files()
    layer["log-shipper/launcher.conf"] = Entry(b"extension-kit-launcher 1\nregister late\n")
    assert "  registered by   Python\n" in shown(capsys, sample.zipped(tmp_path / "layer.zip", layer))


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("manifest.toml", "log-shipper/manifest.toml: not TOML: "),
        ("provenance.json", "log-shipper/provenance.json: not JSON: "),
        ("sbom.cdx.json", "log-shipper/sbom.cdx.json: SBOM: not CycloneDX in JSON: "),
    ],
)
def test_what_is_damaged_is_named_and_the_rest_is_shown(tmp_path, capsys, file, said):
    layer = sample.files()
    layer[f"log-shipper/{file}"] = Entry(b"\xff not this")
    out = shown(capsys, sample.zipped(tmp_path / "layer.zip", layer))
    assert f"not understood\n  {said}" in out
    assert ("how log-shipper was made" in out) == (file != "provenance.json")
    assert ("It may talk to" in out) == (file != "manifest.toml")


def test_names_in_a_layer_cannot_reach_the_terminal(tmp_path, capsys):
    layer = {"extensions/\x1b[2Jx": Entry(b"#!/bin/sh \x1b[31m\n", 0o755), "a\nb": Entry(b"")}
    out = shown(capsys, sample.unpacked(tmp_path / "opt", layer))
    assert "\x1b" not in out
    assert "  a b " in out


@pytest.mark.parametrize(
    ("data", "kind", "machine"),
    [
        (sample.elf("x86_64"), "native, static", "x86_64"),
        (sample.elf("arm64", dynamic=True), "native, dynamic", "arm64"),
        (sample.elf()[:30], "native, not 64-bit little-endian ELF or cut short", "x86_64"),
        (sample.elf()[:70], "native, static", "x86_64"),
        (b"\x7fELF", "native, not 64-bit little-endian ELF or cut short", "machine 0"),
        (b"#!/usr/bin/env node\r\n", "script, starts with #!/usr/bin/env node", ""),
        (b"#!/usr/bin/env python3", "Python, starts with #!/usr/bin/env python3", ""),
        (b"MZ\x90", "neither ELF nor script: Lambda cannot start it", ""),
        (b"", "empty", ""),
    ],
)
def test_what_kind_of_program_it_is(data, kind, machine):
    assert contents.program(data) == (kind, machine)


def test_a_link_in_extensions_is_called_a_link(tmp_path):
    layer = {"extensions/x": Entry(b"../y/run", 0o777, is_link=True)}
    (one,) = contents.read(sample.zipped(tmp_path / "x.zip", layer)).executables
    assert (one.kind, one.machine) == ("link to ../y/run", "")


def test_small_files_are_summed_up_and_large_folders_opened():
    files = {f"big/{number:02}.so": Entry(b"x" * (100 - number)) for number in range(20)}
    files |= {f"small/{number}": Entry(b"x") for number in range(3)}
    rows = folders(files)
    assert rows[0] == ("big/", sum(range(81, 101)), 20)
    assert rows[1] == ("  00.so", 100, 1)
    assert rows[13] == ("  ... 8 more", sum(range(81, 89)), 8)
    assert rows[14:] == [("small/", 3, 3)]


def test_a_table_of_nothing_has_no_lines():
    assert table([]) == []
    assert table([["a", "1"], ["bb", "22"]], numbers=(1,)) == ["  a    1", "  bb  22"]


@pytest.mark.parametrize(
    ("name", "why"), [("none.zip", "no such file or directory"), ("text.zip", "not a readable zip: ")]
)
def test_what_cannot_be_read_is_one_line(tmp_path, capsys, name, why):
    (tmp_path / "text.zip").write_text("no zip")
    assert main(["inspect", str(tmp_path / name)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(f"layer_build inspect: {tmp_path / name}: {why}")
    assert captured.err.count("\n") == 1
