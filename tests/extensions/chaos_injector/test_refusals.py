"""Documents that are wrong: each is refused with a line that names field, value and fix, and nothing is armed."""

from __future__ import annotations

import json
import string

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from extension_kit.protocol.timestamps import format_ms
from extensions.chaos_injector.plan import Refused, render
from extensions.chaos_injector.readers import LARGEST, failure_lambda, read
from extensions.chaos_injector.vocabulary import TYPES
from tests.extensions.chaos_injector.rails_bench import NOW_MS, Bench, changed, document, experiment_of, fault, reading

GOOD = document(
    fault("delay", 5, match=[{"path": "a.b", "operator": "eq", "value": "x"}]),
    scope={"functions": ["checkout"], "deny": {"tenants": ["t"]}},
    limits={},
    guard={},
)
P = "faults.0.params"


def one(type, **params):
    return [fault(type, 10, params=params)]


#: path, value (...: removed), what the line says: field, value, and what to do
WRONG = [
    # the document
    ("version", ..., ["version is missing", "use a whole number from 1 to 1"]),
    ("version", 2, ["version = 2", "from 1 to 1"]),
    ("version", "1", ['version = "1"', "a whole number"]),
    ("version", True, ["version = true", "a whole number"]),
    ("id", ..., ["id is missing", "1 to 64 letters"]),
    ("id", "", ['id = ""', "1 to 64 letters"]),
    ("id", "a b", ['id = "a b"', "letters, digits"]),
    ("id", "x" * 65, ["id = ", "1 to 64"]),
    ("id", 7, ["id = 7", "letters"]),
    ("owner", ..., ["owner is missing", "whom to ask"]),
    ("owner", "", ['owner = ""', "whom to ask"]),
    ("owner", "\ud800", ["owner = ", "whom to ask"]),
    ("armed_until", ..., ["armed_until is missing", 'such as "2026-11-29T10:50:00.000Z"']),
    ("armed_until", "soon", ['armed_until = "soon"', "a time with its zone"]),
    ("armed_until", "2026-11-29T11:00:00", ["armed_until = ", "with its zone"]),
    ("armed_until", "2026-11-29", ['armed_until = "2026-11-29"', "with its zone"]),
    ("armed_until", NOW_MS, ["armed_until = 1795948800000", "with its zone"]),
    ("armed_until", None, ["armed_until = null", "with its zone"]),
    ("armed_until", format_ms(NOW_MS + 3_600_001), ["armed_until", "no more than 3600 s ahead", "11:40:00"]),
    ("armed_until", "9999-01-01T00:00:00Z", ["armed_until", "no more than 3600 s ahead"]),
    ("lease_s", 5, ["lease_s = 5", "from 10 to 180"]),
    ("lease_s", 181, ["lease_s = 181", "from 10 to 180", "CHAOS_LEASE"]),
    ("lease_s", "60", ['lease_s = "60"', "a whole number"]),
    ("renewed_at", 0, ["renewed_at = 0", "with its zone"]),
    ("renewed_at", format_ms(NOW_MS + 61_000), ["renewed_at = ", "a time that has been"]),
    ("seed", 1.5, ["seed = 1.5", "a whole number, or text"]),
    ("seed", [], ["seed = a list of 0", "a whole number, or text"]),
    ("seed", "x" * 65, ["seed", "1 to 64 characters"]),
    ("dry_run", "yes", ['dry_run = "yes"', "true or false"]),
    ("off", 1, ["off = 1", "true or false"]),
    ("armed_untill", "x", ["armed_untill is not known", "did you mean armed_until?"]),
    ("Faults", [], ["Faults is not known", "did you mean faults?"]),
    # scope
    ("scope", ..., ["scope is missing", "functions"]),
    ("scope", "checkout", ['scope = "checkout"', "an object"]),
    ("scope.functions", ..., ["scope.functions is missing or empty"]),
    ("scope.functions", [], ["scope.functions is missing or empty"]),
    ("scope.functions", "checkout", ['scope.functions = "checkout"', "a list of up to 50"]),
    ("scope.functions", ["a", 1], ["scope.functions[1] = 1", "a name"]),
    ("scope.functions", ["arn:aws:lambda:eu-west-1:1:function:x"], ["scope.functions[0]", "no ARN"]),
    ("scope.functions", ["x" * 171], ["scope.functions[0]", "1 to 170"]),
    ("scope.functions", ["a*b*c*d*e*f*g"], ["scope.functions[0]", "a name"]),
    ("scope.functions", ["a"] * 51, ["scope.functions = a list of 51", "up to 50"]),
    ("scope.regions", [""], ['scope.regions[0] = ""', "a name"]),
    ("scope.tenant", ["a"], ["scope.tenant is not known", "did you mean tenants?"]),
    ("scope.deny.functon", ["a"], ["scope.deny.functon is not known", "did you mean functions?"]),
    ("scope.deny", [], ["scope.deny = a list of 0", "an object"]),
    ("scope.allow_prod", "true", ['scope.allow_prod = "true"', "true or false"]),
    # limits, guard
    ("limits", [], ["limits = a list of 0", "an object"]),
    ("limits.max_injections", -1, ["limits.max_injections = -1", "from 0 to 10000"]),
    ("limits.max_injections", 10_001, ["limits.max_injections = 10001", "from 0 to 10000", "CHAOS_MAX_INJECTIONS"]),
    ("limits.max_per_minute", 2_000, ["limits.max_per_minute = 2000", "from 0 to 1000"]),
    ("limits.max_fraction_of_deadline", 1.5, ["limits.max_fraction_of_deadline = 1.5", "from 0 to 1"]),
    ("limits.min_free_tmp_mb", 0, ["limits.min_free_tmp_mb = 0", "from 1 to"]),
    ("limits.min_free_memory_mb", "8", ["limits.min_free_memory_mb", "a whole number"]),
    ("limits.min_remaining_ms", -1, ["limits.min_remaining_ms = -1", "from 0 to 900000 (ms)"]),
    ("limits.max_injection", 1, ["limits.max_injection is not known", "did you mean max_injections?"]),
    ("guard.abort_error_rate", 20, ["guard.abort_error_rate = 20", "from 0 to 1"]),
    ("guard.window_s", 0, ["guard.window_s = 0", "from 1 to 3600 (s)"]),
    ("guard.min_requests", 0, ["guard.min_requests = 0", "from 1"]),
    ("guard.window", 60, ["guard.window is not known", "did you mean window_s?"]),
    # faults
    ("faults", ..., ["faults is missing", "1 to 20 faults"]),
    ("faults", [], ["faults = a list of 0", '"off": true']),
    ("faults", {}, ["faults = an object of 0", "a list"]),
    ("faults", [fault(id=f"f{at}") for at in range(21)], ["faults = a list of 21", "1 to 20"]),
    ("faults", ["delay"], ['faults[0] = "delay"', "an object"]),
    ("faults", [fault(), fault()], ["faults[1].id", "another fault's", "different ids"]),
    ("faults.0.type", ..., ["faults[0].type is missing", "delay"]),
    ("faults.0.type", "latency", ['faults[0].type = "latency"', "did you mean"]),
    ("faults.0.type", "dely", ['faults[0].type = "dely"', "did you mean delay?"]),
    ("faults.0.type", 3, ["faults[0].type = 3", "one of"]),
    ("faults.0.type", ["delay"], ["faults[0].type = a list of 1", "one of"]),
    ("faults.0.id", "a/b", ['faults[0].id = "a/b"', "letters"]),
    ("faults.0.phase", "after", ['faults[0].phase = "after"', "one of before"]),
    ("faults.0.percentage", ..., ["faults[0].percentage is missing", "from 0 to 100 (%)"]),
    ("faults.0.percentage", 101, ["faults[0].percentage = 101", "from 0 to 100"]),
    ("faults.0.percentage", -0.1, ["faults[0].percentage = -0.1", "from 0 to 100"]),
    ("faults.0.percentage", "50", ['faults[0].percentage = "50"', "a number"]),
    ("faults.0.percentage", True, ["faults[0].percentage = true", "a number"]),
    ("faults.0.probability", 0.5, ["faults[0].probability is not known", "did you mean"]),
    ("faults.0.starts_at", "now", ['faults[0].starts_at = "now"', "with its zone"]),
    ("faults.0.match", {}, ["faults[0].match = an object of 0", "a list"]),
    ("faults.0.match", [{"path": "a"}], ["faults[0].match[0].value is missing"]),
    ("faults.0.match.0.path", "", ['faults[0].match[0].path = ""', "a dotted path"]),
    ("faults.0.match.0.path", "a..b", ['match[0].path = "a..b"', "a dotted path"]),
    ("faults.0.match.0.operator", "like", ['match[0].operator = "like"', "one of eq, exists, startsWith, regex"]),
    ("faults.0.match.0.value", 5, ["match[0].value = 5", "text"]),
    ("faults.0.match.0", {"path": "a", "operator": "regex", "value": "("}, ["match[0].value", "cannot be read"]),
    (
        "faults.0.match.0",
        {"path": "a", "operator": "regex", "value": "(a+)+"},
        ["match[0].value", "inside a repetition"],
    ),
    (
        "faults.0.match.0",
        {"path": "a", "operator": "regex", "value": "(a|aa)*"},
        ["match[0].value", "an alternative is"],
    ),
    (
        "faults.0.match.0",
        {"path": "a", "operator": "regex", "value": r"(a)\1"},
        ["match[0].value", "refers to a group"],
    ),
    ("faults.0.match.0", {"path": "a", "operator": "regex", "value": "a*" * 12}, ["match[0].value", "too many"]),
    ("faults.0.match.0", {"path": "a", "operator": "eq", "value": "x" * 513}, ["match[0].value", "0 to 512"]),
    ("faults.0.match.0.valu", "x", ["match[0].valu is not known", "did you mean value?"]),
    # parameters
    (P, [], ["faults[0].params = a list of 0", "an object"]),
    (P, {"ms": -1}, ["params.ms = -1", "from 0 to 900000 (ms)"]),
    (P, {"ms": 1.5}, ["params.ms = 1.5", "a whole number"]),
    (P, {"ms": 900_001}, ["params.ms = 900001", "from 0 to 900000"]),
    (P, {"mss": 1}, ["params.mss is not known", "did you mean ms?"]),
    (P, {"distribution": "gauss"}, ["params.distribution", "one of fixed, uniform, normal, pareto"]),
    (P, {"distribution": "uniform", "min_ms": 9, "max_ms": 3}, ["faults[0].params", "max_ms is below min_ms"]),
    (P, {"shape": 0}, ["params.shape = 0", "from 0.1 to 100"]),
    ("faults", one("slow_init"), ["faults[0].params.ms is missing"]),
    ("faults", one("error", error_type=""), ["params.error_type", "1 to 256"]),
    ("faults", one("http_response", status_code=1_000), ["params.status_code = 1000", "from 0 to 999"]),
    ("faults", one("mutate_event"), ["faults[0].params", "neither set nor remove"]),
    ("faults", one("mutate_event", set=[]), ["params.set = a list of 0", "an object"]),
    ("faults", one("mutate_event", set={"": 1}), ["params.set", "dotted paths"]),
    ("faults", one("mutate_event", remove=[""]), ["params.remove[0]", "a dotted path"]),
    ("faults", one("deadline_lie"), ["params.offset_ms is missing"]),
    ("faults", one("slow_stream"), ["faults[0].params", "nothing is slowed"]),
    ("faults", one("cpu", workers=0), ["params.workers = 0", "from 1 to 16"]),
    ("faults", one("memory"), ["faults[0].params", "neither mb nor leave_mb"]),
    ("faults", one("tmp", mb=1, leave_mb=1), ["faults[0].params", "both given"]),
    ("faults", one("inodes"), ["faults[0].params", "neither count nor leave"]),
    ("faults", one("egress_latency", hosts=[], latency=1), ["params.hosts = a list of 0", "1 to 100 host names"]),
    ("faults", one("egress_latency", hosts="*", latency=1), ['params.hosts = "*"', "a list"]),
    ("faults", one("egress_refuse", hosts=["re:("]), ["params.hosts[0]", "cannot be read"]),
    ("faults", one("egress_slicer", average_size=5, size_variation=5), ["faults[0].params", "not below average_size"]),
    ("faults", one("egress_latency", latency=1, stream="up"), ["params.stream", "upstream, downstream"]),
    ("faults", one("kill", signal="HUP"), ["params.signal", "KILL"]),
    ("faults", one("sink"), ["params.action is missing", "drop, delay, status"]),
    ("faults", one("sink", action="status", status=200), ["params.status = 200", "from 400 to 599"]),
]


