"""The sampler: what it keeps open, what it costs, what it saw in between, and how it keeps to its budget."""

from __future__ import annotations

import os
from itertools import pairwise
from types import SimpleNamespace

import pytest

from extensions.metrics_collector import sampling
from extensions.metrics_collector.sampling import FAMILIES, Sample, Turns
from extensions.metrics_collector.spending import spent

EDGES = frozenset(FAMILIES) - {"processes"}


def test_a_sample_is_read_anew_each_time(sampler_of, tree):
    sampler = sampler_of(proc=tree("on_demand"), own_pid=12)
    first = sampler.sample()
    tree("on_demand_later")
    assert sampler.sample().counters["cpu_user_ms"] - first.counters["cpu_user_ms"] == 300


@pytest.mark.parametrize("families", [EDGES, frozenset(FAMILIES)], ids=["edges", "all"])
def test_after_the_first_sample_no_file_is_opened(sampler_of, tree, monkeypatch, families):
    """Neither those that are there, nor again and again those that are not."""
    sampler = sampler_of(proc=tree("managed_instance"), own_pid=12, families=families)
    sampler.sample()
    opened, open_file = [], os.open
    monkeypatch.setattr(os, "open", lambda path, *more: opened.append(path) or open_file(path, *more))
    sampler.sample()
    sampler.watch()
    assert opened == []


def test_a_file_that_could_not_be_opened_for_want_of_descriptors_is_tried_again(sampler_of, tree, monkeypatch):
    def refuse(*_arguments):
        raise OSError(24, "Too many open files")

    sampler = sampler_of(proc=tree("on_demand"), own_pid=12)
    with monkeypatch.context() as patched:
        patched.setattr(os, "open", refuse)
        assert len(sampler.sample().missing) == 8
    assert sampler.sample().missing == ()


def test_a_file_longer_than_one_read_is_read_to_its_end(sampler_of, tree, monkeypatch):
    """The kernel hands out /proc/net/dev about a page at a time."""
    pread = os.pread
    monkeypatch.setattr(os, "pread", lambda fd, size, offset: pread(fd, min(size, 50), offset))
    assert sampler_of(proc=tree("on_demand"), own_pid=12, families=EDGES).sample().missing == ()


def test_nothing_can_be_read_and_nothing_is_raised(sampler_of):
    sampler = sampler_of(proc="/nowhere", tmp="/nowhere")
    sampler.watch()
    sample = sampler.sample()
    assert sample.missing == ("own", "cpu", "network", "memory", "tcp", "sockets", "io", "kernel", "tmp", "processes")
    assert set(sample.levels) == set()
    assert set(spent(sample, sampler.sample(), 128)) == {"own_cpu_ms", "own_sampling_ms", "sampling_degraded_count"}


class TestExtremes:
    """What happens between two edges is seen by `watch`."""

    @pytest.fixture
    def disk(self, monkeypatch):
        disk = SimpleNamespace(f_frsize=1, f_blocks=1000, f_bfree=900, f_bavail=850, f_files=0, f_ffree=0)
        monkeypatch.setattr(os, "statvfs", lambda _path: disk)
        return disk

    def test_low_and_high_waters_are_those_since_the_edge_before(self, sampler_of, tree, disk):
        sampler = sampler_of(proc=tree("on_demand"), own_pid=12)
        sampler.sample()
        disk.f_bfree = 100
        tree("on_demand_later")
        sampler.watch()
        disk.f_bfree = 900
        tree("on_demand")
        end = sampler.sample().levels
        assert (end["memory_available_bytes"], end["memory_available_low_bytes"]) == (800000 * 1024, 700000 * 1024)
        assert (end["tmp_used_bytes"], end["tmp_used_high_bytes"]) == (100, 900)
        assert (end["threads_used_count"], end["threads_used_high_count"]) == (7 - 2, 7)
        after = sampler.sample().levels
        assert after["memory_available_low_bytes"] == after["memory_available_bytes"]
        assert after["tmp_used_high_bytes"] == 100

    def test_the_start_counts(self, sampler_of, tree, disk):
        """An invocation may begin with more in /tmp than it ends with."""
        sampler = sampler_of(proc=tree("on_demand"), own_pid=12)
        disk.f_bfree = 100
        sampler.sample()
        disk.f_bfree = 900
        assert sampler.sample().levels["tmp_used_high_bytes"] == 900

    def test_the_busiest_second(self, sampler_of, tree, moments, tmp_path):
        """10, then 90, then 20 % of two cores; 1 % of each second is the extension's own."""
        sampler = sampler_of(proc=tree("minimal"), families=frozenset({"cpu"}))
        ticks = 0

        def second(worked_ticks, length_ms=1000):
            nonlocal ticks
            ticks += worked_ticks
            moments.now_ms += length_ms
            moments.own = (moments.own[0] + 20, *moments.own[1:])
            line = b"%d 0 0 0 0 0 0 0\n" % ticks
            (tmp_path / "proc" / "stat").write_bytes(b"cpu  " + line + b"cpu0 " + line + b"cpu1 " + line)

        second(0)
        assert "cpu_utilization_max_ratio" not in sampler.sample().levels
        for worked in (22, 182, 42):
            second(worked)
            sampler.watch()
        second(22)
        assert sampler.sample().levels["cpu_utilization_max_ratio"] == 0.9
        second(22)
        assert sampler.sample().levels["cpu_utilization_max_ratio"] == 0.1

    def test_what_is_shorter_than_a_second_has_no_busiest_second(self, sampler_of, tree, moments):
        sampler = sampler_of(proc=tree("on_demand"), own_pid=12)
        for _ in range(3):
            sampler.sample()
            moments.now_ms += 999
            sampler.watch()
            assert "cpu_utilization_max_ratio" not in sampler.sample().levels


