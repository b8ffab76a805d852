"""What the pages say is so: links, paths, tests, commands, options, variables; what is made from the code is what it makes."""

from __future__ import annotations

import importlib
import re
import subprocess
from fnmatch import fnmatch

import pytest

from extension_kit.emulator import faults
from extension_kit.plugin import HOOKS, Plugin
from extension_kit.protocol import lifecycle, refusals
from extension_kit.protocol.diagram import svg
from extension_kit.settings import Settings
from extension_kit.testing import Sandbox
from tests import pages, pictures
from tests.pages import ROOT, Block, blocks, commands, known_options, options, ours, spans, text

pytestmark = pytest.mark.once  # what a page says is the same under every Python

#: why a script is not run by the tests: page, what it needs, how many there are
NOT_RUN = {
    ("extension_kit/guide/layers.md", "a compiler and ten minutes, once"): 1,
    ("layer_build/interpreter/README.md", "a compiler and ten minutes, once"): 1,
    ("layer_build/interpreter/README.md", "a network"): 1,
    ("extension_kit/guide/layers.md", "AWS"): 1,
    ("extensions/secret_cache/README.md", "credentials of AWS"): 1,
    ("extensions/log_shipper/README.md", "a sink"): 1,
    ("layer_build/README.md", "wheels for every target"): 1,
    ("layer_build/PUBLISHING.md", "AWS"): 4,
    ("tests/benchmarks/README.md", "half an hour"): 1,
}
#: variables of ours begin so
PREFIXES = (
    "EXTENSION_KIT_", "SECRET_CACHE_", "LOG_SHIPPER_", "METRICS_COLLECTOR_", "CHAOS_", "PARAMETERS_SECRETS_EXTENSION_",
    "SECRETS_MANAGER_", "SSM_PARAMETER_STORE_", "AWS_APPCONFIG_EXTENSION_", "FAILURE_", "KIT_TESTS_",
)  # fmt: skip
#: what others read: Lambda and the SDKs, OpenTelemetry, Datadog, the shell
FOREIGN = (
    "AWS_*", "OTEL_*", "DD_*", "POWERTOOLS_*", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "NODE_USE_ENV_PROXY", "LD_*",
    "PIP_CACHE_DIR", "SSL_CERT_*", "SOURCE_DATE_EPOCH", "OPENSSL_*", "LAMBDA_TASK_ROOT", "_X_AMZN_TRACE_ID", "LAMBDA_IMAGE",
    "PYTHONPATH", "PYENV_ROOT", "XDG_CACHE_HOME",
)  # fmt: skip
#: in capitals with a line below, and no variables: states and answers of AWS's, constants of C and of ours
NO_VARIABLES = (
    "INIT_REPORT", "RESTORE_REPORT", "BASELINE_*", "CERTIFICATE_VERIFY_FAILED", "TCP_NODELAY", "CAP_*", "GLIBC_*", "A_VARIABLE",
)  # fmt: skip
#: options of other people's programs that stand in a sentence by themselves
OPTIONS_OF_OTHERS = ("--layers", "--rollback-strategy", "--hash")
#: what the kit's own lines are made of, in the page on errors
SAYS = (
    "neither the manifest nor a setting names it", "is not allowed: use", "is not a setting and is ignored",
    "it is put to rest, the function goes on without it", "it is left out, the function goes on without it",
    "no telemetry here (", "no Python: this layer supports", "cannot register: ",
    "telemetry is kept in memory only, a crash would lose it",
)  # fmt: skip
EVERY = [pytest.param(page, id=page) for page in pages.pages()]
TROUBLE = "extension_kit/guide/troubleshooting.md"


def all_blocks() -> list[Block]:
    return [block for page in pages.pages() for block in blocks(page)]


def all_commands(page: str) -> list[list[str]]:
    """Of scripts, and of code in sentences that begins with a command of ours."""
    scripts = [block.text for block in blocks(page) if block.language == "sh"]
    scripts += [span for span in spans(page) if re.match(r"(\S*/)?(make|extension-kit|python -m) ", span)]
    return [words for script in scripts for words in commands(script)]


