"""Dice and conditions: the same decision every time and everywhere, and no pattern that takes for ever."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from extensions.chaos_injector.dice import fraction, roll
from extensions.chaos_injector.matching import find, glob, host_matches, matches, why_not_regex
from extensions.chaos_injector.plan import Match
from tests.extensions.chaos_injector.rails_bench import Bench, Invocation, document, fault

ROOT = Path(__file__).parents[3]
SCRIPT = """
import json, sys
sys.path.insert(0, sys.argv[1])
from extensions.chaos_injector.dice import roll
print(json.dumps([roll("seed", f"request-{at}", "delay") for at in range(1000)]))
"""


def rolls(seed="seed", fault="delay"):
    return [roll(seed, f"request-{at}", fault) for at in range(1_000)]


def test_a_thousand_requests_decide_the_same_twice():
    """In this process, and in another one whose hashes of strings are seeded differently."""
    other = subprocess.run(
        [sys.executable, "-I", "-c", SCRIPT, str(ROOT)], capture_output=True, text=True, check=True, timeout=60
    )
    assert rolls() == rolls() == json.loads(other.stdout)


def test_rolls_are_spread_evenly():
    """And seeds and faults roll by themselves."""
    assert all(0 <= one < 100 for one in rolls())
    for percentage in (1, 10, 50, 90):
        assert sum(one < percentage for one in rolls()) == pytest.approx(percentage * 10, abs=50)
    both = sum(one < 50 and other < 50 for one, other in zip(rolls(), rolls(fault="error"), strict=True))
    assert both == pytest.approx(250, abs=60)
    assert rolls() != rolls(seed="another")
    assert fraction("seed", "r", "f", "delay") != fraction("seed", "r", "f", "bytes")


def test_a_thousand_decisions_of_the_rails(tmp_path):
    """Two environments decide alike; a percentage is what it says; 0 never happens, 100 always does."""
    decided = []
    for name in ("one", "other"):
        bench = Bench(tmp_path / name)
        bench.give(document(fault(percentage=30), seed=42, limits={"max_per_minute": 1_000}))
        decided.append([bench.decide(Invocation(f"request-{at}")) for at in range(1_000)])
    assert decided[0] == decided[1]
    assert sum(decided[0]) == pytest.approx(300, abs=60)
    for percentage in (0, 100):
        bench = Bench(tmp_path / f"{percentage}")
        bench.give(document(fault(percentage=percentage)))
        assert {bench.decide(Invocation(f"request-{at}")) for at in range(500)} == {percentage == 100}


EVENT = {
    "requestContext": {"http": {"method": "GET", "path": "/api/v2/users/123"}, "stage": "prod"},
    "headers": {"x-debug": "", "host": "example.com", "x-count": "5"},
    "n": 5, "f": 1.5, "whole": 2.0, "yes": True, "no": False, "nothing": None, "zero": 0,
    "list": [{"a": "first"}, {"a": "second"}], "object": {"b": 1},
}  # fmt: skip


@pytest.mark.parametrize(
    ("path", "operator", "value", "expected"),
    [
        ("requestContext.http.method", "eq", "GET", True),
        ("requestContext.http.method", "eq", "get", False),
        ("requestContext.http.method", "eq", "POST", False),
        ("requestContext.http.nope.deeper", "eq", "x", False),
        ("n", "eq", "5", True),
        ("f", "eq", "1.5", True),
        ("whole", "eq", "2", True),
        ("yes", "eq", "true", True),
        ("no", "eq", "false", True),
        ("nothing", "eq", "null", False),
        ("nothing", "exists", "", False),
        ("missing", "exists", "", False),
        ("zero", "exists", "", True),
        ("no", "exists", "", True),
        ("headers.x-debug", "exists", "", True),
        ("requestContext.http.path", "startsWith", "/api", True),
        ("requestContext.http.path", "startsWith", "api", False),
        ("missing", "startsWith", "", False),
        ("n", "startsWith", "5", True),
        ("requestContext.http.path", "regex", r"/api/v\d+/users/\d+", True),
        ("requestContext.http.method", "regex", "^(GET|HEAD)$", True),
        ("requestContext.http.method", "regex", "^(PUT|HEAD)$", False),
        ("list.1.a", "eq", "second", True),
        ("list.9.a", "exists", "", False),
        ("list.a", "exists", "", False),
        ("object", "eq", '{"b":1}', True),
    ],
)
def test_conditions(path, operator, value, expected):
    """As failure-lambda's README and layer have them; an index into a list besides."""
    assert matches(EVENT, (Match(path, operator, value),)) is expected


def test_all_conditions_must_hold():
    good, bad = Match("n", "eq", "5"), Match("n", "eq", "6")
    assert matches(EVENT, ())
    assert matches(EVENT, (good, good))
    assert not matches(EVENT, (good, bad))


@given(
    st.recursive(st.none() | st.integers() | st.text(), lambda one: st.lists(one) | st.dictionaries(st.text(), one)),
    st.text(),
)
@settings(deadline=None)
def test_any_path_into_anything(event, path):
    """Gives something or None."""
    find(event, path)
    matches(event, (Match(path, "eq", "x"), Match(path, "exists")))


