"""Every rail: what it holds back, the line that says so, and that the rest goes on. Against every type of fault."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from extension_kit.protocol.timestamps import format_ms
from extensions.chaos_injector import rails
from extensions.chaos_injector.audit import Audit
from extensions.chaos_injector.book import Book
from extensions.chaos_injector.lease import FOREVER_MS, Since
from extensions.chaos_injector.plan import Guard
from extensions.chaos_injector.rails import Facts
from extensions.chaos_injector.vocabulary import PHASES, TYPES
from tests.extensions.chaos_injector.rails_bench import (
    ARN,
    NOW_MS,
    Bench,
    Invocation,
    SetClock,
    as_bytes,
    document,
    experiment_of,
    fault,
)
from tests.extensions.chaos_injector.test_formats import NEEDED

ROOT = Path(__file__).parents[3]
EVERY = [fault(type, 100, params=NEEDED.get(type, {})) for type in TYPES]
HALVES = (EVERY[:15], EVERY[15:])  # a document has up to twenty faults


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


def everything(**more):
    """Documents that have every type of fault between them."""
    return [document(*half, limits={"max_per_minute": 1_000}, **more) for half in HALVES]


def attempts(bench, invocation=None):
    """Every fault of both documents is tried, whether or not anything is armed: which types happened."""
    happened = set()
    for fields in everything():
        for one in experiment_of(fields)[0].faults:
            if bench.rails.decide(one, invocation or Invocation(now_ms=bench.clock.now_ms), dict):
                happened.add(one.type)
    return happened


# what arms -------------------------------------------------------------------------------------------------------------


def test_with_both_keys_every_fault_happens(tmp_path):
    """So that the matrix below can fail."""
    happened = set()
    for at, fields in enumerate(everything()):
        bench = Bench(tmp_path / str(at))
        assert bench.give(fields) is not None
        happened |= attempts(bench)
    assert happened == set(TYPES)


def test_arming_is_told(bench):
    bench.give(document())
    (line,) = bench.lines
    assert line == {
        "source": "chaos-injector", "action": "arm", "time": format_ms(NOW_MS), "experiment": "slow", "owner": "jane",
        "seed": "slow", "faults": ["delay"], "armed_until_ms": NOW_MS + 600_000, "lease_ms": 180_000, "found": "test",
        "dry_run": False,
    }  # fmt: skip


def never(_bench, fields):
    return fields


def switch_file(bench, fields):
    Path(bench.directory, "off").touch()
    return fields


def hour_later(bench, fields):
    bench.clock.pass_s(601)
    return fields


def with_(**more):
    return lambda _bench, fields: {**fields, **more}


#: what speaks against it: variables, where we are, what happens before the document comes, and the line's beginning
RAILS = {
    "one key": ({"CHAOS_ENABLED": ""}, None, never, "CHAOS_ENABLED is not set"),
    "key is a slip": ({"CHAOS_ENABLED": "ja"}, None, never, "CHAOS_ENABLED is not set"),
    "variable": ({"CHAOS_OFF": "1"}, None, never, "kill switch: the variable"),
    "variable slip": ({"CHAOS_OFF": "ture"}, None, never, "kill switch: the variable"),
    "failure-lambda's": ({"FAILURE_LAMBDA_DISABLED": "true"}, None, never, "kill switch: the variable"),
    "failure-lambda's besides": (
        {"CHAOS_OFF": "false", "FAILURE_LAMBDA_DISABLED": "true"}, None, never, "kill switch: the variable",
    ),
    "variable too long": ({"CHAOS_OFF": "incident " * 40}, None, never, "settings: CHAOS_OFF is not"),
    "variable of two lines": ({"FAILURE_LAMBDA_DISABLED": "a\nb"}, None, never, "settings: FAILURE_LAMBDA_DISABLED is not"),
    "global is no name": ({"CHAOS_GLOBAL_SWITCH": "/chaos/my switch"}, None, never, "settings: CHAOS_GLOBAL_SWITCH is not"),
    "dry run is a slip": ({"CHAOS_DRY_RUN": "ture"}, None, never, "settings: CHAOS_DRY_RUN is not true or false"),
    "deny of two lines": ({"CHAOS_DENY": "a,\nb"}, None, never, "settings: CHAOS_DENY is not"),
    "no number": ({"CHAOS_MAX_INJECTIONS": "ten"}, None, never, "settings: CHAOS_MAX_INJECTIONS is not a whole number"),
    "no number a minute": ({"CHAOS_MAX_PER_MINUTE": "1.5"}, None, never, "settings: CHAOS_MAX_PER_MINUTE is not"),
    "no time": ({"CHAOS_MAX_TTL": "5 minutes"}, None, never, "settings: CHAOS_MAX_TTL is not a time such as"),
    "no unit": ({"CHAOS_LEASE": "10"}, None, never, "settings: CHAOS_LEASE is not"),
    "prod too long": ({"CHAOS_PROD": "x" * 4_097}, None, never, "settings: CHAOS_PROD is not"),
    "file": ({}, None, switch_file, "kill switch: the file"),
    "global never read": ({"CHAOS_GLOBAL_SWITCH": "/chaos"}, None, never, "kill switch: CHAOS_GLOBAL_SWITCH"),
    "expired": ({}, None, with_(armed_until=format_ms(NOW_MS)), "armed_until has passed"),
    "expired long ago": ({}, None, hour_later, "armed_until has passed"),
    "not renewed": ({}, None, with_(renewed_at=format_ms(NOW_MS - 181_000)), "lease: its owner"),
    "function": ({}, Facts("other", "eu-west-1"), never, "scope: functions has not other"),
    "function unknown": ({}, Facts(""), never, "scope: functions has not (not known)"),
    "region": ({}, None, with_(scope={"functions": ["*"], "regions": ["us-*"]}), "scope: regions has not eu-west-1"),
    "region unknown": ({}, Facts("checkout"), with_(scope={"functions": ["*"], "regions": ["*"]}), "scope: regions"),
    "account": ({}, None, with_(scope={"functions": ["*"], "accounts": ["4*"]}), "scope: accounts has not 111122223333"),
    "function denied": ({}, None, with_(scope={"functions": ["*"], "deny": {"functions": ["check*"]}}), "scope: deny.fun"),
    "region denied": ({}, Facts("checkout"), with_(scope={"functions": ["*"], "deny": {"regions": ["x"]}}), "scope: deny.reg"),
    "settings deny": ({"CHAOS_DENY": "a,check*"}, None, never, "scope: CHAOS_DENY"),
    "prod": ({}, Facts("checkout-prod"), with_(scope={"functions": ["checkout-prod"], "allow_prod": True}), "prod: "),
    "prod not allowed": (
        {"CHAOS_ALLOW_PROD": "1"}, Facts("prod-checkout"), with_(scope={"functions": ["prod-checkout"]}), "prod: ",
    ),
    "prod not named": (
        {"CHAOS_ALLOW_PROD": "1"}, Facts("checkout-prod"), with_(scope={"functions": ["*"], "allow_prod": True}), "prod: ",
    ),
}  # fmt: skip


@pytest.mark.parametrize("rail", RAILS)
def test_each_rail_against_every_fault(tmp_path, rail):
    """Nothing is armed, no fault happens, and one line says why."""
    variables, facts, before, says = RAILS[rail]
    for at, fields in enumerate(everything()):
        bench = Bench(tmp_path / str(at), facts=facts, **{"CHAOS_ENABLED": "1", **variables})
        os.makedirs(bench.directory)
        for _ in range(3):
            assert bench.give(before(bench, fields)) is None
        assert attempts(bench) == set()
        refusals = [line["reason"] for line in bench.lines if line["action"] == "refuse"]
        assert len(refusals) == 1
        assert refusals[0].startswith(says)


def file_switch(bench):
    Path(bench.directory, "off").touch()


#: what ends an experiment that is armed: what happens, and the line
ENDS = {
    "file": (file_switch, "disarm", "kill switch: the file"),
    "lease taken away": (lambda bench: bench.rails.gone("test"), "disarm", "test: there is no document"),
    "says off": (lambda bench: bench.give({"version": 1, "off": True}), "disarm", "test: the document says"),
    "denied": (lambda bench: bench.rails.unreadable("test", "AccessDenied"), "disarm", "test: AccessDenied"),
    "no document": (lambda bench: bench.give(b"{"), "disarm", "test: its document cannot be read"),
    "global": (lambda bench: bench.rails.switched(False, "off: fire"), "disarm", "kill switch: CHAOS_GLOBAL_SWITCH: off: fire"),
    "global unread": (lambda bench: bench.clock.pass_s(181), "expire", "lease"),
    "expiry": (lambda bench: bench.clock.pass_s(600), "expire", "armed_until"),
    "lease": (lambda bench: bench.clock.pass_s(181), "expire", "lease: the document"),
    "thaw": (lambda bench: setattr(bench.clock, "now_ms", NOW_MS + 181_000), "expire", "lease: the document"),
    "monotonic only": (lambda bench: setattr(bench.clock, "mono_ns", 200_000_000_000), "expire", "lease: the document"),
    "clock set back": (lambda bench: setattr(bench.clock, "now_ms", NOW_MS - 10_000), "expire", "armed_until"),
    "restore": (lambda bench: bench.rails.restored(), "expire", "restore"),
    "other function's": (lambda bench: bench.give(document(scope={"functions": ["x"]})), "disarm", "replaced by a docu"),
}  # fmt: skip


@pytest.mark.parametrize("end", ENDS)
def test_each_end_against_every_fault(tmp_path, end):
    """From that moment on nothing happens, whoever asks first; what was started must be stopped."""
    happens, action, says = ENDS[end]
    for at, fields in enumerate(everything()):
        bench = Bench(tmp_path / str(at), CHAOS_GLOBAL_SWITCH="/chaos")
        bench.rails.switched(True, "on")
        armed = bench.give(fields)
        assert armed is not None
        assert not bench.rails.clean()
        ended = []
        bench.rails.on_end = lambda ended=ended: ended.append(1)

        happens(bench)

        assert bench.rails.clean()
        assert bench.rails.now() is None
        assert ended == [1]
        line = next(line for line in bench.lines if line["action"] in ("disarm", "expire"))
        assert (line["action"], line["reason"][: len(says)]) == (action, says)
        assert attempts(bench) == set()
        assert {line["reason"] for line in bench.lines if line["action"] == "skip"} == {"disarmed"}


def test_a_clean_up_that_raises_stops_nothing(bench):
    """It is told, and nothing is armed."""
    bench.give(document())
    bench.rails.on_end = lambda: 1 / 0
    bench.rails.gone("test")
    assert bench.rails.now() is None
    assert bench.said() == ("note", "not cleaned up: ZeroDivisionError: division by zero")


def test_the_file_works_both_ways(bench):
    """Gone again, the experiment goes on with the next look at the source, if it is still in time."""
    bench.give(document())
    off = Path(bench.directory, "off")
    off.touch()
    assert bench.rails.now() is None
    off.unlink()
    assert bench.rails.now() is None  # not by itself
    assert bench.give(document()) is not None
    assert bench.actions() == ["arm", "disarm", "arm"]


@pytest.mark.parametrize(
    "variables",
    [{"CHAOS_MAX_TTL": "2h"}, {"CHAOS_MAX_INJECTIONS": "9999999"}, {"CHAOS_LEASE": "1s"}, {"CHAOS_OFF": "no"}],
)
def test_a_bound_beyond_its_range_is_the_end_of_the_range(tmp_path, variables):
    """It can be understood, so it does not hold everything back."""
    assert Bench(tmp_path, **variables).give(document(lease_s=10)) is not None


# the lease -------------------------------------------------------------------------------------------------------------


def test_a_document_that_is_seen_again_renews_the_lease(bench):
    for _ in range(5):
        assert bench.give(document()) is not None
        bench.clock.pass_s(100)
    assert bench.actions() == ["arm"]
    bench.clock.pass_s(181)
    assert bench.rails.now() is None


def test_a_source_that_does_not_answer_renews_nothing(bench):
    bench.give(document())
    for _ in range(3):
        bench.clock.pass_s(59)
        bench.rails.unreachable("test", "timed out")
        assert bench.rails.now() is not None
    bench.clock.pass_s(4)
    bench.rails.unreachable("test", "timed out")
    assert bench.rails.now() is None
    assert bench.actions() == ["arm", "expire", "refuse"]
    assert bench.give(document()) is not None  # it answers again


def test_armed_until_ends_also_where_the_wall_clock_stands_still(bench):
    """The monotonic clock goes on, and the source is seen all the time."""
    for _ in range(59):
        bench.clock.mono_ns += 10_000_000_000
        assert bench.give(document()) is not None
    bench.clock.mono_ns += 20_000_000_000
    assert bench.give(document()) is None
    assert bench.said() == ("expire", "armed_until has passed")


def test_a_shorter_lease_counts(bench):
    bench.give(document(lease_s=10))
    bench.clock.pass_s(11)
    assert bench.rails.now() is None


def test_the_owners_heartbeat(bench):
    """A document that says when it was renewed last ends a lease after that, however often it is seen."""
    fields = document(renewed_at=format_ms(NOW_MS), lease_s=30)
    for _ in range(3):
        bench.clock.pass_s(10)
        assert bench.give(fields) is not None
    bench.clock.pass_s(1)
    assert bench.give(fields) is None
    assert bench.give(document(renewed_at=format_ms(bench.clock.now_ms), lease_s=30)) is not None


def test_after_a_restore_the_document_must_be_seen(bench):
    bench.give(document())
    bench.rails.restored()
    assert bench.rails.now() is None
    assert bench.give(document()) is not None


def test_extending_goes_on_with_what_was_counted(bench):
    bench.give(document(limits={"max_injections": 3}))
    assert [bench.decide(Invocation(f"{at}")) for at in range(2)] == [True, True]
    bench.give(document(limits={"max_injections": 3}, armed_until=format_ms(NOW_MS + 900_000)))
    assert [bench.decide(Invocation(f"{at}")) for at in range(2, 4)] == [True, False]
    assert [line["action"] for line in bench.lines if line["action"] in ("arm", "extend", "disarm")] == [
        "arm",
        "extend",
    ]


def test_ages():
    clock = SetClock()
    since = Since(clock)
    clock.pass_s(5)
    assert since.age_ms() == 5_000
    clock.now_ms += 1_000
    assert since.age_ms() == 6_000
    clock.mono_ns += 3_000_000_000
    assert since.age_ms() == 8_000
    clock.now_ms = NOW_MS - 900  # corrected a little
    assert since.age_ms() == 8_000
    clock.now_ms = NOW_MS - 1_100
    assert since.age_ms() == FOREVER_MS
    clock.now_ms, clock.mono_ns = NOW_MS, 0
    assert since.age_ms() == FOREVER_MS


# scope -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scope", "qualifier", "tenant", "expected"),
    [
        ({}, "", "", ""),
        ({"aliases": ["beta"]}, "beta", "", ""),
        ({"aliases": ["beta"]}, "", "", "scope: aliases has not (none)"),
        ({"aliases": ["beta"]}, "7", "", "scope: aliases has not (none)"),
        ({"aliases": ["beta"]}, "gamma", "", "scope: aliases has not gamma"),
        ({"versions": ["7"]}, "7", "", ""),
        ({"versions": ["7"]}, "beta", "", ""),  # what the environment is, if the qualifier does not say
        ({"versions": ["8"]}, "", "", "scope: versions has not 7"),
        ({"versions": ["8"]}, "$LATEST", "", "scope: versions has not $LATEST"),
        ({"tenants": ["test-*"]}, "", "test-1", ""),
        ({"tenants": ["test-*"]}, "", "vip", "scope: tenants has not vip"),
        ({"tenants": ["test-*"]}, "", "", "scope: tenants has not (none)"),
        ({"tenants": ["*"], "deny": {"tenants": ["vip"]}}, "", "vip", "scope: deny.tenants has vip"),
        ({"deny": {"tenants": ["vip"]}}, "", "", ""),
        ({"deny": {"aliases": ["*"]}}, "beta", "", "scope: deny.aliases has beta"),
        ({"aliases": ["beta"], "deny": {"versions": ["7"]}}, "beta", "", "scope: deny.versions has 7"),
    ],
)
def test_alias_version_tenant(bench, scope, qualifier, tenant, expected):
    """As each invocation tells them; deny wins."""
    bench.give(document(scope={"functions": ["*"], **scope}))
    assert bench.decide(Invocation(qualifier=qualifier, tenant=tenant)) is (expected == "")
    assert bench.said() == (("skip", expected) if expected else ("inject", ""))


def test_without_an_arn_nobody_knows_the_alias(bench):
    """So a list of aliases holds it back, whether it allows or denies; the version is the environment's."""
    for scope, expected in (
        ({}, True), ({"aliases": ["*"]}, False), ({"deny": {"aliases": ["live*"]}}, False), ({"versions": ["7"]}, True),
        ({"deny": {"versions": ["8"]}}, True), ({"deny": {"tenants": ["vip"]}}, True),
    ):  # fmt: skip
        bench.give(document(scope={"functions": ["*"], **scope}))
        invocation = Invocation()
        invocation.function_arn = ""
        assert bench.decide(invocation) is expected


