"""The command, end to end: files, parameters and objects by moto; what it prints, and its exit status."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from extension_kit.aws import Aws
from extension_kit.io.clock import Clock
from extension_kit.protocol.timestamps import format_ms, parse_ms
from extensions.chaos_injector import destinations
from extensions.chaos_injector.__main__ import main
from extensions.chaos_injector.destinations import open_destination
from extensions.chaos_injector.driver import Driver
from extensions.chaos_injector.settings import ChaosSettings
from extensions.chaos_injector.sources import Place
from tests.extensions.chaos_injector.rails_bench import Bench, document, experiment_of, fault
from tests.extensions.chaos_injector.test_formats import README_EXAMPLE, action, enabled

ROOT = Path(__file__).parents[3]
CLOCK = Clock()


@pytest.fixture(params=["file", "ssm", "s3"])
def place(request, tmp_path, environ, ask):
    if request.param == "s3":
        ask("s3").create_bucket(Bucket="chaos", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    return {"file": f"file:{tmp_path}/armed/e.json", "ssm": "ssm:/chaos/checkout", "s3": "s3://chaos/e.json"}[
        request.param
    ]


class Command:
    def __init__(self, environ, capsys, folder):
        self.environ = environ
        self._capsys = capsys
        self._folder = folder

    def __call__(self, *arguments, status=0, **variables):
        """Runs it; what it printed, both streams."""
        assert main([str(one) for one in arguments], {**self.environ, **variables}) == status
        captured = self._capsys.readouterr()
        return captured.out + captured.err

    def json(self, *arguments, status=0):
        return json.loads(self(*arguments, "--json", status=status))

    def write(self, fields, name="e.json"):
        path = self._folder / name
        path.write_text(fields if isinstance(fields, str) else json.dumps(fields))
        return path


@pytest.fixture
def command(environ, capsys, tmp_path):
    return Command(environ, capsys, tmp_path)


@pytest.fixture
def experiment(command):
    return command.write(document(now_ms=CLOCK.wall_ms()))


def test_arm_status_extend_disarm(command, place, experiment):
    """Its life, in each place."""
    assert "nothing is armed" in command("status", "--source", place, status=1)
    assert command("arm", experiment, "--source", place).startswith(f"armed: slow of jane in {place} until ")
    found = command.json("status", "--source", place)
    assert (found["state"], found["experiment"]["owner"], found["experiment"]["id"]) == ("armed", "jane", "slow")
    end_ms = parse_ms(found["experiment"]["armed_until"])
    assert command.json("extend", "--source", place, "--owner", "jane", "--for", "30m")["state"] == "extended"
    assert parse_ms(command.json("status", "--source", place)["experiment"]["armed_until"]) > end_ms + 1_000_000
    assert "disarmed: slow of jane" in command("disarm", "--source", place)
    assert "nothing is armed" in command("disarm", "--source", place)
    assert command.json("status", "--source", place, status=1)["state"] == "none"


def test_of_two_who_arm_one_is_refused_and_told_whose_it_is(command, place, experiment):
    command("arm", experiment, "--source", place)
    other = command.write(document(id="mine", owner="joe", now_ms=CLOCK.wall_ms()), "other.json")
    said = command("arm", other, "--source", place, status=1)
    assert "has a document already: slow of jane is armed until" in said
    assert "disarm it first" in said
    assert command.json("status", "--source", place)["experiment"]["owner"] == "jane"


def test_of_many_who_arm_at_once_one_succeeds(environ, place, command):
    files = [command.write(document(id=f"e{at}", now_ms=CLOCK.wall_ms()), f"{at}.json") for at in range(6)]
    statuses = []
    begin = threading.Barrier(len(files))

    def arm(path):
        begin.wait(20)
        statuses.append(main(["arm", str(path), "--source", place], environ))

    threads = [threading.Thread(target=arm, args=(path,)) for path in files]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(statuses) == [0, 1, 1, 1, 1, 1]


def opened(place, environ):
    return open_destination(Place.of(place, "/"), lambda: Aws(environ))


def test_what_is_replaced_is_what_was_read(place, environ):
    """Who comes later, with what he read before, is refused."""
    destination = opened(place, environ)
    assert destination.create(b'{"a":1}', "about")
    assert not destination.create(b'{"a":0}', "about")
    _data, tag = destination.read()
    assert destination.replace(b'{"a":2}', "about", tag)
    assert not destination.replace(b'{"a":3}', "about", tag)
    assert destination.read()[0] == b'{"a":2}'


def test_what_was_deleted_meanwhile_is_not_put_back(place, environ):
    """An extension must not undo somebody's disarming."""
    destination, other = opened(place, environ), opened(place, environ)
    destination.create(b"{}", "about")
    _data, tag = destination.read()
    assert other.delete()
    assert not destination.replace(b"{}", "about", tag)
    assert destination.read() is None
    assert not destination.delete()


