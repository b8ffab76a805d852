"""The simulation of fleets: its books balance, chance is the seed's alone, and one environment does what the product does."""

from __future__ import annotations

import json
import threading
import time
from contextlib import contextmanager
from random import Random

import pytest

from extension_kit.cursor import Cursor
from extension_kit.io.clock import Clock
from extension_kit.io.ports import open_port
from extension_kit.protocol import http1
from extension_kit.spool import FULL, Spool
from extensions.secret_cache import service as secret_service
from extensions.secret_cache.settings import AppConfigSettings, SecretCacheSettings
from extensions.secret_cache.store import STALE
from tests.benchmarks.fleet import caching, report, world
from tests.benchmarks.fleet.__main__ import main
from tests.benchmarks.fleet.asks import secrets
from tests.benchmarks.fleet.caching import CacheFleet, Setting
from tests.benchmarks.fleet.scenarios import SCENARIOS, VALUES, Caching, Shipping
from tests.benchmarks.fleet.shipping import Room
from tests.benchmarks.fleet.world import SECRETS_MANAGER, START_MS, Bucket, Rates, Upstream
from tests.receivers.aws import AwsFake, Fault

CACHING = [name for name, one in SCENARIOS.items() if isinstance(one, Caching)]
SHIPPING = [name for name, one in SCENARIOS.items() if isinstance(one, Shipping)]


# books


@pytest.mark.parametrize("name", SHIPPING)
def test_every_record_is_delivered_dropped_or_pending(name):
    for row in SCENARIOS[name].rows((3,), 1):
        assert row["records"] == row["delivered"] + sum(row["dropped"].values()) + row["pending"]
        assert row["calls"] == row["answered"] + row["throttled"] + row["failed"]
        assert row["failed"] > 0, "the sink was out of order"
        assert row["delivered"] > 0


@pytest.mark.parametrize("name", CACHING)
def test_every_call_is_answered_throttled_or_failed_and_every_value_that_is_asked_for_is_counted(name):
    scenario = SCENARIOS[name]
    for setting, _most in scenario.settings:
        random = scenario.random(setting, 12, 1)
        fleet = scenario.fleet(setting, random)
        fleet.sequence = []
        fleet.start(scenario.starts(12, random))
        fleet.run(START_MS + scenario.counted_s[1] * 1000)
        upstream = fleet.upstream

        assert len(fleet.sequence) == sum(upstream.asked.seconds.values()) == sum(upstream.by_operation.values())
        assert len(fleet.sequence) == upstream.answered + upstream.throttled + upstream.failed
        unfinished = sum(one.at for one in fleet.environments if one.at < VALUES)
        again = fleet.asked_again
        wanted = fleet.invocations * VALUES + unfinished + again
        # An old value that stands in for one that was waited for in vain is counted twice.
        assert fleet.asked - fleet.counters.get(STALE, 0) <= wanted <= fleet.asked
        assert wanted == fleet.asked or name == "aws-outage"
        assert (again > 0) == setting.refuses


def test_a_quota_is_kept_whoever_asks():
    rows = {row["setting"]: row for row in SCENARIOS["throttling"].rows((300,), 1)}
    assert rows["default"]["throttled"] > rows["default"]["answered"]
    assert rows["PREFETCH"]["calls"] < rows["default"]["calls"], "Parameter Store's batches are worth it"
    seconds = SCENARIOS["throttling"].counted_s[1]
    assert all(VALUES * 150 <= row["answered"] <= 40 * (seconds + 1) for row in rows.values())


def test_a_fleet_in_which_nothing_is_refused_takes_as_many_calls_as_values():
    row = next(SCENARIOS["higher-throughput"].rows((50,), 1))
    assert (row["calls"], row["throttled"], row["invocations failed"]) == (100, 0, 0)


# chance


def test_a_seed_gives_the_same_figures_and_another_one_others(tmp_path, capsys):
    def run(seed):
        file = tmp_path / "out.json"
        for name in ("cold-start", "sink-refuses"):
            assert main([name, "--sizes", "2", "--seed", str(seed), "--json", str(file)]) == 0
            yield json.loads(file.read_text())["scenarios"]
        yield capsys.readouterr().out

    assert list(run(3)) == list(run(3))
    assert list(run(3)) != list(run(4))


