"""Resource faults by themselves: floors, what is given back, and children that die with whoever started them."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from extensions.chaos_injector.faults.files import create, write
from extensions.chaos_injector.faults.process import MOST_AN_HOUR, Killer, runtime_pid
from extensions.chaos_injector.faults.resources import MB, Resources, clear
from extensions.chaos_injector.plan import Fault, Limits
from extensions.chaos_injector.vocabulary import TYPES
from tests.extensions.chaos_injector.conftest import is_alive

ROOT = Path(__file__).parents[3]
CGROUPS = Path("/sys/fs/cgroup/memory")
#: takes resources as it is told on its command line, says so, and waits to be killed
HOLDER = f"""
import sys, time
sys.path.insert(0, {str(ROOT)!r})
from extensions.chaos_injector.faults.resources import Resources
from extensions.chaos_injector.plan import Fault, Limits
from tests.extensions.chaos_injector.test_resources import fault
resources = Resources(sys.argv[1], 512, lambda: None)
print(resources.begin(fault("cpu", workers=2), "r", Limits()) or "burning", flush=True)
if sys.argv[2] == "paused":
    resources.done("r")
print(resources.begin(fault("memory", mb=40), "r2", Limits()) or "holding", flush=True)
time.sleep(60)
"""


def fault(kind, key="", **given):
    params = {name: param.default for name, param in TYPES[kind].params.items()}
    return Fault(key or f"the-{kind}", kind, TYPES[kind].phase, 100.0, (), {**params, **given})


def children(pid):
    """Processes that were started by `pid`, and those that nobody is the parent of any more, with our helper."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and b"faults/helper.py" in (entry / "cmdline").read_bytes():
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                if parent == pid:
                    found.append(int(entry.name))
        except OSError:
            pass
    return found


def state(pid):
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def until(condition, seconds=10.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)


@pytest.fixture
def folder(tmp_path):
    return str(tmp_path)


@pytest.fixture
def resources(folder):
    resources = Resources(folder, 1_024, lambda: None)
    yield resources
    resources.stop()


@pytest.mark.parametrize("state", ["running", "paused"])
@pytest.mark.parametrize("signals", [(signal.SIGKILL,), (signal.SIGSTOP, signal.SIGKILL), (signal.SIGTERM,)])
def test_no_child_outlives_us(folder, state, signals):
    """However we end, and whatever a child does at that moment."""
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, folder, state],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        start_new_session=True,
    )
    try:
        assert [holder.stdout.readline(), holder.stdout.readline()] == ["burning\n", "holding\n"]
        pids = children(holder.pid)
        assert len(pids) == 3
    finally:
        for number in signals:
            holder.send_signal(number)
        holder.wait(10)
        holder.stdout.close()
    until(lambda: not any(is_alive(pid) for pid in pids))


def test_children_are_the_first_that_the_kernel_ends(resources):
    assert resources.begin(fault("cpu"), "r", Limits()) == ""
    assert resources.begin(fault("memory", mb=32), "r", Limits()) == ""
    pids = children(os.getpid())
    assert len(pids) == 2
    until(lambda: all(Path(f"/proc/{pid}/oom_score_adj").read_text() == "1000\n" for pid in pids))
    assert all(os.getpgid(pid) == pid for pid in pids), "no signal to our group wakes them"


def test_a_fault_is_taken_once_and_ends_with_its_last_invocation(resources, folder):
    """Managed Instances have several invocations at a time."""
    one = fault("tmp", mb=20)
    assert resources.begin(one, "a", Limits()) == ""
    assert resources.begin(one, "b", Limits()) == ""
    assert Path(folder, "fill-1").stat().st_size == 20 * MB

    resources.done("a")
    resources.done("nobody")
    assert Path(folder, "fill-1").exists()
    resources.done("b")
    assert not os.listdir(folder)
    assert not resources.busy


def test_two_of_a_type(resources, folder):
    """Each takes its own, and gives back its own."""
    for kind, params in (("tmp", {"mb": 5}), ("inodes", {"count": 1_500})):
        assert resources.begin(fault(kind, "first", **params), "a", Limits()) == ""
        assert resources.begin(fault(kind, "second/../..", **params), "b", Limits()) == ""
        assert len(os.listdir(folder)) == 2
        resources.done("a")
        (left,) = os.listdir(folder)
        assert left.endswith("-2" if kind == "tmp" else "-4")
        resources.done("b")
        assert not os.listdir(folder)