@pytest.mark.parametrize("place", ["ssm"], indirect=True)
def test_what_is_deleted_in_the_moment_before_it_is_replaced(place, environ, monkeypatch):
    """A parameter has no conditional write: what comes of it is taken back."""
    destination, other = opened(place, environ), opened(place, environ)
    destination.create(b"{}", "about")
    read = destination.read
    found = read()

    def read_and_deleted():
        other.delete()
        return found

    monkeypatch.setattr(destination, "read", read_and_deleted)
    assert not destination.replace(b"{}", "about", found[1])
    assert read() is None


@pytest.mark.parametrize("place", ["file"], indirect=True)
def test_of_many_who_replace_a_file_one_succeeds(place, environ):
    destination = opened(place, environ)
    for at in range(20):
        destination.delete()
        destination.create(b"old", "about")
        tag = destination.read()[1]
        begin, done = threading.Barrier(4), []

        def replace(number, tag=tag, begin=begin, done=done):
            begin.wait(20)
            done.append(opened(place, environ).replace(b"new %d" % number, "about", tag))

        threads = [threading.Thread(target=replace, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        assert sorted(done) == [False, False, False, True], at


@pytest.mark.parametrize("place", ["file"], indirect=True)
def test_a_file_that_somebody_locks_can_be_deleted(place, environ, monkeypatch):
    """And is not replaced."""
    monkeypatch.setattr(destinations, "_PATIENCE_S", 0.05)
    destination = opened(place, environ)
    destination.create(b"old", "about")
    lock = destination._lock()
    try:
        with pytest.raises(OSError, match="cannot be locked"):
            destination.replace(b"new", "about", destination.read()[1])
        assert destination.delete()
    finally:
        os.close(lock)


def test_an_experiment_that_has_ended_makes_place(command, place):
    old = command.write(document(armed_until=format_ms(CLOCK.wall_ms() + 1_500)), "old.json")
    command("arm", old, "--source", place)
    limit = time.monotonic() + 20
    while main(["status", "--source", place], command.environ) == 0:
        assert time.monotonic() < limit
        time.sleep(0.1)
    command("status", "--source", place, status=1)
    assert "has ended at" in command("extend", "--source", place, "--owner", "jane", "--for", "5m", status=1)
    new = command.write(document(id="next", owner="joe", now_ms=CLOCK.wall_ms()), "new.json")
    command("arm", new, "--source", place)
    assert command.json("status", "--source", place)["experiment"]["id"] == "next"


def test_what_its_owner_has_not_renewed_has_ended(command, place):
    """It makes place, and is not extended: whoever held it is gone."""
    now_ms = CLOCK.wall_ms()
    held = document(now_ms=now_ms, renewed_at=format_ms(now_ms - 11_000), lease_s=10)
    command("arm", command.write(held), "--source", place)
    assert "slow of jane was not renewed since" in command("status", "--source", place, status=1)
    assert "was not renewed" in command("extend", "--source", place, "--owner", "jane", "--for", "5m", status=1)
    command("arm", command.write(document(id="next", owner="joe", now_ms=now_ms), "new.json"), "--source", place)
    assert command.json("status", "--source", place)["experiment"]["id"] == "next"


def test_what_cannot_be_read_is_not_overwritten_but_deleted(command, place, experiment, ask):
    target = {"ssm": lambda: ask("ssm").put_parameter(Name="/chaos/checkout", Value="{", Type="String"),
              "s3:": lambda: ask("s3").put_object(Bucket="chaos", Key="e.json", Body=b"{")}  # fmt: skip
    if place.startswith("file:"):
        Path(place[5:]).parent.mkdir()
        Path(place[5:]).write_text("{")
    else:
        target[place[:3]]()
    assert "no JSON" in command("status", "--source", place, status=1)
    assert "has a document already: the document is no JSON" in command("arm", experiment, "--source", place, status=1)
    command("disarm", "--source", place)
    command("arm", experiment, "--source", place)


def test_a_file_that_is_none_is_deleted_too(command, tmp_path):
    path = tmp_path / "large.json"
    path.write_bytes(b" " * 100_000)
    assert "could not be read" in command("disarm", "--source", f"file:{path}")
    assert not path.exists()


def test_only_that_experiment(command, place, experiment):
    command("arm", experiment, "--source", place)
    assert "another document than other" in command("disarm", "--source", place, "--id", "other", status=1)
    assert "slow of jane" in command("extend", "--source", place, "--id", "other", "--for", "5m", status=1)
    assert "use --owner jane" in command("extend", "--source", place, "--owner", "joe", "--for", "5m", status=1)
    command("disarm", "--source", place, "--id", "slow")


def test_what_is_armed_arms_rails(command, tmp_path, experiment):
    """The file that is written is the one that is read."""
    path = tmp_path / "armed.json"
    command("arm", experiment, "--source", f"file:{path}", "--for", "5m")
    assert path.stat().st_mode & 0o777 == 0o600
    assert [one.name for one in tmp_path.iterdir() if one.name.startswith("armed")] == ["armed.json"]
    bench = Bench(tmp_path / "home", CLOCK)
    assert bench.give(path.read_bytes()).owner == "jane"


def test_toml_and_what_is_not_given(command, place):
    """--for gives the end, the command the owner."""
    path = command.write(
        'version = 1\nid = "t"\nscope = {functions = ["a-*"]}\n[[faults]]\ntype = "delay"\npercentage = 5\n', "e.toml"
    )
    assert "armed_until is missing" in command("arm", path, "--source", place, status=1)
    command("arm", path, "--source", place, "--for", "10m", "--owner", "ann")
    assert command.json("status", "--source", place)["experiment"]["owner"] == "ann"


def test_formats_of_others(command, place):
    """Are written as ours, with the functions that are named."""
    path = command.write(enabled("latency", "exception"))
    assert "CHAOS_ARMED_UNTIL is not set" in command("arm", path, "--source", place, status=1)
    command("arm", path, "--source", place, "--for", "10m", "--function", "checkout", "--owner", "ann")
    found = command.json("status", "--source", place)["experiment"]
    assert (found["scope"]["functions"], found["owner"]) == (["checkout"], "ann")
    assert [one["id"] for one in found["faults"]] == ["latency", "exception"]
    command("disarm", "--source", place)
    assert "nothing is armed" in command("arm", command.write(README_EXAMPLE), "--source", place, status=1)
    command("arm", command.write(action("add-delay")), "--source", place, "--for", "10m")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["arm", "{experiment}", "--source", "env"], "is part of the function's configuration"),
        (["arm", "{experiment}", "--source", "variables"], "is part of the function's configuration"),
        (["arm", "{experiment}", "--source", "appconfig:a:b:c"], "deploy the document with AppConfig"),
        (["status", "--source", "http://x"], "is no source: use env"),
    ],
)
def test_usage(command, experiment, arguments, says):
    arguments = [one.format(experiment=experiment) for one in arguments]
    assert says in command(*arguments, status=2)
    found = json.loads(command(*arguments, "--json", status=2).splitlines()[0])
    assert (list(found), says in found["error"]) == (["error"], True)


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["arms"],
        ["arm"],
        ["arm", "x", "--for", "10"],
        ["arm", "x", "--for", "0s"],
        ["status", "--for", "5m"],
        *(["plan", "x", "--rate", one] for one in ("nan", "inf", "-1", "x")),
        *(["plan", "x", "--environments", one] for one in ("-3", "0", "1.5", "9999999")),
    ],
)
def test_usage_of_options(arguments, capsys):
    assert main(arguments, {}) == 2
    captured = capsys.readouterr()
    assert (captured.out, captured.err.count("\n")) == ("", 1)
    assert "--help)" in captured.err


