"""The figures beside the truth: what psutil says of this machine, and what processes say of themselves in namespaces of ours.

Tolerances are those of the figures and of what they are compared with: ticks of 10 ms, headers of packets.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.conftest import ISOLATED, ROOT

TICK_MS = 1000 / os.sysconf("SC_CLK_TCK")
NOT_WHOLE = ("loop", "ram", "zram", "dm-", "md")


def near(expected, relative, absolute):
    return pytest.approx(expected, rel=relative, abs=absolute)


def told_by_psutil(tmp, interface):
    cpu, memory, disk = psutil.cpu_times(), psutil.virtual_memory(), psutil.disk_usage(tmp)
    interfaces = psutil.net_io_counters(pernic=True, nowrap=False)
    net = [interfaces[name] for name in interface.split("+")]
    whole = [name for name in os.listdir("/sys/block") if not name.startswith(NOT_WHOLE)]
    disks = psutil.disk_io_counters(perdisk=True, nowrap=False) or {}
    return {
        "cpu_user_ms": (cpu.user + cpu.nice) * 1000,
        "cpu_system_ms": (cpu.system + cpu.irq + cpu.softirq) * 1000,
        "cpu_idle_ms": cpu.idle * 1000,
        "cpu_iowait_ms": cpu.iowait * 1000,
        "cpu_steal_ms": cpu.steal * 1000,
        "context_switches_count": psutil.cpu_stats().ctx_switches,
        "cpu_cores_count": psutil.cpu_count(),
        "memory_total_bytes": memory.total,
        "memory_available_bytes": memory.available,
        "tmp_used_bytes": disk.used,
        "tmp_free_bytes": disk.free,
        "tmp_max_bytes": disk.total,
        "network_rx_bytes": sum(one.bytes_recv for one in net),
        "network_tx_bytes": sum(one.bytes_sent for one in net),
        "network_rx_packets_count": sum(one.packets_recv for one in net),
        "network_tx_packets_count": sum(one.packets_sent for one in net),
        "network_errors_count": sum(one.errin + one.errout for one in net),
        "network_dropped_count": sum(one.dropin + one.dropout for one in net),
        "io_read_bytes": sum(disks[name].read_bytes for name in whole if name in disks),
        "io_write_bytes": sum(disks[name].write_bytes for name in whole if name in disks),
        "processes_count": len(psutil.pids()) - 1,
    }


def test_this_machine_as_psutil_sees_it(sampler_of, tmp_path):
    """Each figure lies between what psutil says before and after."""
    sampler = sampler_of(now_ns=time.monotonic_ns, tmp=str(tmp_path))
    interface = sampler.sample().interface
    before = told_by_psutil(tmp_path, interface)
    sample = sampler.sample()
    after = told_by_psutil(tmp_path, interface)
    figures = {**sample.counters, **sample.levels}
    room = {
        "memory_available_bytes": 64 << 20,
        "tmp_used_bytes": 64 << 20,
        "tmp_free_bytes": 64 << 20,
        "processes_count": 8,
    }
    # Not counters in the strict sense: the kernel computes them anew, and they may go back a little.
    room |= {"cpu_idle_ms": 2 * TICK_MS, "cpu_iowait_ms": 2 * TICK_MS}
    wrong = {
        name: (before[name], figures.get(name), after[name])
        for name in before
        if name not in figures
        or not min(before[name], after[name]) - room.get(name, 0.01)
        <= figures[name]
        <= max(before[name], after[name]) + room.get(name, 0.01)
    }
    assert wrong == {}
    assert sample.levels["own_memory_bytes"] == near(psutil.Process().memory_info().rss, 0.05, 1 << 20)


@pytest.fixture(scope="module")
def facts(tmp_path_factory):
    """What isolated.py found, in namespaces of its own."""
    if not ISOLATED or shutil.which("unshare") is None:
        pytest.skip("namespaces are refused here")
    tmp, disk = tmp_path_factory.mktemp("tmp"), tmp_path_factory.mktemp("disk")
    unshare = ["unshare", "--pid", "--net", "--mount", "--fork", "--kill-child", "--mount-proc"]
    inside = [sys.executable, "-m", "tests.extensions.metrics_collector.isolated", str(tmp), str(disk)]
    done = subprocess.run([*unshare, *inside], cwd=ROOT, capture_output=True, text=True, timeout=90, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(Path(disk, "facts.json").read_text())


def test_nothing_is_missing_and_only_the_others_are_counted(facts):
    assert facts["cpu"]["missing"] == []
    assert facts["cpu"]["pids"] == facts["pids"]
    assert facts["cpu"]["figures"]["processes_count"] == 2
    assert facts["left"]["processes_count"] == 0


@pytest.mark.parametrize("experiment", ["cpu", "cpu of a child's child"])
def test_cpu_time_is_the_childs_own(facts, experiment):
    """Also that of its children, once it has waited for them."""
    figures, before, after = (facts[experiment][part] for part in ("figures", "before", "after"))
    took = after["cpu_ms"] - before["cpu_ms"]
    assert took >= 300
    assert figures["process_cpu_ms"] == near(took, 0.1, 20)
    assert facts[experiment]["process"]["cpu_ms"] == near(after["cpu_ms"], 0.1, 20)
    # Of the machine as a whole it is a part.
    assert figures["cpu_total_ms"] >= 0.9 * took - 20


def test_the_extensions_own_cpu_time_is_told_apart(facts):
    figures = facts["own"]["figures"]
    assert figures["own_cpu_ms"] == near(300, 0.1, 20)
    assert figures["process_cpu_ms"] <= 20


def test_memory_is_the_childs_own(facts):
    figures, start, after, process = (facts["memory"][part] for part in ("figures", "start", "after", "process"))
    assert process["rss_bytes"] == near(after["rss_bytes"], 0.05, 0)
    assert after["rss_bytes"] > 100 << 20
    assert figures["function_rss_bytes"] - start["function_rss_bytes"] == near(100 << 20, 0.05, 0)
    gone = facts["memory let go"]
    assert gone["process"]["rss_bytes"] == near(gone["after"]["rss_bytes"], 0.05, 0)
    assert gone["process"]["rss_bytes"] < 100 << 20
    assert gone["figures"]["function_hwm_bytes"] == near(gone["after"]["hwm_bytes"], 0.05, 0)
    assert gone["figures"]["function_hwm_bytes"] > 100 << 20


def test_tmp_is_exact(facts):
    figures, start = facts["tmp"]["figures"], facts["tmp"]["start"]
    assert figures["tmp_max_bytes"] == 64 << 20
    assert figures["tmp_used_bytes"] - start["tmp_used_bytes"] == 10 << 20
    assert figures["tmp_used_high_bytes"] == figures["tmp_used_bytes"]
    assert start["tmp_free_bytes"] - figures["tmp_free_bytes"] == 10 << 20
    assert figures["tmp_inodes_max_count"] == 1000
    assert figures["tmp_inodes_used_count"] - start["tmp_inodes_used_count"] == 1


@pytest.mark.parametrize("experiment", ["tmp", "disk"])
def test_bytes_of_disks_are_the_childs_own(facts, experiment):
    process, after = facts[experiment]["process"], facts[experiment]["after"]
    assert (process["read_bytes"], process["write_bytes"]) == (after["read_bytes"], after["write_bytes"])


def test_descriptors_and_threads_are_exact(facts):
    figures, start = facts["files and threads"]["figures"], facts["files and threads"]["start"]
    assert figures["fd_used_count"] - start["fd_used_count"] == 37
    assert figures["threads_used_count"] - start["threads_used_count"] == 5
    assert facts["files and threads"]["process"]["threads"] == facts["files and threads"]["after"]["threads"] == 6
    assert facts["limits"]["figures"]["fd_max_count"] == 777
    assert facts["limits"]["figures"]["threads_max_count"] == 778


def test_network_is_within_two_percent(facts):
    """32 MiB over loopback, where there is nothing else; the ends of a connection are two established sockets."""
    figures, start = facts["loopback"]["figures"], facts["loopback"]["start"]
    assert facts["loopback"]["interface"] == "lo"
    assert figures["network_rx_bytes"] == near(32 << 20, 0.02, 0)
    assert figures["network_tx_bytes"] == near(32 << 20, 0.02, 0)
    assert figures["network_errors_count"] == 0
    assert figures["tcp_established_count"] == 2
    assert figures["sockets_used_count"] - start["sockets_used_count"] == 5


def test_traffic_of_lambdas_interface_is_within_two_percent(facts):
    """1000 frames of 1400 bytes out, 500 in; and 1000 over loopback, which do not count."""
    if facts["vinternal_1"] is None:
        pytest.skip("no ip here")
    figures = facts["vinternal_1"]["figures"]
    assert facts["vinternal_1"]["interface"] == "vinternal_1"
    assert figures["network_tx_bytes"] == near(1_400_000, 0.02, 0)
    assert figures["network_rx_bytes"] == near(700_000, 0.02, 0)
    assert figures["network_tx_packets_count"] == near(1000, 0.02, 0)
    assert figures["network_rx_packets_count"] == near(500, 0.02, 0)
