"""The benchmark itself: that it measures what it says, and judges as it says. Never how fast anything is."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tests.benchmarks import (
    bench,
    contenders,
    guard,
    measure,
    platform_stub,
    quota,
    report,
    response,
    telemetry,
    telemetry_load,
    telemetry_stub,
)
from tests.layer_build.launcher.layers import LAUNCHER

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the benchmark needs Linux")

TINY = bench.Effort(
    starts=1, batches=1, slices=1, events=5, gap_slices=1, gap_events=1, warm_events=1, memory_events=5, idle_s=0.01,
    environments=1, telemetry_batches=1, telemetry_slices=1, posts=2, small_posts=2, large_posts=1, warm_posts=1,
    pairs=3,
)  # fmt: skip
#: what can be made within seconds on every machine: C as well, but not with zig or Go, whose first build takes a minute
QUICKLY_MADE = (
    *("kit", "kit-hook", "metrics-collector", "python-socket", "python-requests", "c"),
    *("kit-telemetry", "python-http-server", "kit-decode", "python-decode"),
)


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
    """The project's budgets, each that is judged with another limit, which is a floor where more is better."""
    limits = {metric: 1 / limit if unit.more else limit for metric, unit in report.UNITS.items()}
    return [
        budget if budget.limit is None else replace(budget, limit=limits[budget.metric], absolute=False)
        for budget in report.BUDGETS
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
        # What is added to a response is a difference: of three pairs it may be anything.
        figures = [row for row in measured if not row["what"].startswith("added to the response")]
        assert [row for row in figures if min(row["ours"], row["peer"], row["ratio"]) <= 0] == []
        assert {name for row in absent for name in (row["ours_name"], row["peer_name"])} & {"launcher", "go"}
        assert {row["verdict"] for row in measured} == {"ok", "shown"}
        assert len(record["rounds"]) == 2
        accepted, decoded = ({metric: figures.get(name) for metric, figures in record["rounds"][0].items()}
                             for name in ("python-http-server", "python-decode"))  # fmt: skip
        assert all(accepted[metric] > 0 for metric in accepted if metric.startswith(("accept_", "small_", "large_")))
        assert all(decoded[metric] > 0 for metric in decoded if metric.startswith(("decode_", "telemetry_")))
        printed = capsys.readouterr().out
        assert "absent: left out" in printed
        assert all(row["what"] in printed for row in record["rows"])

    def test_the_launcher_is_measured_like_the_others(self, monkeypatch, tmp_path):
        """Its rows have figures: of its own registration, and of Python's first ``next`` behind it."""
        monkeypatch.setattr(contenders.build, "binary", lambda _arch: LAUNCHER)
        file = tmp_path / "bench.json"
        arguments = ["--rounds", "1", "--only", "start", "--json", str(file)]

        assert bench.main(arguments, with_limits(1e9), ("launcher", "kit", "c"), TINY) == 0

        rows = [row for row in json.loads(file.read_text())["rows"] if row["ours_name"] == "launcher"]
        assert [(row["peer_name"], row["verdict"]) for row in rows] == [
            ("c", "ok"), ("go", "absent: left out"), ("kit", "shown"),
        ]  # fmt: skip
        assert 0 < rows[0]["ours"] < rows[2]["ours"]

    def test_proxies_stand_between_this_process_and_itself(self, tmp_path):
        """Whole messages pass each; what was resident is theirs."""
        file = tmp_path / "bench.json"
        names = ("proxy", "proxy-hooks", "chaos-armed", "c-copy", "python-proxy")

        assert bench.main(["--rounds", "1", "--only", "proxying", "--json", str(file)], (), names, TINY) == 0

        figures = json.loads(file.read_text())["rounds"][0]
        assert all(set(names) <= set(figures[metric]) for metric in bench.SECTIONS["proxying"].metrics)
        assert figures["proxy_small_us"]["direct"] > 0
        assert all(figures["proxy_peak_mb"][name] > 1 for name in ("proxy", "python-proxy"))

    def test_four_extensions_in_one_process(self, tmp_path):
        """Beside a function that needs a secret, with each exporter; what is left out is absent."""
        file = tmp_path / "bench.json"

        assert (
            bench.main(
                ["--rounds", "1", "--only", "together", "--json", str(file)], report.BUDGETS, ("extension-kit",), TINY
            )
            == 0
        )

        found = json.loads(file.read_text())
        assert {row["verdict"] for row in found["rows"]} == {"absent: not all of the four could be made"}
        figures = found["rounds"][0]
        assert all(figures[metric] for metric in bench.SECTIONS["together"].metrics)
        assert len(figures["together_pss_mb"]) == 4

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

    def test_where_more_is_better_a_budget_is_a_floor(self):
        budget = report.Budget("what", "accept_rate", "kit", "c", 2.0)
        rounds = [{"accept_rate": {"kit": value, "c": 10.0}} for value in (19.0, 18.0)]

        assert report.judge(budget, rounds, {}).verdict == "MISSED"
        assert report.judge(budget, [{"accept_rate": {"kit": 20.0, "c": 10.0}}], {}).verdict == "ok"
        assert ">= 2 x" in report.table([report.judge(budget, rounds, {})])

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


#: Subscribes, and asks for the next event when it has seen the end of the last one's request, as the kit does. Every body must
#: be new. The answer to a batch and the URI to which it subscribes are the test's.
WAITS_FOR_THE_END = """
import json, os, queue, socket, threading
from http.client import HTTPConnection

answer, uri = {answer!r}, {uri!r}
api = HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
def call(method, path, body=None):
    api.request(method, path, body)
    return json.loads(api.getresponse().read())

call("POST", "/2020-01-01/extension/register", "{{}}")
listener = socket.create_server(("127.0.0.1", 0))
uri = uri % listener.getsockname()[1]
assert call("PUT", "/2022-07-01/telemetry", json.dumps({{"destination": {{"URI": uri}}}})) == "OK"
ended = queue.Queue()
def listen():
    connection, seen = listener.accept()[0].makefile("rwb", buffering=0), set()
    while line := connection.readline():
        if line.startswith(b"Content-Length:"):
            body = bytearray(int(line[15:]))
        elif line == b"\\r\\n":
            view, at = memoryview(body), 0
            while at < len(body):
                at += connection.readinto(view[at:])
            if bytes(body) in seen or not answer:
                os._exit(7)
            seen.add(bytes(body))
            connection.write(answer)
            last = json.loads(body)[-1]
            if last["type"] == "platform.runtimeDone":
                ended.put(last["record"]["requestId"])

threading.Thread(target=listen, daemon=True).start()
while (event := call("GET", "/2020-01-01/extension/event/next"))["eventType"] == "INVOKE":
    while ended.get(timeout=10) != event["requestId"]:
        pass
"""
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


class TestTelemetry:
    @staticmethod
    def session(tmp_path, placement, answer=ANSWER, uri="http://sandbox:%d/telemetry"):
        program = write_extension(tmp_path, WAITS_FOR_THE_END.format(answer=answer, uri=uri))
        return platform_stub.Session(program, placement)

    @pytest.mark.parametrize(
        ("load", "events", "least", "most"),
        [
            (telemetry_load.mixed(), 928, 255_000, 262_144),
            (telemetry_load.small(), 6, 1_400, 1_600),
            (telemetry_load.large(), 10_000, 1_900_000, 2_100_000),
        ],
    )
    def test_a_batch_is_what_lambda_sends(self, load, events, least, most):
        """Size and form; the request that ends is that of the batch's number, the report is the one before's."""
        assert least <= len(load.body) <= most
        text = load.body.decode().replace("<<this>>", "0000002a").replace("<before>", "00000029")
        content = json.loads(text)
        assert len(content) == load.events == events
        assert {tuple(event) for event in content} == {("time", "type", "record")}
        assert json.dumps(content, separators=(",", ":")) == text
        assert sum(event["type"] == "function" for event in content) == load.function_events
        times = [event["time"] for event in content]
        assert times == sorted(set(times))
        assert content[0]["record"]["requestId"] == telemetry_load.request_id(0x29).decode()
        assert content[-1]["type"] == "platform.runtimeDone"
        assert content[-1]["record"]["requestId"] == telemetry_load.request_id(0x2A).decode()
        assert {type(event["record"]) for event in content if event["type"] == "function"} == {str, dict}

    def test_an_extension_that_waits_for_the_end(self, tmp_path):
        """It sees the end of each request, and no body twice."""
        with measure.Placement() as placement, self.session(tmp_path, placement) as session:
            assert session.subscribed
            spent = [
                session.invocations(load, posts) for load, posts in ((telemetry.small(), 3), (telemetry.mixed(), 2))
            ]
            session.end()
        assert min(spent) > 0

    @pytest.mark.parametrize(
        ("answer", "error"),
        [
            (ANSWER.replace(b"200", b"500"), r"answers a batch with b'HTTP/1.1 500"),
            (b"", r"closes the connection|does not take a batch"),
        ],
    )
    def test_a_listener_that_fails(self, tmp_path, answer, error):
        with (
            measure.Placement() as placement,
            self.session(tmp_path, placement, answer) as session,
            pytest.raises(platform_stub.BenchError, match=error),
        ):
            session.invocations(telemetry.small(), 3)

    def test_nobody_listens(self):
        """The port is another's, or nobody's, where a subscription is made up."""
        delivery = telemetry_stub.Delivery(1)

        with pytest.raises(telemetry_stub.DeliveryError, match="does not listen on port 1"):
            delivery.prepare(telemetry.small())
        delivery.close()

    def test_a_listener_elsewhere(self, tmp_path):
        """The platform delivers to its own environment only."""
        with (
            measure.Placement() as placement,
            pytest.raises(platform_stub.BenchError, match="not expected here"),
            self.session(tmp_path, placement, uri="http://example.com:%d/"),
        ):
            pass

    def test_an_extension_without_telemetry_is_absent(self, workshop, monkeypatch):
        """It is ended at once, and not tried again."""
        monkeypatch.setattr(contenders, "STORES", ("python-socket",))
        with measure.Placement() as placement:
            sections = telemetry.Telemetry({"python-socket": workshop.make("python-socket")}, placement, TINY)
            figures = sections.accept() | sections.memory()

        assert sections.absent == {"python-socket": telemetry.NOT_SUBSCRIBED}
        assert not any(figures.values())

    def test_an_extension_that_leaves_something_out_is_no_result(self, workshop):
        contender = workshop.make("python-http-server")
        program = contender.program.read_text()
        contender.program.write_text(program.replace("kept += len(events)", "kept += len(events) - 1"))

        with (
            measure.Placement() as placement,
            pytest.raises(platform_stub.BenchError, match=r"was sent 31 events; it said: kept 25"),
        ):
            telemetry.Telemetry({contender.name: contender}, placement, TINY).small()

    def test_orjson_must_be_that_of_the_interpreter(self, workshop, monkeypatch, tmp_path):
        """A package that cannot be imported there is as good as none."""
        (tmp_path / "orjson").mkdir()
        (tmp_path / "orjson" / "__init__.py").write_text("from .orjson import *\n")
        monkeypatch.syspath_prepend(tmp_path)

        with pytest.raises(contenders.Absent, match=r"installed for Python .*, not for"):
            workshop.make("kit-decode-orjson")


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


def test_the_interval_of_a_median_is_that_of_the_sign_test():
    """Of 200 differences the ranks 86 and 114 (from 0), whatever lies beyond; of few, all of them."""
    numbers = [float(number) for number in range(200)]
    assert response.interval(numbers[::-1]) == (86.0, 99.5, 114.0)
    numbers[0], numbers[-1] = -1e9, 1e9
    assert response.interval(numbers) == (86.0, 99.5, 114.0)
    assert response.interval([3.0, 1.0]) == (1.0, 2.0, 3.0)


def test_what_an_extension_adds_to_a_response_is_measured_in_pairs(capsys, monkeypatch):
    """A row for the upper end, judged, and one for the median; what cannot be told is absent, and says why."""
    monkeypatch.setattr(response, "NAMES", (response.HEALTHY,))
    budgets = [budget for budget in report.BUDGETS if budget.ours == response.HEALTHY]
    effort = replace(TINY, pairs=3)

    bench.main(["--rounds", "1", "--only", "response"], budgets=budgets, effort=effort)

    lines = capsys.readouterr().out.splitlines()
    assert len([line for line in lines if line.startswith("added to the response")]) == 2


def test_what_the_guard_adds_is_measured_with_it_and_without(tmp_path):
    """In processes of their own; a process in which it is not on duty ends with an error."""
    with measure.Placement() as placement:
        figures = guard.Guard(placement, replace(TINY, hits=20), sys.executable).measure(tmp_path)

    assert set(figures) == set(guard.METRICS)
    assert all(figures[metric][name] > 0 for metric in figures for name in (guard.GUARDED, guard.UNGUARDED))