def test_failures(command, experiment, tmp_path):
    assert "No such file" in command("arm", tmp_path / "none.json", "--source", "ssm:/x", status=1)
    said = command("status", "--source", "ssm:/x", status=1, EXTENSION_KIT_AWS_ENDPOINT_URL="http://127.0.0.1:9")
    assert "NetworkError" in said
    assert "NoSuchBucket" in command("arm", experiment, "--source", "s3://nobody/x", status=1)
    assert "NoCredentials" in command("status", "--source", "ssm:/x", status=1, AWS_ACCESS_KEY_ID="")
    found = json.loads(command("status", "--source", "s3://nobody/x", "--json", status=1))
    assert found["state"] == "unreachable"


def test_a_document_that_is_too_large_for_a_parameter(command, environ, ask):
    faults = [fault("http_response", id=f"f{at}", params={"body": "x" * 2_000}) for at in range(2)]
    path = command.write(document(*faults, now_ms=CLOCK.wall_ms()))
    command("arm", path, "--source", "ssm:/big")
    assert ask("ssm").describe_parameters()["Parameters"][0]["Tier"] == "Advanced"
    assert ask("ssm").describe_parameters()["Parameters"][0]["Description"] == "chaos experiment slow of jane"
    faults = [fault("http_response", id=f"f{at}", params={"body": "x" * 2_000}) for at in range(6)]
    path = command.write(document(*faults, now_ms=CLOCK.wall_ms()))
    assert "a parameter holds 8192" in command("arm", path, "--source", "ssm:/bigger", status=2)