def test_in_the_init_nobody_knows_alias_and_tenant(bench):
    """So a scope that depends on them holds faults of the init back; one without does not."""
    for scope, expected in (({}, True), ({"aliases": ["*"]}, False), ({"deny": {"tenants": ["x"]}}, False)):
        armed = bench.give(
            document(fault("fail_init"), id=f"i{len(scope)}{expected}", scope={"functions": ["*"], **scope})
        )
        assert bench.rails.decide(armed.faults[0], None, dict) is expected
        bench.rails.gone("test")


@pytest.mark.parametrize(
    ("name", "is_prod"),
    [
        ("checkout-prod", True), ("prod", True), ("PROD-checkout", True), ("checkout_production_v2", True),
        ("checkoutProd", True), ("non-prod-checkout", False), ("nonprod", False), ("pre-prod", True),
        ("live-shop", True), ("prd.shop", True), ("shop2Live", True), ("products", False), ("reproduce", False),
        ("delivery", False), ("olive-oil", False), ("checkout", False), ("productionize", False), ("Non_Prod", False),
        ("ProdStack-CheckoutFn-1A2B", True), ("ProductionStack-Fn", True), ("prodCheckout", True), ("PRDCheckout", True),
        ("PRODcheckout", True), ("LiveOrders", True), ("checkoutPROD", True), ("canon-prod", True), ("lebanon-live", True),
        ("canonProd", True), ("prod2", True), ("2prod", True), ("non-prod-live", True), ("non2-prod", True), ("NonProd", False),
        ("nonPROD", False), ("NONProd-x", False), ("OLIVE", False), ("Products", False), ("oliveOil", False),
        ("PRODUCTS", False),
    ],
)  # fmt: skip
def test_what_is_production(tmp_path, name, is_prod):
    bench = Bench(tmp_path, facts=Facts(name))
    assert (bench.give(document(scope={"functions": ["*"]})) is None) is is_prod


