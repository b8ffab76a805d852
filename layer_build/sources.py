"""Which Python files go into a layer: the kit's, less what no extension imports, and the extension's own package."""

from __future__ import annotations

import ast
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import extension_kit
from extension_kit.errors import ConfigError
from layer_build.manifest import FILE
from layer_build.tree import Entry, Tree

if TYPE_CHECKING:
    from collections.abc import Iterator

    from layer_build.manifest import Manifest

#: of the kit, never in a layer: what runs functions on a laptop, and what their authors test with. A test holds the list to it.
KIT_LEFT_OUT = (
    "backends/", "checking/", "cli.py", "commands/", "emulator/", "pictures.py", "protocol/diagram.py", "protocol/refusals.py",
    "protocol/runtime_api.py", "pytest_plugin.py", "report/", "scaffold/", "terminal.py", "testing.py",
)  # fmt: skip
#: of an extension's folder: for people, for the builder, for tests
_NOT_SHIPPED = frozenset((FILE, "README.md", "requirements.in", "tests", "__pycache__", "py.typed", "__main__.py"))
#: starts the runtime: lies beside ``lib`` in a layer, where a function's variables name it
WRAPPER = "wrapper"
_LARGEST = 52_428_800  # bytes, of one file


def kit() -> Tree:
    """The kit's modules, by their path below the root of imports."""
    root = Path(extension_kit.__file__).parent
    found: Tree = {}
    for path in sorted(root.rglob("*.py")):
        inside = path.relative_to(root).as_posix()
        if not inside.startswith(KIT_LEFT_OUT):
            found[f"extension_kit/{inside}"] = Entry(path.read_bytes())
    return found


def extension(folder: Path, manifest: Manifest) -> Tree:
    """The extension's own files, by their path below the root of imports; ConfigError where a plug-in is not among them."""
    folder = folder.resolve()
    depth = max(_depth(folder, plugin.partition(":")[0]) for plugin in manifest.plugins)
    root = folder if depth == 0 else folder.parents[depth - 1]
    found: Tree = {}
    for above in reversed(folder.parents[: max(0, depth - 1)]):
        package = above / "__init__.py"
        if package.is_file():
            found[package.relative_to(root).as_posix()] = Entry(package.read_bytes())
    for path in _files(folder, manifest):
        found[path.relative_to(root).as_posix()] = Entry(_read(path))
    for plugin in manifest.plugins:
        _require(found, plugin, folder)
    return dict(sorted(found.items()))


def wrappers(tree: Tree) -> list[Entry]:
    """Takes the files called ``wrapper`` out of `tree`, and returns them as programs: for ``AWS_LAMBDA_EXEC_WRAPPER``."""
    paths = [path for path in tree if PurePosixPath(path).name == WRAPPER]
    return [Entry(tree.pop(path).data, 0o755) for path in paths]


def wants_before_register(tree: Tree) -> bool:
    """Whether a class of the extension has the hook that must run before the registration."""
    for path, entry in tree.items():
        if path.endswith(".py") and b"before_register" in entry.data:
            for node in ast.walk(ast.parse(entry.data, path)):
                if isinstance(node, ast.FunctionDef) and node.name == "before_register":
                    return True
    return False


def name_of(tree: Tree, plugin: str) -> str:
    """The ``name`` of a plug-in's class as its source has it, known without an import; "" where it is computed."""
    module, _, wanted = plugin.partition(":")
    entry = tree.get(f"{module.replace('.', '/')}.py") or tree.get(f"{module.replace('.', '/')}/__init__.py")
    for node in ast.parse(entry.data).body if entry else ():
        if isinstance(node, ast.ClassDef) and node.name == wanted:
            for line in node.body:
                targets = line.targets if isinstance(line, ast.Assign) else [getattr(line, "target", None)]
                value = getattr(line, "value", None)
                named = any(isinstance(one, ast.Name) and one.id == "name" for one in targets)
                if named and isinstance(value, ast.Constant) and isinstance(value.value, str):
                    return value.value
    return ""


def _depth(folder: Path, module: str) -> int:
    """How many of the folder's last names the module's name begins with: 2 for ``extensions.x.plugin`` in extensions/x."""
    packages = module.split(".")[:-1]
    for count in range(len(packages), 0, -1):
        if list(folder.parts[-count:]) == packages[:count]:
            return count
    return 0


def _files(folder: Path, manifest: Manifest) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder)
        hidden = any(part.startswith(".") or part in _NOT_SHIPPED for part in inside.parts)
        if path.is_file() and not hidden and inside.as_posix() != manifest.lock:
            yield path


def _read(path: Path) -> bytes:
    if path.stat().st_size > _LARGEST:
        raise ConfigError(f"{path}: {path.stat().st_size} bytes; a file of an extension may have up to {_LARGEST}")
    data = path.read_bytes()
    if path.suffix == ".py":
        try:
            ast.parse(data, str(path))
        except (SyntaxError, ValueError) as error:
            raise ConfigError(f"{path}: not Python: {error}") from error
    return data


def _require(found: Tree, plugin: str, folder: Path) -> None:
    module, _, name = plugin.partition(":")
    place = PurePosixPath(*module.split("."))
    entry = found.get(f"{place}.py") or found.get(f"{place}/__init__.py")
    if entry is None:
        raise ConfigError(
            f"{folder}: {FILE} names the plug-in {plugin}, but there is no module {module} in this folder"
        )
    names = {node.name for node in ast.parse(entry.data).body if isinstance(node, ast.ClassDef)}
    names |= {alias.asname or alias.name for node in ast.parse(entry.data).body
              if isinstance(node, ast.ImportFrom) for alias in node.names}  # fmt: skip
    if name not in names:
        raise ConfigError(f"{folder}: {FILE} names the plug-in {plugin}, but {module} has no class {name}")
