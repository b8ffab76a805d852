"""The parsers: what a file has, what a strange one has, and that no bytes at all make them raise."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extensions.metrics_collector import proc

HEAD = b"Inter-|   Receive |  Transmit\n face |bytes packets errs drop|bytes packets errs drop\n"
ROUTE = b"Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n"


def row(name: bytes, number: int) -> bytes:
    return b"%s: %s\n" % (name, b" ".join([b"%d" % number] * 16))


@pytest.mark.parametrize(
    ("names", "default", "chosen"),
    [
        ([b"lo", b"vinternal_1", b"telemetry1_sb"], "", "vinternal_1"),
        ([b"lo", b"vint_runtime", b"eth0"], "eth0", "vint_runtime"),
        ([b"Veth0", b"Ceth1", b"lo"], "Veth0", "Ceth1"),
        ([b"lo", b"eth0", b"eth1"], "eth1", "eth1"),
        ([b"lo", b"eth0", b"eth1", b"telemetry1_sb"], "", "eth0+eth1"),
        ([b"lo", b"eth0"], "gone0", "eth0"),
        ([b"lo"], "", "lo"),
        ([b"lo", b"telemetry1_sb"], "", "lo"),
        ([b"telemetry1_sb"], "", ""),
        ([], "", ""),
    ],
)
def test_the_interface_is_lambdas_or_that_of_the_default_route_or_all_or_loopback(names, default, chosen):
    dev = HEAD + b"".join(row(name, index + 1) for index, name in enumerate(names))
    interface, figures = proc.parse_network(dev, default)
    assert interface == chosen
    if chosen:
        expected = sum(names.index(name.encode()) + 1 for name in chosen.split("+"))
        assert figures == {
            "network_rx_bytes": expected, "network_tx_bytes": expected, "network_rx_packets_count": expected,
            "network_tx_packets_count": expected, "network_errors_count": 2 * expected, "network_dropped_count": 2 * expected,
        }  # fmt: skip
    else:
        assert figures == {}


@pytest.mark.parametrize(
    ("rows", "interface"),
    [
        (b"", ""),
        (b"eth0\t0000000A\t0\t1\t0\t0\t0\t00FFFFFF\t0\t0\t0\n", ""),
        (
            b"eth0\t00000000\tA\t3\t0\t0\t9\t00000000\t0\t0\t0\nwlan0\t00000000\tA\t3\t0\t0\t8\t00000000\t0\t0\t0\n",
            "wlan0",
        ),
        (b"eth0\t00000000\tA\t3\t0\t0\t-1\t00000000\t0\t0\t0\n", ""),
    ],
)
def test_the_default_route_with_the_lowest_metric(rows, interface):
    assert proc.default_interface(ROUTE + rows) == interface


@pytest.mark.parametrize(
    ("names", "whole"),
    [
        ("vda vda1 vda15", "vda"),
        ("nvme0n1 nvme0n1p1 nvme0n10", "nvme0n1 nvme0n10"),
        ("sda sda1 sdaa loop0 ram1 zram0 dm-0 md127", "sda sdaa"),
        ("xvda1 xvdb", "xvda1 xvdb"),  # on some machines a partition is all that there is
        ("mmcblk0 mmcblk0p2", "mmcblk0"),
    ],
)
def test_whole_devices_count_and_their_partitions_do_not(names, whole):
    worth = {name: 10**index for index, name in enumerate(names.split())}
    text = "".join(f"8 0 {name} 0 0 {number} 0 0 0 {2 * number} 0\n" for name, number in worth.items())
    read = 512 * sum(worth[name] for name in whole.split())
    assert proc.parse_disks(text.encode()) == {"io_read_bytes": read, "io_write_bytes": 2 * read}


@pytest.mark.parametrize("name", ["python3", "a) b", "((", ") S 1 (", "", "näme"])
def test_the_name_of_a_process_may_be_anything(name):
    stat = f"7 ({name}) S " + " ".join(str(number) for number in range(4, 53)) + "\n"
    assert proc.parse_stat(stat.encode(), 100) == (name, (14 + 15 + 16 + 17) * 10.0, 20)


def test_one_bad_number_costs_its_own_figure():
    figures, cores = proc.parse_cpu(
        b"cpu  1 x 3 4 -5 6 7 8 0 0\ncpu0 1 2 3 4 5 6 7 8\ncpu1 1 2 x 4 5 6 7 8\nctxt 9\n", 100
    )
    assert figures == {
        "cpu_system_ms": 160, "cpu_idle_ms": 40, "cpu_steal_ms": 80, "cpu_cores_count": 2, "context_switches_count": 9,
    }  # fmt: skip
    assert cores == ()


@pytest.mark.parametrize("end", range(1, 12))
def test_a_number_that_was_cut_is_no_number(end):
    """A line "MemTotal: 190552 kB" that was cut after "19" would be a wrong figure, and a credible one."""
    assert proc.parse_memory(b"MemTotal: 190552 kB\n"[:-end]) == {}
    assert proc.parse_kernel(b"oom_kill 190552\n"[:-end]) == {}
    assert proc.parse_rss(b"1905 190552 1\n"[:-end], 4096) is None


def test_unlimited_is_no_limit():
    limits = (
        b"Max processes        unlimited  unlimited  processes \nMax open files       1024       4096       files\n"
    )
    assert proc.parse_limits(limits) == (1024, None)


pieces = st.lists(
    st.sampled_from([
        b"cpu", b"cpu0", b"ctxt ", b"procs_blocked ", b"MemTotal:", b"MemAvailable:", b"eth0", b"vinternal_1", b"lo", b":",
        b" ", b"\n", b"7", b"9" * 20, b"9" * 5000, b"-1", b"kB", b"Tcp:", b"RetransSegs", b"CurrEstab", b"sockets: used ",
        b"vda", b"vda1", b"oom_kill ", b"pgmajfault ", b"VmRSS:", b"VmHWM:", b"read_bytes: ", b"write_bytes: ",
        b"Max open files ", b"Max processes ", b"(", b")", b"00000000", b"\t", "²".encode(),
    ]) | st.binary(max_size=4) | st.just(b"1 2 3 4 5 6 7 8 9 10 11 12\n"),
    max_size=60,
).map(b"".join)  # fmt: skip


@given(pieces)
def test_no_bytes_make_a_parser_raise_or_count_below_zero(data):
    figures = [
        proc.parse_cpu(data, 100)[0], proc.parse_memory(data), proc.parse_network(data)[1], proc.parse_tcp(data),
        proc.parse_sockets(data), proc.parse_disks(data), proc.parse_kernel(data),
    ]  # fmt: skip
    numbers = [number for found in figures for number in found.values()]
    numbers += [*proc.parse_cpu(data, 100)[1], proc.parse_rss(data, 4096), *proc.parse_stat(data, 100)[1:]]
    numbers += [*proc.parse_status(data), *proc.parse_io(data), *proc.parse_limits(data)]
    assert all(number is None or 0 <= number < float("inf") for number in numbers)
    assert isinstance(proc.default_interface(data), str)
