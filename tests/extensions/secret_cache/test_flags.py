"""Feature flags: the forms in which they arrive, what is chosen of them, what is passed on as it is."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from extensions.secret_cache.flags import ACCEPT, FlagError, is_ion, read_context, select
from tests.extensions.secret_cache.test_ion import Written, binary, expressions, in_text

ION = "application/ion; type=AWS.AppConfig.FeatureFlags"
PAGE = {
    "ui_refresh": {
        "_variants": [
            {"name": "QA", "enabled": True, "attributeValues": {"dark_mode_support": True},
             "rule": '(ends_with $email "qa-testers.example.org")'},
            {"name": "Beta Testers", "enabled": True, "attributeValues": {"dark_mode_support": True},
             "rule": '(exists key::"opted_in_to_beta")'},
            {"name": "Sample Population", "enabled": True, "attributeValues": {"dark_mode_support": False},
             "rule": "(split pct::10 by::$email)"},
            {"name": "Default Variant", "enabled": False, "attributeValues": {"dark_mode_support": False}},
        ]
    },
    "plain": {"enabled": True, "limit": 5},
}  # fmt: skip


def answer(document, flags=(), context=None):
    return json.loads(select(json.dumps(document).encode(), flags, context or {}))


@pytest.mark.parametrize(
    ("context", "expected"),
    [
        ({"email": "jane@qa-testers.example.org"}, {"_variant": "QA", "dark_mode_support": True, "enabled": True}),
        ({"opted_in_to_beta": "false"}, {"_variant": "Beta Testers", "dark_mode_support": True, "enabled": True}),
        ({}, {"_variant": "Default Variant", "enabled": False}),
    ],
)
def test_variants(context, expected):
    """The example of AWS's page; a variant that is off answers no attributes."""
    assert answer(PAGE, (), context) == {"ui_refresh": expected, "plain": PAGE["plain"]}
    assert answer(PAGE, ("ui_refresh",), context) == expected
    assert answer(PAGE, ("plain", "ui_refresh"), context) == {"plain": PAGE["plain"], "ui_refresh": expected}
    whole = {"version": "1", "flags": {"ui_refresh": {}}, "values": PAGE}
    assert answer(whole, ("ui_refresh",), context) == expected


def test_a_document_as_users_write_it():
    values = {"on": {"enabled": True, "a": 1, "_createdAt": "x"}, "off": {"enabled": False, "a": 1}, "odd": 5}
    document = {"version": "1", "flags": {}, "values": values}

    assert answer(document, ("on", "off", "odd")) == {
        "on": {"enabled": True, "a": 1},
        "off": {"enabled": False},
        "odd": 5,
    }
    body = json.dumps(document).encode()
    assert select(body, (), {}) == body
    assert answer({"values": {"enabled": True}}, ("values",)) == {"enabled": True}


def test_one_flag_and_several():
    document = {"a": {"enabled": True, "x": 0.1}, "b": {"enabled": False}}

    assert answer(document, ("a",)) == document["a"]
    assert answer(document, ("b", "a")) == document
    assert answer(document, ("a", "a")) == {"a": document["a"]}
    with pytest.raises(FlagError, match="no such flag") as caught:
        select(json.dumps(document).encode(), ("a", "c"), {})
    assert caught.value.status == 404


def test_what_is_no_document_of_flags_is_passed_on():
    for body in (
        b"",
        b"\x00\xff",
        b"[1]",
        b'{"a": 1 }',
        b"plain",
        b'{"f" : {"enabled" :true} }',
        b'"_variants"',
        b"a::'''{}'''",
    ):
        assert select(body, (), {"a": "1"}) == body
    for body in (b"plain", b"\x00\xff", b"[1]", b'"_variants"'):
        with pytest.raises(FlagError, match="no feature flags") as caught:
            select(body, ("a",), {})
        assert caught.value.status == 400


