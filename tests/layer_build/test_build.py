"""``build``: what is in a layer, that it is always the same, and that a build which fails leaves nothing."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from layer_build import bytecode, interpreters, provenance, sbom, tree
from layer_build.cli import main
from tests.layer_build.wheelhouse import Wheelhouse

ROOT = Path(__file__).parents[2]
HERE = interpreters.found(["3.11", "3.12", "3.13", "3.14"])
PYTHON = HERE[0]
PLUGIN = "from extension_kit import Plugin\n\n\nclass {0}(Plugin):\n    name = '{1}'\n"


def author(folder: Path, name: str = "my-ext", code: str = "", more: str = "") -> Path:
    """An extension's folder as somebody else would have it."""
    package = folder / name.replace("-", "_")
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "plugin.py").write_text(code or PLUGIN.format("Mine", name))
    (package / "manifest.toml").write_text(
        f'name = "{name}"\nversion = "2.1"\nplugins = ["{package.name}.plugin:Mine"]\n{more}'
    )
    return package


def build(*words: object) -> int:
    return main(["build", "--python", PYTHON, "--arch", "x86_64", *map(str, words)])


def built(out: Path) -> tree.Tree:
    (path,) = out.glob("*.zip")
    return tree.read(path)


def test_the_layout(tmp_path, capsys):
    """What lies where is public: operators and other tools look for it there."""
    assert build("metrics-collector", "--out", tmp_path) == 0
    layer = built(tmp_path)

    tops = {path.split("/")[0] for path in layer}
    assert tops == {"extensions", "metrics-collector"}
    assert [path for path in layer if path.startswith("extensions/")] == ["extensions/metrics-collector"]
    assert layer["extensions/metrics-collector"].mode == 0o755
    assert layer["extensions/metrics-collector"].data.startswith(b"\x7fELF")
    assert {entry.mode for path, entry in layer.items() if not path.startswith("extensions/")} == {0o644}
    for name in ("boot.py", "launcher.conf", "manifest.toml", "provenance.json", "sbom.cdx.json"):
        assert f"metrics-collector/{name}" in layer
    manifest = ROOT / "extensions" / "metrics_collector" / "manifest.toml"
    assert layer["metrics-collector/manifest.toml"].data == manifest.read_bytes()
    printed = capsys.readouterr().out
    assert tree.tree_hash(layer) in printed


def test_every_source_has_byte_code_and_is_readable_beside_it(tmp_path):
    """/opt is read-only: what has none is compiled at each cold start."""
    build("metrics-collector", "--out", tmp_path)
    layer = built(tmp_path)
    tag = f"cpython-{PYTHON.replace('.', '')}"
    for path in [path for path in layer if path.startswith("metrics-collector/lib/") and path.endswith(".py")]:
        folder, _, file = path.rpartition("/")
        assert f"{folder}/__pycache__/{file[:-3]}.{tag}.pyc" in layer, path


def test_what_it_was_made_of_is_in_it(tmp_path):
    """SBOM in the layer and beside it; provenance with the exact interpreter."""
    build("secret-cache", "--out", tmp_path)
    layer = built(tmp_path)
    made_by = provenance.parse(layer["secret-cache/provenance.json"].data)
    subject, parts = sbom.read(layer["secret-cache/sbom.cdx.json"].data)

    assert made_by.bytecode == {PYTHON: interpreters.find(PYTHON)[1]}
    assert subject.name == "secret-cache"
    assert {part.name for part in parts} == {"lambda-extension-kit", "extension-kit-launcher"}
    (beside,) = tmp_path.glob("*.cdx.json")
    assert beside.read_bytes() == layer["secret-cache/sbom.cdx.json"].data