@pytest.mark.parametrize(("path", "value", "says"), WRONG, ids=lambda one: str(one)[:40])
def test_a_mistake_refuses_the_document(tmp_path, path, value, says):
    """With a line that names it; what was armed before is armed no more."""
    bench = Bench(tmp_path)
    assert bench.give(GOOD) is not None

    assert bench.give(changed(GOOD, path, value)) is None

    assert bench.actions()[:2] == ["arm", "disarm"]
    refusals = [line["reason"] for line in bench.lines if line["action"] == "refuse"]
    assert any(all(part in line for part in says) for line in refusals), refusals
    for line in refusals:
        assert line.isprintable()
        told = line.removeprefix("test: ")
        assert told != line
        assert ": use " in told or "correct or remove it" in told or told.startswith("faults[0].params: "), told
    assert bench.give(GOOD) is not None  # nothing of the mistake stays


#: documents that are none
NO_DOCUMENTS = [
    (b"", "the document is empty"),
    (b"   \n", "the document is empty"),
    (b"\xff\xfe", "no UTF-8"),
    (b"{", "no JSON"),
    (b'{"version": 1,}', "no JSON"),
    (b'{"version": 1} x', "no JSON"),
    (b'{"version": 1, "version": 1}', '"version" is there twice'),
    (b'{"faults": [{"percentage": NaN}]}', "NaN is no number"),
    (b"[1, 2]", "neither an object of JSON nor TOML"),
    (b'"text"', "neither an object of JSON nor TOML"),
    (b"null", "neither an object of JSON nor TOML"),
    (b"version: 1\nfaults: []", "neither an object of JSON nor TOML"),
    (b"version = 1\nversion = 1", "neither an object of JSON nor TOML"),
    (b"[" * 50_000, "neither an object of JSON nor TOML"),
    (b'{"a":' * 9_000 + b"1" + b"}" * 9_000, ""),
    (b'{"faults": ' + b"[" * 25 + b"]" * 25 + b"}", "nested too deeply"),
    (b'{"version": ' + b"1" * 5_000 + b"}", "no JSON"),
    (b" " * (LARGEST + 1), f"has {LARGEST + 1} bytes"),
    (b"{}", "version is missing"),
    (b"version = 1", "armed_until is missing"),
    (b"version = 0x" + b"f" * 30_000, "version = a number of thousands of digits"),
    (b"version = 1\narmed_until = 2026-11-29", "with its zone"),
    (b"version = 1\narmed_until = 10:50:00", "with its zone"),
    (b"version = inf", "version = inf"),
    (b"a" + b".a" * 30_000 + b" = 1", "more than 10 dots"),
    (b"a" + b' . "a/="' * 5_000 + b" = 1", "more than 10 dots"),
    (b"[a" + b".'a'" * 5_000 + b"]", "more than 10 dots"),
    (b"x = { y = 1, a" + b".a" * 30_000 + b" = 1 }", "more than 10 dots"),
    (b'x = { y = """a"""", a' + b".a" * 30_000 + b" = 1 }", "more than 10 dots"),
    (b'x = "\\\\" # "\n' + b"y" + b".a" * 30_000 + b" = 1", "more than 10 dots"),
    (b"x = '\\'\ny" + b".a" * 30_000 + b" = 1", "more than 10 dots"),
    (b"[a]\n" + b"[" * 10 + b"\n", "neither an object of JSON nor TOML"),
    (b"x = " + b"{ a = " * 5_000 + b"1" + b" }" * 5_000, "neither an object of JSON nor TOML"),
]


