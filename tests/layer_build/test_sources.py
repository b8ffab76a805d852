"""What of the kit and of an extension goes into a layer."""

from __future__ import annotations

import ast
import inspect
import marshal
import sys
from pathlib import Path

import pytest

import extension_kit
from extension_kit.errors import ConfigError
from layer_build import bytecode, interpreters, manifest, sources

ROOT = Path(__file__).parents[2]
KIT = Path(extension_kit.__file__).parent
#: what authors' code asks for, and what no kit's code does
PUBLIC = {
    "extension_kit/delivery.py",
    "extension_kit/internal.py",
    "extension_kit/outbound.py",
    "extension_kit/proxy.py",
    *(f"extension_kit/{path.relative_to(KIT)}" for path in KIT.glob("aws/*.py")),
    *(f"extension_kit/{path.relative_to(KIT)}" for path in KIT.glob("clients/*.py")),
}


def imported(path: str) -> set[str]:
    """Modules of the kit that the file at `path` (below the kit's parent) imports, anywhere in it, as paths."""
    found = set()
    for node in ast.walk(ast.parse((KIT.parent / path).read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("extension_kit"):
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name.startswith("extension_kit")}
    places = set()
    for module in found:
        place = module.replace(".", "/")
        places |= {f"{place}.py", f"{place}/__init__.py"}
        parts = place.split("/")
        places |= {f"{'/'.join(parts[:count])}/__init__.py" for count in range(1, len(parts))}
    return {name for name in places if (KIT.parent / name).is_file()}


def closure(*roots: str) -> set[str]:
    found: set[str] = set()
    new = set(roots)
    while new:
        found |= new
        new = {place for one in new for place in imported(one)} - found
    return found


def test_the_list_of_what_is_left_out_is_right():
    """Nothing that a layer carries imports what was left out; all that it carries is imported by something."""
    carried = set(sources.kit())
    needed = closure("extension_kit/launched.py", "extension_kit/__init__.py", *PUBLIC)

    assert needed - carried == set(), "imported, but left out"
    assert carried - needed == set(), "never imported, but carried"
    for pattern in sources.KIT_LEFT_OUT:
        assert (KIT / pattern).exists(), f"{pattern} is left out, and is not there"


def folder(tmp_path, files, plugin="my_ext.plugin:Mine"):
    place = tmp_path / "my_ext"
    for name, text in files.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text(text)
    return place, manifest.parse(f'name = "my-ext"\nplugins = ["{plugin}"]\n'.encode(), "1")


PLUGIN = "from extension_kit import Plugin\nclass Mine(Plugin):\n    name = 'my-ext'\n"


def test_a_folder_is_a_package_of_its_own_name(tmp_path):
    """For people, builders and tests: not for Lambda."""
    place, read = folder(tmp_path, {
        "__init__.py": "", "plugin.py": PLUGIN, "data/words.txt": "one", "README.md": "#", "tests/test_x.py": "",
        ".env": "SECRET=1", "manifest.toml": "", "__pycache__/plugin.cpython-311.pyc": "",
    })  # fmt: skip

    assert sorted(sources.extension(place, read)) == ["my_ext/__init__.py", "my_ext/data/words.txt", "my_ext/plugin.py"]


def test_a_flat_folder_is_the_root_of_its_modules(tmp_path):
    """The smallest extension: one file and a manifest."""
    place, read = folder(tmp_path, {"shipper.py": PLUGIN}, "shipper:Mine")

    assert sorted(sources.extension(place, read)) == ["shipper.py"]


def test_ours_bring_the_package_above_them():
    place = ROOT / "extensions" / "metrics_collector"
    found = sources.extension(place, manifest.load(place, "1"))

    assert {"extensions/__init__.py", "extensions/metrics_collector/plugin.py"} <= set(found)
    assert not [path for path in found if "README" in path or "manifest" in path]


@pytest.mark.parametrize(
    ("files", "plugin", "said"),
    [
        ({"plugin.py": "class Mine:\n  def"}, "my_ext.plugin:Mine", "plugin.py: not Python: "),
        ({"other.py": ""}, "my_ext.plugin:Mine", "there is no module my_ext.plugin"),
        ({"plugin.py": "Mine = 1"}, "my_ext.plugin:Mine", "my_ext.plugin has no class Mine"),
        ({"plugin.py": PLUGIN}, "other.plugin:Mine", "there is no module other.plugin"),
    ],
)
def test_a_plugin_that_is_not_there_is_said_at_build_time(tmp_path, files, plugin, said):
    """Not at the first cold start."""
    with pytest.raises(ConfigError) as caught:
        sources.extension(*folder(tmp_path, files, plugin))
    assert said in str(caught.value)


def test_before_register_is_seen(tmp_path):
    """It decides whether the launcher may register."""
    late = sources.extension(
        *folder(tmp_path / "a", {"plugin.py": PLUGIN + "    def before_register(self, context): ...\n"})
    )
    early = sources.extension(*folder(tmp_path / "b", {"plugin.py": PLUGIN + "    # no before_register here\n"}))

    assert sources.wants_before_register(late)
    assert not sources.wants_before_register(early)


HERE = interpreters.found(["3.11", "3.12", "3.13", "3.14"])
SOURCES = {
    "a/b.py": ("/opt/x/lib/a/b.py", b"SET = {'x', 'y', 'z'}\ndef f(x):\n    'doc'\n    return x in {'one', 'two', 'three'}\n"),
    "c.py": ("/opt/x/lib/c.py", b"assert f'{1}'\n"),
}  # fmt: skip


@pytest.mark.parametrize("python", HERE)
def test_byte_code_is_the_same_each_time_and_says_where_it_lies_on_lambda(python):
    """Whatever the hash seed is; the flags are those of an unchecked hash (PEP 552)."""
    first, exact = bytecode.compile_all(SOURCES, python)
    second, _ = bytecode.compile_all(dict(reversed(SOURCES.items())), python)

    assert first == second
    assert exact.startswith(f"{python}.")
    for path, data in first.items():
        assert data[4:8] == b"\x01\0\0\0"
        assert SOURCES[path][0].encode() in data


def test_byte_code_is_what_that_python_imports(tmp_path):
    """The interpreter itself is the judge: it imports the byte-code although the source beside it says otherwise."""
    import subprocess

    for python in HERE:
        compiled, _ = bytecode.compile_all({"m.py": ("/opt/x/lib/m.py", b"VALUE = 'byte-code'\n")}, python)
        place = tmp_path / python
        (place / "__pycache__").mkdir(parents=True)
        (place / "m.py").write_text("VALUE = 'source'\n")
        (place / "__pycache__" / f"m.{bytecode.tag(python)}.pyc").write_bytes(compiled["m.py"])
        path, _ = interpreters.find(python)
        done = subprocess.run(
            [path, "-I", "-S", "-c", f"import sys; sys.path.insert(0, {str(place)!r}); import m; print(m.VALUE)"],
            capture_output=True, text=True, timeout=30, check=False,
        )  # fmt: skip
        assert done.stdout == "byte-code\n", done.stderr
    assert HERE


def test_a_source_of_a_newer_python_is_said_at_build_time():
    with pytest.raises(ConfigError, match=r"byte-code for Python 3\.\d+ cannot be made: n\.py:1: "):
        bytecode.compile_all({"n.py": ("/opt/x/lib/n.py", b"def f(:\n")}, HERE[0])


def test_an_interpreter_that_is_not_here_is_one_line(monkeypatch):
    """And says what can be done."""
    monkeypatch.setattr(interpreters, "_places", lambda version: iter(["/bin/false", "/nowhere/python"]))
    with pytest.raises(ConfigError, match=r"Python 3\.13 is not on this machine, .*--no-bytecode"):
        bytecode.compile_all(SOURCES, "3.13")


CODE = b'''"""Module."""
from __future__ import annotations
TYPE_CHECKING = False
if TYPE_CHECKING:
    import never_there
limit: int = 5
class One:
    """Class."""
    field: int
    def method(self, x: int) -> str:
        """Method."""
        return str(x + limit)
    def empty(self):
        """Nothing else."""
'''


@pytest.mark.parametrize(
    ("name", "ours", "docs", "annotated"),
    [("extension_kit/x.py", True, False, False), ("my_ext/x.py", True, False, True), ("other/x.py", False, True, True)],
)
def test_byte_code_holds_what_its_owner_needs(name, ours, docs, annotated):
    """The kit's is lean; an author's keeps its annotations, which libraries read; a dependency's is as it is."""
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    compiled, _exact = bytecode.compile_all({name: ("/opt/x.py", CODE)}, python, {name} if ours else ())
    space = {}
    exec(marshal.loads(compiled[name][16:]), space)  # noqa: S102 - our own

    one = space["One"]
    assert one().method(2) == "7"
    assert one().empty() is None
    assert bool(space.get("__doc__")) is bool(one.__doc__) is bool(one.method.__doc__) is docs
    assert bool(inspect.get_annotations(one)) is bool(one.method.__annotations__) is annotated


def test_docstrings_that_are_read_stay():
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    code = b'"""Usage."""\nUSAGE = __doc__\n'
    compiled, _exact = bytecode.compile_all({"my_ext/x.py": ("/opt/x.py", code)}, python, {"my_ext/x.py"})
    space = {}
    exec(marshal.loads(compiled["my_ext/x.py"][16:]), space)  # noqa: S102 - our own

    assert space["USAGE"] == "Usage."