@pytest.mark.once
def test_two_clones_at_other_places_and_times_build_the_same(tmp_path):
    """Nothing of the machine gets in: not the path, not the date, not the hash seed, not who builds."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True, timeout=30)
    digests = []
    for place, seed, umask in ((tmp_path / "a", "1", 0o022), (tmp_path / "b" / "deeper and deeper", "2", 0o077)):
        for name in listed.stdout.splitlines():
            if name.startswith(("extension_kit/", "extensions/", "layer_build/")) and (ROOT / name).is_file():
                (place / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(ROOT / name, place / name)
                os.utime(place / name, (int(seed) * 1e9, int(seed) * 1e9))
        done = subprocess.run(
            [sys.executable, "-m", "layer_build", "build", "metrics-collector", "--python", PYTHON, "--json"],
            cwd=place, capture_output=True, text=True, timeout=120, check=False, umask=umask,
            env={**os.environ, "PYTHONHASHSEED": seed, "TZ": f"UTC+{seed}"},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        digests.append([(one["file"], one["sha256"], one["tree"]) for one in json.loads(done.stdout)])

    assert digests[0] == digests[1]
    assert len(digests[0]) == 2


def test_anyones_extension_by_its_folder(tmp_path):
    build(author(tmp_path), "--out", tmp_path / "out")
    (path,) = (tmp_path / "out").glob("*.zip")

    assert path.name == f"my-ext-2.1-x86_64-python{PYTHON}.zip"
    assert "my-ext/lib/my_ext/plugin.py" in tree.read(path)


def test_files_of_its_own_that_are_left_out_or_have_no_byte_code(tmp_path, capsys):
    """A command that only people run; what is rarely imported. `verify`, which looks at what is built, agrees."""
    package = author(tmp_path, more='[layer]\nleave_out = ["my_ext/command.py"]\nsource_only = ["my_ext/rare.py"]\n')
    (package / "command.py").write_text("from extension_kit import clients\n")
    (package / "rare.py").write_text("VALUE = 1\n")
    assert build(package, "--out", tmp_path / "out") == 0, capsys.readouterr().err
    layer = built(tmp_path / "out")

    assert sorted(path.removeprefix("my-ext/lib/my_ext/") for path in layer if "/my_ext/" in path) == [
        "__init__.py", f"__pycache__/__init__.{bytecode.tag(PYTHON)}.pyc", f"__pycache__/plugin.{bytecode.tag(PYTHON)}.pyc",
        "plugin.py", "rare.py",
    ]  # fmt: skip
    assert "my-ext/lib/extension_kit/clients/__init__.py" not in layer, "what only the command needs"


def test_dependencies_are_in_it_without_their_sources(tmp_path, monkeypatch):
    """Byte-code in the source's place; it is imported by that Python. Licence texts stay; what is left out is not there."""
    house = Wheelhouse(tmp_path / "wheelhouse", monkeypatch)
    house.wheel("words", files={"words/__init__.py": b"from words.more import VALUE\n", "words/more.py": b"VALUE = 'more'\n",
                                "words/never.py": b"", "words/list.txt": b"one\n"})  # fmt: skip
    package = author(tmp_path, more='[dependencies]\nlock = "requirements.lock"\nleave_out = ["words/never.py"]\n')
    (package / "requirements.lock").write_text(house.lock)
    assert build(package, "--out", tmp_path / "out") == 0
    layer = built(tmp_path / "out")

    assert sorted(path for path in layer if "/words/" in path) == [
        "my-ext/lib/words/__init__.pyc", "my-ext/lib/words/list.txt", "my-ext/lib/words/more.pyc",
    ]  # fmt: skip
    assert layer["my-ext/licenses/words-1.0/LICENSE"].data == b"the licence's text\n"
    _, parts = sbom.read(layer["my-ext/sbom.cdx.json"].data)
    assert "pkg:pypi/words@1.0" in {part.purl for part in parts}
    with zipfile.ZipFile(next((tmp_path / "out").glob("*.zip"))) as archive:
        archive.extractall(tmp_path / "opt")
    python, _ = interpreters.find(PYTHON)
    done = subprocess.run(
        [python, "-I", "-S", "-c", "import sys; sys.path.insert(0, sys.argv[1]); import words; print(words.VALUE)",
         str(tmp_path / "opt" / "my-ext" / "lib")],
        capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert done.stdout == "more\n", done.stderr


def test_several_in_one_process(tmp_path):
    """One layer that may do what any of them may, and says so."""
    one = author(tmp_path, "one", more='[capabilities]\nhosts = ["a.example"]\nvariables = ["ONE_X"]\n')
    two = author(tmp_path, "two", more='[capabilities]\nhosts = ["b.example"]\nevents = ["SHUTDOWN"]\n')
    assert build("--plugins", f"{one},{two}", "--out", tmp_path / "out") == 0
    layer = built(tmp_path / "out")

    assert [path for path in layer if path.startswith("extensions/")] == ["extensions/extension-kit"]
    from layer_build import manifest

    read = manifest.parse(layer["extension-kit/manifest.toml"].data, "")
    assert [host.host for host in read.hosts] == ["a.example", "b.example"]
    assert read.plugins == ("one.plugin:Mine", "two.plugin:Mine")
    assert read.variables == ("ONE_X",)
    assert read.events == ("INVOKE", "SHUTDOWN")
    assert read.parts == ("one", "two")
    assert read.writes == ("/tmp/.extension-kit/extension-kit/",)
    assert b"PLUGINS = ('one=one.plugin:Mine', 'two=two.plugin:Mine')" in layer["extension-kit/boot.py"].data


def test_several_with_ports_files_wrappers_and_a_plugin_that_comes_first(tmp_path, capsys):
    """Each has its own place, as in a layer of its own; `verify`, which looks at what is built, agrees."""
    ports = '[capabilities]\nports = [{{name = "{0}", port = 0, fallback = true}}]\n'
    one = author(tmp_path, "one", more=ports.format("a") + '[layer]\nonly_if = "ONE_ON"\n')
    two = author(tmp_path, "two", more=ports.format("b"))
    for package in (one, two):
        (package / "wrapper").write_text('#!/bin/sh\nexec "$@"\n')
    text = (one / "plugin.py").read_text()
    (one / "plugin.py").write_text(f"{text}    def before_register(self, context):\n        pass\n")
    assert build("--plugins", f"{one},{two}", "both", "--out", tmp_path / "out") == 0
    layer = built(tmp_path / "out")

    assert layer["both/launcher.conf"].data.decode().splitlines()[2:] == [
        "register late one:ONE_ON", "events INVOKE SHUTDOWN", "port a 0 - /tmp/.extension-kit/one/port one:ONE_ON",
        "port b 0 - /tmp/.extension-kit/two/port two",
    ]  # fmt: skip
    assert {path for path in layer if path.endswith("wrapper")} == {"one/wrapper", "two/wrapper"}
    capsys.readouterr()
    assert main(["inspect", str(next((tmp_path / "out").glob("*.zip")))]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "registered by the launcher, before Python is up; Python where one is to run and ONE_ON is true" in said
    assert "It is one; two in one process." in said


def test_what_cannot_be_in_one_process(tmp_path, capsys):
    port = '[capabilities]\nports = [{name = "a", port = 1}]\n'
    one, two = author(tmp_path, "one", more=port), author(tmp_path, "two", more=port)
    assert build("--plugins", f"{one},{two}", "--out", tmp_path / "out") == 2
    assert "two of its extensions have a port of the same name" in capsys.readouterr().err
    assert build("--plugins", f"{one},{one}", "--out", tmp_path / "out") == 2
    assert "extension-kit: one was named twice" in capsys.readouterr().err
    three = author(tmp_path, "three", more="")
    (three / "manifest.toml").write_text('pythons = ["3.14"]\n' + (three / "manifest.toml").read_text())
    four = author(tmp_path, "four", more="")
    (four / "manifest.toml").write_text('pythons = ["3.11"]\n' + (four / "manifest.toml").read_text())
    assert build("--plugins", f"{three},{four}", "--out", tmp_path / "out") == 2
    assert "there is no Python that all of its extensions are for" in capsys.readouterr().err


def test_two_that_pin_a_package_differently(tmp_path, monkeypatch, capsys):
    """Who, what, and which versions: one process has one of them."""
    house = Wheelhouse(tmp_path / "wheelhouse", monkeypatch)
    folders = []
    for name, version in (("one", "1.0"), ("two", "2.0")):
        house.wheel("words", version, files={"words/__init__.py": b""})
        folders.append(author(tmp_path, name, more='[dependencies]\nlock = "requirements.lock"\n'))
        (folders[-1] / "requirements.lock").write_text(house.lines[-1])
    assert build("--plugins", ",".join(map(str, folders)), "--out", tmp_path / "out") == 2
    assert "words: one pins 1.0, two 2.0: one process has one" in capsys.readouterr().err


@pytest.mark.once
@pytest.mark.skipif(len(HERE) < 2, reason="one Python only is here")
def test_one_zip_for_several_pythons_says_what_that_costs(tmp_path, capsys):
    assert main(["build", "metrics-collector", "--joint", "--arch", "arm64", "--out", str(tmp_path)]) == 0
    layer = built(tmp_path)

    for python in HERE:
        assert f"metrics-collector/lib/extension_kit/__pycache__/runner.cpython-{python.replace('.', '')}.pyc" in layer
    assert "of its bytes unzipped are byte-code that any one function does not use" in capsys.readouterr().out


def test_the_python_entry(tmp_path):
    build("metrics-collector", "--launcher", "python", "--out", tmp_path)
    layer = built(tmp_path)

    assert layer["extensions/metrics-collector"].data.startswith(f"#!/var/lang/bin/python{PYTHON} -ISXutf8\n".encode())
    assert "metrics-collector/launcher.conf" not in layer


@pytest.mark.once
@pytest.mark.parametrize(
    ("name", "kilobytes"),
    [("metrics-collector", 4_096), ("secret-cache", 400), ("log-shipper", 1_600), ("chaos-injector", 400)],
)
def test_sizes_are_within_the_budgets(tmp_path, name, kilobytes):
    """design.md 7; a KB has 1,024 bytes, as Lambda counts. For every Python that is here: they differ by some kilobytes."""
    for python in HERE:
        build(name, "--arch", "both", "--python", python, "--out", tmp_path)
    sizes = {path.name: path.stat().st_size for path in tmp_path.glob("*.zip")}
    assert len(sizes) == 2 * len(HERE)
    assert [one for one in sizes.items() if one[1] > kilobytes * 1_024] == []


def failing(tmp_path, monkeypatch, case):
    """Arguments of a build that must fail, and what it must say."""
    out = tmp_path / "out"
    house = Wheelhouse(tmp_path / "wheelhouse", monkeypatch)
    locked = '[dependencies]\nlock = "requirements.lock"\n'
    if case == "no manifest":
        (tmp_path / "empty").mkdir()
        return [tmp_path / "empty", "--out", out], "empty: no manifest.toml"
    if case == "no folder":
        return [
            "nobody",
            "--out",
            out,
        ], "nobody: no such folder, and none of ours (chaos-injector, log-shipper, metrics-collector, secret-cache)"
    if case == "out is a file":
        out.write_text("")
        return [
            "metrics-collector",
            "--out",
            out,
        ], f"--out {out}: cannot be written: Not a directory; nothing was built"
    if case == "out in a file":
        (tmp_path / "file").write_text("")
        return [
            "metrics-collector",
            "--out",
            tmp_path / "file" / "out",
        ], "cannot be written: Not a directory; nothing was"
    if case == "no interpreter":
        monkeypatch.setattr(interpreters, "_places", lambda version: iter(()))
        return ["secret-cache", "--out", out], f"Python {PYTHON} is not on this machine, and only it can make"
    if case == "no lock":
        return [author(tmp_path, more=locked), "--out", out], "requirements.lock: cannot be read"
    if case == "a kit of one's own":
        house.wheel("extension_kit", files={"extension_kit/runner.py": b""})
        package = author(tmp_path, more=locked)
        (package / "requirements.lock").write_text(house.lock)
        return [package, "--out", out], "a dependency brings extension_kit/runner.py, which is ours"
    if case == "leaves out nothing":
        house.wheel("words")
        package = author(tmp_path, more=locked + 'leave_out = ["word/*"]\n')
        (package / "requirements.lock").write_text(house.lock)
        return [package, "--out", out], "leave_out: word/* matches no file"
    if case == "leaves out nothing of its own":
        package = author(tmp_path, more='[layer]\nleave_out = ["my_ext/commnad.py"]\n')
        return [package, "--out", out], "my-ext: layer.leave_out: my_ext/commnad.py matches no file of its own"
    if case == "another Python":
        package = author(tmp_path, more="")
        text = (package / "manifest.toml").read_text()
        (package / "manifest.toml").write_text(text + 'pythons = ["3.14"]\n')
        return [package, "--out", out], f"my-ext is for Python 3.14, not {PYTHON}"
    assert case == "the second of two"
    return [author(tmp_path), author(tmp_path, "bad", "class Other: ..."), "--out", out], "bad.plugin has no class Mine"


@pytest.mark.parametrize(
    "case",
    ["no manifest", "no folder", "out is a file", "out in a file", "no interpreter", "no lock", "a kit of one's own",
     "leaves out nothing", "leaves out nothing of its own", "another Python", "the second of two"],
)  # fmt: skip
def test_a_build_that_fails_says_one_line_and_leaves_nothing(tmp_path, monkeypatch, capsys, case):
    """Half a layer is worse than none."""
    words, said = failing(tmp_path, monkeypatch, case)
    before = {path for path in tmp_path.rglob("*") if "out" in path.name}

    assert build(*words) == 2

    printed = capsys.readouterr()
    assert said in printed.err
    assert [
        line for line in printed.err.splitlines() if line.startswith("layer_build build: ")
    ] == printed.err.splitlines()[-1:]
    assert printed.out == ""
    assert {path for path in tmp_path.rglob("*") if "out" in path.name} == before


def test_what_verify_refuses_is_not_written(tmp_path, capsys):
    """An author's own key in the code: said in full, and no zip."""
    package = author(tmp_path)
    (package / "key.pem").write_text(
        "-----BEGIN RSA PRIVATE KEY-----\n" + "MIIE" * 16 + "\n-----END RSA PRIVATE KEY-----\n"
    )

    assert build(package, "--out", tmp_path / "out") == 2

    said = capsys.readouterr().err
    assert "found by verify, see above; nothing was built" in said
    assert "key.pem" in said
    assert list((tmp_path / "out").iterdir()) == []