@pytest.mark.parametrize(("data", "says"), NO_DOCUMENTS, ids=range(len(NO_DOCUMENTS)))
def test_what_is_no_document(tmp_path, data, says):
    bench = Bench(tmp_path)

    assert bench.give(data) is None

    refusals = [line["reason"] for line in bench.lines if line["action"] == "refuse"]
    assert any(says in line for line in refusals), refusals


def test_dots_in_strings_and_comments_of_toml_are_no_keys():
    text = b"""
    # ........................
    version = 1 # ..............
    id = "x"
    owner = "a............b \\" ............"
    armed_until = 2026-11-29T10:50:00Z
    scope = { functions = ['............', \"\"\"c...........\"\"\"] }
    [[faults]]
    type = "delay"
    percentage = 5.5
    params.ms = 5
    """
    assert read(text, reading()).scope.allow.functions == ("............", "c...........")


def test_every_mistake_is_told_at_once():
    """So that nobody has to try again and again; but no more than somebody reads."""
    wrong = changed(changed(changed(GOOD, "version", 3), "faults.0.percentage", "x"), "scope.functions", [1])
    with pytest.raises(Refused) as caught:
        experiment_of(wrong)
    assert [line.split(" ")[0] for line in caught.value.lines] == [
        "version", "scope.functions[0]", "faults[0].percentage",
    ]  # fmt: skip
    with pytest.raises(Refused) as caught:
        experiment_of({f"x{at}": 1 for at in range(500)} | {"version": 1})
    assert len(caught.value.lines) == 51
    assert "more mistakes are not told" in caught.value.lines[-1]