def test_refusals_are_told_line_by_line(command, tmp_path):
    path = command.write(document(fault("dely"), version=2, now_ms=CLOCK.wall_ms()))
    said = command("arm", path, "--source", f"file:{tmp_path}/x.json", status=1)
    assert "version = 2" in said.splitlines()[0]
    assert "did you mean delay?" in said.splitlines()[1]
    found = command.json("arm", path, "--source", f"file:{tmp_path}/x.json", status=1)
    assert (found["state"], len(found["lines"])) == ("refused", 2)
    assert not (tmp_path / "x.json").exists()


@pytest.mark.parametrize(
    ("document", "says"),
    [
        (
            "version = 0x" + "f" * 7_000 + "\narmed_until = 2026-11-29T10:50:00Z",
            "version = a number of thousands of digits",
        ),
        ("armed_until" + ".a" * 5_000 + " = 1", "more than 10 dots"),
        ("faults = " + "[" * 3_000, "neither an object of JSON nor TOML"),
        ('{"denylist": {"enabled": true, "deny_list": ["a\\tb"]}}', "nothing is armed"),
    ],
)
def test_documents_that_cannot_be_written_are_refused_in_a_line(command, tmp_path, document, says):
    path = command.write(document, "odd")
    said = command("arm", path, "--source", f"file:{tmp_path}/x.json", "--for", "5m", status=1)
    assert says in said
    assert not (tmp_path / "x.json").exists()


def test_what_functions_would_refuse_is_not_armed(tmp_path):
    """Whoever has made the experiment."""
    experiment = experiment_of(document(now_ms=CLOCK.wall_ms()), now_ms=CLOCK.wall_ms())[0]
    twice = experiment.changed(faults=experiment.faults * 2)
    destination = destinations.File(f"{tmp_path}/e.json")
    outcome = Driver(destination, "here", ChaosSettings(), CLOCK).arm(twice)
    assert (outcome.state, "use different ids" in outcome.lines[0]) == ("refused", True)
    assert destination.read() is None


