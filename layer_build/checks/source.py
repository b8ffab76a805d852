"""What Python source does, as far as its text tells: variables that it reads, modules that it imports, files that it writes.

Only what is written out is seen: ``os.environ[name]`` says nothing about which variable. Names are followed through imports
(``from os import environ as e``) and through constants of the same module.
"""

from __future__ import annotations

import ast
import warnings
from dataclasses import dataclass, field

_READERS = ("os.getenv", "os.environ.get", "os.environb.get", "posix.environ.get", "extension_kit.io.environ.get")
_MAPPINGS = ("os.environ", "os.environb", "posix.environ")
_MAKERS = ("open", "io.open", "os.open")
_WRITERS = ("os.mkdir", "os.makedirs", "os.mkfifo", "os.mknod", "os.truncate", "os.symlink", "os.link")
_MOVERS = ("os.rename", "os.replace")
_PATH_WRITERS = ("write_text", "write_bytes", "mkdir", "touch")
_STARTERS = (
    "os.system",
    "os.popen",
    "os.fork",
    "os.exec",
    "os.spawn",
    "os.posix_spawn",
    "posix.system",
    "posix.fork",
    "posix.exec",
    "posix.posix_spawn",
    "subprocess.",
    "multiprocessing.",
)
_SETTINGS = (
    "text",
    "flag",
    "integer",
    "number",
    "byte_size",
    "duration",
    "choice",
    "flush_strategy",
    "comma_list",
    "pattern",
)


@dataclass
class Facts:
    """What one module does; each with the line where it stands. ``classes`` by name."""

    variables: list[tuple[str, int]] = field(default_factory=list)
    imports: list[tuple[str, int]] = field(default_factory=list)
    writes: list[tuple[str, int]] = field(default_factory=list)
    starts: list[tuple[str, int]] = field(default_factory=list)
    strings: list[tuple[str, int]] = field(default_factory=list)
    own_directory: list[int] = field(default_factory=list)
    classes: dict[str, Class] = field(default_factory=dict)


@dataclass
class Class:
    """A class: its bases with their modules, its methods, its attributes that are literals; the settings that it declares."""

    bases: tuple[str, ...]
    line: int
    methods: frozenset[str] = frozenset()
    values: dict[str, object] = field(default_factory=dict)
    #: attribute, ``env``, ``aliases`` of each setting that it declares
    settings: tuple[tuple[str, str, tuple[str, ...], int], ...] = ()


