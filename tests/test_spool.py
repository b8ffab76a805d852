"""The spool: nothing is lost that was accepted, nothing acknowledged comes back, whatever happens to the process."""

from __future__ import annotations

import json
import os
import posix
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from extension_kit import segments, spool
from extension_kit.cursor import Cursor
from extension_kit.protocol.telemetry import split
from extension_kit.spool import Spool

EXAMPLES = int(os.environ.get("KIT_TESTS_FUZZ_EXAMPLES", "60"))
TIME = "2026-11-23T08:00:00.700Z"
ALL = ("platform", "function", "extension")


def batch(*lines: str, kind: str = "function") -> bytes:
    events = [{"time": TIME, "type": kind, "record": line} for line in lines]
    return json.dumps(events, separators=(",", ":")).encode()


@pytest.fixture
def folder(tmp_path):
    return str(tmp_path / "a" / "spool")


def open_spool(folder, *cursors, owner="me", max_bytes=1 << 26, memory_bytes=1 << 22):
    return Spool(folder, owner, list(cursors) or [Cursor("p", ALL)], max_bytes, memory_bytes)


def take(kept: Spool, cursor: Cursor, most: int = 10**9) -> list[bytes]:
    """Hand over the next batch, or the next records of it."""
    found = kept.next_batch(cursor)
    if found is None:
        return []
    seq, body = found
    first = cursor.next_index
    pieces = [piece for piece in split(body).pieces if cursor.wants(piece)]
    part = pieces[first : first + most]
    kept.hand(cursor, seq, first, len(part), sum(map(len, part)), first + len(part) >= len(pieces))
    return part


def take_all(kept: Spool, cursor: Cursor) -> list[bytes]:
    pieces = []
    while kept.behind(cursor):
        pieces += take(kept, cursor)
    return pieces


def test_what_was_stored_survives_the_process(folder):
    """Batches, places, counters: a new process goes on where the last one acknowledged."""
    first = open_spool(folder)
    for body in (batch("a", "b"), batch("c")):
        assert first.store(body)
    assert [json.loads(piece)["record"] for piece in take(first, first.cursors[0])] == ["a", "b"]
    first.acknowledge(first.cursors[0], pending=1)
    first.commit()
    _release_lock(first)

    second = open_spool(folder)

    assert second.cursors[0].acknowledged == 1
    assert (second.cursors[0].seq, second.cursors[0].index) == (1, 1)
    assert second.received == 2
    assert [json.loads(p)["record"] for p in take_all(second, second.cursors[0])][-1] == "c"


def test_outcomes_are_kept_and_bounded(folder):
    """However many reasons a plug-in invents, the state that is kept has room for them, and the sum is right."""
    first = open_spool(folder)
    (cursor,) = first.cursors
    first.store(batch(*["x"] * 100))
    take(first, cursor)
    first.acknowledge(cursor, 0, {f"dropped: reason {number}": 1 for number in range(60)} | {"kept": 2})
    first.commit()
    assert cursor.sums(0).startswith("100 records = 38 delivered + 2 others + 60 dropped (")
    _release_lock(first)

    second = open_spool(folder)

    (again,) = second.cursors
    assert again.sums(0) == cursor.sums(0)
    second.store(batch("y", "z"))
    take(second, again)
    second.acknowledge(again, 0, {"dropped: reason 1": 2})
    assert (again.outcomes["dropped: reason 1"], again.outcomes["others"]) == (3, 2)
    assert again.sums(0).startswith("102 records = 38 delivered + 2 others + 62 dropped (")


def test_a_spool_has_a_name_of_its_own(folder, tmp_path):
    """It outlives the process, not the environment; after a snapshot was resumed it is another."""
    first = open_spool(folder)
    _release_lock(first)
    second = open_spool(folder)
    _release_lock(second)
    assert second.life == first.life != open_spool(str(tmp_path / "other")).life
    third = open_spool(folder)
    third.renew()
    assert third.life != first.life
    _release_lock(third)
    fourth = open_spool(folder)
    _release_lock(fourth)
    assert fourth.life == third.life
    assert open_spool(folder, owner="another").life != first.life