def test_actions_of_fis_whose_names_are_nearly_the_same(command, tmp_path):
    """Are two faults; functions would refuse two of one id."""
    fields = {"actions": {"a b": action("add-delay"), "a/b": action("error", preventExecution="true")}}
    target = f"file:{tmp_path}/x.json"
    command("arm", command.write(fields), "--source", target, "--for", "5m")
    assert [one["id"] for one in command.json("status", "--source", target)["experiment"]["faults"]] == ["a-b", "a-b-2"]


def test_an_end_that_has_passed(command, tmp_path):
    path = command.write(document(now_ms=0))
    assert "armed_until of slow has passed" in command("arm", path, "--source", f"file:{tmp_path}/x.json", status=1)


def test_extending_further_than_is_allowed(command, place, experiment):
    command("arm", experiment, "--source", place)
    assert "no more than 3600 s ahead" in command(
        "extend", "--source", place, "--owner", "jane", "--for", "61m", status=1
    )


# plan --------------------------------------------------------------------------------------------------------------------


def test_plan(command):
    """What would happen, and nothing is written."""
    path = command.write(
        document(
            fault("delay", 5, params={"ms": 300}), fault("error", 100, match=[{"path": "a", "value": "x"}]),
            scope={"functions": ["checkout"], "deny": {"tenants": ["vip"]}}, limits={"max_injections": 20},
        )
    )  # fmt: skip
    said = command("plan", path, "--for", "10m", "--rate", "2", "--environments", "3", "--function", "checkout")
    lines = [line.split() for line in said.splitlines()]
    assert ["delay", "before", "delay", "5", "60", "60", "ms=300"] in lines
    assert ["error", "before", "error", "100", "60", "60", "a", "eq", "x"] in lines
    assert "scope: functions checkout" in said
    assert "deny: tenants vip" in said
    assert "in checkout: would be armed" in said
    plan = json.loads(command("plan", path, "--for", "10m", "--rate", "0.1", "--json"))
    assert [one["expected"] for one in plan["faults"]] == [3.0, 20.0]
    said = command("plan", path, "--for", "10m", "--function", "other")
    assert "in other: not armed: scope: functions has not other" in said
    both = command.json("plan", path, "--for", "10m", "--function", "checkout", "--function", "other")["would_be_armed"]
    assert [(one["function"], bool(one["objection"])) for one in both] == [("checkout", False), ("other", True)]


def test_plan_of_what_is_armed(command, place, experiment):
    assert "nothing is armed" in command("plan", "--source", place, status=1)
    command("arm", experiment, "--source", place)
    assert "slow of jane, until" in command("plan", "--source", place)


# as a program ------------------------------------------------------------------------------------------------------------


def test_hold_prints_one_object(tmp_path, command):
    path = command.write(document(now_ms=CLOCK.wall_ms(), lease_s=10))
    target = tmp_path / "held.json"
    holder = subprocess.Popen(
        [sys.executable, "-m", "extensions.chaos_injector", "arm", str(path), "--source", f"file:{target}", "--hold", "--json"],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert holder.stderr.readline().startswith("armed: slow")
        holder.send_signal(signal.SIGTERM)
        assert json.loads(holder.communicate(timeout=30)[0])["state"] == "disarmed"
    finally:
        holder.kill()


def test_hold_renews_until_it_is_interrupted_and_then_disarms(tmp_path, command):
    """Whoever holds gives a sign of life; without it the experiment ends with its lease."""
    path = command.write(document(now_ms=CLOCK.wall_ms(), lease_s=10))
    target = tmp_path / "held.json"
    holder = subprocess.Popen(
        [sys.executable, "-m", "extensions.chaos_injector", "arm", str(path), "--source", f"file:{target}", "--hold"],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    try:
        assert holder.stdout.readline().startswith("armed: slow")
        first = json.loads(target.read_text())["renewed_at"]
        limit = time.monotonic() + 30
        while json.loads(target.read_text())["renewed_at"] == first:
            assert time.monotonic() < limit, "it does not renew"
            time.sleep(0.1)
        holder.send_signal(signal.SIGINT)
        assert "disarmed: slow" in holder.communicate(timeout=30)[0]
        assert holder.returncode == 0
        assert not target.exists()
    finally:
        holder.kill()
        holder.wait(10)
        holder.stdout.close()