def test_what_is_somebody_elses_stays(resources, folder):
    """At a path that we would have taken: said, and not removed."""
    Path(folder, "fill-1").write_text("mine")
    Path(folder, "inodes-2").mkdir()
    Path(folder, "inodes-2", "mine").write_text("mine")

    assert resources.begin(fault("tmp", mb=1), "r", Limits()) == "File exists"
    assert resources.begin(fault("inodes", count=5), "r", Limits()) == "File exists"
    resources.stop()

    assert Path(folder, "fill-1").read_text() == "mine"
    assert Path(folder, "inodes-2", "mine").read_text() == "mine"


class TestMemoryThatDoesNotCome:
    """A machine that swaps: the process that is to hold it says nothing for long."""

    @pytest.fixture
    def asked(self, monkeypatch):
        """Set as soon as somebody waits for it."""
        from extensions.chaos_injector.faults import children

        asked = threading.Event()

        def answer(_child, milliseconds):
            asked.set()
            time.sleep(milliseconds / 1000)
            return b""

        monkeypatch.setattr(children.Child, "answer", answer)
        monkeypatch.setattr("extensions.chaos_injector.faults.resources._READY_S", 600.0)
        return asked

    def test_the_time_runs_out(self, resources, asked):
        why = resources.begin(fault("memory", mb=32), "r", Limits(), lambda: not asked.is_set())
        assert why == "there was no time for so much memory, or a switch was thrown"
        assert not resources.busy
        assert not children(os.getpid())

    @pytest.mark.parametrize("end", [lambda taken: taken.stop(), lambda taken: taken.done("r")], ids=["stop", "done"])
    def test_nobody_waits_for_it(self, resources, asked, end):
        """Neither the switch nor another invocation: who is stopped or done says so, and goes on."""
        found = []
        thread = threading.Thread(
            target=lambda: found.append(resources.begin(fault("memory", mb=32), "r", Limits(), lambda: True))
        )
        thread.start()
        assert asked.wait(10)
        joined = threading.Thread(
            target=lambda: found.append(resources.begin(fault("memory", mb=32), "r", Limits(), lambda: True))
        )
        joined.start()
        assert resources.begin(fault("tmp", mb=1), "other", Limits()) == ""

        end(resources)

        thread.join(20)
        joined.join(20)
        assert not thread.is_alive()
        assert not joined.is_alive()
        assert len(found) == 2
        assert all(found), "neither has had its memory"
        resources.done("other")
        until(lambda: not resources.busy)
        assert not children(os.getpid())


def test_burners_that_have_ended_are_started_anew(resources):
    """The kernel takes them first: the next invocation has its own again."""
    one = fault("cpu", workers=2)
    assert resources.begin(one, "a", Limits()) == ""
    until(lambda: len(children(os.getpid())) == 2)
    lost, kept = children(os.getpid())
    os.kill(lost, signal.SIGKILL)
    until(lambda: not is_alive(lost))
    resources.done("a")

    assert resources.begin(one, "b", Limits()) == ""

    until(lambda: len(children(os.getpid())) == 2)
    now = children(os.getpid())
    assert kept in now
    assert lost not in now


def test_a_file_is_new_or_is_not_made(tmp_path):
    """Neither through somebody's link, nor over somebody's file."""
    target, link, file = tmp_path / "target", tmp_path / "link", tmp_path / "file"
    link.symlink_to(target)
    file.write_text("mine")
    for path in (link, file):
        with pytest.raises(FileExistsError):
            create(str(path))
    assert file.read_text() == "mine"
    (tmp_path / "orders.new").symlink_to(target)
    write(str(tmp_path / "orders"), b"ours")
    assert (tmp_path / "orders").read_text() == "ours"
    assert not target.exists()


def test_stop_gives_everything_back(resources, folder):
    for one in (fault("tmp", mb=20), fault("inodes", count=2_500), fault("cpu", workers=3), fault("memory", mb=32)):
        assert resources.begin(one, "r", Limits()) == ""
    assert len(os.listdir(Path(folder, "inodes-2"))) == 3

    resources.stop()

    assert not os.listdir(folder)
    assert not children(os.getpid())


def test_what_an_earlier_process_has_left_is_removed(folder):
    left = Resources(folder, None, lambda: None)
    assert left.begin(fault("tmp", mb=1), "r", Limits()) == ""
    assert left.begin(fault("inodes", count=1_500), "r", Limits()) == ""
    Path(folder, "inodes-2", "odd").write_text("")

    clear(folder)

    assert not os.listdir(folder)
    clear(folder)  # nor does it matter that there is nothing


def test_what_takes_too_long_is_given_up(resources, folder):
    """A million files, and an invocation that has no time for them, or a switch that was thrown."""
    asked = []
    why = resources.begin(fault("inodes", count=1_000_000), "r", Limits(), lambda: asked.append(1) or len(asked) < 4)
    assert why == "there was no time for more than 3000 files, or a switch was thrown"
    assert not os.listdir(folder)
    assert not resources.busy