def test_a_batch_that_is_posted_again_is_recognised(folder):
    """Also after a restart, and also when it was acknowledged long ago; another with the same checksum is not."""
    kept = open_spool(folder)
    assert kept.store(batch("a"))
    assert not kept.store(batch("a"))
    take_all(kept, kept.cursors[0])
    kept.acknowledge(kept.cursors[0])
    kept.commit()
    assert not kept.store(batch("a"))
    _release_lock(kept)
    again = open_spool(folder)

    assert not again.store(batch("a"))
    assert (again.duplicates, again.received) == (3, 1)


def test_equal_checksums_are_no_equal_batches(folder, monkeypatch):
    """Bytes are compared on a match of length and CRC."""
    monkeypatch.setattr(spool, "crc32", lambda data: 7)
    monkeypatch.setattr(segments, "crc32", lambda data: 7)
    kept = open_spool(folder)

    assert kept.store(batch("a"))
    assert kept.store(batch("b"))
    assert not kept.store(batch("b"))


def test_segments_go_when_everybody_is_done_with_them(folder):
    """The slowest plug-in decides; the newest two stay for comparison."""
    fast, slow = Cursor("fast", ALL), Cursor("slow", ALL)
    kept = open_spool(folder, fast, slow)
    for number in range(8):
        kept.store(batch(f"{number}" * 600_000))
        take_all(kept, fast)
        kept.acknowledge(fast)
        kept.commit()
    assert len(_segment_files(folder)) == 4

    take_all(kept, slow)
    kept.acknowledge(slow)
    kept.commit()

    assert len(_segment_files(folder)) == 2
    assert kept.size == 0


def test_half_a_batch_is_cut_off(folder):
    """The process was killed while it wrote: it had not answered either."""
    kept = open_spool(folder)
    kept.store(batch("a"))
    kept.store(batch("b"))
    _release_lock(kept)
    path = Path(folder) / _segment_files(folder)[0]
    path.write_bytes(path.read_bytes()[:-5])

    again = open_spool(folder)

    assert [json.loads(piece)["record"] for piece in take_all(again, again.cursors[0])] == ["a"]
    assert again.store(batch("b"))


def test_a_batch_that_was_changed_on_disk_is_dropped_and_counted(folder):
    """Never handed over as something else."""
    kept = open_spool(folder)
    kept.store(batch("a"))
    kept._hot = (0, b"")  # as if others had come since
    path = Path(folder) / _segment_files(folder)[0]
    path.write_bytes(path.read_bytes().replace(b"function", b"functjon"))

    assert take_all(kept, kept.cursors[0]) == []
    assert kept.cursors[0].dropped == {"unreadable batch": (1, len(batch("a")))}


def test_what_another_environment_left_is_removed(folder):
    """On a machine where several share one /tmp, one after the other."""
    kept = open_spool(folder)
    kept.store(batch("a"))
    kept.acknowledge(kept.cursors[0])
    kept.commit()
    _release_lock(kept)

    other = open_spool(folder, owner="somebody else")

    assert take_all(other, other.cursors[0]) == []


def test_two_at_the_same_time_do_not_share_a_folder(folder):
    """The second one works in memory, and knows why."""
    first, second = open_spool(folder), open_spool(folder)

    assert second.store(batch("a"))
    assert not first.why_memory
    assert second.why_memory
    assert len(take_all(second, second.cursors[0])) == 1