@pytest.mark.parametrize("name", ["steady", "rotation", "aws-outage", "recycle"])
def test_invocations_that_are_only_counted_would_have_changed_nothing(name):
    scenario = SCENARIOS[name]
    for setting, _most in scenario.settings:
        found = []
        for aggregates in (True, False):
            random = scenario.random(setting, 3, 1)
            fleet = scenario.fleet(setting, random)
            fleet.aggregates = aggregates
            fleet.sequence = []
            fleet.start(scenario.starts(3, random))
            fleet.run(START_MS + scenario.counted_s[1] * 1000)
            found.append((fleet.sequence, fleet.counters, fleet.invocations, fleet.failures))
        assert found[0] == found[1], setting.name


# the simulation and the product


class StandingClock(Clock):
    """Stands still, but for what is slept."""

    __slots__ = ("now",)

    def __init__(self):
        self.now = float(START_MS)

    def wall_ms(self):
        return int(self.now)

    def monotonic_ns(self):
        return int(self.now * 1_000_000)

    def sleep(self, seconds):
        self.now += seconds * 1000


class HalfChance:
    """Nothing is left to chance."""

    def random(self):
        return 0.5

    def uniform(self, low, high):
        return (low + high) / 2


class ScriptedUpstream(Upstream):
    """Answers at once, by a list: what becomes of each call, in their order."""

    def __init__(self, script):
        super().__init__(HalfChance(), SECRETS_MANAGER)
        self.script = list(script)

    def ask(self, operation, now_ms):
        kind = self.script.pop(0) if self.script else ""
        super().ask(operation, now_ms)
        return 0.0, {"": None, "throttle": world._THROTTLED, "status": world._DOWN}[kind]


class ScriptedAws(AwsFake):
    """The same over a socket; and when each call came, by the clock of who asked."""

    def __init__(self, script, clock):
        super().__init__()
        self.script_of_kinds = list(script)
        self.clock = clock
        self.sequence = []

    def fault(self, operation, _ids, _region):
        with self.lock:
            self.sequence.append((operation, self.clock.now))
            kind = self.script_of_kinds.pop(0) if self.script_of_kinds else ""
            return Fault(kind) if kind else None


SCRIPT = [
    "", "",  # the first values
    "throttle", "throttle", "",  # the first refresh, a batch, succeeds at the third attempt
    "throttle", "throttle", "throttle", "", "",  # the second is given up; both follow one by one, and always will
    *["status"] * 40,  # AWS is in trouble for longer than the values are fresh
    "", "throttle", "",
]  # fmt: skip
TICKS = 300
#: one call at a time: what is slept on one thread would pass for another one, too
ONE = {"PARAMETERS_SECRETS_EXTENSION_MAX_CONNECTIONS": "1"}
VARIABLES = [
    {"SECRET_CACHE_JITTER": "0"},
    {"SECRET_CACHE_JITTER": "20", "SECRET_CACHE_STALE_MAX_S": "30", "SECRETS_MANAGER_TTL": "100"},
    {"SECRET_CACHE_PREFETCH": "secret:app/secret-0,secret:app/secret-1", "SECRET_CACHE_REFRESH_AHEAD": "0"},
    {"SECRET_CACHE_PROBE_S": "50", "SECRET_CACHE_JITTER": "10"},
]