@pytest.mark.parametrize("pattern", ["(", "(a+)+", "x" * 600])
def test_a_pattern_for_production_that_is_wrong_means_any_name(tmp_path, pattern):
    """Better none than the wrong one."""
    bench = Bench(tmp_path, CHAOS_PROD=pattern)
    assert bench.give(document()) is None
    assert bench.said()[1].startswith("prod: the function checkout")


def test_a_name_that_is_too_long_for_the_pattern_for_production_is_production(tmp_path):
    """An alias has up to 128 characters; what is not looked at might be it."""
    pattern = "^[a-z]*-[a-z]*-[a-z]*-prod"
    bench = Bench(tmp_path, CHAOS_PROD=pattern)
    bench.give(document(scope={"functions": ["*"]}))
    assert bench.decide(Invocation("r-1", qualifier="a-b-c-beta"))
    assert not bench.decide(Invocation("r-2", qualifier="a" * 115 + "-b-c-prod"))


def test_a_pattern_for_production_of_ones_own(tmp_path):
    bench = Bench(tmp_path, CHAOS_PROD="^checkout$")
    assert bench.give(document()) is None
    assert Bench(tmp_path, facts=Facts("checkout-prod"), CHAOS_PROD="^x").give(document(scope={"functions": ["*"]}))