class TestBudget:
    @staticmethod
    def scans(turns, costs):
        """At which edges a scan was done, each at the next of `costs`."""
        done = []
        for cost in costs:
            done.append(turns.due())
            if done[-1]:
                turns.cost(cost)
        return "".join("S" if was else "-" for was in done)

    @pytest.mark.parametrize(
        ("cost", "pattern"),
        [
            (100, "SSSSSSSSSSSSSSSS"),
            (101, "SS--SS--SS--SS--"),
            (200, "SS--SS--SS--SS--"),
            (201, "SS------SS------"),
            (10**9, "SS" + "-" * 126 + "SS"),
        ],
    )
    def test_pairs_as_often_as_the_budget_allows(self, cost, pattern):
        assert self.scans(Turns(100), [cost] * len(pattern)) == pattern

    def test_when_scans_become_cheap_they_are_at_every_edge_again(self):
        turns = Turns(100)
        assert self.scans(turns, [150] * 4 + [10] * 8) == "SS--" + "S" * 8
        assert turns.left_out == 2

    def test_a_dear_beginning_is_soon_forgotten(self):
        assert self.scans(Turns(100), [180] + [20] * 7) == "S" * 8

    def test_figures_of_a_scan_that_was_left_out_are_absent_and_counted(self, sampler_of, tree, moments):
        """Each reading of the CPU clock takes it 1 ms further: a scan costs more than its budget."""

        def thread_ns():
            moments.thread_ns += 1_000_000
            return moments.thread_ns

        sampler = sampler_of(proc=tree("on_demand"), own_pid=12, thread_ns=thread_ns, budget_us=600)
        samples = [sampler.sample() for _ in range(6)]
        assert [bool(sample.processes) for sample in samples] == [True, True, False, False, True, True]
        assert [sample.counters["sampling_degraded_count"] for sample in samples] == [0, 0, 1, 2, 2, 2]
        assert [
            {"process_cpu_ms", "fd_used_count"} & spent(start, end, None).keys() for start, end in pairwise(samples)
        ] == [{"process_cpu_ms", "fd_used_count"}, set(), set(), {"fd_used_count"}, {"process_cpu_ms", "fd_used_count"}]
        assert not {"processes"} & {name for sample in samples for name in sample.missing}

    def test_in_between_there_is_no_scan_once_edges_cannot_pay_for_it(self, sampler_of, tree, moments):
        def thread_ns():
            moments.thread_ns += 1_000_000
            return moments.thread_ns

        sampler = sampler_of(proc=tree("on_demand"), own_pid=12, thread_ns=thread_ns, budget_us=600)
        sampler.sample()
        before = moments.thread_ns
        sampler.watch()
        assert moments.thread_ns - before == 2_000_000  # begin and end of the watch, and no scan's

    def test_what_sampling_takes_is_told(self, sampler_of, tree, moments):
        def thread_ns():
            moments.thread_ns += 1_000_000
            return moments.thread_ns

        sampler = sampler_of(proc=tree("on_demand"), own_pid=12, families=EDGES, thread_ns=thread_ns)
        first = sampler.sample()
        sampler.watch()
        assert spent(first, sampler.sample(), None)["own_sampling_ms"] == 2


