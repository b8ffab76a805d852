"""The sandbox for authors' tests: each method against a real environment, and wrong uses, which are one clear error."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import threading
import time
import tomllib
from pathlib import Path

import pytest

from extension_kit import ConfigError, Plugin
from extension_kit.testing import Account, Sandbox
from tests.conftest import FUNCTION, ROOT, Lab
from tests.plugins_for_sandbox import Misspelt, Outer, Refuser, Teller

SEED = 570  # of whose reports the first ones come soon
LATE = """
import time
import tomllib
def handler(event, context):
    time.sleep(30)
"""


@pytest.fixture
def sandbox(tmp_path, monkeypatch):
    """As the plug-in's fixture, and with an eye on what stays behind."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    threads = threading.active_count()
    with Sandbox(seed=SEED) as made:
        yield made
    pids = [event["pid"] for event in made.events("process_start")]
    assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()]
    assert threading.active_count() <= threads  # one of an earlier test may have ended meanwhile
    assert not [path for path in tmp_path.iterdir() if path.name.startswith("extension-kit")]


def told(sandbox, word):
    """What the teller said after `word`."""
    return [line.split(" ", 1)[1] for line in sandbox.lines("teller") if line.startswith(f"{word} ")]


def script(folder, name, text):
    path = folder / name
    path.write_text(text)
    path.chmod(0o755)
    return path


# what it does


def test_a_plugin_from_its_start_to_its_account(sandbox):
    """Attached by class; settings, an invoke, its lines, the end, and both sides' figures."""
    assert sandbox.attach(Teller, variables={"TELLER_WORD": "hello"}) == "teller"
    assert (sandbox.healthy, sandbox.events(), sandbox.is_frozen, sandbox.lines("teller")) == (True, [], False, [])

    result = sandbox.invoke({"n": 7}, lines=["one", "two"])

    assert (result.function_error, json.loads(result.payload)["n"]) == ("", 7)
    assert sandbox.lines("runtime") == ["one", "two"]
    assert told(sandbox, "START") == ["hello"]
    assert told(sandbox, "INVOKE")[0].startswith(result.request_id)
    assert told(sandbox, "HEARD") == ["one", "two"]
    assert sandbox.is_frozen
    assert [event["status"] for event in sandbox.events("init_end", "invoke_end")] == ["success", "success"]
    sandbox.shutdown()
    sandbox.shutdown()
    assert told(sandbox, "GOODBYE") == ["spindown"]
    assert sandbox.account("teller") == Account(received=2, delivered=2, dropped=0, pending=0, reasons={})
    assert sandbox.telemetry("teller").sent["function"] == 2
    assert sandbox.healthy
    assert not sandbox.is_frozen


def test_a_plugin_by_its_name_and_an_executable(sandbox, tmp_path):
    """Side by side: one of the kit, and one that is no Python at all."""
    foreign = script(tmp_path, "foreign", "#!/bin/sh\necho up\nexec sleep 60\n")
    assert sandbox.attach("tests.plugins_for_sandbox:Refuser") == "refuser"
    assert sandbox.attach(foreign) == "foreign"
    assert sandbox.attach(str(script(tmp_path, "other", "#!/bin/sh\n"))) == "other"


def test_an_executable_runs(sandbox, lab):
    """It registers with the very protocol; what it writes is heard."""
    sandbox.attach(lab.extension("ext", "register()\nsay('up')\nloop()\n"))
    sandbox.invoke()
    sandbox.shutdown()

    assert sandbox.lines("ext") == ["up", "INVOKE", "SHUTDOWN"]


def test_what_stays_undelivered_is_pending(sandbox):
    """The account says it, and the platform's ledger agrees."""
    sandbox.attach(Refuser)
    sandbox.invoke(lines=["one", "two", "three"])
    sandbox.shutdown()

    account = sandbox.account("refuser")
    assert (account.received, account.delivered, account.pending) == (3, 0, 3)
    assert account.received == sandbox.telemetry("refuser").sent["function"]