def test_production_that_is_named_and_allowed(tmp_path):
    """By the function's own settings and by the document."""
    bench = Bench(tmp_path, facts=Facts("checkout-prod"), CHAOS_ALLOW_PROD="1")
    assert bench.give(document(scope={"functions": ["checkout-prod"], "allow_prod": True})) is not None
    assert bench.decide()


def test_an_alias_may_be_production_as_well(bench):
    bench.give(document(scope={"functions": ["*"]}))
    assert not bench.decide(Invocation(qualifier="prod"))
    assert bench.said()[1].startswith("prod: the alias prod")
    assert bench.decide(Invocation("r-2", qualifier="beta"))


def test_settings_deny_tenants_and_aliases(tmp_path):
    bench = Bench(tmp_path, CHAOS_DENY="vip-*")
    bench.give(document())
    assert not bench.decide(Invocation(tenant="vip-1"))
    assert not bench.decide(Invocation(qualifier="vip-x"))
    assert bench.decide(Invocation(tenant="other"))


# how often, how long -----------------------------------------------------------------------------------------------------


def test_max_injections(bench):
    bench.give(document(limits={"max_injections": 3}))
    assert sum(bench.decide(Invocation(f"{at}")) for at in range(10)) == 3
    assert bench.counters["skip_max_injections"] == 7