@pytest.mark.parametrize("page", EVERY)
def test_every_block_says_what_becomes_of_it(page):
    for block in blocks(page):
        assert block.language in pages.LANGUAGES, f"{block.place}: ```{block.language}"
        assert set(block.attributes) <= {"title", "needs", "tested", "prints"}, block.place
        if block.language in pages.FILES:
            assert {"title", "tested"} & set(block.attributes), f"{block.place}: no title, and no test that runs it"
        if "tested" in block.attributes:
            assert is_test(block.attributes["tested"]), block.place
        if block.language == "sh":
            done = subprocess.run(
                ["bash", "-n"], input=block.text, capture_output=True, text=True, timeout=20, check=False
            )
            assert done.returncode == 0, f"{block.place}: {done.stderr}"
    assert text(page).count("\n```") % 2 == 0, "a fence is open"


@pytest.mark.parametrize("page", EVERY)
def test_every_file_is_used_by_a_script_after_it(page):
    for number, block in enumerate(blocks(page)):
        if block.language in pages.FILES and "tested" not in block.attributes:
            title = block.attributes["title"]
            wanted = {title, title.partition("/")[0], title.partition("/")[0].removesuffix(".py")}
            after = " ".join(one.text for one in blocks(page)[number:] if one.language in ("sh", *pages.FILES[2:]))
            assert any(re.search(rf"(?<![\w.-]){re.escape(one)}(?![\w-])", after) for one in wanted), block.place


def test_what_is_not_run_is_known():
    """A script that no test runs is an exception that somebody has made."""
    found: dict[tuple[str, str], int] = {}
    for block in all_blocks():
        if "needs" in block.attributes:
            key = (block.page, block.attributes["needs"])
            found[key] = found.get(key, 0) + 1
    assert found == NOT_RUN


@pytest.mark.parametrize("page", EVERY)
def test_links_lead_somewhere(page):
    for link in pages.links(page):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = ((ROOT / page).parent / path).resolve() if path else ROOT / page
        name = target.relative_to(ROOT).as_posix()
        assert name in pages.tracked(), f"{page}: {link}"
        assert not anchor or anchor in pages.anchors(name), f"{page}: {link}"


def is_test(name: str) -> bool:
    """Whether there is a file, or a test in it, of this name: ``tests/x.py::test_y``."""
    path, _, function = name.partition("::")
    return path in pages.tracked() and (not function or f"\ndef {function}(" in (ROOT / path).read_text())


@pytest.mark.parametrize("page", EVERY)
def test_paths_and_tests_are_there(page):
    """Those that begin in a folder of the project, and files that are named by themselves."""
    titles = {block.attributes.get("title", "") for block in blocks(page)}
    for span in spans(page):
        if re.fullmatch(r"(extension_kit|extensions|layer_build|tests|\.ci)/[\w./*:-]*", span):
            path = span.partition("::")[0].rstrip("/")
            there = [name for name in pages.tracked() if fnmatch(name, path) or name.startswith(f"{path}/")]
            assert there, f"{page}: {span}"
            assert "::" not in span or is_test(span), f"{page}: {span}"
        elif re.fullmatch(r"[\w./-]+\.(py|c|h|md|toml)", span) and not span.startswith("/") and span not in titles:
            known = any(name == span or name.endswith(f"/{span}") for name in pages.tracked())
            assert known or span in NAMES_OF_FILES, f"{page}: {span}"


#: files that are named and are not here: of a layer, of a user's project
NAMES_OF_FILES = ("app.py", "greeter/plugin.py", "greeter/manifest.toml", "launcher.conf")


@pytest.mark.parametrize("page", EVERY)
def test_commands_and_their_options_exist(page):
    makefile = (ROOT / "Makefile").read_text()
    for words in all_commands(page):
        command = ours(words)
        if command == ("make",):
            targets = [word for word in words[1:] if "=" not in word and not word.startswith("-")]
            assert all(f"\n{one}:" in makefile for one in targets), f"{page}: {' '.join(words)}"
        elif command is not None:
            known = known_options(command)
            assert known is not None, f"{page}: there is no command {' '.join(command)}"
            assert set(options(words)) <= known, f"{page}: {' '.join(words)}: {set(options(words)) - known}"


