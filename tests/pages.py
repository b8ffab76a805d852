"""The pages of the project, taken apart: examples, links, headings, what stands in code; and a desk to run examples at.

The first word of a fence says what a block is, the rest what becomes of it:

- ``sh``: run by `Desk`, in the order of the page; with ``needs="..."`` it cannot be run here, and only its commands are looked
  at; with ``tested="tests/x.py::test_y"`` that test runs it;
- ``python``, ``toml``, ``json``, ``yaml``: a file, written where ``title="..."`` says, for a later ``sh`` block; or ``tested``;
- ``text prints``: what the ``sh`` block before it prints, among other things: these lines in this order (or ``prints="in any
  order"``). Numbers stand for any number, ``...`` for anything;
- ``text``, ``mermaid``: to be looked at.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
#: no pages: what was released; what a tool of others wants to lie beside its files; a template
NO_PAGES = ("CHANGELOG.md", "tests/receivers/node/README.md", "extension_kit/scaffold/project/README.md")
FILES = ("python", "toml", "json", "yaml")
LANGUAGES = ("sh", *FILES, "text", "mermaid")
#: modules of commands that know ``--help``; of others it is only looked whether they are there
WITH_HELP = (
    "extension_kit.cli", "layer_build", "extensions.secret_cache", "extensions.chaos_injector", "tests.benchmarks.bench",
    "tests.benchmarks.fleet",
    "tests.conformance.compare", "tests.demo",
)  # fmt: skip
_FENCE = re.compile(r"^```(?P<info>[^\n`]*)\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE)
_ATTRIBUTE = re.compile(r'([a-z]+)(?:="([^"]*)")?')
_LINK = re.compile(r"(?<!!)\[(?:[^\]\[]|\[[^\]]*\])*\]\(([^)\s]+)\)|!\[[^\]]*\]\(([^)\s]+)\)")
_SPAN = re.compile(r"(`+)(?!`)(.+?)(?<!`)\1(?!`)")


@dataclass(frozen=True)
class Block:
    """One fenced block: `line` is that of its fence, `attributes` what follows the language (flags have an empty value)."""

    page: str
    line: int
    language: str
    attributes: dict[str, str] = field(hash=False)
    text: str = ""

    @property
    def place(self) -> str:
        return f"{self.page}:{self.line}"


@cache
def tracked() -> frozenset[str]:
    """Every file of the project that is in git, or is about to be."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60)
    return frozenset(name for name in done.stdout.splitlines() if (ROOT / name).exists())


@cache
def pages() -> tuple[str, ...]:
    """All pages, by their path."""
    return tuple(sorted(name for name in tracked() if name.endswith(".md") and name not in NO_PAGES))


@cache
def text(page: str) -> str:
    return (ROOT / page).read_text()


@cache
def blocks(page: str) -> tuple[Block, ...]:
    """The page's fenced blocks, in order."""
    found = []
    for match in _FENCE.finditer(text(page)):
        language, _, rest = match["info"].partition(" ")
        line = text(page)[: match.start()].count("\n") + 1
        found.append(Block(page, line, language, dict(_ATTRIBUTE.findall(rest)), match["text"]))
    return tuple(found)


@cache
def prose(page: str) -> str:
    """The page without its fenced blocks."""
    return _FENCE.sub("", text(page))


def spans(page: str) -> list[str]:
    """What stands in code within sentences and tables."""
    return [match[2].strip() for match in _SPAN.finditer(prose(page))]


def links(page: str) -> list[str]:
    """Where it points to: pages, anchors, pictures."""
    outside = _SPAN.sub("", prose(page))
    return [first or second for first, second in _LINK.findall(outside)]


@cache
def anchors(page: str) -> frozenset[str]:
    """The anchors of its headings, as GitHub makes them."""
    seen: dict[str, int] = {}
    made = set()
    for heading in re.findall(r"^#{1,6} (.+)$", prose(page), re.MULTILINE):
        plain = re.sub(r"[^\w\- ]", "", heading.replace("`", "").strip().lower()).replace(" ", "-")
        count = seen.get(plain, 0)
        seen[plain] = count + 1
        made.add(f"{plain}-{count}" if count else plain)
    return frozenset(made)


def section(page: str, heading: str) -> list[Block]:
    """The blocks below the heading `heading`, up to the next one of its level."""
    lines = text(page).splitlines()
    first = next(
        number for number, line in enumerate(lines, 1) if line.lstrip("# ") == heading and line.startswith("#")
    )
    level = lines[first - 1].partition(" ")[0] + " "
    after = [number for number, line in enumerate(lines, 1) if number > first and line.startswith(level)]
    return [block for block in blocks(page) if first < block.line < (after[0] if after else len(lines) + 1)]


# commands -------------------------------------------------------------------------------------------------------------------


def commands(script: str) -> list[list[str]]:
    """The simple commands of a shell script, as words: without variables set before them, redirections and comments."""
    lexer = shlex.shlex(script.replace("\\\n", " "), posix=True, punctuation_chars="();<>|&\n")
    lexer.whitespace = " \t\r"
    lexer.commenters = ""
    found: list[list[str]] = [[]]
    comment = False
    for word in lexer:
        if set(word) <= set("();|&\n"):
            comment = comment and "\n" not in word
            found.append([])
        elif word.startswith("#") or comment:
            comment = True
        else:
            found[-1].append(word)
    simple = []
    for words in found:
        while words and re.fullmatch(r"[A-Za-z_]\w*=.*", words[0], re.DOTALL):
            words = words[1:]
        if words:
            simple.append(words)
    return simple