def test_many_experiments_do_not_make_limits_begin_anew(bench):
    """Nor one that was aborted count again; who comes when all must be kept waits."""
    one = {"limits": {"max_injections": 1}, "guard": {"abort_error_rate": 0.5, "min_requests": 1}}
    bench.give(document(id="aborted", **one))
    bench.rails.ended("r", failed=True, injected=False)
    bench.give(document(id="a", **one))
    assert [bench.decide(Invocation(f"{at}")) for at in range(2)] == [True, False]
    for at in range(40):
        bench.give(document(id=f"b{at}", **one))
    assert bench.rails.now() is None
    assert bench.said()[1].startswith("limits: too many experiments")
    assert len(bench.rails._books._books) == 32
    assert bench.give(document(id="a", **one)) is not None
    assert not bench.decide(Invocation("2"))
    assert bench.give(document(id="aborted", **one)) is None
    bench.clock.pass_s(600)
    armed = [bench.give(document(id=f"c{at}", now_ms=bench.clock.now_ms, **one)) is not None for at in range(40)]
    assert armed == [True] * 31 + [False] * 9
    assert bench.give(document(id="aborted", now_ms=bench.clock.now_ms, **one)) is None
    assert bench.said()[1].startswith("guard: ")


def test_a_roll_that_is_the_percentage_does_not_happen(bench, monkeypatch):
    """Zero percent never does, whatever is rolled."""
    for at, (percentage, rolled, expected) in enumerate([(50, 50.0, False), (50, 49.999, True), (0, 0.0, False)]):
        monkeypatch.setattr(rails, "roll", lambda *_, rolled=rolled: rolled)
        bench.give(document(fault(percentage=percentage)))
        assert bench.decide(Invocation(f"{at}")) is expected


def test_a_book_is_bounded():
    """However many invocations come in a window; the latest count."""
    book, guard = Book(), Guard(abort_error_rate=1.0, window_ms=3_600_000, min_requests=10_000)
    book.ended(guard, 0, False)
    for _ in range(9_999):
        assert book.ended(guard, 0, True) == ""
    assert book.ended(guard, 0, True) == "10000 of 10000 invocations failed into which nothing was injected"
    assert len(book._ends) == 10_000


def test_max_injections_zero(bench):
    bench.give(document(limits={"max_injections": 0}))
    assert not bench.decide()


def test_max_per_minute(bench):
    bench.give(document(limits={"max_per_minute": 2}))
    happened = []
    for at in range(8):
        happened.append(bench.decide(Invocation(f"{at}", now_ms=bench.clock.now_ms)))
        bench.clock.pass_s(15)
    assert happened == [True, True, False, False, True, True, False, False]


def test_max_injections_holds_with_many_threads(bench):
    """Managed Instances: several requests at once."""
    armed = bench.give(document(limits={"max_injections": 50}))
    happened = []
    begin = threading.Barrier(8)

    def ask(number):
        begin.wait(10)
        happened.extend(bench.rails.decide(armed.faults[0], Invocation(f"{number}-{at}"), dict) for at in range(50))

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(happened) == 400
    assert sum(happened) == 50
    assert bench.counters["inject"] == 50


def test_too_little_time_left(bench):
    bench.give(document(limits={"min_remaining_ms": 2_000}))
    assert not bench.decide(Invocation(seconds=1))
    assert bench.said() == ("skip", "deadline")
    assert bench.decide(Invocation("r-2", seconds=2))


def test_conditions_read_the_event_only_where_there_are_any(bench):
    armed = bench.give(document(fault(), fault("error", match=[{"path": "a", "value": "1"}])))
    asked = []

    def event():
        asked.append(1)
        return {"a": 1}

    assert bench.rails.decide(armed.faults[0], Invocation(), event)
    assert asked == []
    assert bench.rails.decide(armed.faults[1], Invocation(), event)
    assert asked == [1]


