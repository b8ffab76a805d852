"""Secrets are blotted out wherever they stand; nothing else is touched; nothing takes long, nothing raises."""

from __future__ import annotations

import json
from urllib.parse import unquote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from extensions.log_shipper.redact import REPLACEMENT, Redactor
from tests.extensions.log_shipper.corpus import INNOCENT, NAMES, TOKENS, secrets

CORPUS = secrets()
REDACTOR = Redactor()


def redact(text, redactor=REDACTOR):
    """A line's text, and how often something was blotted out."""
    value, found = redactor.redact(json.dumps(text).encode())
    return json.loads(value), found


def leaks(secret, text):
    """Whether a secret, or either half of it, can still be read."""
    half = len(secret) // 2
    parts = [secret] if len(secret) < 16 else [secret, secret[:half], secret[half:]]
    return any(part in shown for part in parts for shown in (text, unquote(text), json.dumps(text)))


def test_the_corpus_is_large_enough():
    """And no line of it twice."""
    assert len({text for _what, _secret, text in CORPUS}) == len(CORPUS) >= 450
    assert len({secret for _what, secret, _text in CORPUS}) >= 400
    assert len(INNOCENT) >= 90


@pytest.mark.parametrize(("what", "secret", "text"), CORPUS, ids=[what[:60] for what, _secret, _text in CORPUS])
def test_a_secret_is_gone(what, secret, text):
    """In a line of text, and in a line that the function has logged as JSON."""
    for changed, found in (redact(text), redact({"level": "INFO", "message": text})):
        shown = json.dumps(changed, ensure_ascii=False)
        assert found >= 1
        assert REPLACEMENT in shown
        assert not leaks(secret, shown), shown
    once = redact(text)[0]
    assert redact(once) == (once, 0), "a second look finds nothing more"


@pytest.mark.parametrize("text", INNOCENT, ids=[text[:40] for text in INNOCENT])
def test_an_innocent_line_stays_as_it_is(text):
    """The very same bytes: nothing was read or written anew."""
    value = json.dumps(text).encode()
    same, found = REDACTOR.redact(value)
    assert (same, found) == (value, 0)
    assert same is value


def test_the_rest_of_the_line_stays():
    """What is around a secret is what people look for."""
    assert redact("user bob, password=hunter2, attempt 3") == (f"user bob, password={REPLACEMENT}, attempt 3", 1)
    assert redact('{"a":1,"password":"x","b":[true,null]}')[0] == '{"a":1,"password":"[REDACTED]","b":[true,null]}'
    assert redact(f"{TOKENS['jwt']} and {TOKENS['github']}") == (f"{REPLACEMENT} and {REPLACEMENT}", 2)
    assert redact("GET https://a:b@h/x?token=t&b=1") == ("GET https://[REDACTED]@h/x?token=[REDACTED]&b=1", 2)


def test_values_of_any_kind_under_a_telling_name():
    """The whole value goes: objects and lists, numbers too; what is no value stays."""
    planted = {"credentials": {"user": "u", "k": [1]}, "secret": 17, "token": None, "n": {"apiKey": ["a"]}, "pwd": True}
    clean = {
        "credentials": REPLACEMENT,
        "secret": REPLACEMENT,
        "token": None,
        "n": {"apiKey": REPLACEMENT},
        "pwd": True,
    }
    assert redact(planted) == (clean, 3)


def test_a_card_as_a_number():
    """JSON has numbers as well."""
    assert redact({"pan": int(TOKENS["visa"]), "order": 12})[0] == {"pan": REPLACEMENT, "order": 12}


def test_what_stands_in_a_key():
    """A name can be a secret itself."""
    assert redact({f"for {TOKENS['github']}": 1})[0] == {f"for {REPLACEMENT}": 1}


def test_secret_keys_beside_access_keys():
    """Forty characters are no sign by themselves; beside an access key they are."""
    key = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
    assert key not in redact(f"id {TOKENS['aws access key']} key {key}")[0]
    assert redact(f"digest {key}")[1] == 0


def test_names_of_ones_own():
    """With a star for anything; and without the usual names, where they are not wanted."""
    redactor = Redactor(keys=("iban*", "Tax-Id", "*_ref", "*"), detectors=())
    assert redact("iban_main=DE1 taxId: 7 order_ref=9 password=x", redactor)[0] == (
        f"iban_main={REPLACEMENT} taxId: {REPLACEMENT} order_ref={REPLACEMENT} password=x")  # fmt: skip


def test_patterns_of_ones_own():
    """Also in a text that is longer than the window they see."""
    redactor = Redactor(patterns=(r"ORD-\d{6}",), detectors=())
    assert redact("got ORD-123456 twice: ORD-654321", redactor) == (f"got {REPLACEMENT} twice: {REPLACEMENT}", 2)
    long = "x" * 32_760 + "ORD-123456" + "y" * 40_000 + "ORD-654321"
    text, found = redact(long, redactor)
    assert (found, text.count(REPLACEMENT), "ORD-" in text) == (2, 2, False)
    assert redact("a" * 40_000, Redactor(patterns=("b*",), detectors=()))[1] == 0, (
        "what matches nothing blots out nothing"
    )