@pytest.mark.parametrize("page", EVERY)
def test_options_that_stand_alone_exist(page):
    named = {options(span.split())[0] for span in spans(page) if re.match(r"--[a-z]", span)}
    assert named - every_option() - set(OPTIONS_OF_OTHERS) == set()


def every_option() -> set[str]:
    """Of all commands that any page names."""
    found = {ours(words) for page in pages.pages() for words in all_commands(page)}
    return set().union(*(known_options(one) or () for one in found if one not in (None, ("make",))))


def declared() -> set[str]:
    """All variables that are settings, by whatever name they are read."""
    for name in ("secret_cache", "log_shipper", "metrics_collector", "chaos_injector"):
        importlib.import_module(f"extensions.{name}.settings")
    todo, found = list(Settings.__subclasses__()), set()
    while todo:
        one = todo.pop()
        todo += one.__subclasses__()
        if one.__module__.startswith(("extension_kit.", "extensions.")):
            found |= {name for setting in one.declared() for name in (setting.variable, *setting.aliases)}
    return found


def in_sources() -> set[str]:
    """All names of variables that stand in code, but for the list of what the kit may one day read."""
    found = set()
    for name in pages.tracked() - {"extension_kit/settings.py", "tests/test_guide.py"}:
        if name.endswith((".py", ".c", "/wrapper", "Makefile", ".ci/run")):
            found |= set(re.findall(r"_?[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+_?", (ROOT / name).read_text(errors="replace")))
    return found


DECLARED = declared()
IN_SOURCES = in_sources()


@pytest.mark.parametrize("page", EVERY)
def test_variables_exist(page):
    """Ours are declared, or read by name in code; a ``*`` stands for at least one. Of others it is known whose they are."""
    own = set(re.findall(r'title="[^"]*"\n(.*?)```', text(page), re.DOTALL))
    code = " ".join([*spans(page), *(block.text for block in blocks(page) if block.language in ("sh", "text"))])
    invented = set(re.findall(r'prefix = "([A-Z_]+)"', " ".join(own)))
    for name in set(re.findall(r"(?<![\w$:/.{\[|])_?[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+_?\*?", code)):
        if name.startswith(tuple(invented)) and invented:
            continue
        if name.startswith(PREFIXES):
            stem = name.rstrip("*").rstrip("_")
            whole = name in DECLARED or name in IN_SOURCES
            assert whole or ("*" in name and any(one.startswith(stem) for one in DECLARED)), f"{page}: {name}"
        else:
            assert any(fnmatch(name.rstrip("*"), one) for one in (*FOREIGN, *NO_VARIABLES)) or name in IN_SOURCES, (
                f"{page}: {name}"
            )


@pytest.mark.parametrize("page", pictures.PAGES)
def test_what_is_made_from_the_code_is_as_the_code_has_it(page):
    """``python -m tests.pictures`` writes it anew."""
    assert (ROOT / page).read_text() == pictures.filled(page)


def test_every_place_is_filled():
    made = [name for page in pages.pages() for name in re.findall(r"<!-- made: ([a-z ]+) -->", text(page))]
    assert sorted(made) == sorted(pictures.MADE)


@pytest.mark.parametrize("kind", pictures.KINDS)
def test_pictures_are_drawn_from_the_table(kind):
    """``python -m tests.pictures`` draws them anew."""
    assert (ROOT / pictures.file_of(kind)).read_text() == svg(kind)
    drawn = svg(kind)
    for state, steps in lifecycle.TABLE[kind].items():
        for step, following in steps.items():
            if step not in ("exited", "killed", "launch failed"):
                assert all(f">{one}<" in drawn or f"{one}<" in drawn for one in (state, following)), (state, step)