@pytest.mark.parametrize("trouble", ["read-only", "full", "write", "torn"])
def test_without_a_disk_memory_must_do(folder, monkeypatch, trouble):
    """Said in ``why_memory``; bounded; nothing raises."""
    if trouble == "read-only":
        Path(folder).parent.mkdir(parents=True)
        Path(folder).write_text("in the way")
    elif trouble == "full":
        monkeypatch.setattr(segments, "FREE_FLOOR_BYTES", 1 << 60)
    elif trouble == "write":
        monkeypatch.setattr(segments.posix, "writev", _fail)
    else:
        monkeypatch.setattr(segments.posix, "writev", lambda fd, parts: os.write(fd, parts[0]))
    kept = open_spool(folder, memory_bytes=3_000)

    for number in range(100):
        kept.store(batch(f"line {number}"))

    assert kept.why_memory
    assert kept.size <= 3_000
    cursor = kept.cursors[0]
    left = len(take_all(kept, cursor))
    kept.acknowledge(cursor)
    kept.commit()
    assert (cursor.acknowledged, cursor.acknowledged + cursor.dropped_records) == (left, 100)
    assert left > 10


def test_the_disk_is_used_again_when_it_works_again(folder, monkeypatch):
    """The function may have made room."""
    kept = open_spool(folder)
    monkeypatch.setattr(segments, "FREE_FLOOR_BYTES", 1 << 60)
    kept.store(batch("a"))
    assert kept.cursors[0].held == 0
    monkeypatch.setattr(segments, "FREE_FLOOR_BYTES", 0)
    for number in range(70):
        kept.store(batch(f"b{number}"))

    assert len(take_all(kept, kept.cursors[0])) == 71
    assert Path(folder, _segment_files(folder)[-1]).stat().st_size > 0


def test_platform_records_and_errors_outlive_a_full_spool(folder):
    """Complaint 9: bounded in bytes; the rest is dropped, oldest first, and counted."""
    kept = open_spool(folder, max_bytes=20_000)
    sent = 0
    for number in range(200):
        lines = [f"line {number} " + "x" * 100, f"[ERROR] {number}"] if number < 20 else [f"line {number} " + "x" * 100]
        kept.store(batch(*lines))
        sent += len(lines)
    kept.store(batch("r", kind="platform.runtimeDone"))

    cursor = kept.cursors[0]
    assert kept.size <= 20_000
    pieces = take_all(kept, cursor)
    assert sum(b"[ERROR]" in piece for piece in pieces) == 20
    assert b"platform.runtimeDone" in pieces[-1]
    assert len(pieces) + cursor.dropped_records == sent + 1
    assert cursor.dropped.keys() == {"spool full"}


def test_when_all_is_protected_the_oldest_goes(folder):
    """A bound is a bound."""
    kept = open_spool(folder, max_bytes=5_000)
    for number in range(100):
        kept.store(batch(f"{number}", kind="platform.report"))

    cursor = kept.cursors[0]
    pieces = take_all(kept, cursor)

    assert kept.size <= 5_000
    assert json.loads(pieces[-1])["record"] == "99"
    assert len(pieces) + cursor.dropped_records == 100


def test_making_room_takes_a_little_at_a_time(folder, monkeypatch):
    """The platform waits for its 200 meanwhile: however full the spool is, no more is read than a few of the new bytes."""
    monkeypatch.setattr(spool, "_THINNED_AT_A_TIME", (2_000, 64))
    kept = open_spool(folder, max_bytes=100_000)
    body = batch(*[f"line {number} " + "x" * 80 for number in range(10)])
    stored = 0
    while kept.size + len(body) <= 90_000:
        kept.store(body + b" " * stored)
        stored += 1
    read = []
    folder_read = kept._folder.read
    monkeypatch.setattr(kept._folder, "read", lambda one: read.append(one.length) or folder_read(one))
    for number in range(300):
        read.clear()
        assert kept.store(body + b" " * (stored + number))
        assert sum(read) <= 5 * (len(body) + stored + number) + 2_000
    assert kept.size <= 100_000
    cursor = kept.cursors[0]
    assert len(take_all(kept, cursor)) + cursor.dropped_records == 10 * (stored + 300)