class TestFloors:
    def test_of_tmp(self, resources, folder):
        found = os.statvfs(folder)
        free = min(found.f_bavail * found.f_frsize, 10_240 * MB)
        floor = free // MB - 20

        assert resources.begin(fault("tmp", mb=10_240), "r", Limits(min_free_tmp_mb=floor)) == ""
        assert 15 * MB <= Path(folder, "fill-1").stat().st_size <= 21 * MB

    def test_nothing_is_taken_where_the_floor_is_reached(self, resources, folder):
        why = resources.begin(fault("tmp", mb=1), "r", Limits(min_free_tmp_mb=10_240))

        assert why.endswith("MB of /tmp are free, and 10240 MB must stay so")
        assert not os.listdir(folder)
        assert not resources.busy

    def test_of_memory(self, resources):
        """The function has 1,024 MB by what it says of itself, whatever this machine has."""
        assert resources.begin(fault("memory", mb=10_240), "r", Limits(min_free_memory_mb=964)) == ""
        (pid,) = children(os.getpid())
        size = int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096
        assert 48 * MB < size < 90 * MB

    def test_leave(self, resources):
        assert resources.begin(fault("memory", leave_mb=964), "r", Limits()) == ""
        (pid,) = children(os.getpid())
        assert int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096 < 90 * MB

    def test_nothing_is_left_for_memory(self, resources):
        assert "1024 MB of memory are free" in resources.begin(fault("memory", leave_mb=2_000), "r", Limits())

    def test_of_inodes(self, resources, folder):
        free = os.statvfs(folder).f_favail
        if free == 0:
            pytest.skip("this file system does not count inodes")
        assert "must stay so" in resources.begin(fault("inodes", leave=free + 1_000), "r", Limits())

    def test_running_out_of_memory_would_hit_others_here(self, resources):
        """Whoever asks for it on a laptop does not mean the laptop."""
        why = resources.begin(fault("memory", oom=True), "r", Limits())

        assert "running out of memory would hit others" in why
        assert not children(os.getpid())