@pytest.mark.parametrize("seconds", [3600, -90.5])
def test_a_step_of_the_clock_is_a_restore(sandbox, seconds):
    """The plug-in's wall clock and the platform's deadlines jump together; it is told before its next on_invoke."""
    sandbox.attach(Teller)
    sandbox.invoke()
    sandbox.step_clock(seconds)
    sandbox.invoke()
    sandbox.invoke(lines=["after"])
    sandbox.shutdown()

    (reason, jumped), *more = [line.split() for line in told(sandbox, "RESTORE")]
    assert (reason, more) == ("clock", [])
    assert int(jumped) == pytest.approx(seconds * 1000, abs=500)
    walls = [int(line.split()[1]) for line in told(sandbox, "INVOKE")]
    deadlines = [int(line.split()[2]) for line in told(sandbox, "INVOKE")]
    assert walls[1] - walls[0] == pytest.approx(seconds * 1000, abs=5_000)
    assert all(0 < deadline - wall <= 3_000 for wall, deadline in zip(walls, deadlines, strict=True))
    kinds = [line.split()[0] for line in sandbox.lines("teller")]
    assert kinds[1:4] == ["INVOKE", "RESTORE", "INVOKE"]
    assert told(sandbox, "HEARD") == ["after"]
    assert sandbox.account("teller").delivered == 1


def test_freeze_and_thaw(sandbox, lab):
    """Frozen between invokes; thawed an extension runs on, and stops again."""
    sandbox.attach(lab.extension("ext", "import threading\nregister()\n"
                                        "def tick():\n    while True: say('tick'); time.sleep(0.01)\n"
                                        "threading.Thread(target=tick, daemon=True).start()\nloop()\n"))  # fmt: skip

    def ticks():
        time.sleep(0.1)
        sandbox.idle()
        before = len(sandbox.lines("ext"))
        time.sleep(0.1)
        sandbox.idle()
        return len(sandbox.lines("ext")) - before

    sandbox.invoke()
    assert (sandbox.is_frozen, ticks()) == (True, 0)
    sandbox.thaw()
    assert not sandbox.is_frozen
    assert ticks() > 0
    sandbox.freeze()
    assert (sandbox.is_frozen, ticks()) == (True, 0)
    assert sandbox.invoke().function_error == ""


def test_without_freezing(sandbox):
    """Managed Instances never freeze, and others need not."""
    sandbox.configure(freeze=False)
    sandbox.attach(Teller)
    sandbox.invoke()
    assert not sandbox.is_frozen
    sandbox.freeze()
    assert sandbox.is_frozen
    assert sandbox.invoke().function_error == ""


def test_a_kill_fails_the_next_invoke_and_then_all_is_well(sandbox):
    """As on Lambda: the platform resets the environment."""
    sandbox.attach(Teller)
    sandbox.start()
    sandbox.kill("teller")
    assert not sandbox.healthy
    with pytest.raises(ConfigError, match="teller does not run"):
        sandbox.kill("teller")

    assert sandbox.invoke().error_type == "Extension.Crash"
    with pytest.raises(ConfigError, match="ended with a reset"):
        sandbox.freeze()
    assert sandbox.invoke().error_type == ""


def test_a_function_of_the_authors_and_a_timeout(sandbox):
    """Source or directory; the profile's figures reach it."""
    sandbox.configure(function=LATE, timeout=0.3, handler="late.handler")
    assert sandbox.invoke().error_type == "Sandbox.Timedout"
    sandbox.shutdown()

    with Sandbox(
        function=FUNCTION, seed=SEED, memory=256, init_type="provisioned-concurrency", variables={"A": "1"}
    ) as other:
        other.attach(Teller)
        other.start()
        assert [event["init_type"] for event in other.events("init_start")] == ["provisioned-concurrency"]
        assert "spent_ms" in json.loads(other.invoke({"spend_ms": 0}).payload)


def test_a_fault_and_json_logs(sandbox):
    """Every batch comes twice, and is recognised; a line that is an object stays one line."""
    sandbox.configure(json_logs=True)
    sandbox.fault("telemetry-duplicated")
    sandbox.attach(Teller)
    sandbox.invoke(lines=['{"level": "INFO"}'])
    sandbox.shutdown()

    account = sandbox.account("teller")
    assert (account.received, account.delivered) == (1, 1)
    assert account.reposted > 0


