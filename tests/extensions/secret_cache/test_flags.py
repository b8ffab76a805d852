"""Feature flags: every operator of AWS's table with its example, what is refused, and that nothing makes it hang."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extensions.secret_cache.flag_rules import RuleError, is_true
from extensions.secret_cache.flags import FlagError, read_context, select

CONTEXT = {
    "state": "Virginia", "age": "70", "email": "x@amazon.com", "userId": "123", "greeting": "hello my", "day": "2024-03-01",
    "yes": "true", "rate": "3.5",
}  # fmt: skip


@pytest.mark.parametrize(
    ("rule", "holds"),
    [
        ('(eq $state "Virginia")', True), ('(eq $state "Texas")', False), ("(eq $age 70)", True), ("(eq $rate 3.50)", True),
        ("(eq $yes true)", True), ("(eq $yes false)", False), ('(eq $state "Vir\\u0067inia")', True),
        ("(gt $age 65)", True), ("(gt $age 70)", False), ("(gte $age 70)", True), ("(lt $age 65)", False),
        ("(lte $age 70)", True), ("(gt $state 5)", False), ("(lt $day 2024-04)", True),
        ("(gt $day 2012-03-04T05:06:07-08:00)", True), ("(eq $day 2024-03-01)", True),
        ('(and (eq $state "Virginia") (gt $age 65))', True), ('(and (eq $state "X") (gt $age 65))', False),
        ('(or (eq $state "X") (gt $age 65))', True), ('(not (eq $state "Virginia"))', False), ('(not (eq $state "X"))', True),
        ('(begins_with $state "V")', True), ('(ends_with $email "amazon.com")', True), ('(contains $email "@")', True),
        ('(contains $email "#")', False), ('(in $userId ["123", "456"])', True), ("(in $age [1 2 70])", True),
        ('(in $userId ["1"])', False), ('(matches in::$greeting pattern::"h.*y")', True),
        ('(matches in::$greeting pattern::"^y")', False), ('(exists key::"country")', False), ('(exists key::"age")', True),
        ("(exists key::$age)", True), ("(split pct::100 by::$userId)", True), ('(split by::$userId pct::0 seed::"abc")', False),
        ('(eq $missing "x")', False), ('(matches in::$missing pattern::"x")', False), ("(split pct::100 by::$missing)", False),
    ],
)  # fmt: skip
def test_operators(rule, holds):
    assert is_true(rule, CONTEXT) is holds


@pytest.mark.parametrize("percent", [1, 20, 50, 99])
def test_split_takes_its_share_and_is_stable(percent):
    rule = f'(split pct::{percent} by::$id seed::"s")'
    chosen = [is_true(rule, {"id": f"user-{number}"}) for number in range(4000)]

    assert abs(sum(chosen) / 40 - percent) < 3
    assert chosen == [is_true(rule, {"id": f"user-{number}"}) for number in range(4000)]
    wider = [is_true(rule.replace(str(percent), "100"), {"id": f"user-{number}"}) for number in range(100)]
    assert all(wider), "who was in a smaller share is in a larger one"


@pytest.mark.parametrize(
    ("rule", "why"),
    [
        ("", "too early"), ("(", "too few"), ("(eq $a", "too few"), (")", "too many"), ('(eq $a "b") x', "one expression"),
        ('"text"', "one expression"), ("(eq $a)", "too few operands"), ('(eq $a "b" "c")', "too many operands"),
        ("(same $a $b)", "there are eq, gt"), ("()", "not known"), ('(in $a "x")', "list in brackets"),
        ("(split pct::101 by::$a)", "0 to 100"), ("(eq $a nonsense)", "neither text"), ('(eq $a "open)', "does not end"),
        ('(matches in::$greeting pattern::"(a+)+$")', "repeats what repeats"),
        ('(matches in::$greeting pattern::"(a|a)*$")', "repeats what repeats"),
        ('(matches in::$greeting pattern::"(")', "cannot be read"), ("(" * 100, "nested too deeply"),
        ("x" * 20_000, "longer than"),
        ('(matches in::$greeting pattern::5)', "with a text"),
    ],
)  # fmt: skip
def test_what_is_no_rule(rule, why):
    with pytest.raises(RuleError, match=why):
        is_true(rule, CONTEXT)


def test_a_pattern_that_could_take_too_long_is_not_tried():
    rule = '(matches in::$text pattern::"a*a*a*a*b")'

    assert is_true(rule, {"text": "aaab"})
    with pytest.raises(RuleError, match="too long on a text of this length"):
        is_true(rule, {"text": "a" * 5_000})


def test_what_is_no_document_of_flags_is_passed_on():
    for body in (b"", b"\x00\xff", b"[1]", b'{"a": 1 }', b"plain"):
        assert select(body, (), {}) == body
    with pytest.raises(FlagError) as caught:
        select(b"plain", ("a",), {})
    assert caught.value.status == 400
    assert select(b'"_variants"', (), {}) == b'"_variants"'


def test_a_rule_that_cannot_be_evaluated_is_said_and_not_guessed():
    document = {"f": {"_variants": [{"name": "a", "rule": "(bad)"}, {"name": "default"}]}}

    for body, why in ((document, "operator"), ({"f": {"_variants": []}}, "none is the default")):
        with pytest.raises(FlagError, match=why) as caught:
            select(json.dumps(body).encode(), ("f",), {})
        assert caught.value.status == 500


def test_contexts():
    assert read_context(["a=1", "b = x y ,c=d=e"]) == {"a": "1", "b": "x y", "c": "d=e"}
    for wrong in (["a"], ["=1"], [","], [",".join(f"k{number}=1" for number in range(101))]):
        with pytest.raises(FlagError):
            read_context(wrong)


WORDS = st.sampled_from(
    ["(", ")", "[", "]", "eq", "and", "not", "in", "matches", "split", "exists", '"x"', "$a", "5", "::", "pct::5"]
)


@given(
    st.lists(WORDS, max_size=30).map(" ".join) | st.text(max_size=60),
    st.dictionaries(st.just("a"), st.text(max_size=20)),
)
def test_any_text_is_a_rule_or_refused(rule, context):
    try:
        assert is_true(rule, context) in (True, False)
    except RuleError:
        pass


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["_variants", "name", "rule", "a"]), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(JSON, st.lists(st.sampled_from(["a", "b", "_variants"]), max_size=2))
def test_any_document_is_answered_or_refused(document, flags):
    body = json.dumps(document).encode()
    try:
        answer = select(body, tuple(flags), {"a": "1"})
    except FlagError:
        return
    assert answer == body or isinstance(json.loads(answer), (dict, list, str, int, float, type(None)))
