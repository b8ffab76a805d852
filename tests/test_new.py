"""`extension-kit new`: the project that it makes is run for real, by the interpreter that runs these tests."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml

from extension_kit import scaffold
from extension_kit.errors import ConfigError
from extension_kit.scaffold.names import Names
from layer_build import manifest

ROOT = Path(__file__).parents[1]
PYTHON = "%d.%d" % sys.version_info[:2]
NAME = "x-9.probe_of"  # every separator, and digits
FILES = [
    ".github/workflows/ci.yml", ".gitignore", "Makefile", "README.md", "pyproject.toml", "tests/function/app.py",
    "tests/test_x_9_probe_of.py", "x_9_probe_of/__init__.py", "x_9_probe_of/manifest.toml", "x_9_probe_of/plugin.py",
]  # fmt: skip


def environ():
    """Without what these tests' own pytest has put there."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "COV_"))}


def run(*command, cwd, status=0):
    """What `command` (arguments of this Python, which has the kit installed) has printed."""
    done = subprocess.run(
        [sys.executable, *command], cwd=cwd, capture_output=True, text=True, timeout=120, check=False, env=environ()
    )
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A new project, made by the command."""
    folder = tmp_path_factory.mktemp("authors")
    made = json.loads(run("-m", "extension_kit.cli", "new", NAME, "--json", cwd=folder))
    assert made == {"name": NAME, "module": "x_9_probe_of", "class": "X9ProbeOf", "prefix": "X_9_PROBE_OF_",
                    "folder": NAME, "files": made["files"]}  # fmt: skip
    assert sorted(made["files"]) == FILES
    return folder / NAME


@pytest.fixture(scope="module")
def layer(project):
    """Its layer for this Python."""
    command = ["build", "x_9_probe_of", "--python", PYTHON, "--arch", "x86_64", "--out", "dist", "--json"]
    (built,) = json.loads(run("-m", "layer_build", *command, cwd=project))
    (again,) = json.loads(run("-m", "layer_build", *command[:-2], "again", "--json", cwd=project))
    assert built == again
    return project / "dist" / built["file"]


def test_its_own_tests_pass_at_once(project):
    assert "5 passed" in run("-m", "pytest", "-q", "-p", "no:cacheprovider", cwd=project)


@pytest.mark.once
def test_its_tests_can_fail(project, tmp_path):
    """They hold the plug-in to what it says: without a hook of it they are red."""
    broken = shutil.copytree(project, tmp_path / "broken", symlinks=True)
    plugin = broken / "x_9_probe_of" / "plugin.py"
    text = plugin.read_text()
    assert "self._lines += 1" in text
    plugin.write_text(text.replace("self._lines += 1", "self._lines += 2"))
    assert "3 failed, 2 passed" in run("-m", "pytest", "-q", "-p", "no:cacheprovider", cwd=broken, status=1)


def test_its_layer_is_what_verify_wants(project, layer):
    """Deterministic (see the fixture), no finding, and the manifest says what an operator may rely on."""
    report = json.loads(run("-m", "layer_build", "verify", str(layer), "--json", cwd=project))
    (said,) = json.loads(run("-m", "layer_build", "inspect", str(layer), "--json", cwd=project))["extensions"]

    assert [one["findings"] for one in report["layers"]] == [[]]
    assert (said["name"], said["manifest"]["variables"], said["manifest"]["hosts"]) == (NAME, ["X_9_PROBE_OF_*"], [])
    with zipfile.ZipFile(layer) as archive:
        assert not [
            name for name in archive.namelist() if "/scaffold/" in name or "/commands/" in name or "/tests/" in name
        ]


def test_check_finds_nothing(project, layer):
    for more in (
        [],
        ["--layer", str(layer), "--function", "tests/function", "--plugin", "x_9_probe_of.plugin:X9ProbeOf"],
    ):
        found = json.loads(run("-m", "extension_kit.cli", "check", "--json", *more, cwd=project))
        assert [one for one in found if one["level"] != "note"] == []


@pytest.mark.parametrize("what", ["layer", "plugin"])
def test_it_runs_beside_a_function(project, layer, what):
    attached = ["--layer", str(layer)] if what == "layer" else ["--plugin", "x_9_probe_of.plugin:X9ProbeOf"]
    record = json.loads(
        run("-m", "extension_kit.cli", "run", "--function", "tests/function", "--handler", "app.handler", "--invokes", "2",
            "--env", "X_9_PROBE_OF_WORD=hello", *attached, "--json", "-", cwd=project)
    )  # fmt: skip
    said = [event["text"] for event in record["events"] if event["kind"] == "log" and event["party"] == NAME]
    assert f"[{NAME}] spindown: 2 of 4 line(s) held 'hello'" in said


@pytest.mark.once
def test_the_makefile_does_what_it_says(project):
    """With a Python that has the kit; without one, `make setup` says in a line where it could come from."""
    make = ["make", "--no-print-directory", "-C", str(project), f"PYTHON={sys.executable}"]

    def target(*words):
        return subprocess.run([*make, *words], env=environ(), capture_output=True, text=True, timeout=120, check=False)

    for words, said in {
        ("help",): "make setup ",
        ("check",): "check: 0 finding(s)",
        ("layer", f"LAYER_ARGS=--python {PYTHON} --arch x86_64"): "clean\n",
        ("run", "RUN_ARGS=--quiet"): "healthy: 3 invoke(s)",
    }.items():
        done = target(*words)
        assert (done.returncode, said in done.stdout) == (0, True), done.stdout + done.stderr
    refused = target("setup")
    assert (refused.returncode != 0, "see README.md" in refused.stdout) == (True, True)
    assert not (project / ".venv").exists()


@pytest.mark.once
def test_the_wheel_has_the_templates(tmp_path):
    """Also those whose names begin with a dot in a project."""
    source = tmp_path / "source"
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for package in ("extension_kit", "layer_build"):
        shutil.copytree(ROOT / package, source / package, ignore=shutil.ignore_patterns("__pycache__"))
    pip = [
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--disable-pip-version-check",
        "-w",
        str(tmp_path),
    ]
    subprocess.run([sys.executable, *pip, str(source)], check=True, timeout=120)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    site = {**environ(), "PYTHONPATH": str(tmp_path / "site")}
    code = "import sys; from extension_kit import cli; print(cli.__file__, file=sys.stderr); cli.main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "new", NAME, "--json"],
        cwd=tmp_path, env=site, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.stderr.startswith(str(tmp_path / "site")), done.stderr
    assert sorted(json.loads(done.stdout)["files"]) == FILES


@pytest.mark.parametrize(
    ("name", "module", "class_name", "prefix"),
    [
        ("greeter", "greeter", "Greeter", "GREETER_"),
        ("my-shipper", "my_shipper", "MyShipper", "MY_SHIPPER_"),
        ("a.b_c-d2", "a_b_c_d2", "ABCD2", "A_B_C_D2_"),
        ("plugin", "plugin", "PluginExtension", "PLUGIN_"),
        ("none", "none", "NoneExtension", "NONE_"),
        ("x" * 64, "x" * 64, "X" + "x" * 63, "X" * 64 + "_"),
    ],
)
def test_names_that_are_taken_by_all(name, module, class_name, prefix):
    """By the command, by a manifest, by Python."""
    names = Names.of(name)
    assert (names.name, names.module, names.class_name, names.prefix) == (name, module, class_name, prefix)
    files = scaffold.render(names)
    read = manifest.parse(files[f"{module}/manifest.toml"].encode(), "0")
    assert (read.name, read.plugins) == (name, (f"{module}.plugin:{class_name}",))
    for place, text in files.items():
        assert not {"my-extension", "my_extension", "MyExtension", "MY_EXTENSION"} & {*text.split(), *place.split("/")}
        if place.endswith(".py"):
            compile(text, place, "exec")


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("", "'' is no name for an extension: use lower-case letters, digits"),
        ("Greeter", "'Greeter' is no name"),
        ("9lives", "a letter first"),
        ("-x", "a letter first"),
        ("x-", "a letter or digit last"),
        ("a/b", "'a/b' is no name"),
        ("../up", "'../up' is no name"),
        ("grüße", "is no name"),
        ("x\n", "is no name"),
        ("x" * 65, "64 at most"),
        ("import", "a word of Python's language"),
        ("json", "a module of Python's library; e.g. my-json"),
        ("layer-build", "which the kit or the tests need"),
        ("tests", "which the kit or the tests need"),
        ("dist", "a place that the project's Makefile needs; e.g. my-dist"),
        ("requests", "a package of that name is installed"),
        ("secret-cache", "those of secret-cache begin with SECRET_CACHE_"),
        ("secret", "those of secret-cache begin with SECRET_CACHE_"),
        ("secrets-manager", "those of secret-cache begin with SECRETS_MANAGER_"),
        ("ssm-parameter-store", "those of secret-cache begin with SSM_PARAMETER_STORE_"),
        ("parameters-secrets-extension", "those of secret-cache begin with PARAMETERS_SECRETS_EXTENSION_"),
        ("chaos-monkey", "those of chaos-injector begin with CHAOS_"),
        ("aws-x", "those of AWS begin with AWS_"),
        ("extension-kit-x", "those of the kit begin with EXTENSION_KIT_"),
    ],
)
def test_names_that_are_refused(name, says, tmp_path):
    """In one line, with what is allowed; nothing is made."""
    with pytest.raises(ConfigError) as caught:
        Names.of(name)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_no_module_lies_where_the_project_keeps_or_makes_something():
    """`make layer` removes `dist` first: were that the sources' folder, they would be gone."""
    files = scaffold.render(Names.of("greeter"))
    places = {place.partition("/")[0].lower() for place in files} - {"greeter"}
    places |= {place for line in re.findall(r"rm -rf ([^&\n]+)", files["Makefile"]) for place in line.split()}
    places |= set(re.findall(r"wildcard ([\w.]+)/", files["Makefile"])) | set(
        files[".gitignore"].replace("/", "").split()
    )
    modules = {place for place in places if place.isidentifier() and not place.startswith("__")}
    assert modules == {"dist", "makefile", "tests", "vendor"}
    for module in modules:
        with pytest.raises(ConfigError, match="cannot be used"):
            Names.of(module)


