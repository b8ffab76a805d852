"""A share of one core, as Lambda gives with little memory: a control group with a CPU quota, version 1 or 2.

128 MB is about 7 % of a vCPU (Lambda gives a whole one at 1,769 MB). Processes are put into the group after they have been
started; needs root, or a group that this user may write to.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

PERCENT = 7
_PERIOD_US = 100_000


class NoQuota(Exception):
    """No group with a CPU quota can be made here; the text says why."""


class Quota:
    """A control group with ``percent`` of one core. A context manager: the group does not outlive it."""

    def __init__(self, percent: int = PERCENT) -> None:
        self._quota_us = _PERIOD_US * percent // 100
        self._folder = self._make()

    def _make(self) -> Path:
        why = "no control group file system is mounted"
        for version, parent in candidates(
            Path("/proc/self/mountinfo").read_text(), Path("/proc/self/cgroup").read_text()
        ):
            folder = parent / f"extension-kit-bench-{os.getpid()}-{time.monotonic_ns()}"
            try:
                folder.mkdir()
            except OSError as error:
                why = f"{parent}: {error.strerror}"
                continue
            try:
                self._limit(folder, version)
                return folder
            except OSError as error:
                why = f"{folder}: no CPU quota: {error.strerror}"
                folder.rmdir()
        raise NoQuota(why)

    def _limit(self, folder: Path, version: int) -> None:
        if version == 1:
            (folder / "cpu.cfs_period_us").write_text(str(_PERIOD_US))
            (folder / "cpu.cfs_quota_us").write_text(str(self._quota_us))
        else:
            if not (folder / "cpu.max").exists():
                (folder.parent / "cgroup.subtree_control").write_text("+cpu")
            # Opened for writing only where it exists: a missing controller must be an error, not a new file.
            with (folder / "cpu.max").open("r+") as file:
                file.write(f"{self._quota_us} {_PERIOD_US}")

    def take(self, pid: int) -> None:
        """Put a process under the quota, with all that it starts from now on."""
        (self._folder / "cgroup.procs").write_text(str(pid))

    def __enter__(self) -> Quota:
        return self

    def __exit__(self, *exc: object) -> None:
        for _ in range(100):
            try:
                self._folder.rmdir()
                return
            except OSError:  # a process of the group has not been reaped yet
                time.sleep(0.02)


def candidates(mountinfo: str, membership: str) -> list[tuple[int, Path]]:
    """Where a group could be made: (version, parent), best first. Arguments: the files of proc(5) and cgroups(7)."""
    own = {}
    for line in membership.splitlines():
        _, controllers, path = line.split(":", 2)
        own.update(dict.fromkeys(controllers.split(","), path))
    found = []
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        kind, _source, options = after.split(" ", 2)
        mounted = Path(before.split()[4])
        if kind == "cgroup" and "cpu" in options.split(","):
            found.append((1, mounted / own.get("cpu", "/").lstrip("/")))
        elif kind == "cgroup2":
            # A group that holds processes may have no groups with controllers below it, except for the topmost one.
            group = mounted / own.get("", "/").lstrip("/")
            found += [(2, group), *((2, parent) for parent in group.parents if parent.is_relative_to(mounted))]
    return found
