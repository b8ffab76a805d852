"""The cache's key, the required modules, and what the build says where it cannot be."""

from __future__ import annotations

import struct

import pytest

from extension_kit.errors import ConfigError
from layer_build.cli import main
from layer_build.interpreter import compiled, cpython, hide, own, pins, steps
from layer_build.targets import ARCHITECTURES


@pytest.fixture(autouse=True)
def _no_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_the_key_changes_with_whatever_it_is_made_of(tmp_path, monkeypatch):
    before = compiled.key("x86_64")

    assert compiled.key("x86_64") == before != compiled.key("arm64")
    monkeypatch.setattr(pins, "OBJECT", (*pins.OBJECT, "-g"))
    with_flag = compiled.key("x86_64")
    for name in compiled._RECIPE:
        (tmp_path / name).write_bytes((compiled.HERE / name).read_bytes())
    (tmp_path / "libraries.py").write_text("# another recipe\n")
    monkeypatch.setattr(compiled, "HERE", tmp_path)
    assert len({before, with_flag, compiled.key("x86_64")}) == 3


def test_a_newer_bundle_of_certificates_does_not_compile_anew(monkeypatch):
    compile_key, folder = compiled.key("arm64"), own.folder("arm64")
    monkeypatch.setattr(pins, "CERTIFI_SHA256", "0" * 64)

    assert compiled.key("arm64") == compile_key
    assert own.folder("arm64") != folder


@pytest.mark.parametrize("lacking", ["perl", "patch"])
def test_a_program_that_is_missing(monkeypatch, capsys, lacking):
    found = steps.shutil.which
    monkeypatch.setattr(steps.shutil, "which", lambda name: None if name == lacking else found(name) or f"/bin/{name}")

    assert main(["interpreter", "--arch", "x86_64"]) == 2
    error = capsys.readouterr().err
    assert f"this machine lacks {lacking} ({steps.PROGRAMS[lacking]})" in error
    assert "--from" in error
    assert len(error.splitlines()) == 1


@pytest.mark.parametrize(("system", "machine"), [("Darwin", "arm64"), ("Linux", "riscv64")])
def test_a_machine_that_cannot_build_it(monkeypatch, system, machine):
    monkeypatch.setattr(cpython.platform, "system", lambda: system)
    monkeypatch.setattr(cpython.platform, "machine", lambda: machine)

    with pytest.raises(ConfigError, match=f"not on {system} on {machine}"):
        cpython.own_arch()


def test_modules_that_were_not_linked_in():
    rows = "".join(f'    {{"{name}", PyInit_{name}}},\n' for name in pins.REQUIRED if name != "_ssl")

    assert cpython.missing_modules(f"struct _inittab _PyImport_Inittab[] = {{\n{rows}}};") == ["_ssl"]
    assert not set(pins.REQUIRED) & set(pins.NOT_BUILT)


def test_a_step_that_fails_says_what_and_where_its_output_is(tmp_path):
    run = steps.Steps(tmp_path, "x86_64", tmp_path / "zig", tmp_path / "zig-cache", print)

    with pytest.raises(ConfigError) as raised:
        run.run(
            "compile x", ["sh", "-c", "echo first; echo 'x.c:1: error: no such thing' >&2; echo last; exit 3"], tmp_path
        )

    log = tmp_path / "logs" / "compile-x.log"
    assert str(raised.value) == f"compile x failed: x.c:1: error: no such thing; its output: {log}"
    with pytest.raises(ConfigError, match="does-not-exist is not on this machine"):
        run.run("y", ["does-not-exist"], tmp_path)


def test_every_architecture_of_lambda_has_a_target():
    assert pins.TARGETS == {"x86_64": "x86_64-linux-gnu.2.26", "arm64": "aarch64-linux-gnu.2.26"}
    assert set(pins.TARGETS) == set(ARCHITECTURES)


def library(*symbols):
    """A static library of one object with the given (info, section, visibility)."""
    table = b"".join(struct.pack("<IBBHQQ", 0, info, other, where, 0, 0) for info, where, other in symbols)
    sections = struct.pack("<IIQQQQIIQQ", 0, 2, 0, 0, 64, len(table), 0, 0, 8, 24)
    head = b"\x7fELF\x02\x01\x01" + bytes(9) + struct.pack("<HHIQQQ", 1, 62, 1, 0, 0, 64 + len(table))
    elf = head + struct.pack("<IHHHHHH", 0, 64, 0, 0, 64, 1, 0) + table + sections
    names = b"odd"
    return b"!<arch>\n" + member(b"//", names) + member(b"x.o/", elf)


def member(name, data):
    return b"%-48s%-10d`\n" % (name, len(data)) + data + b"\n" * (len(data) % 2)


def test_symbols_that_a_library_defines_are_hidden(tmp_path):
    """Global and weak ones; neither its own local ones nor those that it takes from others."""
    path = tmp_path / "lib.a"
    one_global, weak, local, undefined, hidden = (0x12, 1, 0), (0x22, 1, 0), (0x02, 1, 0), (0x10, 0, 0), (0x12, 1, 2)
    path.write_bytes(library(one_global, weak, local, undefined, hidden))

    assert hide.hide(path) == 2
    expected = library((0x12, 1, 2), (0x22, 1, 2), local, undefined, hidden)
    assert path.read_bytes() == expected
    assert hide.hide(path) == 0


@pytest.mark.parametrize("cut", [70, 130, 200])
def test_a_damaged_library(tmp_path, cut):
    path = tmp_path / "lib.a"
    path.write_bytes(library((0x12, 1, 0))[:cut])

    with pytest.raises(ConfigError, match=r"^lib\.a: damaged"):
        hide.hide(path)
