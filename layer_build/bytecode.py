"""Byte-code of a layer's Python files: made by the interpreter version that will read it, the same on every machine.

/opt is read-only on Lambda: what has no byte-code in the layer is compiled anew at each cold start. The files carry a hash of
their source instead of a date, and it is not checked at import (PEP 552, "unchecked"). Paths in them are those on Lambda. To be
small, they hold no columns (tracebacks name lines), and those of ours no docstrings, unless ``__doc__`` is read there; the
kit's and our own extensions', which nothing looks into, hold no annotations and no ``__all__`` either. An author's keep theirs.
"""

from __future__ import annotations

import base64
import json
import subprocess
from typing import TYPE_CHECKING

from extension_kit.errors import ConfigError
from layer_build import interpreters

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

_LIMIT = 300  # seconds for all files of a layer

# Runs in the other interpreter, which may be any supported version: names and sources come in as JSON, byte-code goes out so.
_COMPILE = """
import ast, base64, importlib._bootstrap_external as external, importlib.util, json, sys
found = {}
def without_docstrings(tree):
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if not isinstance(body, list) or not body or not isinstance(body[0], ast.Expr):
            continue
        if isinstance(body[0].value, ast.Constant) and isinstance(body[0].value.value, str):
            body[:1] = [] if len(body) > 1 or isinstance(node, ast.Module) else [ast.copy_location(ast.Pass(), body[0])]
class WithoutTypes(ast.NodeTransformer):
    def visit_If(self, node):
        self.generic_visit(node)
        if isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING" and not node.orelse:
            return ast.copy_location(ast.Pass(), node)
        return node
    def visit_FunctionDef(self, node):
        self.generic_visit(node)
        node.returns = None
        arguments = node.args
        for one in [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg]:
            if one is not None:
                one.annotation = None
        return node
    visit_AsyncFunctionDef = visit_FunctionDef
    def visit_AnnAssign(self, node):
        if node.value is None:
            return ast.copy_location(ast.Pass(), node)
        return ast.copy_location(ast.Assign([node.target], node.value), node)
    def visit_Module(self, node):
        # What says how annotations are to be read has nothing left to say; importing it would cost a little in each module.
        node.body = [one for one in node.body if not isinstance(one, ast.ImportFrom) or one.module != "__future__"]
        self.generic_visit(node)
        used = {one.id for one in ast.walk(node) if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Load)}
        node.body = [one for one in node.body if not is_for_readers(one, used)]
        return node
def is_for_readers(node, used):
    if not isinstance(node, ast.Assign) or len(node.targets) != 1 or not isinstance(node.targets[0], ast.Name):
        return False
    return node.targets[0].id in ("TYPE_CHECKING", "__all__") and node.targets[0].id not in used
given, ours = json.load(sys.stdin)
for name, (path, source) in given.items():
    source = base64.b64decode(source)
    try:
        tree = compile(source, path, "exec", dont_inherit=True, flags=ast.PyCF_ONLY_AST)
        if name in ours and b"__doc__" not in source:
            without_docstrings(tree)
        if name.startswith(("extension_kit/", "extensions/")):
            tree = ast.fix_missing_locations(WithoutTypes().visit(tree))
        code = compile(tree, path, "exec", dont_inherit=True, optimize=0)
    except SyntaxError as error:
        sys.exit("%s:%s: %s" % (name, error.lineno, error.msg))
    data = external._code_to_hash_pyc(code, importlib.util.source_hash(source), False)
    found[name] = base64.b64encode(data).decode()
json.dump(found, sys.stdout)
"""


def tag(python: str) -> str:
    """What stands in a file's name for a version: ``cpython-313``."""
    return f"cpython-{python.replace('.', '')}"


def compile_all(
    sources: Mapping[str, tuple[str, bytes]], python: str, ours: Collection[str] = (), by: Path | None = None
) -> tuple[dict[str, bytes], str]:
    """``sources``: name -> (path on Lambda, source). Byte-code by name, and the exact version of what made it.

    ``by``: the interpreter to use, if that is not any of this machine's. ``ours``: names whose docstrings are
    left out, since their sources stand beside them.

    ConfigError where this machine has no such interpreter, or where a source is no Python of that version.
    """
    found = interpreters.find(python, by)
    if found is None:
        raise ConfigError(
            f"Python {python} is not on this machine, and only it can make its byte-code: install it, name its path in "
            "EXTENSION_KIT_BUILD_PYTHON, or build with --no-bytecode (each cold start then compiles, several times slower)"
        )
    given = {name: (path, base64.b64encode(source).decode()) for name, (path, source) in sorted(sources.items())}
    # A fixed hash seed: the order of sets in the code must not differ from run to run. -I would ignore it.
    done = subprocess.run(
        [found[0], "-X", "no_debug_ranges", "-s", "-S", "-B", "-P", "-c", _COMPILE],
        input=json.dumps([given, sorted(ours)]), capture_output=True, text=True, timeout=_LIMIT, check=False,
        env={"PYTHONHASHSEED": "0", "PYTHONUTF8": "1"},
    )  # fmt: skip
    if done.returncode != 0:
        reason = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
        raise ConfigError(f"byte-code for Python {python} cannot be made: {reason}")
    return {name: base64.b64decode(data) for name, data in json.loads(done.stdout).items()}, found[1]
