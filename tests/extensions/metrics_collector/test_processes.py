"""The scan of the processes: those that end, those that take another's number, those that are too many or closed to us."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from extensions.metrics_collector.processes import MOST, Scanner


@pytest.fixture
def scanner_of():
    made = []

    def make(proc="/proc", own_pid=12, most=MOST):
        made.append(Scanner(proc, own_pid, 100, most))
        return made[-1]

    yield make
    for scanner in made:
        scanner.close()


def descriptors():
    return len(os.listdir("/proc/self/fd"))


def test_a_process_that_ended_is_forgotten_and_its_files_are_closed(scanner_of):
    child = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
    scanner = scanner_of(own_pid=os.getpid(), most=100_000)
    before = descriptors()
    assert child.pid in {process.pid for process in scanner.scan()[1]}
    assert os.getpid() not in scanner._open
    child.communicate()
    assert child.pid not in {process.pid for process in scanner.scan()[1]}
    assert child.pid not in scanner._open
    scanner.close()
    assert descriptors() == before - 1  # our end of the pipe


def test_a_number_that_another_process_has_by_now_is_opened_anew(scanner_of, tree, monkeypatch):
    """A read from a file of a process that has ended fails, whoever has its number."""
    scanner = scanner_of(tree("on_demand"))
    scanner.scan()
    ended = set(scanner._open[9].values())
    pread = os.pread
    closed = []

    def read(fd, size, offset):
        if fd in ended and not closed:
            raise ProcessLookupError
        return pread(fd, size, offset)

    monkeypatch.setattr(os, "pread", read)
    close = os.close
    monkeypatch.setattr(os, "close", lambda fd: closed.append(fd) or close(fd))
    figures, processes = scanner.scan()
    assert set(closed) == ended
    assert [process.cpu_ms for process in processes] == [1060, 2040]
    assert figures["fd_max_count"] == 1024


def test_the_oldest_are_looked_at_and_the_others_only_counted(scanner_of, tmp_path):
    for pid in range(1, MOST + 11):
        (tmp_path / str(pid)).mkdir()
        (tmp_path / str(pid) / "stat").write_text(f"{pid} (x) S " + "0 " * 16 + "1 0\n")
    figures, processes = scanner_of(str(tmp_path)).scan()
    assert [process.pid for process in processes] == [pid for pid in range(1, MOST + 2) if pid != 12]
    assert (figures["processes_count"], figures["threads_used_count"]) == (MOST + 9, MOST)


def test_a_process_that_is_closed_to_us_costs_its_own_figures(scanner_of, tree, monkeypatch):
    """Another user's, on Lambda too: its descriptors, limits and bytes are not told, its time and memory are."""
    proc = tree("on_demand")
    listdir, open_file = os.listdir, os.open

    def guarded(function):
        def call(path, *more):
            if path.startswith(f"{proc}/1/") and path.endswith(("fd", "io", "limits")):
                raise PermissionError
            return function(path, *more)

        return call

    monkeypatch.setattr(os, "listdir", guarded(listdir))
    monkeypatch.setattr(os, "open", guarded(open_file))
    figures, (init, runtime) = scanner_of(proc).scan()
    assert (init.fds, init.read_bytes, init.write_bytes, init.cpu_ms) == (None, None, None, 1060)
    assert (figures["fd_used_count"], figures["fd_max_count"]) == (runtime.fds, 1024)


def test_changed_limits_are_seen_within_as_many_scans_as_there_are_processes(scanner_of, tree):
    proc = tree("on_demand")
    scanner = scanner_of(proc)
    scanner.scan()
    Path(proc, "9", "limits").write_text("Max open files            512                  512                  files\n")
    assert {scanner.scan()[0]["fd_max_count"] for _ in range(2)} >= {512}


def test_without_a_list_of_processes_there_is_nothing(scanner_of):
    assert scanner_of("/nowhere").scan() == ({}, ())