def test_a_refusal_is_told_once(tmp_path):
    """As long as the document stays the same."""
    bench = Bench(tmp_path)
    for _ in range(5):
        bench.give(changed(GOOD, "version", 3))
    assert bench.actions() == ["refuse"]


def test_there_are_more_than_fifty_kinds():
    assert len(WRONG) > 100


#: the machine of a test may be busy
patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from([*TYPES, "*", "re:("]),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(string.ascii_lowercase, max_size=8), inner, max_size=4)
    ),
    max_leaves=20,
)
KEYS = (
    "version", "id", "owner", "armed_until", "scope", "faults", "latency", "statuscode", "isEnabled", "actions", "actionId",
    "off", "limits", "guard", "denylist", "experiment", "CHAOS_EXTENSION__LAMBDA__ENABLE_LATENCY", "failureMode", "fault_type",
)  # fmt: skip
FAULT_KEYS = ("id", "type", "percentage", "match", "params", "phase", "enabled", "actionId", "parameters", "startAfter")


def outcome(data):
    """The experiment, or the lines of the refusal; any other exception is the test's failure."""
    try:
        return read(data, reading()), ()
    except Refused as refused:
        return None, refused.lines


#: what is nearly a document of others', so that some of them arm
numbers = st.integers(-1, 1_000) | st.floats(0, 100) | plain
flags = st.dictionaries(
    st.sampled_from(list(failure_lambda.MODES)),
    st.fixed_dictionaries(
        {"enabled": st.booleans() | plain},
        optional={
            "percentage": st.integers(-1, 101) | plain, "min_latency": numbers, "max_latency": numbers, "status_code": numbers,
            "timeout_buffer_ms": numbers, "disk_space": numbers, "exception_msg": st.text() | plain, "body": st.text() | plain,
            "deny_list": st.lists(st.text(max_size=9), max_size=3) | plain,
        },
    ),
)  # fmt: skip
delay = st.fixed_dictionaries(
    {
        "actionId": st.just("aws:lambda:invocation-add-delay"),
        "parameters": st.fixed_dictionaries(
            {"duration": st.just("PT5M")}, optional={"startupDelayMilliseconds": numbers}
        ),
    }
)
actions = st.fixed_dictionaries({"actions": st.dictionaries(st.text(max_size=9), delay, min_size=1, max_size=3)})
old = st.fixed_dictionaries(
    {
        "isEnabled": st.just(True),
        "rate": st.floats(0, 1) | plain,
        "failureMode": st.sampled_from(["latency", "denylist"]),
    },
    optional={"minLatency": numbers, "maxLatency": numbers, "denylist": st.lists(st.text(max_size=9), max_size=3)},
)