def ours(words: list[str]) -> tuple[str, ...] | None:
    """Which command of ours it is: ("extension_kit.cli", "run"), ("layer_build", "build"), ("make",); None: somebody else's."""
    program = Path(words[0]).name
    if program == "make":
        return ("make",)
    if program == "extension-kit":
        return ("extension_kit.cli", *_subcommand(words[1:]))
    python = re.fullmatch(r"python[\d.]*", program) and words[1:2] == ["-m"] and len(words) > 2
    if python and words[2].partition(".")[0] in ("extension_kit", "extensions", "layer_build", "tests"):
        return (words[2], *_subcommand(words[3:]))
    return None


def _subcommand(words: list[str]) -> list[str]:
    return words[:1] if words and re.fullmatch(r"[a-z]+", words[0]) else []


def options(words: list[str]) -> list[str]:
    """The long options among a command's words."""
    return [word.partition("=")[0] for word in words if re.match(r"--[a-z]", word)]


@cache
def known_options(command: tuple[str, ...]) -> frozenset[str] | None:
    """The options that ``--help`` of a command of ours names; None where there is no such command."""
    if command[0] not in WITH_HELP:
        return frozenset() if importlib.util.find_spec(command[0]) is not None else None
    done = subprocess.run(
        [sys.executable, "-m", *command, "--help"], cwd=ROOT, env={**os.environ, "COLUMNS": "1000"},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    return frozenset(re.findall(r"(?<![\w-])--[a-z][a-z0-9-]*", done.stdout)) if done.returncode == 0 else None


# running --------------------------------------------------------------------------------------------------------------------


class Desk:
    """A folder that looks like the checkout to who stands in it, and a shell; what an example writes stays in the folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = self.here = folder
        for name in sorted({name.partition("/")[0] for name in tracked()}):
            (folder / name).symlink_to(ROOT / name)
        programs = folder / ".venv" / "bin"
        programs.mkdir(parents=True)
        self._program(programs / "python", "")
        self._program(programs / "extension-kit", " -P -m extension_kit.cli")  # as a script: not from where one stands
        (programs / "cfn-lint").symlink_to(Path(sys.executable).with_name("cfn-lint"))
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "EXTENSION_KIT_"))}
        path = f"{programs}{os.pathsep}{kept.get('PATH', '')}"
        self.environ = {**kept, "PATH": path, "PYTHONIOENCODING": "utf-8", "LC_ALL": "C.UTF-8"}

    @staticmethod
    def _program(path: Path, arguments: str) -> None:
        path.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)}{arguments} "$@"\n')
        path.chmod(0o755)

    def write(self, block: Block) -> None:
        """The file of a titled block, where the shell stands."""
        path = self.here / block.attributes["title"]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(block.text)

    def run(self, script: str, place: str = "", limit: float = 240) -> str:
        """What it prints; the next one goes on in the folder in which it ends. AssertionError where a command fails."""
        script = f"set -euo pipefail\n{script}\npwd > {shlex.quote(str(self.folder / '.here'))}\n"
        done = subprocess.run(
            ["bash", "-c", script], cwd=self.here, env=self.environ, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, timeout=limit, check=False, encoding="utf-8", errors="replace",
        )  # fmt: skip
        assert done.returncode == 0, f"{place}: exit status {done.returncode}\n{done.stdout}"
        self.here = Path((self.folder / ".here").read_text().strip())
        return done.stdout


def follow(page: list[Block], desk: Desk) -> int:
    """Do what a reader of these blocks would do, from the first to the last; returns how many scripts were run."""
    printed, ran = None, 0
    for block in page:
        if block.language in FILES and "title" in block.attributes and "tested" not in block.attributes:
            desk.write(block)
        elif block.language == "sh" and not {"needs", "tested"} & set(block.attributes):
            printed, ran = desk.run(block.text, block.place), ran + 1
        elif block.language == "text" and "prints" in block.attributes:
            assert printed is not None, f"{block.place}: no script before it has printed anything"
            missing = absent(block.text, printed, ordered=block.attributes["prints"] != "in any order")
            assert missing is None, f"{block.place}: it did not print\n{missing}\nbut\n{printed}"
    return ran


def absent(shown: str, printed: str, *, ordered: bool = True) -> str | None:
    """The first line of `shown` that `printed` has not, behind the one before it where that counts; None: all are there."""
    rest = [" ".join(line.split()) for line in printed.splitlines()]
    for line in shown.splitlines():
        if line.strip() in ("", "..."):
            continue
        pattern = as_pattern(line)
        at = next((number for number, candidate in enumerate(rest) if pattern.fullmatch(candidate)), None)
        if at is None:
            return line
        rest = rest[at + 1 :] if ordered else [*rest[:at], *rest[at + 1 :]]
    return None


def as_pattern(line: str) -> re.Pattern[str]:
    """`line` with any number for each number, any id for each id, any bar for each bar, anything for ``...``."""
    parts = re.split(r"(\.\.\.|\b[0-9a-f]{8}(?:[0-9a-f-]{8,})?\b|\d[\d.,]*|[▁-█]+)", " ".join(line.split()))
    kinds = {".": ".*", "▁": "[▁-█]+"}
    made = ""
    for at, part in enumerate(parts):
        if at % 2 == 0:
            made += re.escape(part)
        elif part == "..." or "▁" <= part[0] <= "█":
            made += kinds["." if part == "..." else "▁"]
        else:
            made += r"[\d.,]+" if re.fullmatch(r"\d[\d.,]*", part) and len(part) != 8 else r"[\da-f.,-]+"
    return re.compile(made)