def test_a_rule_that_cannot_be_evaluated_is_said_and_not_guessed():
    document = {"f": {"_variants": [{"name": "a", "rule": "(bad)"}, {"name": "default"}]}}

    for body, why in ((document, "operator"), ({"f": {"_variants": []}}, "none is the default")):
        with pytest.raises(FlagError, match=why) as caught:
            select(json.dumps(body).encode(), ("f",), {})
        assert caught.value.status == 500
        assert answer({**body, "g": {"enabled": True}}, ("g",)) == {"enabled": True}


def test_nesting_is_bounded():
    """Deeper than Python reads, it is no document; what it reads it answers, or refuses. How deep differs by Python."""
    body = b'{"_variants":' + b"[" * 200_000 + b"]" * 200_000 + b"}"
    assert select(body, (), {}) == body
    assert outcome(50) == "answered"
    outcomes = {outcome(depth) for depth in (*range(700, 1_000, 10), *range(5_000, 12_000, 100))}
    refused = (500, "this configuration is nested too deeply")
    assert "answered" in outcomes
    assert outcomes <= {"answered", refused}


def outcome(depth):
    body = b'{"_variants":' + b"[" * depth + b"]" * depth + b"}"
    try:
        return "answered" if select(body, (), {}) == body else "another document"
    except FlagError as error:
        return error.status, str(error)


def test_contexts():
    assert read_context(["a=1", "b = x y ,c=d=e", "e="]) == {"a": "1", "b": "x y", "c": "d=e", "e": ""}
    assert read_context([]) == {}
    for wrong in (["a"], ["=1"], [","], [",".join(f"k{number}=1" for number in range(101))]):
        with pytest.raises(FlagError) as caught:
            read_context(wrong)
        assert caught.value.status == 400


# Ion

SAMPLE = r"""
'colorway'::[
  [
    (contains $userId "beta"),
    '''{"_variant": "BetaTesters", "enabled": true, "background": "blue", "foreground": "red"}''',
  ],
  [ (split by::$userId pct::10), '''{"_variant": "SplitRollOutRedAndBlue", "enabled": true}''', ],
  '''{"_variant": "default", "enabled": true, "background": "green"}''',
]
// a flag without variants
'button_color'::'''{"enabled": true, "color": "orange"}'''
"""


@pytest.mark.parametrize(
    "kind", [ION, "application/ion;type=AWS.AppConfig.FeatureFlags", "Application/Ion; TYPE=aws.appconfig.featureflags"]
)
def test_the_form_of_local_development(kind):
    """AWS's own sample of a configuration in Ion."""
    body = SAMPLE.encode()

    assert select(body, ("colorway",), {"userId": "my-beta"}, kind).startswith(b'{"_variant": "BetaTesters",')
    assert select(body, ("button_color",), {}, kind) == b'{"enabled": true, "color": "orange"}'
    whole = json.loads(select(body, (), {}, kind))
    assert list(whole) == ["colorway", "button_color"]
    assert whole["colorway"] == {"_variant": "default", "enabled": True, "background": "green"}
    drawn = [
        json.loads(select(body, ("colorway",), {"userId": str(number)}, kind))["_variant"] for number in range(1000)
    ]
    assert 60 < drawn.count("SplitRollOutRedAndBlue") < 140


def test_only_what_is_said_to_be_ion_is_read_as_ion():
    body = SAMPLE.encode()
    for kind in (
        "",
        "application/json",
        "application/ion",
        "application/ion;type=Other",
        "text/plain;type=AWS.AppConfig.FeatureFlags",
    ):
        assert not is_ion(kind)
        assert select(body, (), {}, kind) == body
    assert is_ion(ACCEPT.split(",")[0].replace(";q=1.0", ""))