def read(source: bytes, module: str, is_package: bool = False) -> Facts:
    """The facts about the source of `module`; SyntaxError or ValueError where it is no Python."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of escapes and comparisons that the author may look after
            tree = ast.parse(source)
        reader = _Reader(module, is_package)
        reader.constants = _constants(tree)
        reader.visit(tree)
    except (RecursionError, MemoryError):  # the parser says one or the other, by version
        raise ValueError("nested too deeply") from None
    return reader.facts


def _constants(tree: ast.Module) -> dict[str, str]:
    """Names that the module gives to strings."""
    return {
        target.id: node.value.value
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        for target in node.targets
        if isinstance(target, ast.Name)
    }


class _Reader(ast.NodeVisitor):
    def __init__(self, module: str, is_package: bool) -> None:
        self.facts = Facts()
        self.constants: dict[str, str] = {}
        self._names: dict[str, str] = {}
        self._package = module if is_package else module.rpartition(".")[0]
        self._module = module

    def dotted(self, node: ast.expr) -> str:
        """``os.environ.get`` for what means that here; "" for what is no name."""
        if isinstance(node, ast.Name):
            return self._names.get(node.id, node.id)
        if isinstance(node, ast.Attribute):
            base = self.dotted(node.value)
            return f"{base}.{node.attr}" if base else ""
        return ""

    def text(self, node: ast.expr | None) -> str:
        """The string that `node` is or begins with; "" where the text does not tell."""
        if isinstance(node, ast.Constant) and isinstance(node.value, (str, bytes)):
            return node.value if isinstance(node.value, str) else node.value.decode("utf-8", "replace")
        if isinstance(node, ast.Name):
            return self.constants.get(node.id, "")
        if isinstance(node, ast.JoinedStr) and node.values:
            return self.text(node.values[0])
        if isinstance(node, ast.BinOp) and isinstance(node.op, (ast.Add, ast.Mod)):
            return self.text(node.left).split("%")[0]
        if isinstance(node, ast.Call) and self.dotted(node.func).startswith("pathlib.") and node.args:
            return self.text(node.args[0])
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
            return self.text(node.left)
        return ""

    def visit_If(self, node: ast.If) -> None:
        """What is imported for the type checker alone is never imported."""
        skipped = self.dotted(node.test).split(".")[-1] == "TYPE_CHECKING"
        for part in (*([] if skipped else [node.test, *node.body]), *node.orelse):
            self.visit(part)

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            self.facts.imports.append((alias.name, node.lineno))
            first = alias.name.split(".")[0]
            self._names[alias.asname or first] = alias.name if alias.asname else first

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        base = node.module or ""
        if node.level:
            parts = self._package.split(".") if self._package else []
            base = ".".join(parts[: len(parts) - node.level + 1] + ([base] if base else []))
        self.facts.imports.append((base, node.lineno))
        for alias in node.names:
            self.facts.imports.append((f"{base}.{alias.name}", node.lineno))
            self._names[alias.asname or alias.name] = f"{base}.{alias.name}"

    def visit_Call(self, node: ast.Call) -> None:
        name = self.dotted(node.func)
        first = node.args[0] if node.args else None
        if name in _READERS and self.text(first):
            self.facts.variables.append((self.text(first), node.lineno))
        if name.startswith(_STARTERS):
            self.facts.starts.append((name, node.lineno))
        self._writes(node, name, first)
        self.generic_visit(node)

    def _writes(self, node: ast.Call, name: str, first: ast.expr | None) -> None:
        target: ast.expr | None = None
        if name in _MAKERS and self._for_writing(node, 1):
            target = first
        elif name in _WRITERS:
            target = node.args[1] if name in ("os.symlink", "os.link") and len(node.args) > 1 else first
        elif name in _MOVERS and len(node.args) > 1:
            target = node.args[1]
        elif isinstance(node.func, ast.Attribute) and (
            node.func.attr in _PATH_WRITERS or (node.func.attr == "open" and self._for_writing(node, 0))
        ):
            target = node.func.value
        if self.text(target).startswith("/"):
            self.facts.writes.append((self.text(target), node.lineno))

    def _for_writing(self, node: ast.Call, position: int) -> bool:
        """Whether the mode (or the flags of `os.open`) says so; the default is to read."""
        mode = node.args[position] if len(node.args) > position else None
        mode = next((one.value for one in node.keywords if one.arg == "mode"), mode)
        if isinstance(mode, ast.Constant) and isinstance(mode.value, str):
            return bool(set(mode.value) & set("wax+"))
        names = {one.attr for one in ast.walk(mode) if isinstance(one, ast.Attribute)} if mode else set()
        return bool(names & {"O_WRONLY", "O_RDWR", "O_CREAT", "O_APPEND"})

    def visit_Subscript(self, node: ast.Subscript) -> None:
        if self.dotted(node.value) in _MAPPINGS and isinstance(node.ctx, ast.Load) and self.text(node.slice):
            self.facts.variables.append((self.text(node.slice), node.lineno))
        self.generic_visit(node)

    def visit_Compare(self, node: ast.Compare) -> None:
        if any(self.dotted(one) in _MAPPINGS for one in node.comparators) and self.text(node.left):
            self.facts.variables.append((self.text(node.left), node.lineno))
        self.generic_visit(node)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        if node.attr == "directory" and self.dotted(node.value).split(".")[-1].endswith("context"):
            self.facts.own_directory.append(node.lineno)
        self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> None:
        if isinstance(node.value, str):
            self.facts.strings.append((node.value, node.lineno))

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        found = Class(tuple(self._base(base) for base in node.bases), node.lineno)
        found.methods = frozenset(
            one.name for one in node.body if isinstance(one, (ast.FunctionDef, ast.AsyncFunctionDef))
        )
        settings = []
        for one in node.body:
            target, value = _assigned(one)
            if not target or value is None:
                continue
            if isinstance(value, ast.Call) and self.dotted(value.func).split(".")[-1] in _SETTINGS:
                settings.append((target, *_names_of(value), one.lineno))
                continue
            try:
                found.values[target] = ast.literal_eval(value)
            except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
                found.values.pop(target, None)
        found.settings = tuple(settings)
        self.facts.classes[node.name] = found
        self.generic_visit(node)

    def _base(self, node: ast.expr) -> str:
        name = self.dotted(node)
        return name if "." in name or not name else f"{self._module}.{name}"


def _assigned(node: ast.stmt) -> tuple[str, ast.expr | None]:
    """The one name that a statement assigns to, and the value."""
    if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
        return node.targets[0].id, node.value
    if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
        return node.target.id, node.value
    return "", None


def _names_of(call: ast.Call) -> tuple[str, tuple[str, ...]]:
    """``env`` and ``aliases`` of a setting."""
    keywords = {one.arg: one.value for one in call.keywords}
    env, aliases = keywords.get("env"), keywords.get("aliases")
    listed = aliases.elts if isinstance(aliases, (ast.Tuple, ast.List)) else []
    names = tuple(one.value for one in listed if isinstance(one, ast.Constant) and isinstance(one.value, str))
    return (env.value if isinstance(env, ast.Constant) and isinstance(env.value, str) else ""), names