def test_an_account_is_read_in_full():
    """Reasons with words and commas between them, and what the platform has lost."""
    with Sandbox() as sandbox:
        sandbox.configure(function="def handler(event, context): pass")
        sandbox.attach(Teller)
        line = (
            "[x] plug-in teller: 9 records = 2 delivered + 3 dropped (too old: 1, spool full: 2) + 4 pending; "
            "5 lost by the platform, 6 re-posted batches, 7 malformed, not crash-safe (no room)"
        )
        sandbox.events = lambda *kinds: [{"text": line, "party": "x"}]
        sandbox.shutdown()
        account = sandbox.account("teller")

    assert account == Account(9, 2, 3, 4, {"too old": 1, "spool full": 2}, 5, 6, 7)
    with pytest.raises(dataclasses.FrozenInstanceError):
        account.received = 0


def test_a_snapshot_and_managed_instances():
    """Other init types are an option: a snapshot is resumed with a restore, Managed Instances tell no INVOKE."""
    with Sandbox(init_type="snap-start", seed=SEED) as snapped:
        snapped.attach(Teller)
        snapped.invoke()
        (reason, jumped_ms) = told(snapped, "RESTORE")[0].split()
        assert (reason, 3_599_000 <= int(jumped_ms) <= 3_601_000) == ("snapshot", True)
    with Sandbox(init_type="lambda-managed-instances", seed=SEED) as managed:
        managed.attach(Teller)
        managed.invoke(lines=["one"])
        assert (managed.is_frozen, told(managed, "INVOKE")) == (False, [])
        Lab.until(lambda: told(managed, "HEARD") == ["one"])  # nothing holds such an invoke until it was heard


# what it refuses


class Local(Plugin):
    name = "local"


Renamed, Local = Local, None

WRONG_EXTENSIONS = [
    (Outer.Inner, "cannot be imported by that name"),
    (Renamed, "cannot be imported by that name"),
    (Misspelt, "did you mean on_invoke?"),
    (object, "object is no plug-in"),
    (Teller(), "a plug-in's instance lives in this process"),
    (7, "neither a path, nor"),
    ("no_such_module:Class", "cannot be loaded"),
    ("json:Nothing", "cannot be loaded"),
    ("json:", "expected MODULE:CLASS"),
    ("/no/such/file", "no such file"),
    (ROOT, "no such file"),
    (ROOT / "README.md", "not executable; chmod +x it"),
]


@pytest.mark.parametrize(("extension", "text"), WRONG_EXTENSIONS, ids=[text for _one, text in WRONG_EXTENSIONS])
def test_what_cannot_be_attached(extension, text):
    """It is said at once, not by an environment that does not come up."""
    with Sandbox() as sandbox, pytest.raises(ConfigError) as error:
        sandbox.attach(extension)

    assert text in str(error.value)


def test_a_plugin_that_only_this_process_can_find(monkeypatch, tmp_path):
    """Loaded by pytest from a place that is not on sys.path: the extension would not start."""
    (tmp_path / "hidden_one.py").write_text("from extension_kit import Plugin\nclass One(Plugin):\n    name = 'one'\n")
    monkeypatch.syspath_prepend(tmp_path)
    import hidden_one

    with Sandbox() as sandbox:
        monkeypatch.undo()
        with pytest.raises(ConfigError, match=r"hidden_one is not on sys\.path"):
            sandbox.attach(hidden_one.One)
    del sys.modules["hidden_one"]


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"timeout": 0}, "seconds above 0"),
        ({"timeout": "3"}, "seconds above 0"),
        ({"memory": 64}, "megabytes from 128"),
        ({"init_type": "lazy"}, "one of on-demand, "),
        ({"handler": "app"}, "MODULE.FUNCTION is wanted"),
        ({"function": "def handler(:"}, "not the source of a Python module"),
        ({"function": "tests/functions/hello"}, "defines no handler; hand in a Path"),
        ({"function": Path("/no/such")}, "no such directory"),
        ({"variables": {"A": 1}}, "no environment variable"),
    ],
)
def test_options_that_cannot_be(options, text):
    """ConfigError; never the emulator's own complaint later."""
    with pytest.raises(ConfigError) as error:
        Sandbox(**options)

    assert text in str(error.value)


