"""The figures of the kernel: real text, strange text, and this machine's own files."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extensions.metrics_collector.sampling import Sampler, parse_cpu, parse_memory, parse_network

STAT = b"""\
cpu  2337 10 1200 270000 500 7 3 181 50 0
cpu0 1000 5 600 135000 250 3 1 90 25 0
intr 1 2 3
"""
MEMINFO = b"""\
MemTotal:         190552 kB
MemFree:           21644 kB
MemAvailable:      90552 kB
"""
LAMBDA_DEV = b"""\
Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo: 5000 10 0 0 0 0 0 0 5000 10 0 0 0 0 0 0
vinternal_1:10000000000 10 0 0 0 0 0 0 2000 10 0 0 0 0 0 0
telemetry1_sb: 700 1 0 0 0 0 0 0 800 1 0 0 0 0 0 0
"""


def test_work_is_user_and_system_and_neither_waiting_nor_steal():
    assert parse_cpu(STAT, 100) == {"cpu_user_ms": 23470.0, "cpu_system_ms": 12100.0}


def test_used_memory_is_what_is_not_available():
    assert parse_memory(MEMINFO) == {"memory_used_bytes": 100_000 * 1024}


@pytest.mark.parametrize(
    ("dev", "figures"),
    [
        (LAMBDA_DEV, (10_000_000_000, 2000)),
        (LAMBDA_DEV.replace(b"vinternal_1", b"eth0").replace(b"telemetry1_sb", b"eth1"), (10_000_000_700, 2800)),
        (b"    lo: 5000 10 0 0 0 0 0 0 6000 10 0 0 0 0 0 0\n", (5000, 6000)),
    ],
)
def test_the_network_is_lambdas_interface_or_all_but_loopback_or_loopback(dev, figures):
    assert parse_network(dev) == {"network_rx_bytes": figures[0], "network_tx_bytes": figures[1]}


@pytest.mark.parametrize(
    "damaged", [b"", b"cpu\n", b"cpu  1 2 3\n", b"cpu  1 -2 3 4 5 6 7 8\n", b"cpu x 2 3 4 5 6 7\n", b"\xff\xfe\0" * 9]
)
def test_a_strange_file_gives_no_figures(damaged):
    assert parse_cpu(damaged, 100) == parse_memory(damaged) == parse_network(damaged) == {}


pieces = st.lists(
    st.sampled_from([b"cpu", b"MemTotal", b"MemAvailable", b"eth0", b":", b" ", b"\n", b"7", b"9" * 30, b"-1", b"kB"])
    | st.binary(max_size=4),
    max_size=60,
).map(b"".join)


@given(pieces)
def test_no_text_makes_a_parser_raise(data):
    for figures in (parse_cpu(data, 100), parse_memory(data), parse_network(data)):
        assert all(value >= 0 for value in figures.values())


@pytest.fixture
def proc(tmp_path):
    (tmp_path / "net").mkdir()
    (tmp_path / "stat").write_bytes(STAT)
    (tmp_path / "meminfo").write_bytes(MEMINFO)
    (tmp_path / "net" / "dev").write_bytes(LAMBDA_DEV)
    return tmp_path


@pytest.fixture
def sampler(proc):
    sampler = Sampler(lambda: 42, str(proc), str(proc))
    yield sampler
    for fd in sampler._open.values():
        os.close(fd)


def test_a_sample_has_every_figure_and_is_read_anew_each_time(sampler, proc):
    first = sampler.sample()
    (proc / "stat").write_bytes(STAT.replace(b"2337", b"2339"))
    second = sampler.sample()

    assert (first.at_ns, first.missing) == (42, ())
    assert set(first.figures) == {
        "cpu_user_ms", "cpu_system_ms", "memory_used_bytes", "network_rx_bytes", "network_tx_bytes", "tmp_used_bytes",
    }  # fmt: skip
    assert second.figures["cpu_user_ms"] - first.figures["cpu_user_ms"] == 20


def test_what_cannot_be_read_costs_its_own_figures_only(proc):
    (proc / "stat").unlink()
    (proc / "meminfo").write_bytes(b"")
    sampler = Sampler(lambda: 0, str(proc), str(proc / "nowhere"))

    sample = sampler.sample()

    assert sample.missing == ("cpu", "memory", "tmp")
    assert set(sample.figures) == {"network_rx_bytes", "network_tx_bytes"}
    for fd in sampler._open.values():
        os.close(fd)


def test_a_file_longer_than_one_read_is_read_to_its_end(proc, monkeypatch):
    """The kernel hands out /proc/net/dev about a page at a time."""
    pread = os.pread
    monkeypatch.setattr(os, "pread", lambda fd, size, offset: pread(fd, min(size, 50), offset))
    sampler = Sampler(lambda: 0, str(proc), str(proc))

    assert sampler.sample().missing == ()
    for fd in sampler._open.values():
        os.close(fd)


def test_this_machine_counts_forward(tmp_path):
    """Against the real /proc: work shows, and no counter goes back."""
    if not Path("/proc/net/dev").exists():
        pytest.skip("no /proc")
    sampler = Sampler(time.monotonic_ns, tmp=str(tmp_path))
    start = sampler.sample()
    give_up = time.monotonic() + 10
    spent, end = 0.0, start
    while spent < 50 and time.monotonic() < give_up:
        end = sampler.sample()
        spent = sum(end.figures[name] - start.figures[name] for name in ("cpu_user_ms", "cpu_system_ms"))

    assert end.missing == ()
    assert end.at_ns > start.at_ns
    assert spent >= 50
    assert end.figures["network_rx_bytes"] >= start.figures["network_rx_bytes"]
    assert end.figures["memory_used_bytes"] > 0
    for fd in sampler._open.values():
        os.close(fd)