def test_every_error_of_the_platform_is_on_the_page_of_errors():
    """What the emulator can answer or report, a reader finds."""
    known = {kind for kinds in lifecycle.FATAL.values() for kind in kinds.values()}
    known |= {one.error_type for one in vars(refusals).values() if isinstance(one, refusals.Refusal)}
    for name in pages.tracked():
        if name.startswith(("extension_kit/emulator/", "extension_kit/protocol/")) and name.endswith(".py"):
            source = (ROOT / name).read_text()
            known |= set(re.findall(r'"((?:Extension|Runtime|Sandbox|Function|Telemetry|Logs)\.[A-Z]\w+)"', source))
    missing = {one for one in known if f"`{one}`" not in text(TROUBLE)}
    assert missing == set()


def test_the_page_of_errors_has_many_and_names_findings_that_exist():
    rows = re.findall(r"^\| `", pages.prose(TROUBLE), re.MULTILINE)
    assert len(rows) >= 60
    codes = set(re.findall(r"^\| `([a-z0-9-]+)` \|", text("layer_build/checks/README.md"), re.MULTILINE))
    named = {
        code for told in re.findall(r"\(`verify`: ([^)]*)\)", text(TROUBLE)) for code in re.findall(r"`([^`]+)`", told)
    }
    assert len(named) > 10
    assert named <= codes


@pytest.mark.parametrize("said", SAYS)
def test_lines_of_the_kit_are_told_as_they_are(said):
    shown = said.strip()
    assert shown in pages.prose(TROUBLE)
    sources = [name for name in pages.tracked() if name.endswith((".py", ".c")) and not name.startswith("tests/")]
    assert any(shown in (ROOT / name).read_text() for name in sources)


def test_hooks_and_methods_that_are_named_exist():
    told = pages.prose("extension_kit/guide/testing.md")
    methods = set(re.findall(r"^\| .*", told, re.MULTILINE)) and set(re.findall(r"`(\w+)\(", told))
    assert methods <= set(dir(Sandbox)), methods - set(dir(Sandbox))
    assert all(f"`{name}(" in text("extension_kit/guide/writing.md") for name in HOOKS)
    assert all(hasattr(Plugin, name) for name in HOOKS)
    assert all(kind in told for kind in faults.KINDS)


SECTIONS = {
    "what it does": r"^# .+\n\n\w",
    "how to try it": r"^## Try it$",
    "settings": r"^## Settings$",
    "permissions": r"\bIAM\b",
    "cost": r"^## What it costs$",
    "when not to use it": r"^## When you do not need it$",
}


@pytest.mark.parametrize("wanted", SECTIONS)
@pytest.mark.parametrize("name", ["secret_cache", "log_shipper", "metrics_collector", "chaos_injector"])
def test_each_extensions_page_says(name, wanted):
    assert re.search(SECTIONS[wanted], text(f"extensions/{name}/README.md"), re.MULTILINE)


def test_these_checks_can_fail():
    """On what is wrong in a way that somebody might write it."""
    assert commands("A=1 make test  # not: make nothing\nextension-kit run \\\n  --strict | tee x && cd y") == [
        ["make", "test"], ["extension-kit", "run", "--strict"], ["tee", "x"], ["cd", "y"],
    ]  # fmt: skip
    assert ours(["../.venv/bin/python", "-m", "layer_build", "build", "x"]) == ("layer_build", "build")
    assert ours(["python", "-m", "pytest"]) is None
    assert "--colour" not in known_options(("extension_kit.cli", "run"))
    assert "--strict" in known_options(("extension_kit.cli", "run"))
    assert known_options(("layer_build", "knit")) is None
    assert not is_test("tests/test_guide.py::test_nothing_of_this_name")
    assert pages.absent("a 1\n...\nb 2,000 ▁▂\n", "a 7\nx\nb 3 ███\n") is None
    assert pages.absent("b 1\na 1\n", "a 7\nb 3\n") == "a 1"
    assert pages.absent("b 1\na 1\n", "a 7\nb 3\n", ordered=False) is None
    assert pages.absent("a 1\na 1\n", "a 7\nb 3\n", ordered=False) == "a 1"
    assert pages.absent("id 0123abcd\n", "id xyz\n") == "id 0123abcd"
