"""An environment of its own for the collector: its processes, its network and its /tmp have nothing in them but ours.

Started by test_truth.py in new namespaces; prints, for each experiment, what the collector says and what is true.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

from extension_kit.emulator import namespaces
from extensions.metrics_collector.sampling import Sampler
from extensions.metrics_collector.spending import spent

FRAME = 1400
HERE = "tests.extensions.metrics_collector"


class Child:
    def __init__(self, folder):
        self._process = subprocess.Popen(
            [sys.executable, "-m", f"{HERE}.child", folder], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.pid = self._process.pid

    def do(self, order, number=0):
        self._process.stdin.write(f"{order} {number}\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def end(self):
        self._process.stdin.close()
        self._process.wait()


def measured(sampler, child, *orders):
    """The collector's and the child's own account of what it does at `orders`."""
    before, start = child.do("account"), sampler.sample()
    for order, number in orders:
        child.do(order, number)
    after, end = child.do("account"), sampler.sample()
    (process,) = [process for process in end.processes if process.pid == child.pid]
    return {
        "figures": spent(start, end, 1769),
        "start": start.levels,
        "process": {name: getattr(process, name) for name in process.__slots__},
        "before": before,
        "after": after,
        "pids": [process.pid for process in end.processes],
        "missing": end.missing,
    }


def own_work(sampler):
    start, began = sampler.sample(), time.process_time()
    while time.process_time() < began + 0.3:
        pass
    return {"figures": spent(start, sampler.sample(), 1769)}


def loopback(sampler, size):
    """`size` bytes over one connection."""
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
        connection, _ = server.accept()
        with connection:
            start = sampler.sample()
            writer = threading.Thread(target=client.sendall, args=(b"x" * size,))
            writer.start()
            left = size
            while left:
                left -= len(connection.recv(1 << 20))
            writer.join()
            datagrams = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(5)]
            end = sampler.sample()
            for datagram in datagrams:
                datagram.close()
    return {"figures": spent(start, end, None), "start": start.levels, "interface": end.interface}


def lambdas_interface(sampler, frames):
    """Frames out of vinternal_1, half as many into it, and as many over loopback, which nobody counts. None without `ip`."""
    ip = shutil.which("ip")
    if ip is None:
        return None
    for command in (
        "link add vinternal_1 type veth peer name telemetry1_sb",
        "link set vinternal_1 up",
        "link set telemetry1_sb up",
    ):
        subprocess.run([ip, *command.split()], check=True)
    frame = (b"\xff" * 6 + b"\x02" * 6 + b"\x88\xb5").ljust(FRAME, b"x")
    ends = {name: socket.socket(socket.AF_PACKET, socket.SOCK_RAW) for name in ("vinternal_1", "telemetry1_sb", "lo")}
    for name, end in ends.items():
        end.bind((name, 0))
    start = sampler.sample()
    for count, name in ((frames, "vinternal_1"), (frames // 2, "telemetry1_sb"), (frames, "lo")):
        for _ in range(count):
            ends[name].send(frame)
    # A frame is taken up by the other end a moment after it was sent.
    give_up = time.monotonic() + 10
    while True:
        end = sampler.sample()
        figures = spent(start, end, None)
        if figures["network_rx_packets_count"] >= frames // 2 or time.monotonic() > give_up:
            break
        time.sleep(0.01)
    for opened in ends.values():
        opened.close()
    return {"figures": figures, "interface": end.interface}


def main(tmp, disk):
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m,nr_inodes=1000", "tmpfs", tmp], check=True)
    namespaces._loopback_up()
    sampler = Sampler(time.monotonic_ns, None, 1769, tmp=tmp, budget_us=10**9)
    in_tmp, on_disk = Child(tmp), Child(disk)
    facts = {"own_pid": os.getpid(), "pids": [in_tmp.pid, on_disk.pid]}
    facts["cpu"] = measured(sampler, in_tmp, ("burn", 400))
    facts["cpu of a child's child"] = measured(sampler, in_tmp, ("burn_in_a_child", 300))
    facts["memory"] = measured(sampler, in_tmp, ("hold", 100))
    facts["memory let go"] = measured(sampler, in_tmp, ("let_go", 0))
    facts["tmp"] = measured(sampler, in_tmp, ("write", 10 << 20))
    facts["disk"] = measured(sampler, on_disk, ("write", 8 << 20))
    facts["files and threads"] = measured(sampler, in_tmp, ("open_files", 37), ("start_threads", 5))
    in_tmp.do("limit", 777)
    sampler.sample(), sampler.sample()  # the limits of one known process at each scan
    facts["limits"] = measured(sampler, in_tmp)
    facts["own"] = own_work(sampler)
    facts["loopback"] = loopback(sampler, 32 << 20)
    in_tmp.end()
    on_disk.end()
    facts["left"] = sampler.sample().levels
    sampler.close()
    sampler = Sampler(time.monotonic_ns, frozenset({"network"}))
    facts["vinternal_1"] = lambdas_interface(sampler, 1000)
    sampler.close()
    Path(disk, "facts.json").write_text(json.dumps(facts))


if __name__ == "__main__":
    main(*sys.argv[1:])