@pytest.mark.parametrize(
    ("pattern", "value", "clean"),
    [
        (r"\d{9}", {"n": 123456789, "m": 12, "f": 1234567890.5}, {"n": REPLACEMENT, "m": 12, "f": REPLACEMENT}),
        (r"\d{9}", [123456789, True, None], [REPLACEMENT, True, None]),
        (r'"ssn":"[0-9-]+"', {"a": 1, "p": {"ssn": "123-45"}}, {"a": 1, "p": {"ssn": REPLACEMENT}}),
        (r'"ssn": "[0-9-]+"', {"a": 1, "ssn": "123-45"}, {"a": 1, "ssn": REPLACEMENT}),
        (r'"n":\d+', {"n": 17, "l": [{"n": 1}]}, {"n": REPLACEMENT, "l": [{"n": REPLACEMENT}]}),
        (r'"ssn":"[0-9-]+"', '{"a":1,"ssn":"123-45"}', '{"a":1,"ssn":"[REDACTED]"}'),
        (r"customer=\d+", {"m": ["for customer=17 now"]}, {"m": [f"for {REPLACEMENT} now"]}),
        (r"cust", {"cust": 1}, {REPLACEMENT: 1}),
        (r'"a":1,"b":2', {"a": 1, "b": 2, "c": 3}, '{[REDACTED],"c":3}'),
        (r"[A-Z]+", {"a": "B"}, {"a": REPLACEMENT}),
        (r".+", {"a": "B"}, REPLACEMENT),
        (r"\bx\b", {"password": "x", "b": "y"}, {"password": REPLACEMENT, "b": "y"}),
    ],
)  # fmt: skip
def test_patterns_see_all_that_is_sent(pattern, value, clean):
    """Numbers, names with their values, the line as a whole; what comes of it is JSON, and a second look finds nothing more."""
    redactor = Redactor(patterns=(pattern,))
    once, found = redactor.redact(json.dumps(value).encode())
    assert found >= 1
    assert json.loads(once) in (clean, json.dumps(clean))
    if pattern != ".+":
        assert redactor.redact(once) == (once, 0)


def test_patterns_without_a_match_change_nothing():
    """Not a byte."""
    value = b'{"a": 1.50, "b": ["c"], "d": "{\\"e\\": 1}"}'
    assert Redactor(patterns=("x{3}",)).redact(value) == (value, 0)


def test_counts_are_no_secrets():
    """Only of what there can be several, and only small numbers; where an operator names the name, these as well."""
    for text in ("tokens=512", "secrets: 999", '{"tokens":{"in":1,"out":2.5}}', '{"api_keys":3}'):
        assert redact(text) == (text, 0)
    for value in (
        {"token": 512},
        {"passwords": 1234},
        {"tokens": 1_234_567_890},
        {"tokens": {"in": "x"}},
        {"tokens": [1]},
    ):
        assert redact(value)[1] == 1, value
    assert redact("max_tokens=512", Redactor(keys=("*tokens",)))[1] == 1


@pytest.mark.parametrize("detectors", [(), ("keys",), ("tokens",), ("cards",)])
def test_what_is_not_wanted_is_not_looked_for(detectors):
    """Each detector by itself."""
    text = f"password=hunter2 {TOKENS['github']} {TOKENS['visa']}"
    changed, found = redact(text, Redactor(detectors=detectors))
    assert found == len(detectors)
    assert ("hunter2" in changed, TOKENS["github"] in changed, TOKENS["visa"] in changed) == (
        "keys" not in detectors, "tokens" not in detectors, "cards" not in detectors)  # fmt: skip


@given(st.sampled_from([one for one in CORPUS if "\n" not in one[1]]), st.randoms(use_true_random=False))
@settings(deadline=None)
def test_escapes_hide_nothing(planted, random):
    """Any character may be written as \\uXXXX, as JSON allows and some loggers do."""
    _what, secret, text = planted
    written = "".join(
        f"\\u{ord(one):04x}" if random.random() < 0.3 and ord(one) < 65_536 else json.dumps(one)[1:-1] for one in text
    )
    value, found = REDACTOR.redact(f'"{written}"'.encode())
    assert found
    assert not leaks(secret, json.loads(value))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text() | st.sampled_from(NAMES), inner, max_size=4),
    max_leaves=20,
)


@given(JSON)
@settings(deadline=None)
def test_any_value_stays_one_of_its_kind(value):
    """And a second look finds nothing more."""
    once, _found = REDACTOR.redact(json.dumps(value).encode())
    assert type(json.loads(once)) in (type(value), str)
    assert not isinstance(value, (str, dict, list)) or type(json.loads(once)) is type(value)
    assert REDACTOR.redact(once) == (once, 0)


@given(st.binary() | st.text().map(lambda text: text.encode("utf-8", "surrogatepass")))
@settings(deadline=None)
def test_any_bytes_come_back(value):
    """Also such as are no JSON; what is found in them is blotted out all the same."""
    REDACTOR.redact(value)
    assert b"hunter2" not in REDACTOR.redact(b"password=hunter2 " + value)[0]


@pytest.mark.timeout(20)  # what takes quadratic time would take many minutes
@pytest.mark.parametrize(
    "trigger",
    ["a", "=", ":", "pass=", '"', "\\\\", "eyJ", "-----BEGIN PRIVATE KEY", "-----BEGIN X", "@", "://@", "1 ", "4", "{", "[",
     "AKIA", "Bearer ", 'password:\\"', '\\"password\\":', "a.", "A1", "sk-", "\\u0041", 'token=\\"', "gh",
     "4111 1111 1111 1111 ", "://:", "://a:b", "password: |\\n  ", "token:\\n ", "[('", "[['a',", "<password>", "<a ",
     "token=[", "name='token' value=", "name='token'", "A(", "_", "-", "a_", "/services/"],
)  # fmt: skip
def test_a_megabyte_of_anything_comes_to_an_end(trigger):
    """Every search is linear."""
    value = ('"pass token ' + trigger * (1_000_000 // len(trigger)) + '"').encode()
    once, _found = REDACTOR.redact(value)
    assert once.startswith(b'"pass token')