def test_what_comes_too_early(sandbox):
    """Nothing runs yet."""
    sandbox.attach(Teller)
    for act in (
        sandbox.idle,
        sandbox.freeze,
        sandbox.thaw,
        lambda: sandbox.step_clock(1),
        lambda: sandbox.kill("teller"),
    ):
        with pytest.raises(ConfigError, match="nothing runs yet"):
            act()
    with pytest.raises(ConfigError, match="call shutdown"):
        sandbox.account("teller")
    with pytest.raises(ConfigError, match="did you mean 'teller'"):
        sandbox.lines("teler")
    with pytest.raises(ConfigError, match="has not subscribed"):
        sandbox.telemetry("teller")
    with pytest.raises(ConfigError, match="attached already"):
        sandbox.attach(Teller)
    with pytest.raises(ConfigError, match="there are telemetry-unsupported"):
        sandbox.fault("nonsense")
    with pytest.raises(ConfigError, match="ms=NUMBER"):
        sandbox.fault("telemetry-slow:seconds=1")
    with pytest.raises(ConfigError, match="dictionary"):
        sandbox.invoke([1], lines=["x"])
    with pytest.raises(ConfigError, match="as JSON"):
        sandbox.invoke({"x": object()})


def test_what_comes_too_late(sandbox, lab):
    """The environment has been made, or has ended; and an executable's clock is its own."""
    sandbox.attach(lab.extension("ext", "register()\nloop()\n"))
    sandbox.invoke()
    for act in (
        lambda: sandbox.attach(Teller),
        lambda: sandbox.fault("telemetry-silent"),
        lambda: sandbox.configure(memory=512),
    ):
        with pytest.raises(ConfigError, match="too late"):
            act()
    with pytest.raises(ConfigError, match="ext was attached as an executable, which reads this machine's clock"):
        sandbox.step_clock(60)
    sandbox.shutdown()
    for act in (sandbox.invoke, sandbox.start, sandbox.idle, sandbox.thaw, lambda: sandbox.kill("ext")):
        with pytest.raises(ConfigError, match="has been shut down"):
            act()
    with pytest.raises(ConfigError, match="only those with telemetry do"):
        sandbox.account("ext")


# pytest's plug-in

AUTHORS_TEST = """
from tests.plugins_for_sandbox import Teller
seen = []

def test_one(lambda_sandbox):
    lambda_sandbox.attach(Teller)
    lambda_sandbox.invoke(lines=["x"])
    seen.append(lambda_sandbox)

def test_the_fixture_has_shut_it_down_and_this_is_another(lambda_sandbox):
    assert seen[0] is not lambda_sandbox
    assert seen[0].events("shutdown_end")
    assert seen[0].account("teller").delivered == 1

def test_that_fails(lambda_sandbox):
    lambda_sandbox.attach(Teller)
    lambda_sandbox.invoke()
    assert lambda_sandbox.lines("teller") == []
"""


def pytest_run(folder, *arguments, entry_point=False):
    """pytest on `folder` as an author would run it; with `entry_point`, as where the kit is installed."""
    if entry_point:
        info = folder / "site" / "author-1.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: author\nVersion: 1\n")
        project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
        lines = [f"{name} = {target}" for name, target in project["entry-points"]["pytest11"].items()]
        (info / "entry_points.txt").write_text("\n".join(["[pytest11]", *lines, ""]))
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "--rootdir", str(folder), *arguments],
        cwd=folder, env={**os.environ, "PYTHONPATH": f"{ROOT}:{folder / 'site'}"},
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip


@pytest.mark.parametrize("arguments", [[], ["-p", "extension_kit.pytest_plugin"]], ids=["once", "and by name"])
def test_the_fixture_as_pytest_finds_it(tmp_path, arguments):
    """From the entry point, once, whoever names it again; it shuts down, and fails nothing by itself."""
    (tmp_path / "test_authors.py").write_text(AUTHORS_TEST)

    done = pytest_run(tmp_path, *arguments, entry_point=True)

    assert done.stdout.splitlines()[-1].startswith("1 failed, 2 passed"), done.stdout + done.stderr
    assert "START none" in done.stdout, "the assertion shows what was there"


def test_everybodys_pytest_pays_next_to_nothing():
    """What pytest loads for everybody imports none of the emulator."""
    code = (
        "import sys, pytest; import extension_kit.pytest_plugin;"
        "print(*[name for name in sys.modules if name.startswith('extension_kit')])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=30, check=True
    )

    assert set(done.stdout.split()) == {"extension_kit", "extension_kit.pytest_plugin"}