def test_the_form_of_the_service():
    """Binary Ion with AWS's shared tables; a variant has its name a second time."""
    treatment = '(and (exists key::"entityId") (eq $country "US") (split pct::100 by::$entityId seed::"s"))'
    body = binary({
        "checkout": [
            Written("__c__", [in_text('(in $entityId ["test-control"])'), '{"_variant":"c","enabled":false}']),
            Written("__t1__", [in_text(treatment), '{"_variant":"t1","enabled":true}']),
            '{"_variant":"default","enabled":false}',
        ],
        "plain": '{"enabled":true,"n":1.0}',
        "listed": ['{"enabled":true}'],
    })  # fmt: skip

    for context, variant in (
        ({"entityId": "test-control", "country": "US"}, "c"),
        ({"entityId": "x", "country": "US"}, "t1"),
        ({"entityId": "x", "country": "CA"}, "default"),
        ({}, "default"),
    ):
        assert json.loads(select(body, ("checkout",), context, ION))["_variant"] == variant
    assert select(body, ("plain",), {}, ION) == b'{"enabled":true,"n":1.0}'
    assert select(body, (), {}, ION) == (
        b'{"checkout":{"_variant":"default","enabled":false},"plain":{"enabled":true,"n":1.0},"listed":{"enabled":true}}'
    )
    assert json.loads(select(body, ("listed", "plain"), {}, ION)) == {
        "plain": {"enabled": True, "n": 1},
        "listed": {"enabled": True},
    }
    with pytest.raises(FlagError) as caught:
        select(body, ("checkout", "other"), {}, ION)
    assert caught.value.status == 404


def test_an_operator_whose_number_is_not_known_costs_only_its_flag():
    rule = in_text("(gt $age 65)")
    body = binary({"f": [[rule, "{}"], "{}"], "g": "{}"}, numbers={"gt": ("ops", 5)})

    assert select(body, ("g",), {"age": "70"}, ION) == b"{}"
    with pytest.raises(FlagError, match=r"not known \(ops/5\)") as caught:
        select(body, ("f",), {"age": "70"}, ION)
    assert caught.value.status == 500
    assert select(binary({"f": [[rule, '{"a":1}'], "{}"]}), ("f",), {"age": "70"}, ION) == b'{"a":1}', "by its own name"


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"\xff", "not UTF-8"), (b"f::[", "too few"), (b"5", "without a name"), (b"f::5", "not a rule and a text"),
        (b"f::[[(eq 1 1), 5]]", "not a rule and a text"), (b'f::[[(eq 1 2), "{}"]]', "none is the default"),
        (b"f::[symbol]", "not a rule and a text"), (b'f::["{"]', "not JSON"), (b'f::[[(bad), "{}"]]', "operator"),
        (b'f::[["x", "{}"]]', "not a rule and a text"), (b"\xe0\x01\x00\xea\x21", "longer than"),
    ],
)  # fmt: skip
def test_ion_that_is_no_document_of_flags(body, why):
    with pytest.raises(FlagError, match=why) as caught:
        select(body, (), {}, ION)
    assert caught.value.status == 500


# anything at all


@given(
    expressions(),
    st.dictionaries(st.sampled_from("abc"), st.text(max_size=8) | st.integers() | st.booleans(), max_size=3),
)
@settings(deadline=None)
def test_a_rule_says_the_same_in_text_and_in_bytes(expression, context):
    body = binary({"f": [[expression, "1"], "0"]})
    text = f'f::[[{in_text(expression, write=True)}, "1"], "0"]'
    outcomes = []
    for one in (body, text.encode()):
        try:
            outcomes.append(select(one, ("f",), context, ION))
        except FlagError as error:
            outcomes.append(str(error))
    assert outcomes[0] == outcomes[1]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.sampled_from(["(eq $a 1)", "(gt 1 0)"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["_variants", "name", "rule", "a", "values", "version", "enabled"]), inner, max_size=4
        )
    ),
    max_leaves=12,
)


@given(JSON, st.lists(st.sampled_from(["a", "b", "_variants"]), max_size=2))
@settings(deadline=None)
def test_any_document_is_answered_or_refused(document, flags):
    body = json.dumps(document).encode()
    try:
        found = select(body, tuple(flags), {"a": "1"})
    except FlagError:
        return
    assert found == body or isinstance(json.loads(found), (dict, list, str, int, float, type(None)))


@given(st.binary(max_size=60) | st.binary(max_size=60).map(lambda data: b"\xe0\x01\x00\xea" + data), st.booleans())
@settings(deadline=None)
def test_any_bytes_are_answered_or_refused(body, ion):
    try:
        found = select(body, (), {}, ION if ion else "")
    except FlagError:
        return
    assert json.loads(found) == {} if ion else found == body