@pytest.mark.parametrize(
    ("pattern", "name", "expected"),
    [
        ("checkout", "checkout", True), ("checkout", "checkout2", False), ("*", "", True), ("*", "x", True),
        ("check*", "checkout", True), ("*out", "checkout", True), ("c*k*t", "checkout", True), ("c*x*t", "checkout", False),
        ("ab*ba", "aba", False), ("ab*ba", "abba", True), ("*a*a*", "a", False), ("", "", True), ("", "x", False),
        ("a.b", "axb", False), ("[a]", "a", False),
    ],
)  # fmt: skip
def test_names_with_a_star(pattern, name, expected):
    assert glob(pattern, name) is expected


@pytest.mark.parametrize(
    ("pattern", "host", "expected"),
    [
        ("*.amazonaws.com", "s3.eu-west-1.amazonaws.com", True),
        ("*.amazonaws.com", "S3.AmazonAWS.com.", True),
        ("*.amazonaws.com", "amazonaws.com", False),
        ("*.amazonaws.com", "amazonaws.com.evil.example", False),
        ("re:s3.*.amazonaws.com", "s3.eu-west-1.amazonaws.com", True),
        ("re:^s3[.]", "dynamodb.amazonaws.com", False),
        ("db.internal", "db.internal", True),
        ("db.internal", "xdb.internal", False),
    ],
)
def test_hosts(pattern, host, expected):
    """What does not match passes: the bug that blocked everything (failure-lambda#12)."""
    assert host_matches((pattern,), host) is expected


@pytest.mark.parametrize(
    "pattern",
    ["(a+)+$", "(a*)*b", "(a|a)*b", "(a|aa)+$", "(.*)*x", "(?:a?a?)*b", "((a{1,9}){2,9})+", r"(a)\1", "(?P<x>a)(?P=x)",
     "(?:(?:^){65000}){65000}", "(?:(?:(?=a){9999}){9999}){9999}x", "(?:(?:){9999}){9999}", "(?:(?:a{0}){9999}){9999}",
     "(?:(?=(?:a){60}){500}){500}x", "(?:a(?=b)){9}", "(?:a(?<!b))*", r"(?:\b)*x", "(?:(?:(?:a){999}){999}){999}", "(?:){2}",
     "a*" * 30, "(a?)" * 40 + "a" * 40, "x" * 513, "[", "*", "(?P<1>a)", "a{5,2}", "(?i", "\\"],
)  # fmt: skip
def test_patterns_that_are_refused(pattern):
    """Each would take for ever, cannot be bounded, or cannot be read."""
    assert why_not_regex(pattern)


@pytest.mark.parametrize(
    "pattern",
    ["s3.*.amazonaws.com", "dynamodb.*.amazonaws.com", "^(GET|HEAD)$", r"/api/v\d+/users/\d+", "^/api/.*/items/.*$", "(?i)prod",
     "[a-z]{3,10}-[0-9]+", "(abc){3}", "a|b|c", "^[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}$", "(?:a{3}){4}",
     "(?:^)?x", "", "^$", ".", r"\bx\b", "(?=a)b"],
)  # fmt: skip
def test_patterns_that_are_good(pattern):
    assert why_not_regex(pattern) == ""


EVIL = ["a*a*a*x", "^(a|b)a*a*c", ".*.*.*x", "[ab]*[ac]*[ad]*x$", "a{0,60}" * 3 + "x$", "(a|b)(a|b)(a|b)a*b", "a*a*b",
        "(?:(?:^){65000}){65000}", "(?:(?:(?=a){9999}){9999}){9999}x", "(?:(?=(?:a){60}){500}){500}x",
        "(?:(?:a){60}){60}x", "(?=a{60})" * 50 + "x", "(?:a{50})*x"]  # fmt: skip


@pytest.mark.parametrize("pattern", EVIL)
@pytest.mark.parametrize("length", [60, 250, 2_000, 1_000_000])
def test_what_is_not_refused_ends(pattern, length):
    """On the worst texts, of any length: in steps that were counted when the pattern was read."""
    if why_not_regex(pattern):
        return
    began = time.process_time()
    assert not matches({"x": "a" * length + "!"}, (Match("x", "regex", pattern),))
    assert time.process_time() - began < 20  # for ever would be longer


#: fixed counts in one another too, of what takes text and of what does not
nested = st.recursive(
    st.sampled_from(["a", "ab", "", "^", "$", "(?=a)", "(?!b)", "a{0}", "a*", ".", "a|b"]),
    lambda inner: (
        st.builds("(?:{}){{{}}}".format, inner, st.sampled_from([1, 2, 60, 9_999, 65_000]))
        | st.builds("{}{}".format, inner, inner)
        | st.builds("(?={})".format, inner)
    ),
    max_leaves=6,
)


@given(st.text("ab*+?{},1|()[].^$\\", max_size=40) | nested)
@settings(deadline=None, max_examples=600)
def test_any_pattern_is_refused_or_ends(pattern):
    if not why_not_regex(pattern):
        matches({"x": "ab" * 500}, (Match("x", "regex", pattern),))
        matches({"x": "a" * 60 + "b"}, (Match("x", "regex", pattern),))