@pytest.mark.parametrize("there", ["a folder", "an empty folder", "a file", "a broken link"])
def test_what_is_there_is_never_touched(there, tmp_path):
    place = tmp_path / "greeter"
    if there == "a file":
        place.write_text("mine")
    elif there == "a broken link":
        place.symlink_to(tmp_path / "nowhere")
    else:
        place.mkdir()
    if there == "a folder":
        (place / "README.md").write_text("mine")
    before = [(path.name, path.is_file() and path.read_text()) for path in sorted(tmp_path.rglob("*"))]

    with pytest.raises(ConfigError, match="is there already, and nothing is written over"):
        scaffold.write(Names.of("greeter"), place)
    assert [(path.name, path.is_file() and path.read_text()) for path in sorted(tmp_path.rglob("*"))] == before


def test_where_nothing_can_be_made_nothing_is_left(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot be made: File exists"):
        scaffold.write(Names.of("greeter"), tmp_path / "file" / "greeter")
    monkeypatch.setattr(scaffold, "render", lambda _names: {"README.md": "", "x" * 300: ""})
    with pytest.raises(ConfigError, match="cannot be written: File name too long; it was removed again"):
        scaffold.write(Names.of("greeter"), tmp_path / "greeter")
    assert not (tmp_path / "greeter").exists()


def test_the_folder_is_made_where_one_says(tmp_path):
    run("-m", "extension_kit.cli", "new", "greeter", "--directory", "deeper/still", cwd=tmp_path)
    assert (tmp_path / "deeper/still/greeter/greeter/plugin.py").is_file()


def test_the_workflow_is_pinned_and_calls_what_is_there():
    """Actions by commit with the version behind it; `make` targets of the Makefile; nothing written with the token."""
    files = scaffold.render(Names.of("greeter"))
    text = files[".github/workflows/ci.yml"]
    workflow = yaml.safe_load(text)
    (job,) = workflow["jobs"].values()
    uses = re.findall(r"uses: (.*)", text)

    assert workflow["permissions"] == {"contents": "read"}
    assert len(uses) == sum("uses" in step for step in job["steps"]) == 3
    assert all(re.fullmatch(r"actions/[a-z-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", one) for one in uses)
    targets = set(re.findall(r"^([a-z]+):.*##", files["Makefile"], re.MULTILINE))
    called = {word for step in job["steps"] for word in step.get("run", "").split() if word.isalpha()} - {"make"}
    told = set(re.findall(r"`?make ([a-z]+)", files["README.md"])) - {"is"}
    assert called == {"setup", "test", "check", "layer"}
    assert called | told <= targets
