"""Which modules of the kit a layer's code can come to import: the others only cost size, which counts against 250 MB.

Read from the syntax, every ``import`` in every function included. Code that takes the kit as a whole (``import extension_kit``,
then anything of it) gets all of it.
"""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from layer_build.tree import Tree

KIT = "extension_kit"
_ROOTS = (f"{KIT}/__init__.py", f"{KIT}/launched.py")
#: What the runner imports only for plug-ins with one of these hooks, or with a ``telemetry`` of their own.
_FOR_TELEMETRY = tuple(
    f"{KIT}/{path}" for path in ("telemetry.py", "flusher.py", "flush.py", "protocol/telemetry_api.py")
)
_FOR_RESTORE = (f"{KIT}/io/freeze.py",)
_FOR_PARTS = (f"{KIT}/parts.py",)
#: for more plug-ins than one
_FOR_SEVERAL = (f"{KIT}/commons.py",)
#: What `launched` says for all that runs in a layer is looked for nowhere else.
_FOR_OTHERS = (f"{KIT}/egress_manifest.py",)
_HOOKS = {
    "on_telemetry": _FOR_TELEMETRY,
    "on_runtime_done": _FOR_TELEMETRY,
    "flush": _FOR_TELEMETRY,
    "on_restore": _FOR_RESTORE,
    "split": _FOR_PARTS,
}


def needed(kit: Tree, others: Tree, *, several: bool = False) -> set[str]:
    """Of the paths of `kit` those that the code of `others` (a plug-in and its dependencies) can come to import.

    ``several``: there are more plug-ins than one.
    """
    asking = {path: entry.data for path, entry in others.items() if path.endswith(".py") and KIT.encode() in entry.data}
    roots = set(_ROOTS)
    closed = {*_FOR_TELEMETRY, *_FOR_RESTORE, *_FOR_PARTS, *_FOR_OTHERS, *(() if several else _FOR_SEVERAL)}
    for path, data in asking.items():
        tree = ast.parse(data, path)
        names = set(_imports(tree))
        if KIT in names:
            return set(kit)
        roots |= _places(names, kit)
        closed -= _opened(tree)
    homes = _homes(kit)
    for data in asking.values():
        roots |= {homes[name] for name in homes if name in _public_names(ast.parse(data))}
    found: set[str] = set()
    new = roots & set(kit)
    while new:
        found |= new
        new = {place for path in new for place in _places(_imports(ast.parse(kit[path].data)), kit)} - found - closed
    return found


def _imports(tree: ast.AST) -> Iterator[str]:
    """Names of what is imported at run time: modules, and things in modules."""
    for node in _at_run_time(tree):
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
            if node.module != KIT:
                yield node.module
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def _at_run_time(node: ast.AST) -> Iterator[ast.AST]:
    """Everything but what only type checkers read."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and isinstance(child.test, ast.Name) and child.test.id == "TYPE_CHECKING":
            continue
        yield child
        yield from _at_run_time(child)


def _places(names: Iterable[str], kit: Tree) -> set[str]:
    """The files of the kit behind `names`, and the packages around them."""
    found = set()
    for name in names:
        parts = name.split(".")
        for count in range(1, len(parts) + 1):
            inside = "/".join(parts[:count])
            found |= {f"{inside}.py", f"{inside}/__init__.py"}
    return found & set(kit)


def _opened(tree: ast.AST) -> set[str]:
    """What a plug-in in `tree` makes the runner import."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            found.update(_HOOKS.get(node.name, ()))
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if any(isinstance(target, ast.Name) and target.id in ("telemetry", *_HOOKS) for target in targets):
                found.update(_FOR_TELEMETRY + _FOR_RESTORE + _FOR_PARTS)
    return found


def _homes(kit: Tree) -> dict[str, str]:
    """Where the public names of the kit are: its ``__init__`` says so, in a table."""
    for node in ast.parse(kit[_ROOTS[0]].data).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == "_HOMES":
            table: dict[str, str] = ast.literal_eval(node.value)
            return {name: f"{KIT}/{home.replace('.', '/')}.py" for name, home in table.items()}
    raise AssertionError("extension_kit/__init__.py has no table _HOMES")


def _public_names(tree: ast.AST) -> set[str]:
    """What is imported from the kit by its public name."""
    return {
        alias.name
        for node in _at_run_time(tree)
        if isinstance(node, ast.ImportFrom) and node.module == KIT
        for alias in node.names
    }