def test_a_full_disk_leaves_nothing(resources, monkeypatch):
    """What is taken while somebody else takes the rest: no half of it stays."""

    def full(*_arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("posix.posix_fallocate", full)
    assert resources.begin(fault("tmp", mb=1), "r", Limits()) == "No space left on device"
    assert not resources.busy


class TestRuntimeProcess:
    """Descriptors and signals go to the process that the wrapper has started, and to no other."""

    @pytest.fixture
    def runtime(self, folder):
        """A process that was started with our proxy's address, as by the wrapper."""
        process = subprocess.Popen(
            [sys.executable, "-c", "import time; print(flush=True); time.sleep(60)"],
            env={"AWS_LAMBDA_RUNTIME_API": "127.0.0.1:7777"}, stdout=subprocess.PIPE,
        )  # fmt: skip
        process.stdout.readline()
        Path(folder, "runtime.pid").write_text(f"{process.pid}\n")
        yield process
        process.kill()
        process.wait(10)
        process.stdout.close()

    def test_descriptors_are_given_back(self, folder, runtime):
        before = resource.prlimit(runtime.pid, resource.RLIMIT_NOFILE)
        taken = Resources(folder, None, lambda: runtime_pid(folder, "127.0.0.1:7777"))

        assert taken.begin(fault("descriptors", limit=12), "r", Limits()) == ""
        assert resource.prlimit(runtime.pid, resource.RLIMIT_NOFILE) == (12, before[1])
        taken.done("r")
        assert resource.prlimit(runtime.pid, resource.RLIMIT_NOFILE) == before

    @pytest.mark.parametrize("limits", [(12, 20), (20, 12)])
    @pytest.mark.parametrize("first", ["a", "b"])
    def test_two_limits_are_given_back_as_one(self, folder, runtime, limits, first):
        """Whichever ends first; the lower one counts."""
        before = resource.prlimit(runtime.pid, resource.RLIMIT_NOFILE)
        taken = Resources(folder, None, lambda: runtime.pid)
        for key, limit in zip("ab", limits, strict=True):
            assert taken.begin(fault("descriptors", key, limit=limit), key, Limits()) == ""
        assert resource.prlimit(runtime.pid, resource.RLIMIT_NOFILE) == (12, before[1])
        taken.done(first)
        left = limits["ab".index("b" if first == "a" else "a")]
        assert resource.prlimit(runtime.pid, resource.RLIMIT_NOFILE) == (left, before[1])
        taken.stop()
        assert resource.prlimit(runtime.pid, resource.RLIMIT_NOFILE) == before

    def test_the_runtime_is_no_longer_the_first_to_go(self, folder, runtime, monkeypatch):
        """On a machine of 1 MB, so to speak: nothing is taken, and the rest is as in a function."""
        monkeypatch.setattr("extensions.chaos_injector.faults.resources._machine_memory", lambda: MB)
        score = Path(f"/proc/{runtime.pid}/oom_score_adj")
        taken = Resources(folder, 1, lambda: runtime.pid)

        assert taken.begin(fault("memory", oom=True), "r", Limits()) == ""
        assert score.read_text() == "1000\n"
        taken.done("r")
        assert score.read_text() == "0\n"

    def test_a_limit_is_never_raised(self, folder, runtime):
        hard = resource.prlimit(runtime.pid, resource.RLIMIT_NOFILE)[1]
        resource.prlimit(runtime.pid, resource.RLIMIT_NOFILE, (30, hard))
        taken = Resources(folder, None, lambda: runtime.pid)

        assert taken.begin(fault("descriptors", limit=1_000), "r", Limits()) == ""
        assert resource.prlimit(runtime.pid, resource.RLIMIT_NOFILE) == (30, hard)
        taken.stop()

    def test_the_runtime_has_ended_meanwhile(self, folder, runtime):
        taken = Resources(folder, None, lambda: runtime.pid)
        assert taken.begin(fault("descriptors", limit=12), "r", Limits()) == ""
        runtime.kill()
        runtime.wait(10)

        taken.done("r")
        assert taken.begin(fault("descriptors", limit=12), "r", Limits()) == "No such process"

    @pytest.mark.parametrize("content", ["", "x", "0", "1", "-1", "99999999", "own", "parent"])
    @pytest.mark.usefixtures("runtime")
    def test_a_number_that_is_not_the_runtimes(self, folder, content):
        number = {"own": os.getpid(), "parent": os.getppid()}.get(content, content)
        Path(folder, "runtime.pid").write_text(f"{number}\n")
        assert runtime_pid(folder, "127.0.0.1:7777") is None

    def test_a_process_that_the_wrapper_did_not_start(self, folder, runtime):
        """A number that has been given to another process since."""
        assert runtime_pid(folder, "127.0.0.1:7777") == runtime.pid
        assert runtime_pid(folder, "127.0.0.1:777") is None

    def test_a_runtime_that_was_stopped_is_resumed(self, folder, runtime):
        killer = Killer(f"{folder}/kills", lambda: 1, lambda: runtime_pid(folder, "127.0.0.1:7777"))
        assert killer.kill("STOP") == ""
        until(lambda: state(runtime.pid) == "T")
        assert killer.stopped
        killer.resume()
        until(lambda: state(runtime.pid) != "T")
        assert not killer.stopped

    def test_kills_are_capped_over_restarts(self, folder):
        """Lambda starts us anew after each; a clock that is set back does not start the count anew for ever."""
        now, killed = [10_000_000_000], []

        def killer():
            return Killer(f"{folder}/kills", lambda: now[0], lambda: killed.append(1) or os.getpid())

        for _ in range(MOST_AN_HOUR):
            now[0] += 1_000
            assert killer().kill("0") == ""
        assert killer().kill("0") == f"{MOST_AN_HOUR} kills in the last hour, {MOST_AN_HOUR} are allowed"
        now[0] += 3_600_000
        assert killer().kill("0") == ""


@pytest.mark.skipif(not os.access(CGROUPS, os.W_OK), reason="no memory cgroup of version 1 can be made here")
def test_out_of_memory_takes_the_runtime(folder):
    """In a cgroup of 192 MB, as in a function with so much: the runtime is ended by the kernel, and we are not."""
    cgroup = CGROUPS / f"chaos-test-{os.getpid()}"
    cgroup.mkdir()
    script = f"""
import os, sys, time, subprocess
open({str(cgroup / "cgroup.procs")!r}, "w").write(str(os.getpid()))
sys.path.insert(0, {str(ROOT)!r})
from extensions.chaos_injector.faults.resources import Resources
from extensions.chaos_injector.plan import Limits
from tests.extensions.chaos_injector.test_resources import fault
runtime = subprocess.Popen([sys.executable, "-c", "import time; held = bytearray(20_000_000); time.sleep(60)"])
resources = Resources({folder!r}, 192, lambda: runtime.pid)
print(resources.begin(fault("memory", oom=True), "r", Limits()), flush=True)
print(runtime.wait(30), flush=True)
resources.done("r")
print(resources.busy, flush=True)
"""
    try:
        (cgroup / "memory.limit_in_bytes").write_text(str(192 * MB))
        done = subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, cwd=ROOT, check=False
        )
        assert (done.stdout.split("\n"), done.returncode) == (["", "-9", "False", ""], 0), done.stderr
    finally:
        until(lambda: not (cgroup / "cgroup.procs").read_text())
        cgroup.rmdir()