@pytest.mark.parametrize("variables", VARIABLES, ids=lambda one: " ".join(one))
def test_one_environment_asks_aws_when_the_real_cache_does(variables, monkeypatch):
    """The same calls at the same moments, retries and waits included, as the real service over a real socket."""
    variables = {**variables, **ONE}
    fleet = CacheFleet(Setting("x", variables), ScriptedUpstream(SCRIPT), secrets(VALUES), HalfChance(), gap_ms=10_000)
    fleet.sequence = []
    fleet.start([START_MS])
    fleet.run(START_MS + TICKS * 10_000)

    monkeypatch.setattr(secret_service, "_random", lambda: 0.5)
    monkeypatch.setattr("extension_kit.aws.client._random", lambda: 0.5)
    clock = StandingClock()
    first = fleet.environments[0].first
    with ScriptedAws(SCRIPT, clock) as aws, real_service(aws, clock, variables) as ask:
        while clock.now < START_MS + TICKS * 10_000:
            ticks = -int((first - clock.now) // 10_000)
            clock.now = first + max(0, ticks) * 10_000
            if clock.now > START_MS + TICKS * 10_000:
                break
            aws.skew = clock.now / 1000 - time.time()
            ask()
            clock.now += 1

    assert fleet.sequence == aws.sequence
    assert len(aws.sequence) > len(SCRIPT)
    assert aws.script_of_kinds == []


@contextmanager
def real_service(aws, clock, variables):
    """A secret cache that listens; what is yielded makes one invocation, in which both secrets are asked for."""
    for at in range(VALUES):
        aws.put_secret(f"app/secret-{at}", "v")
    aws.skew = clock.now / 1000 - time.time()
    environ = aws.environ(**variables)
    service = secret_service.Service(
        SecretCacheSettings.parse(environ)[0], AppConfigSettings.parse({})[0], environ, clock,
        say=lambda _level, _text: None, count=lambda _name, _n: None, home=caching.HOME,
    )  # fmt: skip
    sockets = open_port(("any", 0, (), ""), print)
    port = sockets[0].getsockname()[1]
    service.serve(sockets)
    service.start()

    def settle():
        """Until the loop has done what was handed in."""
        done = threading.Event()
        service.loop.call_soon_threadsafe(done.set)
        assert done.wait(10)

    def quiet():
        settle()
        limit = time.monotonic() + 10
        while any(service.calls_running.values()):
            assert time.monotonic() < limit, "a call to AWS does not end"
            time.sleep(0.001)
        settle()

    def invocation():
        service.invoked(clock.wall_ms() + CacheFleet.timeout_ms)
        settle()
        for at in range(VALUES):
            get(port, f"/secretsmanager/get?secretId=app/secret-{at}", environ["AWS_SESSION_TOKEN"])
        quiet()

    try:
        quiet()  # what is fetched ahead is there
        yield invocation
    finally:
        quiet()
        service.restored(snapshot=False)  # closes connections to AWS
        service.stop()


def get(port, target, token):
    import socket

    with socket.create_connection(("127.0.0.1", port), 10) as connection:
        head = f"GET {target} HTTP/1.1\r\nHost: localhost:{port}\r\nX-Aws-Parameters-Secrets-Token: {token}\r\n\r\n"
        connection.sendall(head.encode())
        reader = http1.MessageReader(http1.CLIENT)
        while not isinstance(message := reader.next_message(), http1.Message):
            data = connection.recv(65_536)
            assert data, "the connection was closed"
            reader.receive(data)
    return message


def test_the_spool_drops_what_the_real_one_drops(tmp_path):
    """The same batches, of which some are taken and acknowledged meanwhile, in a spool of a megabyte."""
    real_cursor, cursor = Cursor("p", ("platform", "function")), Cursor("p", ("platform", "function"))
    real = Spool(str(tmp_path / "spool"), "me", [real_cursor], 1 << 20, 1 << 20)
    room = Room(cursor, 1 << 20)
    random = Random(1)
    for number in range(400):
        lines = random.randrange(1, 40)
        body, kept = batch_of(number, lines, random.randrange(50, 800))
        real.store(body)
        room.store(lines + 1, len(body), lines, len(body) - len(kept))
        if number % 7 == 0 and number < 100:  # an early part is delivered, then the sink is gone
            for taker, one in ((real_cursor, real), (cursor, None)):
                acknowledge_next(taker, one, room)
        assert room.used == real.size
        assert cursor.dropped_records == real_cursor.dropped_records
    assert cursor.dropped[FULL][0] > 1000
    assert 0 < room.used <= 1 << 20


def batch_of(number, lines, length):
    """A batch as the platform posts it, and what of it is protected."""
    done = compact({"time": "t", "type": "platform.runtimeDone", "record": {"requestId": str(number)}})
    line = compact({"time": "t", "type": "function", "record": "x" * length})
    return f"[{','.join([line] * lines + [done])}]".encode(), f"[{done}]".encode()


def compact(event):
    return json.dumps(event, separators=(",", ":"))


def acknowledge_next(cursor, real, room):
    if real is not None:
        found = real.next_batch(cursor)
        assert found is not None
        seq, body = found
        real.hand(cursor, seq, 0, body.count(b'"type"'), len(body), True)
        real.acknowledge(cursor)
        real.commit()
    else:
        batch = room.batches[cursor.next_seq]
        cursor.hand(cursor.next_seq, 0, batch[0], batch[1], True)
        cursor.acknowledge()
        room.release()


# figures and the page


def test_figures_of_rates():
    rates = Rates()
    for second in range(100):
        rates.add(START_MS + second * 1000, second + 1)
    assert rates.figures(START_MS, START_MS + 100_000) == {"mean": 50.5, "p99": 99, "peak": 100}
    assert rates.figures(START_MS, START_MS + 200_000)["mean"] == 25.25


def test_a_bucket_gives_its_rate_and_no_more():
    bucket = Bucket(40)
    at_once = sum(bucket.take(START_MS) for _ in range(100))
    later = sum(bucket.take(START_MS + ms) for ms in range(1, 10_001))
    assert (at_once, later) == (40, 400)


@pytest.mark.once
@pytest.mark.parametrize("name", SCENARIOS)
def test_the_page_shows_what_the_command_prints(name, capsys):
    assert main([name, "--sizes", "1" if name in SHIPPING else "1,10"]) == 0
    printed = [line for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    table = report.PAGE.read_text().partition(f"<!-- figures: {name} -->\n")[2].partition("<!-- end -->")[0]

    assert len(printed) > 2
    assert [line for line in printed if line not in table.splitlines()] == []


def _steady():
    """Of the page's table: environments and setting -> mean, peak, throttled."""
    table = report.PAGE.read_text().partition("<!-- figures: steady -->\n")[2].partition("<!-- end -->")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]]
    return {(row[0], row[1]): (row[2], row[4], row[5]) for row in rows}