def test_an_event_that_cannot_be_read_matches_nothing(bench):
    bench.give(document(fault(match=[{"path": "a", "operator": "exists"}])))

    def event():
        raise ValueError("no JSON")

    assert not bench.decide(event=event)
    assert bench.said() == ("skip", "match: the event cannot be read")
    assert bench.counters["skip_match"] == 1


@pytest.mark.parametrize(
    "happens",
    [file_switch, lambda bench: bench.clock.pass_s(700), lambda bench: bench.rails.gone("test"),
     lambda bench: bench.give(document(fault(match=[{"path": "a", "value": "1"}]), dry_run=True))],
)  # fmt: skip
def test_what_comes_while_the_event_is_read_counts(bench, happens):
    """A large event, or a condition that takes its time."""
    os.makedirs(bench.directory, exist_ok=True)
    armed = bench.give(document(fault(match=[{"path": "a", "value": "1"}])))

    def event():
        happens(bench)
        return {"a": 1}

    assert not bench.rails.decide(armed.faults[0], Invocation(), event)
    assert bench.said() == ("skip", "disarmed")
    assert "inject" not in bench.counters


def test_an_extension_while_the_event_is_read_does_not(bench):
    match = fault(match=[{"path": "a", "value": "1"}])
    armed = bench.give(document(match))

    def event():
        bench.give(document(match, armed_until=format_ms(NOW_MS + 900_000)))
        return {"a": 1}

    assert bench.rails.decide(armed.faults[0], Invocation(), event)


@pytest.mark.parametrize(
    ("more", "stops"),
    [
        ({}, False), ({"armed_until": format_ms(NOW_MS + 900_000)}, False), ({"dry_run": True}, True), ({"id": "x"}, True),
        ({"scope": {"functions": ["checkout"], "aliases": ["beta"]}}, True), ({"faults": [fault(percentage=1)]}, True),
    ],
)  # fmt: skip
def test_what_was_started_lasts_no_longer_than_what_allows_it(bench, more, stops):
    armed = bench.give(document())
    bench.give(document(**more))
    assert bench.rails.clean(armed) is stops
    assert not bench.rails.clean()


def test_a_fault_of_another_experiment_does_not_happen(bench):
    """A document was replaced between the question what is armed and the decision."""
    armed = bench.give(document())
    bench.give(document(fault("error"), id="other"))
    assert not bench.rails.decide(armed.faults[0], Invocation(), dict)
    assert bench.said() == ("skip", "replaced")
    assert bench.rails.clean(armed)
    assert not bench.rails.clean()


def test_a_dry_run_tells_and_does_nothing(tmp_path):
    """By the document or by the settings; the same requests as would have been hit."""
    told = []
    for at, (variables, more) in enumerate([({}, {}), ({}, {"dry_run": True}), ({"CHAOS_DRY_RUN": "1"}, {})]):
        bench = Bench(tmp_path / str(at), **variables)
        bench.give(document(fault(percentage=40), **more))
        happened = [bench.decide(Invocation(f"{number}")) for number in range(40)]
        assert any(happened) is (at == 0)
        told.append([line["request_id"] for line in bench.lines if line["action"] == ("dry_run" if at else "inject")])
    assert told[0] == told[1] == told[2] != []


# the guard ---------------------------------------------------------------------------------------------------------------


def test_failures_of_their_own_end_the_experiment(bench):
    """A fifth of ten; failures that were injected do not count."""
    bench.give(document(guard={"abort_error_rate": 0.2, "min_requests": 10}))
    for at in range(20):
        bench.rails.ended(f"i{at}", failed=True, injected=True)
    for at in range(9):
        bench.rails.ended(f"{at}", failed=at == 0, injected=False)
    assert bench.rails.now() is not None
    bench.rails.ended("last", failed=True, injected=False)
    assert bench.rails.now() is None
    assert bench.said() == ("abort", "guard: 2 of 10 invocations failed into which nothing was injected")
    bench.clock.pass_s(5)
    assert bench.give(document()) is None  # neither seen again
    assert bench.give(document(armed_until=format_ms(NOW_MS + 700_000))) is None  # nor extended
    assert bench.give(document(id="next")) is not None  # but another one


def test_old_failures_are_forgotten(bench):
    bench.give(document(guard={"abort_error_rate": 0.5, "min_requests": 4, "window_s": 60}))
    for at in range(3):
        bench.rails.ended(f"{at}", failed=True, injected=False)
    bench.clock.pass_s(61)
    bench.give(document(guard={"abort_error_rate": 0.5, "min_requests": 4, "window_s": 60}))
    for at in range(4):
        bench.rails.ended(f"n{at}", failed=at == 0, injected=False)
    assert bench.rails.now() is not None


def test_a_guard_that_is_off(bench):
    bench.give(document(guard={"abort_error_rate": 0}))
    for at in range(50):
        bench.rails.ended(f"{at}", failed=True, injected=False)
    assert bench.rails.now() is not None


# the global switch ---------------------------------------------------------------------------------------------------------


