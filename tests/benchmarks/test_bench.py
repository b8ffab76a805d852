"""The benchmark itself: that it measures what it says, and judges as it says. Never how fast anything is."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tests.benchmarks import bench, contenders, measure, platform_stub, quota, report

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the benchmark needs Linux")

TINY = bench.Effort(
    starts=1, batches=1, slices=1, events=5, gap_slices=1, gap_events=1, warm_events=1, memory_events=5, idle_s=0.01,
    environments=1,
)  # fmt: skip
#: what can be made within seconds on every machine: C as well, but not with zig or Go, whose first build takes a minute
QUICKLY_MADE = ("kit", "kit-hook", "metrics-collector", "python-socket", "python-requests", "c")


@pytest.fixture
def no_zig(monkeypatch, tmp_path):
    """A cache of its own, and no package ``ziglang``."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    find_spec = contenders.importlib.util.find_spec
    monkeypatch.setattr(
        contenders.importlib.util, "find_spec", lambda name: None if name == "ziglang" else find_spec(name)
    )


@pytest.fixture
def workshop(no_zig, tmp_path):  # noqa: ARG001 - what it changes is what is wanted
    return contenders.Workshop(tmp_path / "made", contenders.cache_folder(), contenders.find_python())


def with_limits(limit):
    """The project's budgets, each that is judged with another limit."""
    return [
        budget if budget.limit is None else replace(budget, limit=limit, absolute=False) for budget in report.BUDGETS
    ]


def write_extension(folder: Path, code: str) -> Path:
    program = folder / "extension"
    program.write_text(f"#!{sys.executable}\n{code}")
    program.chmod(0o755)
    return program


@pytest.mark.usefixtures("no_zig")
class TestTheCommand:
    def test_measures_every_row_or_says_why_not(self, tmp_path, capsys):
        """Each row has figures above zero, or is absent with a reason."""
        file = tmp_path / "bench.json"

        status = bench.main(["--rounds", "2", "--json", str(file)], with_limits(1e9), QUICKLY_MADE, TINY)

        record = json.loads(file.read_text())
        measured = [row for row in record["rows"] if not row["verdict"].startswith("absent: ")]
        absent = [row for row in record["rows"] if row not in measured]
        assert status == 0
        assert len(record["rows"]) == len(report.BUDGETS)
        assert [row for row in measured if min(row["ours"], row["peer"], row["ratio"]) <= 0] == []
        assert {name for row in absent for name in (row["ours_name"], row["peer_name"])} & {"launcher", "go"}
        assert {row["verdict"] for row in measured} == {"ok", "shown"}
        assert len(record["rounds"]) == 2
        printed = capsys.readouterr().out
        assert "joins with the launcher" in printed
        assert all(row["what"] in printed for row in record["rows"])

    def test_a_budget_missed_in_every_round_makes_it_fail(self, capsys):
        """Exit status 1, and the row says so."""
        arguments = ["--rounds", "2", "--only", "start"]

        status = bench.main(arguments, with_limits(1e-9), ("kit", "python-socket"), TINY)

        assert status == 1
        assert "MISSED" in capsys.readouterr().out

    def test_an_extension_that_fails_is_no_result(self, monkeypatch, capsys):
        """Exit status 2, with what the extension said."""
        monkeypatch.setattr(contenders, "_KIT_ENTRY", "#!{python} -IS\nraise SystemExit('broken {name} {plugin}')\n")

        status = bench.main(["--only", "start"], report.BUDGETS, ("kit",), TINY)

        assert status == 2
        assert "broken kit plugins:Empty" in capsys.readouterr().err