def test_a_batch_larger_than_the_whole_spool(folder):
    """Thinned to what is protected, or dropped; counted in any case."""
    kept = open_spool(folder, max_bytes=4_000)

    kept.store(batch(*[f"{number} " + "x" * 50 for number in range(100)], "ERROR here"))
    kept.store(batch(*[f"ERROR {number} " + "x" * 50 for number in range(100)]))

    cursor = kept.cursors[0]
    pieces = take_all(kept, cursor)
    assert [b"ERROR here" in piece for piece in pieces] == [True]
    assert cursor.dropped_records == 200


def test_what_a_plugin_holds_is_not_dropped_behind_its_back(folder):
    """Only batches that nobody has touched are thinned."""
    kept = open_spool(folder, max_bytes=3_000)
    kept.store(batch(*["x" * 100] * 10))
    cursor = kept.cursors[0]
    held = take(kept, cursor, most=3)
    for number in range(50):
        kept.store(batch(f"{number}" + "y" * 200))

    kept.acknowledge(cursor)

    kept.commit()
    assert len(held) == cursor.acknowledged == 3
    assert len(take(kept, cursor)) == 7


def test_the_number_of_batches_is_bounded_too(folder, monkeypatch):
    """Many small ones cost memory as well."""
    monkeypatch.setattr(spool, "MAX_BATCHES", 10)
    kept = open_spool(folder)
    for number in range(30):
        kept.store(batch(f"{number}"))

    cursor = kept.cursors[0]
    assert len(take_all(kept, cursor)) + cursor.dropped_records == 30


def test_records_that_cannot_be_delivered_are_counted(folder):
    """One hand-over of several, and all that is held."""
    kept = open_spool(folder)
    cursor = kept.cursors[0]
    for name in "abcd":
        kept.store(batch(name, name))
    take(kept, cursor)
    take(kept, cursor)
    kept.lose(cursor, "on_telemetry failed")
    assert (cursor.held, cursor.dropped["on_telemetry failed"][0], cursor.seq) == (2, 2, 1)
    take(kept, cursor)
    kept.acknowledge(cursor)
    kept.commit()
    assert (cursor.acknowledged, cursor.seq) == (4, 4)
    take(kept, cursor, most=1)
    kept.take_back(cursor)
    take(kept, cursor, most=1)
    kept.lose(cursor, "at rest", everything=True)
    assert (cursor.seq, cursor.index, cursor.dropped_records) == (4, 1, 3)


def test_malformed_bodies_are_set_aside(folder):
    """The last few of them, cut; the count survives."""
    kept = open_spool(folder)
    for number in range(12):
        kept.set_aside(b"nonsense %d" % number)
    _release_lock(kept)

    assert len(list(Path(folder).glob("malformed-*"))) == 8
    assert open_spool(folder).malformed == 12


def test_files_are_for_this_user_only(folder):
    """0700 and 0600."""
    kept = open_spool(folder)
    kept.store(batch("a"))
    kept.set_aside(b"x")

    assert Path(folder).stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in Path(folder).iterdir()} == {0o600}


def test_a_state_that_was_half_written_leaves_the_one_before(folder):
    """Two slots in turn, each with its checksum."""
    kept = open_spool(folder)
    kept.store(batch("a"))
    kept.store(batch("b"))
    for _ in range(2):
        take(kept, kept.cursors[0])
        kept.acknowledge(kept.cursors[0])
        kept.commit()
    generation = kept._folder._generation
    _release_lock(kept)
    path = Path(folder, "state")
    data = bytearray(path.read_bytes())
    data[generation % 2 * 16_384 + 40] ^= 1
    path.write_bytes(data)

    assert open_spool(folder).cursors[0].acknowledged == 1


def _fail(*_arguments):
    raise OSError(28, "No space left on device")


def _segment_files(folder):
    return sorted(path.name for path in Path(folder).glob("*.seg"))


def _release_lock(kept: Spool) -> None:
    """What the end of the process does; everything else it leaves as it is."""
    folder = kept._folder
    for fd in (folder._state, folder._writing, folder._reading[1]):
        if fd >= 0:
            posix.close(fd)