def test_the_global_switch_counts_as_long_as_a_lease(tmp_path):
    bench = Bench(tmp_path, CHAOS_GLOBAL_SWITCH="/chaos")
    bench.rails.switched(True, "on")
    assert bench.give(document()) is not None
    bench.clock.pass_s(170)
    assert bench.give(document()) is not None
    bench.clock.pass_s(20)  # the document was seen, the switch was not
    assert bench.rails.now() is None
    assert bench.said()[1] == "kill switch: CHAOS_GLOBAL_SWITCH has not been read for too long"
    bench.rails.switched(True, "on")
    assert bench.give(document()) is not None


# one owner -----------------------------------------------------------------------------------------------------------------


def test_another_owner_who_overwrites_stops_both(bench):
    """Until the first is over, or somebody has disarmed."""
    bench.give(document())
    other = document(id="mine", owner="joe")
    assert bench.give(other) is None
    assert bench.actions() == ["arm", "disarm", "refuse"]
    assert "joe has overwritten slow of jane" in bench.said()[1]
    bench.rails.gone("test")
    assert bench.give(other) is not None


def killed_for_a_while(bench):
    file_switch(bench)
    bench.give(document())
    os.unlink(f"{bench.directory}/off")


@pytest.mark.parametrize(
    "between",
    [
        lambda bench: bench.give(document(faults=[])), lambda bench: bench.rails.restored(), killed_for_a_while,
        lambda bench: bench.rails.unreadable("test", "AccessDenied"), lambda bench: bench.clock.pass_s(200),
    ],
)  # fmt: skip
def test_another_owner_who_overwrites_what_is_not_armed_at_the_moment(bench, between):
    """A mistake, a restore, a kill switch, a lease: whatever has ended it, it is its owner's until its end."""
    os.makedirs(bench.directory, exist_ok=True)
    bench.give(document())
    between(bench)
    other = document(id="mine", owner="joe")
    assert bench.rails.now() is None
    assert bench.give(other) is None
    assert "joe has overwritten slow of jane" in bench.said()[1]
    bench.clock.pass_s(600)  # the first would be over
    assert bench.give(document(id="mine", owner="joe", now_ms=bench.clock.now_ms)) is not None


def test_what_its_owner_does_not_renew_is_nobodys(bench):
    """`arm` puts another one in its place then."""
    bench.give(document(renewed_at=format_ms(NOW_MS), lease_s=30))
    other = document(id="mine", owner="joe")
    assert bench.give(other) is None
    bench.clock.pass_s(31)
    assert bench.give(other) is not None


def test_what_is_another_functions_is_nobodys_here(bench):
    bench.give(document(scope={"functions": ["other"]}))
    assert bench.give(document(id="mine", owner="joe")) is not None


def test_the_same_owner_may_replace(bench):
    bench.give(document())
    assert bench.give(document(fault("error"), id="next")).id == "next"
    assert bench.actions() == ["arm", "disarm", "arm"]


def test_the_first_owner_may_come_back(bench):
    bench.give(document())
    bench.give(document(id="mine", owner="joe"))
    assert bench.give(document()) is not None