def test_wild_documents_of_others_are_refused_or_can_be_written():
    """Whatever is in them: no exception; what is made of them is within bounds, and reads the same as a document of ours."""
    armed = []

    @patient
    @given(flags | actions | old)
    def each(fields):
        one = reading(CHAOS_ARMED_UNTIL=format_ms(NOW_MS + 600_000))
        lines, experiment = one.notes, None
        try:
            experiment = read(json.dumps(fields).encode("utf-8", "surrogatepass"), one)
        except Refused as refused:
            lines = [*lines, *refused.lines]
        assert all(line.isprintable() and len(line) <= 500 for line in lines)
        if experiment is not None:
            armed.append(experiment.id)
            assert read(json.dumps(render(experiment)).encode(), reading()) == experiment

    each()
    assert {"failure-lambda", "aws-fis"} <= set(armed)


@patient
@given(st.dictionaries(st.sampled_from(KEYS), plain | st.dictionaries(st.sampled_from(FAULT_KEYS), plain)))
def test_wild_documents_without_an_end_arm_nothing(fields):
    assert outcome(json.dumps(fields).encode("utf-8", "surrogatepass"))[0] is None


@patient
@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "replace")))
def test_wild_bytes_arm_nothing(data):
    assert outcome(data)[0] is None


def _paths(value, where=""):
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, inner in items:
        path = f"{where}.{name}".lstrip(".")
        yield path
        yield from _paths(inner, path)


@patient
@given(st.sampled_from(sorted(_paths(GOOD))), plain)
def test_a_good_document_with_something_wild_in_one_place(path, value):
    """Is refused, or reads as something that is allowed."""
    experiment, lines = outcome(json.dumps(changed(GOOD, path, value)).encode())
    if experiment is None:
        assert lines
    else:
        assert experiment.armed_until_ms <= NOW_MS + 3_600_000
        assert experiment.scope.allow.functions
        assert all(0 <= one.percentage <= 100 for one in experiment.faults)