class TestJudging:
    BUDGET = report.Budget("what", "event_us", "kit", "c", 2.0)

    @staticmethod
    def rounds(*ours: float) -> list[report.Figures]:
        return [{"event_us": {"kit": value, "c": 10.0}} for value in ours]

    def test_missed_in_every_round(self):
        row = report.judge(self.BUDGET, self.rounds(21, 22, 25), {})

        assert (row.verdict, row.missed, row.ratio, row.ours) == ("MISSED", 3, 2.2, 22)

    def test_missed_in_some_rounds(self):
        row = report.judge(self.BUDGET, self.rounds(21, 22, 20), {})

        assert (row.verdict, row.missed) == ("ok", 2)
        assert "ok (missed in 2 of 3 rounds)" in report.table([row])

    def test_an_absolute_budget_bounds_ours(self):
        budget = replace(self.BUDGET, limit=20.0, absolute=True)

        assert report.judge(budget, self.rounds(21), {}).verdict == "MISSED"
        assert report.judge(budget, self.rounds(20), {}).verdict == "ok"

    def test_an_absolute_budget_needs_no_peer(self):
        budget = replace(self.BUDGET, limit=20.0, absolute=True)

        row = report.judge(budget, [{"event_us": {"kit": 21.0}}], {"c": "no compiler"})

        assert (row.verdict, row.ours, row.peer, row.ratio) == ("MISSED", 21.0, None, None)

    def test_without_a_limit_it_is_only_shown(self):
        assert report.judge(replace(self.BUDGET, limit=None), self.rounds(99), {}).verdict == "shown"

    @pytest.mark.parametrize("missing", ["kit", "c", "event_us"])
    def test_what_is_absent_says_why(self, missing):
        assert report.judge(self.BUDGET, [{}], {missing: "no compiler"}).verdict == "absent: no compiler"


class TestContenders:
    def test_without_compilers_and_packages(self, workshop, monkeypatch):
        """What cannot be made says what would make it."""
        monkeypatch.setenv("PATH", "")
        monkeypatch.setattr(contenders.importlib.util, "find_spec", lambda _name: None)

        for name, reason in {"c": "ziglang", "go": "golang-go", "python-requests": "requests"}.items():
            with pytest.raises(contenders.Absent, match=reason):
                workshop.make(name)

    def test_what_was_compiled_is_kept(self, workshop, tmp_path, monkeypatch):
        """The same source and compiler are not compiled again; a build that fails is Absent and leaves nothing."""
        first = workshop.make("c")
        monkeypatch.setattr(contenders, "_run", lambda *_arguments: pytest.fail("compiled again"))
        second = contenders.Workshop(tmp_path / "again", workshop.cache, workshop.python).make("c")

        assert second.program.read_bytes() == first.program.read_bytes()

    def test_a_layer_holds_byte_code_and_no_emulator(self, workshop):
        kit = workshop.make("kit").layer / "kit" / "extension_kit"

        assert list(kit.glob("__pycache__/runner.*.pyc"))
        assert not (kit / "emulator").exists()


class TestSession:
    def test_an_extension_that_ends_early(self, tmp_path):
        program = write_extension(tmp_path, "import sys; sys.exit('no wish to register')")

        with (
            measure.Placement() as placement,
            pytest.raises(platform_stub.BenchError, match=r"before SHUTDOWN.*no wish"),
            platform_stub.Session(program, placement),
        ):
            pass

    def test_every_core_is_given_back(self):
        before = os.sched_getaffinity(0)
        with measure.Placement() as placement:
            assert os.sched_getaffinity(0) == {placement.platform}
        assert os.sched_getaffinity(0) == before

    def test_the_clock_counts_what_the_process_spends(self):
        """A burnt 30 ms of CPU is between 30 ms and what has passed."""
        began, before = measure.time.monotonic_ns(), measure.cpu_ns(os.getpid())
        while measure.cpu_ns(os.getpid()) - before < 30_000_000:
            pass
        assert measure.time.monotonic_ns() - began > 25_000_000

    def test_a_process_that_is_gone_has_no_clock(self):
        with pytest.raises(ProcessLookupError):
            measure.cpu_ns(2**22 + 1)


class TestQuota:
    V1 = "32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu,cpuacct\n"
    V2 = "41 31 0:38 / /sys/fs/cgroup rw,relatime - cgroup2 cgroup2 rw,nsdelegate\n"

    def test_version_1(self):
        found = quota.candidates(self.V1, "1:cpu,cpuacct:/docker/x\n0::/\n")

        assert found == [(1, Path("/sys/fs/cgroup/cpu/docker/x"))]

    def test_version_2_looks_upwards(self):
        """A group with processes cannot have limited groups below it, its parents may."""
        found = quota.candidates(self.V2, "0::/user.slice/session\n")

        root = Path("/sys/fs/cgroup")
        assert found == [(2, root / "user.slice/session"), (2, root / "user.slice"), (2, root)]

    def test_nothing_mounted(self):
        assert quota.candidates("30 1 8:1 / / rw - ext4 /dev/sda1 rw\n", "0::/\n") == []
