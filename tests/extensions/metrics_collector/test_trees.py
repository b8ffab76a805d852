"""Recorded trees of /proc with the shapes that Lambda has: every figure, to the last digit."""

from __future__ import annotations

import os
from types import SimpleNamespace

import pytest

from extensions.metrics_collector.processes import ProcessFigures
from extensions.metrics_collector.sampling import FAMILIES
from extensions.metrics_collector.spending import spent

PAGE = os.sysconf("SC_PAGE_SIZE")
KB = 1024


@pytest.fixture(autouse=True)
def a_small_disk(monkeypatch):
    disk = SimpleNamespace(f_frsize=4096, f_blocks=1000, f_bfree=900, f_bavail=850, f_files=500, f_ffree=490)
    monkeypatch.setattr(os, "statvfs", lambda _path: disk)
    return disk


TMP = {
    "tmp_used_bytes": 100 * 4096, "tmp_free_bytes": 850 * 4096, "tmp_max_bytes": 1000 * 4096, "tmp_inodes_used_count": 10,
    "tmp_inodes_max_count": 500, "tmp_used_high_bytes": 100 * 4096,
}  # fmt: skip
OWN = {"own_cpu_ms": 90.0, "own_user_ticks_ms": 60.0, "own_system_ticks_ms": 30.0, "own_sampling_ms": 0.0}


def test_on_demand(sampler_of, tree):
    sample = sampler_of(proc=tree("on_demand"), own_pid=12, memory_mb=1024).sample()

    assert (sample.at_ns, sample.missing, sample.interface) == (1_000_000_000, (), "vinternal_1")
    assert sample.cores == (16090, 19480)
    assert sample.counters == {
        "cpu_user_ms": 23470, "cpu_system_ms": 12100, "cpu_idle_ms": 2700000, "cpu_iowait_ms": 5000, "cpu_steal_ms": 1810,
        "context_switches_count": 900000,
        "network_rx_bytes": 10_000_000_000, "network_tx_bytes": 2000, "network_rx_packets_count": 71000,
        "network_tx_packets_count": 60, "network_errors_count": 4, "network_dropped_count": 6, "tcp_retransmits_count": 7,
        "io_read_bytes": 2300 * 512, "io_write_bytes": 4010 * 512, "oom_kills_count": 0, "page_faults_major_count": 30,
        "process_cpu_ms": 3100, "sampling_degraded_count": 0, **OWN,
    }  # fmt: skip
    assert sample.levels == {
        "cpu_cores_count": 2, "processes_blocked_count": 1, "tcp_established_count": 5, "sockets_used_count": 31,
        "memory_total_bytes": 1048576 * KB, "memory_available_bytes": 800000 * KB, "memory_used_bytes": 248576 * KB,
        "memory_available_low_bytes": 800000 * KB, "memory_limit_bytes": 1024**3, "memory_utilization_ratio": 0.237061,
        "own_memory_bytes": 3000 * PAGE, "function_rss_bytes": 62000 * KB, "function_hwm_bytes": 64000 * KB,
        "processes_count": 2, "fd_used_count": 8, "fd_used_high_count": 8, "fd_max_count": 1024, "threads_used_count": 5,
        "threads_used_high_count": 5, "threads_max_count": 3900, **TMP,
    }  # fmt: skip
    assert sample.processes == (
        ProcessFigures(
            1, "init", cpu_ms=1060, rss_bytes=2000 * KB, hwm_bytes=2400 * KB, fds=3, threads=1, read_bytes=4096, write_bytes=0
        ),
        ProcessFigures(
            9, "python3 (a) b", cpu_ms=2040, rss_bytes=60000 * KB, hwm_bytes=64000 * KB, fds=5, threads=4,
            read_bytes=8192000, write_bytes=4096,
        ),
    )  # fmt: skip