def test_what_the_page_says_of_call_rates_stands_in_its_table():
    """Figures, and what is said of their proportions."""
    rows = _steady()
    said = " ".join(
        report.PAGE.read_text().partition("**Upstream call rates.**")[2].partition("**Quotas.**")[0].split()
    )
    names = {"JITTER=0": "`SECRET_CACHE_JITTER=0`", "default": "the default, 10 %", "JITTER=50": "`SECRET_CACHE_JITTER=50`",
             "AWS's extension, as documented": "AWS's extension, which has none"}  # fmt: skip
    for setting, name in names.items():
        _mean, peak, throttled = rows["10,000", setting]
        assert f"| {name} | {peak} | {throttled} |" in said
    none, default, wide = (rows["1,000", name][0] for name in ("JITTER=0", "default", "JITTER=50"))
    assert (
        f"the mean is {none} calls a second without, {default} with the default and {wide} with 50 %, three times"
        in said
    )
    assert 2.75 < float(wide) / float(none) < 3.25
    assert f"make {rows['10,000', 'default'][0]} calls a second" in said
    peaks = {name: float(rows["10,000", name][1].replace(",", "")) for name in names}
    documented = peaks["AWS's extension, as documented"]
    assert 2 <= peaks["JITTER=0"] / documented < 2.5, "twice the peak"
    assert 0.4 < peaks["default"] / documented < 0.6, "half"


def test_what_the_page_says_to_set_for_steady_fleets_stands_in_its_table():
    rows = _steady()
    said = report.PAGE.read_text().partition("## What to set")[2].partition("## Figures")[0]
    small, large = ([rows[number, name] for name in ("default", "JITTER=50")] for number in ("1,000", "10,000"))
    assert f"{small[1][1]} calls in the worst second instead of {small[0][1]}, for three quarters more" in said
    assert 1.65 < float(small[1][0]) / float(small[0][0]) < 1.85
    assert f"throttled instead of {large[0][2]}, a sixth of the peak, for half as many calls again" in said
    assert 5.5 < float(large[0][1].replace(",", "")) / float(large[1][1]) < 6.5
    assert 1.4 < float(large[1][0]) / float(large[0][0]) < 1.6
    assert [row[2] for row in (*small, large[1])] == ["0", "0", "0"]


def test_what_is_not_known_is_said(capsys):
    with pytest.raises(SystemExit):
        main(["nonsense"])
    assert "nonsense: no such scenario; there are cold-start, steady" in capsys.readouterr().err