class TestSpent:
    def test_a_counter_that_went_back_is_left_out_and_counted(self):
        start = Sample(0, {"cpu_idle_ms": 100.0, "network_rx_bytes": 7.0}, {})
        end = Sample(1, {"cpu_idle_ms": 90.0, "network_rx_bytes": 7.0, "oom_kills_count": 1.0}, {})
        assert spent(start, end, None) == {"network_rx_bytes": 0, "counters_reset_count": 1}

    def test_another_interface_is_another_counter(self):
        start = Sample(0, {"network_rx_bytes": 1.0, "tcp_retransmits_count": 1.0}, {}, interface="lo")
        end = Sample(1, {"network_rx_bytes": 9.0, "tcp_retransmits_count": 3.0}, {}, interface="eth0")
        assert spent(start, end, None) == {"tcp_retransmits_count": 2, "counters_reset_count": 1}

    @pytest.mark.parametrize(
        ("user", "system", "own", "expected"),
        [
            (100, 50, (30, 20, 10), (80, 40, 120)),
            (0, 0, (7, 0, 0), (0, 0, 0)),
            (10, 0, (7, 0, 10), (3, 0, 3)),
            (0, 10, (4, 10, 0), (0, 6, 6)),
            (20, 10, (300, 200, 100), (0, 0, 0)),
        ],
    )
    def test_own_cpu_is_taken_off_and_nothing_falls_below_zero(self, user, system, own, expected):
        """`own`: exactly, and in ticks as user and system time; user and system always add up to the total."""
        names = ("cpu_user_ms", "cpu_system_ms", "own_cpu_ms", "own_user_ticks_ms", "own_system_ticks_ms")
        end = dict(zip(names, map(float, (user, system, *own)), strict=True))
        figures = spent(Sample(0, dict.fromkeys(names, 0.0), {}), Sample(1, end, {}), None)
        assert tuple(figures[name] for name in ("cpu_user_ms", "cpu_system_ms", "cpu_total_ms")) == expected
        assert figures["own_cpu_ms"] == own[0]

    def test_half_of_the_cpu_time_has_no_total(self):
        names = ("cpu_system_ms", "own_cpu_ms", "own_user_ticks_ms", "own_system_ticks_ms")
        end = Sample(10**9, dict(zip(names, (50.0, 30.0, 20.0, 10.0), strict=True)), {"cpu_cores_count": 2.0})
        figures = spent(Sample(0, dict.fromkeys(names, 0.0), {}), end, 128)
        assert figures == {"cpu_system_ms": 40, "own_cpu_ms": 30, "cpu_cores_count": 2}

    def test_ticks_never_make_more_than_all_of_a_core(self):
        counters = {"cpu_user_ms": 0.0, "cpu_system_ms": 0.0}
        start = Sample(0, counters, {}, cores=(0.0, 0.0))
        end = Sample(
            5_000_000, {"cpu_user_ms": 30.0, "cpu_system_ms": 0.0}, {"cpu_cores_count": 2.0}, cores=(30.0, 0.0)
        )
        figures = spent(start, end, 1769)
        ratios = {"cpu_utilization_ratio": 1, "cpu_core_max_ratio": 1, "cpu_core_min_ratio": 0, "cpu_share_ratio": 6}
        assert {name: figures[name] for name in ratios} == ratios

    @pytest.mark.parametrize(
        ("at_ns", "cores"), [(0, (1.0, 1.0)), (-5, (1.0, 1.0)), (1, (1.0,)), (1, ()), (1, (1.0, -1.0))]
    )
    def test_without_time_or_the_same_cores_there_are_no_ratios(self, at_ns, cores):
        start, end = Sample(0, {}, {}, cores=(0.0, 0.0)), Sample(at_ns, {}, {"cpu_cores_count": 2.0}, cores=cores)
        assert spent(start, end, 128) == {"cpu_cores_count": 2}


def test_every_figure_has_its_unit_in_its_name(sampler_of, tree):
    sample = sampler_of(proc=tree("on_demand"), own_pid=12).sample()
    for name in {*spent(sample, sample, 128), *sampling.COUNTERS}:
        assert name.rpartition("_")[2] in {"ms", "bytes", "count", "ratio"}