class SpoolMachine(RuleBasedStateMachine):
    """Stores, hand-overs, acknowledgements, kills and restarts in any order, beside a model of what must hold.

    Two plug-ins with different streams. A record that is acknowledged is never handed over again; one that is not, and was not
    dropped, always is.
    """

    @initialize(tight=st.booleans(), segment=st.sampled_from([200, 100_000]))
    def begin(self, tight, segment):
        import tempfile

        self.home = tempfile.TemporaryDirectory()
        self.limit = 1_500 if tight else 1 << 26
        self.before = segments.SEGMENT_BYTES
        segments.SEGMENT_BYTES = segment
        self.sent = {"all": [], "function": []}
        self.acknowledged = {"all": [], "function": []}
        self.number = 0
        self.duplicates = 0
        self.spool = None
        self.open()

    def open(self):
        self.cursors = {"all": Cursor("all", ALL), "function": Cursor("function", ("function",))}
        self.held = {"all": [], "function": []}
        self.spool = open_spool(self.home.name + "/s", *self.cursors.values(), max_bytes=self.limit)

    def teardown(self):
        if hasattr(self, "home"):
            segments.SEGMENT_BYTES = self.before
            _release_lock(self.spool)
            self.home.cleanup()

    @rule(kinds=st.lists(st.sampled_from(["function", "platform.start"]), min_size=1, max_size=4), again=st.booleans())
    def store(self, kinds, again):
        events = []
        for kind in kinds:
            self.number += 1
            events.append({"time": TIME, "type": kind, "record": f"<{self.number}>"})
        body = json.dumps(events, separators=(",", ":")).encode()
        assert self.spool.store(body)
        if again and self.limit > 10_000:
            assert not self.spool.store(body)
            self.duplicates += 1
        for event in events:
            self.sent["all"].append(event["record"])
            if event["type"] == "function":
                self.sent["function"].append(event["record"])

    @rule(who=st.sampled_from(["all", "function"]), most=st.integers(1, 5))
    def hand(self, who, most):
        pieces = take(self.spool, self.cursors[who], most)
        self.held[who] += [json.loads(piece)["record"] for piece in pieces]

    @rule(who=st.sampled_from(["all", "function"]), pending=st.integers(0, 4))
    def acknowledge(self, who, pending):
        self.spool.acknowledge(self.cursors[who], pending)
        self.spool.commit()
        done = max(0, len(self.held[who]) - pending)
        self.acknowledged[who] += self.held[who][:done]
        del self.held[who][:done]

    @rule()
    def kill_and_restart(self):
        _release_lock(self.spool)
        self.open()

    @precondition(lambda self: self.spool is not None)
    @invariant()
    def nothing_acknowledged_comes_back(self):
        for who, cursor in self.cursors.items():
            assert len(set(self.acknowledged[who])) == len(self.acknowledged[who])
            assert not set(self.held[who]) & set(self.acknowledged[who])
            assert cursor.acknowledged == len(self.acknowledged[who])
            assert cursor.held == len(self.held[who])
        assert self.spool.size <= self.limit

    @precondition(lambda self: self.spool is not None)
    @invariant()
    def everything_is_accounted_for(self):
        if self.limit > 10_000:
            assert all(not cursor.dropped for cursor in self.cursors.values())
        for who, cursor in self.cursors.items():
            reader = Cursor(who, cursor.streams)
            reader.next_seq, reader.next_index = cursor.next_seq, cursor.next_index
            pending = [json.loads(piece)["record"] for piece in take_all(self.spool, reader)]
            known = self.acknowledged[who] + self.held[who] + pending
            assert len(known) == len(set(known))
            assert len(known) + cursor.dropped_records == len(self.sent[who])
            assert set(known) <= set(self.sent[who])


TestAnySequence = SpoolMachine.TestCase
TestAnySequence.settings = settings(max_examples=EXAMPLES, stateful_step_count=40, deadline=None)