def test_half_a_second_on_demand(sampler_of, tree, moments):
    """The extension's own 10 ms are taken off; steal and waiting are no work; 1024 MB pay for 0.58 of a core."""
    sampler = sampler_of(proc=tree("on_demand"), own_pid=12, memory_mb=1024)
    start = sampler.sample()
    tree("on_demand_later")
    moments.now_ms += 500
    moments.own = (100.0, 70.0, 30.0)

    assert spent(start, sampler.sample(), 1024) == {
        "cpu_user_ms": 290, "cpu_system_ms": 50, "cpu_total_ms": 340, "cpu_idle_ms": 430, "cpu_iowait_ms": 20,
        "cpu_steal_ms": 200, "cpu_utilization_ratio": 0.34, "cpu_share_ratio": 1.174727, "cpu_core_max_ratio": 0.62,
        "cpu_core_min_ratio": 0.08, "cpu_cores_count": 2,
        "cpu_cores_busy_count": 0.68, "context_switches_count": 450, "processes_blocked_count": 0,
        "memory_total_bytes": 1048576 * KB, "memory_available_bytes": 700000 * KB, "memory_used_bytes": 348576 * KB,
        "memory_available_low_bytes": 700000 * KB, "memory_limit_bytes": 1024**3, "memory_utilization_ratio": 0.332428,
        "network_rx_bytes": 500000, "network_tx_bytes": 7000, "network_rx_packets_count": 400, "network_tx_packets_count": 39,
        "network_errors_count": 1, "network_dropped_count": 3, "tcp_retransmits_count": 2, "tcp_established_count": 6,
        "sockets_used_count": 33, "io_read_bytes": 51200, "io_write_bytes": 4096, "oom_kills_count": 1,
        "page_faults_major_count": 4, "process_cpu_ms": 310, "processes_count": 2, "function_rss_bytes": 92000 * KB,
        "function_hwm_bytes": 95000 * KB, "fd_used_count": 10, "fd_used_high_count": 10, "fd_max_count": 1024,
        "threads_used_count": 7, "threads_used_high_count": 7, "threads_max_count": 3900, "own_cpu_ms": 10,
        "own_memory_bytes": 3100 * PAGE, "own_sampling_ms": 0, "sampling_degraded_count": 0, **TMP,
    }  # fmt: skip


def test_managed_instance(sampler_of, tree):
    """Ceth1 is the function's, also where the default route is another's; there is no io, no vmstat and no process."""
    sample = sampler_of(proc=tree("managed_instance"), own_pid=12).sample()
    assert sample.missing == ("io", "kernel", "processes")
    assert sample.interface == "Ceth1"
    assert sample.cores == (2500, 2500, 2500, 2500)
    assert {name: sample.counters[name] for name in ("network_rx_bytes", "network_tx_bytes", "cpu_steal_ms")} == {
        "network_rx_bytes": 4000, "network_tx_bytes": 5000, "cpu_steal_ms": 0,
    }  # fmt: skip
    assert sample.levels["memory_limit_bytes"] == 8000000 * KB
    assert "threads_used_count" not in sample.levels


def test_minimal(sampler_of, tree):
    """What is there counts; what is not, or was cut, is left out."""
    sample = sampler_of(proc=tree("minimal"), own_pid=12).sample()
    assert sample.missing == ("own", "network", "tcp", "sockets", "io", "kernel")
    assert sample.counters == {
        "cpu_user_ms": 1000, "cpu_system_ms": 500, "cpu_idle_ms": 10000, "cpu_iowait_ms": 50,
        "sampling_degraded_count": 0, **OWN,
    }  # fmt: skip
    assert sample.levels == {
        "memory_total_bytes": 262144 * KB, "memory_limit_bytes": 262144 * KB, "processes_count": 1,
        "function_rss_bytes": 100 * KB, **TMP,
    }  # fmt: skip
    assert sample.processes == (ProcessFigures(7, "", rss_bytes=100 * KB),)


def test_hostile(sampler_of, tree):
    sampler = sampler_of(proc=tree("hostile"), own_pid=12, memory_mb=128)
    sample = sampler.sample()
    assert sample.counters == {
        "cpu_system_ms": (2**64 - 1 + 1 + 2) * 10.0, "cpu_steal_ms": 30, "page_faults_major_count": 3,
        "network_rx_bytes": 5, "io_read_bytes": 5 * 512, "sampling_degraded_count": 0, **OWN,
    }  # fmt: skip
    assert sample.levels == {
        "cpu_cores_count": 2, "processes_blocked_count": 2, "memory_total_bytes": 100 * KB, "memory_available_bytes": 900 * KB,
        "memory_available_low_bytes": 900 * KB, "memory_limit_bytes": 128 * 1024**2, "tcp_established_count": 4,
        "processes_count": 3, "function_hwm_bytes": 4 * KB, **TMP,
    }  # fmt: skip
    assert [process.pid for process in sample.processes] == [5, 6]
    assert sample.missing == ("own", "sockets")
    assert all(value >= 0 for value in spent(sample, sampler.sample(), 128).values())


@pytest.mark.parametrize("family", FAMILIES)
def test_each_family_has_its_switch(sampler_of, tree, family):
    """Together the families have every figure, and no two have the same."""
    proc = tree("on_demand")
    always = set(OWN) | {"own_memory_bytes", "sampling_degraded_count"}

    def names(families):
        sample = sampler_of(proc=proc, own_pid=12, families=frozenset(families)).sample()
        return (sample.counters.keys() | sample.levels.keys()) - always

    alone, others = names({family}), names(set(FAMILIES) - {family})
    assert alone
    assert not alone & others
    assert alone | others == names(FAMILIES)


def test_a_file_system_without_a_number_of_inodes(sampler_of, tree, a_small_disk):
    a_small_disk.f_files = a_small_disk.f_ffree = 0
    levels = sampler_of(proc=tree("minimal")).sample().levels
    assert levels["tmp_used_bytes"] == 409600
    assert not [name for name in levels if "inodes" in name]
