"""A process that does as it is told, a line at a time, and answers with its own account of itself."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import threading
import time
from pathlib import Path

kept: list[object] = []


def burn(ms):
    until = time.process_time() + ms / 1000
    while time.process_time() < until:
        pass


def burn_in_a_child(ms):
    subprocess.run([sys.executable, "-c", f"import time\nwhile time.process_time() < {ms / 1000}: pass"], check=True)


def hold(megabytes):
    kept.append(b"x" * (megabytes << 20))


def let_go(_):
    kept.clear()


def write(size):
    with Path(sys.argv[1], "written").open("wb") as file:
        file.write(b"x" * size)
        os.fsync(file.fileno())


def open_files(count):
    kept.extend(os.open(os.devnull, os.O_RDONLY) for _ in range(count))


def start_threads(count):
    for _ in range(count):
        threading.Thread(target=threading.Event().wait, daemon=True).start()


def limit(number):
    resource.setrlimit(resource.RLIMIT_NOFILE, (number, number))
    resource.setrlimit(resource.RLIMIT_NPROC, (number + 1, number + 1))


def account(_):
    """What the process says of itself, by other ways than the collector's where there are any."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    io = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {
        "cpu_ms": (time.process_time() + children.ru_utime + children.ru_stime) * 1000,
        "rss_bytes": int(status["VmRSS"].split()[0]) * 1024,
        "hwm_bytes": int(status["VmHWM"].split()[0]) * 1024,
        "threads": threading.active_count(),
        "read_bytes": int(io["read_bytes"]),
        "write_bytes": int(io["write_bytes"]),
    }


if __name__ == "__main__":
    for line in sys.stdin:
        order, _, number = line.strip().partition(" ")
        answer = globals()[order](int(number or 0))
        print(json.dumps(answer), flush=True)