def test_one_process_of_an_environment(tmp_path):
    """A second one arms nothing until the first has ended, even if it is killed."""
    first, second = Bench(tmp_path), Bench(tmp_path)
    assert first.give(document()) is not None
    assert second.give(document()) is None
    assert "another process of this environment" in second.said()[1]
    assert Path(tmp_path, "lease").read_text() == f"{os.getpid()} jane\n"
    assert Path(tmp_path, "lease").stat().st_mode & 0o777 == 0o600
    first.rails.gone("test")
    assert second.give(document()) is not None
    second.rails.gone("test")
    holder = subprocess.Popen(
        [
            sys.executable, "-c",
            "import sys; sys.path.insert(0, sys.argv[1]); from extensions.chaos_injector.lease import Holder;"
            "h = Holder(sys.argv[2]); print(h.take('x') or 'taken', flush=True); sys.stdin.read()",
            str(ROOT), str(tmp_path),
        ],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert holder.stdout.readline() == "taken\n"
        assert first.give(document()) is None
        holder.kill()
        holder.wait(10)
        assert first.give(document()) is not None
    finally:
        holder.kill()
        holder.communicate()


def test_where_nothing_can_be_written_nothing_is_armed(tmp_path):
    (tmp_path / "file").touch()
    bench = Bench(tmp_path / "file" / "below")
    assert bench.give(document()) is None
    assert "cannot be opened" in bench.said()[1]


# the record ------------------------------------------------------------------------------------------------------------------


def test_each_decision_has_one_line(bench):
    armed = bench.give(document(fault(percentage=50), seed=42))
    for at in range(20):
        before = len(bench.lines)
        happened = bench.decide(Invocation(f"r-{at}"))
        (line,) = bench.lines[before:]
        assert line["action"] == ("inject" if happened else "skip")
        assert (line["roll"] < 50) is happened
        wanted = {
            "experiment": "slow",
            "owner": "jane",
            "fault": "delay",
            "type": "delay",
            "request_id": f"r-{at}",
            "seed": "42",
        }
        assert wanted.items() <= line.items()
    assert bench.counters["inject_delay"] + bench.counters["skip_percentage"] == 20
    bench.rails.cleaned("1 process", armed)
    assert bench.said() == ("clean", "1 process")


def test_lines_that_are_alike_are_counted_and_told(bench):
    """Sixty a minute; the next line, or the end, says how many were left out. Injections are always told."""
    bench.give(document(fault(percentage=0), fault("error")))
    quiet, loud = bench.rails.now().faults
    for at in range(100):
        bench.decide(Invocation(f"{at}"), quiet)
        bench.decide(Invocation(f"{at}"), loud)
    skips = [line for line in bench.lines if line["action"] == "skip"]
    assert (len(skips), bench.counters["skip_percentage"]) == (60, 100)
    assert bench.actions().count("inject") == 100
    bench.clock.pass_s(61)
    bench.decide(Invocation("later", now_ms=bench.clock.now_ms), quiet)
    assert bench.lines[-1]["left_out"] == 40
    for at in range(70):
        bench.decide(Invocation(f"n{at}", now_ms=bench.clock.now_ms), quiet)
    bench.rails.gone("test")
    told = [line for line in bench.lines if line.get("left_out")]
    assert [line["left_out"] for line in told] == [40, 11]
    assert "request_id" not in told[-1]


def test_few_lines_where_that_is_wanted():
    lines = []
    audit = Audit(lambda line: lines.append(json.loads(line)), lambda _name, _n: None, SetClock(), few=True)
    for at in range(5):
        audit.line("skip", request_id=str(at), reason="match")
        audit.line("skip", request_id=str(at), reason="deadline")
    audit.close()
    assert [(line["reason"], line.get("left_out")) for line in lines] == [
        ("match", None), ("deadline", None), ("match", 4), ("deadline", 4),
    ]  # fmt: skip


def test_a_log_that_cannot_be_written_changes_nothing(tmp_path):
    def write(_line):
        raise OSError("gone")

    bench = Bench(tmp_path)
    bench.audit._write = write
    bench.give(document())
    assert bench.decide()
    assert bench.counters["audit_lost"] == 2


def test_lines_are_bounded_whatever_names_are_in_them(bench):
    """Tenants, aliases: what is behind a reason's colon has no end."""
    bench.give(document(scope={"functions": ["checkout"], "tenants": ["t"]}))
    for at in range(1_000):
        bench.decide(Invocation(f"r{at}", tenant=f"t{at}"))
    assert bench.actions().count("skip") == 60
    bench.rails.gone("test")
    assert bench.lines[-1]["left_out"] == 940


def test_kinds_of_lines_are_bounded(bench):
    """Those that come when there are too many are one kind; what was left out of others is told when they are old."""
    for _ in range(2):
        for at in range(2_000):
            bench.audit.line("skip", reason=f"r{at}")
    assert len(bench.audit._kinds) <= 500
    assert len(bench.lines) <= 2 * 497 + 60
    bench.clock.pass_s(61)
    bench.audit.line("skip", reason="new")
    bench.audit.close()
    written = sum(1 for line in bench.lines if "left_out" not in line)
    assert written + sum(line.get("left_out", 0) for line in bench.lines) == 4_001


@pytest.mark.parametrize("few", ["few", "all"])
def test_refusals_are_bounded_and_a_document_has_all_of_its_own(tmp_path, few):
    bench = Bench(tmp_path, CHAOS_LOG_SKIPS=few)
    for at in range(20):
        bench.give(document(**{f"x{at}{n}": 1 for n in range(40)}))
    assert bench.actions().count("refuse") == 60
    assert len({line["reason"] for line in bench.lines[:40]}) == 40


def test_a_refusal_that_time_puts_right(bench):
    """An end that was too far ahead is not any more; it is told once."""
    fields = document(armed_until=format_ms(NOW_MS + 3_660_000))
    assert bench.give(fields) is None
    bench.clock.pass_s(30)
    assert bench.give(fields) is None
    assert bench.actions() == ["refuse"]
    bench.clock.pass_s(31)
    assert bench.give(fields) is not None
    early = document(id="next", renewed_at=format_ms(bench.clock.now_ms + 90_000))
    assert bench.give(early) is None
    bench.clock.pass_s(31)
    assert bench.give(early) is not None


def test_nothing_in_a_line_breaks_it(bench):
    """Names and owners are the document's."""
    bench.give(document(owner='a"\n\u2028b', seed='"\\\x00'))
    assert bench.decide()
    assert bench.lines[-1]["owner"] == 'a"\n\u2028b'


def test_facts_of_the_environment_roll_the_dice_of_the_init(tmp_path):
    """Environments differ, and each decides the same again."""
    happened = set()
    for at in range(40):
        facts = Facts("checkout", stream=f"2026/11/29/[7]{at}")
        bench = Bench(tmp_path / str(at), facts=facts)
        armed = bench.give(document(fault("fail_init", 50)))
        decided = [bench.rails.decide(armed.faults[0], None, dict) for _ in range(2)]
        assert decided[0] == decided[1]
        happened.add(decided[0])
    assert happened == {True, False}


def test_phases_are_those_of_the_table():
    assert {kind.phase for kind in TYPES.values()} == set(PHASES)
    assert as_bytes(document())
    assert ARN.count(":") == 6
