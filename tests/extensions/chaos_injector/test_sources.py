"""Sources and the poller: variables, files, and AWS by moto (SSM, S3) and by our strict fake (AppConfig, faults)."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from extension_kit.aws import Aws
from extension_kit.errors import ConfigError
from extension_kit.io.clock import Clock
from extension_kit.protocol.timestamps import format_ms
from extensions.chaos_injector.poller import Poller
from extensions.chaos_injector.readers import LARGEST
from extensions.chaos_injector.settings import ChaosSettings
from extensions.chaos_injector.sources import Gone, Place, Unreachable, Unreadable, locate
from extensions.chaos_injector.sources.amazon import Object
from tests.extensions.chaos_injector.rails_bench import NOW_MS, Bench, as_bytes, document
from tests.receivers.aws import AwsFake, Fault

CLOCK = Clock()
HOME = "/tmp/.extension-kit/chaos-injector"  # noqa: S108 - nothing is written there


@pytest.fixture
def fake():
    with AwsFake() as aws:
        yield aws


class Polled(Bench):
    """Rails with a poller, which asks when a test says so (`poll`), or by itself (`start`)."""

    def __init__(self, directory, clock=None, **variables):
        super().__init__(directory, clock, **variables)
        self.told = []
        self.poller = Poller(
            self.settings, self.environ, self.rails, self.clock, self.told.append, directory=self.directory
        )
        if clock is None:
            self.poller._place = locate(self.settings, self.environ, self.directory)

    def poll(self):
        self.poller.poll()
        return self.rails.now()

    def close(self):
        self.poller.stop()
        if self.poller._aws is not None:
            self.poller._aws.forget_connections()


@pytest.fixture
def polled(tmp_path):
    made = []

    def make(clock=None, **variables):
        made.append(Polled(tmp_path / "home", clock, **variables))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def of_moto(moto, polled):
    return lambda clock=None, **more: polled(
        clock, EXTENSION_KIT_AWS_ENDPOINT_URL=moto, AWS_REGION="eu-west-1", AWS_ACCESS_KEY_ID="A", AWS_SECRET_ACCESS_KEY="S",
        **more,
    )  # fmt: skip


def until(condition, seconds=20):
    limit = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < limit, "it does not happen"
        time.sleep(0.01)


# where it is ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("variables", "kind", "parts"),
    [
        ({}, "file", (f"{HOME}/experiment.json",)),
        ({"CHAOS_SOURCE": "file"}, "file", (f"{HOME}/experiment.json",)),
        ({"CHAOS_SOURCE": "file:/mnt/x.toml"}, "file", ("/mnt/x.toml",)),
        ({"CHAOS_SOURCE": "env"}, "env", ()),
        ({"CHAOS_EXPERIMENT": "{}"}, "env", ()),
        ({"CHAOS_SOURCE": "ssm:/chaos/checkout"}, "ssm", ("/chaos/checkout",)),
        ({"CHAOS_SOURCE": "ssm:arn:aws:ssm:eu-west-1:1:parameter/a"}, "ssm", ("arn:aws:ssm:eu-west-1:1:parameter/a",)),
        ({"CHAOS_SOURCE": "appconfig:app:env:profile"}, "appconfig", ("app", "env", "profile")),
        ({"CHAOS_SOURCE": "s3://bucket/a/b.json"}, "s3", ("bucket", "a/b.json")),
        ({"CHAOS_SOURCE": "arn:aws:s3:::bucket/a/b.json"}, "s3", ("bucket", "a/b.json")),
        ({"CHAOS_SOURCE": "variables"}, "variables", ()),
        ({"FAILURE_INJECTION_PARAM": "failureLambdaConfig"}, "ssm", ("failureLambdaConfig",)),
        ({"FAILURE_APPCONFIG_APPLICATION": "a", "FAILURE_APPCONFIG_ENVIRONMENT": "e", "FAILURE_APPCONFIG_CONFIGURATION": "c"},
         "appconfig", ("a", "e", "c")),
        ({"CHAOS_EXTENSION__LAMBDA__ENABLE_LATENCY": "true"}, "variables", ()),
        ({"CHAOS_EXTENSION__LAMBDA__ENABLE_LATENCY": "false"}, "file", (f"{HOME}/experiment.json",)),
        ({"CHAOS_SOURCE": "env", "FAILURE_INJECTION_PARAM": "x"}, "env", ()),
    ],
)  # fmt: skip
def test_where_the_document_is(variables, kind, parts):
    place = locate(ChaosSettings.parse(variables)[0], variables, HOME)
    assert (place.kind, place.parts) == (kind, parts)
    assert Place.of(str(place), HOME) == place


@pytest.mark.parametrize(
    "written",
    ["files", "file:relative", "ssm:", "ssm", "appconfig:a:b", "appconfig:a::c", "s3:bucket/key", "s3://bucket", "s3://bucket/",
     "http://x/y", "env:x", "variables:x", "arn:aws:s3:::bucket"],
)  # fmt: skip
def test_places_that_are_none(written):
    with pytest.raises(ConfigError, match=r"CHAOS_SOURCE = .* is no source: use env, file"):
        locate(ChaosSettings.parse({"CHAOS_SOURCE": written})[0], {}, HOME)


def test_half_of_an_appconfig():
    with pytest.raises(ConfigError, match="set FAILURE_APPCONFIG_APPLICATION"):
        locate(ChaosSettings.parse({"FAILURE_APPCONFIG_CONFIGURATION": "x"})[0], {}, HOME)


def test_a_source_that_is_none_is_told_and_nothing_runs(polled):
    bench = polled(CLOCK, CHAOS_SOURCE="sssm:/x")
    bench.poller.start()
    assert bench.told == [
        'CHAOS_SOURCE = "sssm:/x" is no source: use env, file, file:/path, ssm:/name, '
        "appconfig:APPLICATION:ENVIRONMENT:PROFILE, s3://bucket/key or variables; did you mean ssm?; nothing is injected"
    ]
    assert bench.rails.now() is None


# in the environment ---------------------------------------------------------------------------------------------------


def test_a_variable_arms_at_the_start(polled):
    """So that faults of the init can be."""
    bench = polled(CLOCK, CHAOS_EXPERIMENT=as_bytes(document(now_ms=CLOCK.wall_ms())).decode())
    bench.poller.start()
    assert bench.rails.now() is not None


def test_without_the_key_nothing_is_read(polled, tmp_path):
    bench = polled(CLOCK, CHAOS_ENABLED="", CHAOS_EXPERIMENT=as_bytes(document(now_ms=CLOCK.wall_ms())).decode())
    bench.poller.start()
    assert bench.rails.now() is None
    assert bench.lines == []
    assert not Path(bench.directory).exists()


def test_aws_cli_tools_variables_need_an_end(polled):
    bench = polled(CHAOS_EXTENSION__LAMBDA__ENABLE_LATENCY="true")
    assert bench.poll() is None
    assert "CHAOS_ARMED_UNTIL is not set" in bench.said()[1]
    bench = polled(CHAOS_EXTENSION__LAMBDA__ENABLE_LATENCY="true", CHAOS_ARMED_UNTIL=format_ms(NOW_MS + 60_000))
    assert bench.poll().faults[0].params["ms"] == 1_000


def test_a_file_comes_changes_and_goes(polled, tmp_path):
    path = tmp_path / "e.json"
    bench = polled(CHAOS_SOURCE=f"file:{path}")
    assert bench.poll() is None
    path.write_bytes(as_bytes(document()))
    assert bench.poll().id == "slow"
    path.write_bytes(as_bytes(document(id="next")))
    assert bench.poll().id == "next"
    path.unlink()
    assert bench.poll() is None
    assert bench.actions() == ["arm", "disarm", "arm", "disarm"]


@pytest.mark.parametrize("what", ["folder", "pipe", "large", "loop", "sparse"])
def test_files_that_are_no_document(polled, tmp_path, what):
    """Are read for no longer and no more than a document may be; what was armed is not any more."""
    path = tmp_path / "e.json"
    path.write_bytes(as_bytes(document()))
    bench = polled(CHAOS_SOURCE=f"file:{path}")
    assert bench.poll() is not None
    path.unlink()
    if what == "folder":
        path.mkdir()
    elif what == "pipe":
        os.mkfifo(path)
    elif what == "large":
        path.write_bytes(b" " * (LARGEST + 1))
    elif what == "sparse":
        path.touch()
        os.truncate(path, 1 << 40)
    else:
        path.symlink_to(path)
    for _ in range(3):
        assert bench.poll() is None
    assert bench.actions() == ["arm", "disarm"]  # told once
    assert str(path) in bench.said()[1]


class Frozen:
    """A source whose answer is read only after a freeze."""

    def __init__(self, bench, thaw):
        self.bench = bench
        self.thaw = thaw
        self.frozen_s = 0

    def fetch(self):
        if self.frozen_s:
            self.bench.clock.pass_s(self.frozen_s)
            self.thaw()
        return as_bytes(document())


@pytest.mark.parametrize("told", [False, True])
def test_an_answer_that_was_on_its_way_over_a_freeze_is_as_old_as_the_question(polled, told):
    """Whether or not anybody has noticed the thaw; the next answer counts again."""
    bench = polled(CHAOS_SOURCE="file:/nowhere.json")
    source = bench.poller._source = Frozen(bench, lambda: bench.poller.restored(snapshot=False) if told else None)
    assert bench.poll() is not None
    source.frozen_s = 200
    assert bench.poll() is None
    source.frozen_s = 0
    assert bench.poll() is not None


def test_an_answer_from_before_a_restore_counts_nothing(polled):
    """However young it is; nor does a switch that was read before."""
    bench = polled(CHAOS_GLOBAL_SWITCH="/chaos")
    asked = bench.rails.asking()
    bench.rails.switched(True, "on", asked)
    bench.rails.documented(as_bytes(document()), "test", asked)
    assert bench.rails.now() is not None
    bench.rails.restored()
    bench.rails.documented(as_bytes(document()), "test", asked)
    bench.rails.switched(True, "on", asked)
    assert bench.rails.now() is None
    bench.rails.documented(as_bytes(document()), "test")
    assert bench.said()[1] == "kill switch: CHAOS_GLOBAL_SWITCH has not been read for too long"
    bench.rails.switched(True, "on")
    bench.rails.documented(as_bytes(document()), "test")
    assert bench.rails.now() is not None


def test_a_restore_while_it_is_armed_arms_nothing(polled, monkeypatch):
    """Between the judgement and the arming."""
    bench = polled()
    take = bench.rails._over

    def restored_meanwhile(armed):
        monkeypatch.setattr(bench.rails, "_over", take)
        found = take(armed)
        bench.rails.restored()
        return found

    monkeypatch.setattr(bench.rails, "_over", restored_meanwhile)
    bench.rails.documented(as_bytes(document()), "test")
    assert not bench.rails.is_armed
    bench.rails.documented(as_bytes(document()), "test")
    assert bench.rails.is_armed


def test_a_clock_that_begins_anew_with_a_restore(polled):
    """What was accepted by the old one is read again, and not expired for ever."""
    bench = polled()
    assert bench.give(document()) is not None
    bench.clock.mono_ns = 1
    bench.clock.now_ms += 5_000
    bench.rails.restored()
    assert bench.give(document()) is not None


# SSM ------------------------------------------------------------------------------------------------------------------


def test_a_parameter(of_moto, ask):
    """Of either kind; deleting it is the kill switch."""
    bench = of_moto(CHAOS_SOURCE="ssm:/chaos/checkout")
    assert bench.poll() is None
    ssm = ask("ssm")
    ssm.put_parameter(Name="/chaos/checkout", Value=as_bytes(document()).decode(), Type="SecureString")
    assert bench.poll() is not None
    ssm.put_parameter(Name="/chaos/checkout", Value="{}", Overwrite=True, Type="SecureString")
    assert bench.poll() is None
    ssm.put_parameter(Name="/chaos/checkout", Value=as_bytes(document()).decode(), Overwrite=True, Type="SecureString")
    assert bench.poll() is not None
    ssm.delete_parameter(Name="/chaos/checkout")
    assert bench.poll() is None


def test_failure_lambdas_parameter(of_moto, ask):
    """As its README says to write it, with its variable."""
    ask("ssm").put_parameter(
        Name="failureLambdaConfig", Type="String",
        Value='{"latency": {"enabled": true, "min_latency": 200, "max_latency": 500}, "exception": {"enabled": false}}',
    )  # fmt: skip
    bench = of_moto(FAILURE_INJECTION_PARAM="failureLambdaConfig", CHAOS_ARMED_UNTIL=format_ms(NOW_MS + 60_000))
    (one,) = bench.poll().faults
    assert (one.id, one.params["min_ms"], one.params["max_ms"]) == ("latency", 200, 500)


@pytest.fixture
def of_fake(fake, polled):
    return lambda **more: polled(**fake.environ(), **more)


@pytest.mark.parametrize("fault", ["throttle", "status", "reset", "half", "garbage"])
def test_a_source_that_does_not_answer_keeps_what_is_armed_until_its_lease_ends(of_fake, fake, fault):
    fake.put_parameter("/chaos", as_bytes(document()).decode())
    bench = of_fake(CHAOS_SOURCE="ssm:/chaos")
    assert bench.poll() is not None
    fake.script(Fault(fault, times=100))
    bench.clock.pass_s(100)
    assert bench.poll() is not None
    bench.clock.pass_s(81)
    assert bench.poll() is None
    assert bench.actions() == ["arm", "expire", "refuse"]


@pytest.mark.parametrize("code", ["AccessDeniedException", "ValidationException", "InvalidKeyId"])
def test_a_source_that_refuses_disarms_at_once(of_fake, fake, code):
    """Taking the permission away stops the fault."""
    fake.put_parameter("/chaos", as_bytes(document()).decode())
    bench = of_fake(CHAOS_SOURCE="ssm:/chaos")
    assert bench.poll() is not None
    fake.script(Fault("code", times=2, code=code, status=400))
    assert bench.poll() is None
    assert bench.poll() is None
    assert bench.actions() == ["arm", "disarm"]
    assert code in bench.said()[1]
    assert bench.poll() is not None


def test_a_mistake_of_ours_disarms(of_fake, fake, monkeypatch):
    """And the thread goes on."""
    fake.put_parameter("/chaos", as_bytes(document()).decode())
    bench = of_fake(CHAOS_SOURCE="ssm:/chaos")
    assert bench.poll() is not None
    monkeypatch.setattr(bench.rails, "documented", lambda *_: 1 / 0)
    assert bench.poll() is None
    assert "ZeroDivisionError" in bench.said()[1]


# S3 -------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def bucket(ask):
    s3 = ask("s3")
    s3.create_bucket(Bucket="chaos", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    return s3


def test_an_object(of_moto, bucket):
    bench = of_moto(CHAOS_SOURCE="s3://chaos/a/checkout.toml")
    assert bench.poll() is None
    bucket.put_object(Bucket="chaos", Key="a/checkout.toml", Body=as_bytes(document()))
    assert bench.poll() is not None
    bench.clock.pass_s(100)
    assert bench.poll() is not None  # not sent again, and its lease is renewed
    bench.clock.pass_s(100)
    assert bench.poll() is not None
    bucket.delete_object(Bucket="chaos", Key="a/checkout.toml")
    assert bench.poll() is None
    assert "NoSuchKey" in bench.said()[1]
    assert bench.actions() == ["arm", "disarm"]


def test_an_object_is_fetched_only_when_it_has_changed(moto, bucket):
    environ = {
        "EXTENSION_KIT_AWS_ENDPOINT_URL": moto, "AWS_REGION": "eu-west-1", "AWS_ACCESS_KEY_ID": "A",
        "AWS_SECRET_ACCESS_KEY": "S",
    }  # fmt: skip
    aws = Aws(environ)
    source = Object(aws, "chaos", "x")
    bucket.put_object(Bucket="chaos", Key="x", Body=b"one")
    first = source.fetch()
    assert source.fetch() is first
    bucket.put_object(Bucket="chaos", Key="x", Body=b"two")
    assert source.fetch() == b"two"
    bucket.put_object(Bucket="chaos", Key="x", Body=b" " * (LARGEST + 100))
    with pytest.raises(Unreadable, match="more than 65536 bytes"):
        source.fetch()
    assert len(source._data) == LARGEST + 1  # no more than that was sent
    bucket.put_object(Bucket="chaos", Key="x", Body=b"")
    assert source.fetch() == b""
    with pytest.raises(Gone, match="NoSuchBucket"):
        Object(aws, "nobody", "x").fetch()
    aws.forget_connections()


def test_nobody_there():
    """A port where nobody listens."""
    dead = {"EXTENSION_KIT_AWS_ENDPOINT_URL": "http://127.0.0.1:9", "AWS_REGION": "r", "AWS_ACCESS_KEY_ID": "A",
            "AWS_SECRET_ACCESS_KEY": "S"}  # fmt: skip
    for environ in (dead, {"AWS_REGION": "r"}):  # nor are there credentials
        with pytest.raises(Unreachable):
            Object(Aws(environ, retries=1), "chaos", "x").fetch()


# AppConfig ------------------------------------------------------------------------------------------------------------


def test_a_configuration(of_fake, fake):
    """Asked no more often than AppConfig allows; unchanged ones renew the lease; an empty one is none."""
    fake.poll_seconds = 60
    fake.put_configuration("app", "env", "profile", as_bytes(document()), label="1")
    bench = of_fake(CHAOS_SOURCE="appconfig:app:env:profile")
    assert bench.poll() is not None
    asked = fake.count()
    bench.clock.pass_s(59)
    assert bench.poll() is not None
    assert fake.count() == asked
    for _ in range(4):
        bench.clock.pass_s(61)
        assert bench.poll() is not None
    fake.put_configuration("app", "env", "profile", b'{"version": 1, "off": true}', label="2")
    bench.clock.pass_s(61)
    assert bench.poll() is None
    fake.put_configuration("app", "env", "profile", as_bytes(document(id="next")), label="3")
    bench.clock.pass_s(61)
    assert bench.poll().id == "next"
    assert bench.actions() == ["arm", "disarm", "arm"]


def test_a_configuration_whose_token_is_too_old(of_fake, fake):
    fake.put_configuration("app", "env", "profile", as_bytes(document()))
    bench = of_fake(CHAOS_SOURCE="appconfig:app:env:profile")
    assert bench.poll() is not None
    fake.tokens.clear()
    bench.clock.pass_s(61)
    assert bench.poll() is not None  # kept; a new session begins the next time
    bench.clock.pass_s(1)
    assert bench.poll() is not None
    assert fake.count("StartConfigurationSession") == 2


def test_a_configuration_that_is_gone(of_fake, fake):
    fake.put_configuration("app", "env", "profile", as_bytes(document()))
    bench = of_fake(CHAOS_SOURCE="appconfig:app:env:profile")
    assert bench.poll() is not None
    fake.tokens.clear()
    fake.configurations.clear()
    bench.clock.pass_s(61)
    bench.poll()
    bench.clock.pass_s(61)
    assert bench.poll() is None
    assert "ResourceNotFoundException" in bench.said()[1]


def test_a_configuration_that_is_empty(of_fake, fake):
    fake.put_configuration("app", "env", "profile", b"")
    bench = of_fake(CHAOS_SOURCE="appconfig:app:env:profile")
    assert bench.poll() is None


# the global switch ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "armed"),
    [("on", True), ("ON ", True), ("off", False), ("off: incident 7", False), ("yes", False), (None, False)],
)
def test_the_global_switch(of_moto, ask, tmp_path, value, armed):
    """Exactly `on`; everything else, and nothing, is off."""
    path = tmp_path / "e.json"
    path.write_bytes(as_bytes(document()))
    if value is not None:
        ask("ssm").put_parameter(Name="/chaos/switch", Value=value, Type="String")
    else:
        ask("ssm")
    bench = of_moto(CHAOS_SOURCE=f"file:{path}", CHAOS_GLOBAL_SWITCH="/chaos/switch")
    assert (bench.poll() is not None) is armed
    if not armed:
        assert (value.strip() if value else "does not exist: make it, with the value on") in bench.said()[1]


def test_the_global_switch_that_is_thrown(of_moto, ask, tmp_path):
    path = tmp_path / "e.json"
    path.write_bytes(as_bytes(document()))
    ssm = ask("ssm")
    ssm.put_parameter(Name="/chaos/switch", Value="on", Type="String")
    bench = of_moto(CHAOS_SOURCE=f"file:{path}", CHAOS_GLOBAL_SWITCH="/chaos/switch")
    assert bench.poll() is not None
    ssm.put_parameter(Name="/chaos/switch", Value="off, says Ann", Type="String", Overwrite=True)
    assert bench.poll() is None
    assert "off, says Ann" in bench.said()[1]
    ssm.put_parameter(Name="/chaos/switch", Value="on", Type="String", Overwrite=True)
    assert bench.poll() is not None


# the thread -----------------------------------------------------------------------------------------------------------


def test_the_thread_arms_disarms_and_sees_the_kill_switch_without_an_invocation(of_moto, ask):
    ssm = ask("ssm")
    now_ms = CLOCK.wall_ms()
    bench = of_moto(CLOCK, CHAOS_SOURCE="ssm:/chaos/checkout", CHAOS_POLL="1s")
    bench.poller.start()
    until(lambda: bench.poller._asked)
    ssm.put_parameter(Name="/chaos/checkout", Value=as_bytes(document(now_ms=now_ms)).decode(), Type="String")
    bench.poller.invoked()
    until(lambda: bench.poller.invoked() or bench.rails.is_armed)
    off = Path(bench.directory, "off")
    off.touch()
    until(lambda: not bench.rails.is_armed)
    off.unlink()
    until(lambda: bench.poller.invoked() or bench.rails.is_armed)
    ssm.delete_parameter(Name="/chaos/checkout")
    # The line comes a moment after it is disarmed; a busy machine may be slow to answer, which is told as well.
    until(lambda: [one for one in bench.actions() if one != "refuse"] == ["arm", "disarm", "arm", "disarm"])


def test_the_thread_sleeps_where_no_invocation_comes(of_fake, fake, polled):
    """One look at the start; the next when an invocation comes, and the time has passed."""
    fake.put_parameter("/chaos", '{"version": 1, "off": true}')
    bench = polled(CLOCK, **fake.environ(), CHAOS_SOURCE="ssm:/chaos", CHAOS_POLL="1s")
    bench.poller.start()
    until(lambda: fake.count() == 1)
    bench.poller._invoked = False
    time.sleep(1.5)  # nothing is waited for: that is the point
    assert fake.count() <= 2
    asked = fake.count()
    until(lambda: bench.poller.invoked() or fake.count() > asked)


def test_after_a_restore_it_is_asked_at_once(of_fake, fake, polled):
    """What the snapshot knew counts no more."""
    fake.put_parameter("/chaos", as_bytes(document(now_ms=CLOCK.wall_ms())).decode())
    bench = polled(CLOCK, **fake.environ(), CHAOS_SOURCE="ssm:/chaos", CHAOS_POLL="300s")
    bench.poller.start()
    until(lambda: bench.rails.is_armed)
    asked = fake.count()
    bench.poller.restored(snapshot=True)
    until(lambda: fake.count() > asked)
    until(lambda: bench.rails.is_armed)
    assert bench.actions() == ["arm", "expire", "arm"]


@pytest.mark.parametrize(("snapshot", "forgotten"), [(True, 1), (False, 0)])
def test_credentials_are_those_of_a_life(of_fake, fake, snapshot, forgotten):
    """A snapshot's have expired, and belong to many environments."""
    fake.put_parameter("/chaos", as_bytes(document()).decode())
    bench = of_fake(CHAOS_SOURCE="ssm:/chaos")
    assert bench.poll() is not None
    forget, count = bench.poller._aws.forget_credentials, []
    bench.poller._aws.forget_credentials = lambda: (count.append(1), forget())
    bench.poller.restored(snapshot=snapshot)
    for _ in range(2):
        assert bench.poll() is not None
    assert len(count) == forgotten


def test_it_asks_less_often_where_nobody_answers(of_fake, fake):
    """Twice the time after each failure, up to a minute; and as often as before when it answers again."""
    bench = of_fake(CHAOS_SOURCE="ssm:/chaos")
    fake.outage("503")
    waits = []
    for _ in range(6):
        bench.poll()
        waits.append(bench.poller._interval_ms() // 1_000)
    assert waits == [20, 40, 60, 60, 60, 60]
    fake.outage("")
    bench.poll()
    assert bench.poller._interval_ms() == 10_000
    fake.put_parameter("/chaos", as_bytes(document()).decode())
    assert bench.poll() is not None
    assert bench.poller._interval_ms() == 5_000


def test_asking_costs_an_invocation_nothing(of_fake, fake):
    """No call is made on the invocation's thread."""
    bench = of_fake(CHAOS_SOURCE="ssm:/chaos")
    for _ in range(1_000):
        bench.poller.invoked()
    assert fake.count() == 0
