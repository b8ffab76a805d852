"""The store by itself, under any sequence of answers, refusals and time: bounds, ages, names."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from extension_kit.aws import AwsError
from extensions.secret_cache.asks import ParameterAsk, SecretAsk
from extensions.secret_cache.found import Secret
from extensions.secret_cache.policy import Policy
from extensions.secret_cache.store import HIT, MISS, NEGATIVE, STALE, Store

TTL, STALE_MS, ENTRIES, BYTES = 1_000, 5_000, 4, 6_000
ARN = "arn:aws:secretsmanager:us-east-1:111122223333:secret:"
IDS = [*"abcdef", *(f"{ARN}{name}-AbCdEf" for name in "abc")]
ERRORS = [
    AwsError("ThrottlingException", ""), AwsError("NetworkError", ""), AwsError("ResourceNotFoundException", "", status=400),
    AwsError("NoCredentials", ""),
]  # fmt: skip

OPERATION = st.one_of(
    st.tuples(st.just("found"), st.sampled_from(IDS), st.integers(0, 3), st.integers(0, 3_000)),
    st.tuples(st.just("refused"), st.sampled_from(IDS), st.sampled_from(ERRORS), st.just(0)),
    st.tuples(st.just("time"), st.just(""), st.integers(-2_000, 4_000), st.just(0)),
    st.tuples(st.just("clear"), st.just(""), st.just(0), st.just(0)),
)


def secret(id, version, size):
    name = id.removeprefix(ARN)[:1]
    return Secret({
        "ARN": f"{ARN}{name}-AbCdEf", "Name": name, "VersionId": f"v{version}", "SecretString": "x" * size,
        "VersionStages": ["AWSCURRENT"],
    })  # fmt: skip


@given(st.lists(OPERATION, max_size=40), st.floats(0, 0.999))
def test_whatever_happens(operations, drawn):
    policy = Policy(
        lambda: drawn,
        entries=ENTRIES,
        max_bytes=BYTES,
        secret_ms=TTL,
        stale_ms=STALE_MS,
        jitter_percent=50,
        previous_ms=500,
    )
    store = Store(policy, ("us-east-1", "111122223333"))
    now, fetched = 1_000_000, {}
    for kind, id, value, size in operations:
        if kind == "found":
            store.keep(SecretAsk(id), secret(id, value, size), now)
            fetched[id.removeprefix(ARN)[:1]] = (f"v{value}", now)
        elif kind == "refused":
            store.fail(SecretAsk(id), value, now)
        elif kind == "time":
            now += value
        else:
            store.clear()

        assert len(store) <= ENTRIES
        assert store.bytes == sum(entry.size for entry in store) <= BYTES
        for key in list(store._keys):
            assert store.peek(key) is not None, "a name that leads nowhere"
        for one in IDS:
            entry = store.peek(SecretAsk(one))
            if entry is None:
                continue
            state, found = entry.state(now), entry.found
            assert state in (HIT, MISS, STALE, NEGATIVE)
            age = now - entry.fetched_ms
            if state == HIT:
                assert 0 <= age < TTL
                assert (found.version_id, entry.fetched_ms) == fetched[one.removeprefix(ARN)[:1]], "an answer of before"
            if state == STALE or entry.is_usable(now):
                assert 0 <= age < TTL + STALE_MS
            if state == NEGATIVE:
                assert found is None
                assert entry.error is not None


def test_nothing_of_a_value_is_shown():
    store = Store(Policy(lambda: 0.0))
    entry = store.keep(SecretAsk("a"), Secret({**vars_of("very-secret")}), 0)

    assert "very-secret" not in repr((store, entry, entry.found, list(store)))


def vars_of(value):
    return {"ARN": ARN + "a-AbCdEf", "Name": "a", "VersionId": "v", "SecretString": value}


def test_asks_are_the_same_where_they_mean_the_same():
    assert SecretAsk("a", version_stage="AWSCURRENT") == SecretAsk("a")
    assert SecretAsk("a", "v", "AWSCURRENT") != SecretAsk("a", "v")
    assert ParameterAsk("a", "1") != ParameterAsk("a")
    assert hash(SecretAsk("a")) == hash(SecretAsk("a"))
