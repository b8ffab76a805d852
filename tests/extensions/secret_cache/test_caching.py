"""What is kept, for how long, and what is answered when AWS is in trouble; how many calls that takes."""

from __future__ import annotations

import threading
import time

import pytest

from tests.receivers.aws import Fault

HOUR = 3_600_000


def together(count, ask):
    """What `count` callers get that ask at the same time."""
    found, barrier = [None] * count, threading.Barrier(count)

    def call(number):
        barrier.wait()
        found[number] = ask(number)

    threads = [threading.Thread(target=call, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def until(condition):
    limit = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < limit, "it did not happen"
        time.sleep(0.01)


def test_one_call_for_two_hundred_callers(aws, cache):
    aws.put_secret("db", "one")
    aws.latency = 0.3

    answers = together(200, lambda _: cache.secret("db"))

    assert {answer.value for answer in answers} == {"one"}
    assert aws.count("GetSecretValue", "db") == 1
    # Some came when the answer was there already.
    assert cache.counters["miss"] == 1
    assert cache.counters.get("coalesced", 0) + cache.counters.get("hit", 0) == 199


def test_a_time_to_live_of_each_kind(aws, serve, clock):
    aws.put_secret("db", "one")
    aws.put_parameter("/p", "1")
    cache = serve(SECRETS_MANAGER_TTL=100, SSM_PARAMETER_STORE_TTL=200)
    ask = (lambda: cache.secret("db").cache, lambda: cache.parameter("/p").cache)
    assert [one() for one in ask] == ["miss", "miss"]
    clock.ahead_ms += 99_000
    assert [one() for one in ask] == ["hit", "hit"]
    until(lambda: cache.secret("db").headers["age"] == "0")  # it was fetched ahead of its end
    clock.ahead_ms += 101_000
    assert [one() for one in ask] == ["miss", "miss"]


def test_an_entry_of_its_own_time(aws, serve, clock):
    arn, _ = aws.put_secret("fast/token", "one")
    aws.put_secret("slow", "one")
    cache = serve(SECRET_CACHE_TTLS="fast/*=10,slow=9000, wrong=x", SECRET_CACHE_REFRESH_AHEAD=0)
    assert any("wrong=x is not allowed" in text for _, text in cache.said)
    for id in (arn, "slow"):
        cache.secret(id)
    clock.ahead_ms += 11_000
    assert (cache.secret(arn).cache, cache.secret("slow").cache) == ("miss", "hit")
    clock.ahead_ms += HOUR
    assert cache.secret("slow").cache == "hit"


@pytest.mark.parametrize(
    "variables",
    [
        {"SECRETS_MANAGER_TTL": 0},
        {"PARAMETERS_SECRETS_EXTENSION_CACHE_SIZE": 0},
        {"PARAMETERS_SECRETS_EXTENSION_CACHE_ENABLED": "false"},
    ],
    ids=["no time", "no size", "not enabled"],
)
def test_without_a_cache_every_request_asks(aws, serve, variables):
    aws.put_secret("db", "one")
    cache = serve(**variables)

    assert [cache.secret("db").cache for _ in range(3)] == ["miss"] * 3
    assert aws.count("GetSecretValue") == 3
    assert [cache.secret("no").status for _ in range(2)] == [400, 400]
    assert aws.count("GetSecretValue", "no") == 2, "refusals are not kept either"


def test_name_and_arns_share_an_entry(aws, cache):
    arn, _ = aws.put_secret("db", "one")
    aws.put_parameter("/p", "1")

    for id in ("db", arn, arn[:-7], arn, "db"):
        assert cache.secret(id).value == "one"
    for name in ("/p", "arn:aws:ssm:us-east-1:111122223333:parameter/p", "/p"):
        assert cache.parameter(name).value == "1"
    # An ARN without its suffix is known once AWS has said which it is.
    assert aws.count("GetSecretValue") == 2
    assert aws.count("GetParameter") == 1


def test_an_arn_teaches_the_name_of_our_own_account_only(aws, cache):
    ours, _ = aws.put_secret("db", "ours")
    assert cache.secret(ours).cache == "miss"
    assert cache.secret("db").cache == "hit"
    aws.put_secret("mail", "ours")
    theirs, _ = aws.put_secret("mail", "theirs", account="444455556666")
    aws.accounts["111122223333", "us-east-1"].secrets["shared"] = aws.accounts["444455556666", "us-east-1"].secrets[
        "mail"
    ]

    assert cache.secret(theirs).value == "theirs"
    assert cache.secret("mail").value == "ours"


def test_plain_parameters_are_the_same_decrypted_or_not(aws, cache):
    aws.put_parameter("/plain", "1")
    aws.put_parameter("/hidden", "2", "SecureString")

    for more in ("", "&withDecryption=true"):
        assert cache.parameter("/plain", more).value == "1"
        cache.parameter("/hidden", more)
    assert (aws.count("GetParameter", "/plain"), aws.count("GetParameter", "/hidden")) == (1, 2)


def test_the_least_recently_used_goes(aws, serve):
    for name in "abcd":
        aws.put_secret(name, name)
    cache = serve(PARAMETERS_SECRETS_EXTENSION_CACHE_SIZE=3)
    for name in "abcabd":  # c was used longest ago
        cache.secret(name)

    assert [cache.secret(name).cache for name in "abd"] == ["hit"] * 3
    assert cache.secret("c").cache == "miss"


def test_memory_is_bounded(aws, serve):
    for number in range(10):
        aws.put_secret(f"s{number}", "x" * 20_000)
    cache = serve(SECRET_CACHE_MAX_BYTES="64KiB")
    for number in range(10):
        assert len(cache.secret(f"s{number}").value) == 20_000

    assert cache.service.cache.store.bytes <= 65_536
    assert cache.secret("s9").cache == "hit"
    aws.put_secret("large", "x" * 65_536)
    assert [cache.secret("large").cache for _ in range(2)] == ["miss", "miss"], "too large to be kept"


# trouble ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("trouble", ["throttle", "503", "reset"])
def test_a_stale_value_is_better_than_an_error(aws, cache, clock, trouble):
    """Throttling comes with status 400: it is the code that counts (jenkins aws-secrets-manager-credentials#318)."""
    aws.put_secret("db", "one")
    cache.secret("db")
    aws.outage(trouble)
    clock.ahead_ms += 301_000

    first, second = cache.secret("db"), cache.secret("db")

    assert [(one.status, one.value, one.cache) for one in (first, second)] == [(200, "one", "stale")] * 2
    assert int(first.headers["age"]) >= 301
    tried = aws.count("GetSecretValue")
    assert cache.secret("db").cache == "stale"
    assert aws.count("GetSecretValue") == tried, "AWS is left alone for a while"
    aws.outage("")
    aws.rotate("db", "two")
    clock.ahead_ms += 60_000
    assert cache.secret("db").value == "two"
    assert len([text for level, text in cache.said if level == "error"]) == 1


def test_a_stale_value_does_not_live_for_ever(aws, serve, clock):
    aws.put_secret("db", "one")
    cache = serve(SECRET_CACHE_STALE_MAX_S=600)
    cache.secret("db")
    aws.outage("reset")
    clock.ahead_ms += 899_000
    assert cache.secret("db").cache == "stale"
    clock.ahead_ms += 2_000

    assert (cache.secret("db").status, cache.secret("db").headers["x-amzn-errortype"]) == (400, "NetworkError")


@pytest.mark.once
def test_whoever_waits_too_long_gets_the_stale_value(aws, cache, clock):
    aws.put_secret("db", "one")
    cache.secret("db")
    aws.script(Fault("hang", 9, seconds=20))
    clock.ahead_ms += 301_000

    assert (cache.secret("db").value, cache.counters["stale"]) == ("one", 1)


@pytest.mark.parametrize("code", ["ResourceNotFoundException", "AccessDeniedException", "DecryptionFailure"])
def test_what_was_withdrawn_is_not_served(aws, cache, clock, code):
    aws.put_secret("db", "one")
    cache.secret("db")
    aws.script(Fault("code", 9, code=code, status=400))
    clock.ahead_ms += 301_000

    assert (cache.secret("db").status, cache.secret("db").headers["x-amzn-errortype"]) == (400, code)


def test_refusals_are_remembered_for_a_while(aws, cache, clock):
    assert [cache.secret("db").cache for _ in range(3)] == ["error", "negative", "negative"]
    assert aws.count("GetSecretValue") == 1
    aws.put_secret("db", "one")
    clock.ahead_ms += 5_100

    assert cache.secret("db").value == "one"


def test_trouble_without_a_value_is_told_and_shared(aws, cache):
    aws.outage("throttle")
    answers = together(20, lambda _: cache.secret("db"))

    assert {answer.headers["x-amzn-errortype"] for answer in answers} == {"ThrottlingException"}
    assert aws.count("GetSecretValue") <= 6, "three attempts, or twice that where somebody came late"


def test_an_answer_before_the_deadline(aws, serve):
    aws.script(Fault("hang", 99, seconds=20))
    cache = serve()
    cache.invoke(1)

    answer = cache.secret("db")

    assert (answer.status, answer.headers["x-amzn-errortype"]) == (400, "TimeoutError")
    assert cache.counters["late"] == 1


def test_news_of_the_invocation_may_come_after_its_request(aws, serve, clock):
    """The function and the extension are told of an invocation at the same time; after a freeze the last deadline is past."""
    aws.put_secret("db", "one")
    cache = serve()
    clock.ahead_ms += HOUR

    assert cache.secret("db").value == "one"


# rotation ---------------------------------------------------------------------------------------------------------------


def test_refresh_now_asks_no_more_often_than_allowed(aws, serve, clock):
    aws.put_secret("db", "one")
    cache = serve(SECRET_CACHE_REFRESH_MIN_S=5)
    cache.secret("db")
    aws.rotate("db", "two")
    early = cache.secret("db", "&refreshNow=true")
    assert (early.value, early.cache, early.headers["retry-after"]) == ("one", "hit", "5")
    clock.ahead_ms += 5_100

    answers = together(50, lambda _: cache.secret("db", "&refreshNow=true"))

    assert {answer.value for answer in answers} == {"two"}
    assert aws.count("GetSecretValue") == 2
    assert cache.secret("db").value == "two"


def test_the_former_version_is_kept_for_a_while(aws, serve, clock):
    _, first = aws.put_secret("db", "one")
    cache = serve(SECRET_CACHE_REFRESH_MIN_S=0, SECRET_CACHE_PREVIOUS_S=60)
    cache.secret("db")
    aws.rotate("db", "two")
    cache.secret("db", "&refreshNow=true")
    calls = aws.count("GetSecretValue")

    assert cache.secret("db", f"&versionId={first}").value == "one"
    assert aws.count("GetSecretValue") == calls
    aws.outage("throttle")
    assert (cache.secret("db", "&versionStage=AWSPREVIOUS").value, cache.secret("db").value) == ("one", "two")
    clock.ahead_ms += 61_000
    assert cache.secret("db", "&versionStage=AWSPREVIOUS").status == 400


def test_which_version_was_the_former_only_aws_can_tell(aws, serve):
    aws.put_secret("db", "one")
    cache = serve(SECRET_CACHE_REFRESH_MIN_S=0)
    cache.secret("db")
    for value in ("two", "three"):
        aws.rotate("db", value)
    cache.secret("db", "&refreshNow=true")

    assert cache.secret("db", "&versionStage=AWSPREVIOUS").value == "two"


def test_a_probe_sees_a_rotation_within_the_time_to_live(aws, serve, clock):
    aws.put_secret("db", "one")
    cache = serve(SECRET_CACHE_PROBE_S=20)
    cache.secret("db")
    cache.secret("db")
    clock.ahead_ms += 21_000
    cache.invoke()
    until(lambda: aws.count("DescribeSecret") == 1)
    assert aws.count("GetSecretValue") == 1, "nothing has changed"
    aws.rotate("db", "two")
    clock.ahead_ms += 21_000
    cache.invoke()
    until(lambda: aws.count("GetSecretValue") == 2)

    until(lambda: cache.secret("db").value == "two")
    aws.denied.add("DescribeSecret")
    for _ in range(3):
        clock.ahead_ms += 21_000
        cache.invoke()
        cache.secret("db")
        until(lambda: not any(cache.service.calls_running.values()))
        cache.settle()
    assert aws.count("DescribeSecret") == 3, "what is not allowed is not tried again"


def test_what_is_in_use_is_fetched_ahead_of_its_end(aws, cache, clock):
    for name in ("used", "idle"):
        aws.put_secret(name, "one")
        cache.secret(name)
    cache.secret("used")
    aws.rotate("used", "two")
    clock.ahead_ms += 250_000
    cache.invoke()
    until(lambda: aws.count("GetSecretValue", "used") == 2)
    cache.calm()
    clock.ahead_ms += 60_000

    answer = cache.secret("used")
    assert (answer.value, answer.cache) == ("two", "hit")
    assert aws.count("GetSecretValue", "idle") == 1


def test_a_frozen_environment_fetches_beside_the_invocation(aws, cache, clock):
    """Longer than the time to live: the next answer is right, whoever is first."""
    aws.put_secret("db", "one")
    cache.secret("db")
    cache.secret("db")
    aws.rotate("db", "two")
    clock.ahead_ms += HOUR
    cache.invoke()

    assert cache.secret("db").value == "two"
    assert aws.count("GetSecretValue") == 2


@pytest.mark.parametrize("step", [-HOUR, -1_000])
def test_a_clock_that_is_set_back(aws, cache, clock, step):
    aws.put_secret("db", "one")
    cache.secret("db")
    aws.rotate("db", "two")
    clock.ahead_ms += step

    assert cache.secret("db").value == "two"


# restore ----------------------------------------------------------------------------------------------------------------


def test_after_a_restore_everything_is_fetched_anew(aws, serve):
    aws.put_secret("db", "one")
    cache = serve()
    cache.secret("db")
    cache.secret("db")
    aws.rotate("db", "two")
    cache.service.restored(snapshot=True)
    cache.settle()

    assert cache.secret("db").value == "two"
    assert aws.count("GetSecretValue") == 2


def test_no_snapshot_holds_what_was_fetched_before_it(aws, serve):
    aws.put_secret("db", "one")
    cache = serve(AWS_LAMBDA_INITIALIZATION_TYPE="snap-start", SECRET_CACHE_PREFETCH="secret:db")
    assert [cache.secret("db").value for _ in range(2)] == ["one", "one"]
    assert (len(cache.service.cache.store), aws.count("GetSecretValue")) == (0, 2)
    cache.service.restored(snapshot=True)
    cache.settle()
    until(lambda: aws.count("GetSecretValue") == 3)  # the prefetch that was put off

    until(lambda: cache.secret("db").cache == "hit")


def test_who_waits_through_a_restore_is_answered_from_after_it(aws, serve):
    aws.put_secret("db", "one")
    cache = serve()
    aws.latency = 0.5
    waiting = []
    thread = threading.Thread(target=lambda: waiting.append(cache.secret("db")))
    thread.start()
    until(lambda: aws.count("GetSecretValue") == 1)
    aws.latency = 0.0
    aws.rotate("db", "two")
    cache.service.restored(snapshot=True)
    thread.join()

    assert waiting[0].value == "two"


# upstream ---------------------------------------------------------------------------------------------------------------


def test_prefetch_in_batches(aws, serve):
    names = [f"s{number}" for number in range(25)]
    for name in names:
        aws.put_secret(name, f"value {name}")
        aws.put_parameter(f"/p/{name}", f"value {name}")
    aws.put_secret("tagged", "t", tags={"team": "a"})
    aws.put_secret("other", "o", tags={"team": "b"})
    items = [
        *(f"secret:{name}" for name in names),
        *(f"parameter:/p/{name}" for name in names[:12]),
        "tag:team=a",
        "nonsense",
    ]
    cache = serve(SECRET_CACHE_PREFETCH=",".join(items))
    until(lambda: len(cache.service.cache.store) >= 38)

    assert {cache.secret(name).cache for name in [*names, "tagged"]} == {"hit"}
    assert {cache.parameter(f"/p/{name}").cache for name in names[:12]} == {"hit"}
    assert (aws.count("BatchGetSecretValue"), aws.count("GetParameters")) == (3, 2)
    assert (aws.count("GetSecretValue"), aws.count("GetParameter")) == (0, 0)
    assert cache.secret("other").cache == "miss"
    assert any("nonsense is not allowed" in text for _, text in cache.said)


def test_where_batches_are_denied_single_calls_follow_and_that_is_remembered(aws, serve):
    """A drop-in needs no more than GetSecretValue and GetParameter."""
    aws.denied |= {"BatchGetSecretValue", "GetParameters"}
    for number in range(30):
        aws.put_secret(f"s{number}", "x")
        aws.put_parameter(f"/p{number}", "x")
    items = [f"secret:s{number}" for number in range(15)] + [f"parameter:/p{number}" for number in range(15)]
    cache = serve(SECRET_CACHE_PREFETCH=",".join(items))
    until(lambda: len(cache.service.cache.store) == 30)
    denied = (aws.count("BatchGetSecretValue"), aws.count("GetParameters"))
    ids = "&".join(f"secretId=s{number}" for number in range(15, 30))
    answer = cache.get(f"/secretsmanager/batch?{ids}").json

    assert len(answer["SecretValues"]) == 15
    assert (aws.count("BatchGetSecretValue"), aws.count("GetParameters")) == denied
    assert denied == (1, 2)


def test_where_batches_are_throttled_single_secrets_follow_but_not_single_parameters(aws, serve):
    """Secrets Manager takes 100 batches a second and 10,000 single calls; Parameter Store's quota is one for both."""
    for name in ("a", "b"):
        aws.put_secret(name, name)
        aws.put_parameter(f"/{name}", name)
    throttles = [
        Fault("throttle", times=3, operation=operation) for operation in ("BatchGetSecretValue", "GetParameters")
    ]
    aws.script(*throttles)
    cache = serve(SECRET_CACHE_PREFETCH="secret:a,secret:b,parameter:/a,parameter:/b")

    assert [cache.secret(name).value for name in ("a", "b")] == ["a", "b"]
    assert (aws.count("BatchGetSecretValue"), aws.count("GetSecretValue")) == (3, 2)
    until(lambda: aws.count("GetParameters") == 3 and not any(cache.service.calls_running.values()))
    assert aws.count("GetParameter") == 0
    aws.rotate("a", "A")
    aws.rotate("b", "B")
    cache.clock.ahead_ms += 400_000
    answer = cache.get("/secretsmanager/batch?secretId=a&secretId=b").json
    assert [one["SecretString"] for one in answer["SecretValues"]] == ["A", "B"]
    assert aws.count("BatchGetSecretValue") == 3, "it is remembered"


def test_one_bad_id_does_not_spoil_a_batch(aws, cache):
    for name in ("a", "b"):
        aws.put_secret(name, name)
    aws.script(Fault("code", operation="BatchGetSecretValue", code="ValidationException", status=400))

    answer = cache.get("/secretsmanager/batch?secretId=a&secretId=no&secretId=b").json

    assert [one["Name"] for one in answer["SecretValues"]] == ["a", "b"]
    assert [one["SecretId"] for one in answer["Errors"]] == ["no"]


def test_no_more_calls_at_once_than_allowed(aws, serve):
    aws.latency = 0.1
    for number in range(12):
        aws.put_secret(f"s{number}", "x")
    cache = serve(PARAMETERS_SECRETS_EXTENSION_MAX_CONNECTIONS=2)
    answers = together(12, lambda number: cache.secret(f"s{number}", "&versionStage=AWSCURRENT&versionId=" * 0))

    assert {answer.status for answer in answers} == {200}
    begun = sorted(call.at for call in aws.calls)
    assert not any(begun[at + 2] - begun[at] < 0.05 for at in range(len(begun) - 2)), "three calls at once"


def test_replicas_stand_in_for_a_region(aws, serve, clock):
    arn, _ = aws.put_secret("db", "one")
    aws.replicate("db", "us-west-2")
    cache = serve(SECRET_CACHE_REPLICA_REGIONS="us-west-2", SECRET_CACHE_REFRESH_AHEAD=0)
    aws.script(Fault("status", 99, region="us-east-1", status=503))

    answer = cache.secret("db")

    assert (answer.value, answer.json["ARN"]) == ("one", arn)
    assert cache.secret(arn).cache == "hit"
    assert cache.counters["failover"] == 1
    east = sum(call.region == "us-east-1" for call in aws.calls)
    clock.ahead_ms += 301_000
    cache.secret("db")
    assert sum(call.region == "us-east-1" for call in aws.calls) > east, "home is tried again after a while"
    aws.put_secret("home-only", "x")
    assert cache.secret("home-only").headers["x-amzn-errortype"] in (
        "ResourceNotFoundException",
        "InternalServiceError",
    )


def test_the_batch_of_a_path_has_many_pages(aws, cache):
    for number in range(37):
        aws.put_parameter(f"/many/{number:02}", str(number))

    found = cache.get("/systemsmanager/parameters/path?path=/many").json["Parameters"]

    assert [one["Value"] for one in found] == [str(number) for number in range(37)]
    assert aws.count("GetParametersByPath") == 4


def test_files(aws, serve, tmp_path, monkeypatch):
    monkeypatch.setattr("extensions.secret_cache.files.ROOTS", (str(tmp_path),))
    path = f"/tmp/extension-kit-test-{tmp_path.name}/db.json"  # noqa: S108 - only there may be written
    aws.put_secret("db", "one")
    aws.put_secret("raw", b"\x00\xff")
    files = f"{path}=secret:db,{path}.raw=secret:raw,/etc/x=secret:db,{path}2=db"
    cache = serve(SECRET_CACHE_FILES=files, SECRET_CACHE_REFRESH_MIN_S=0)
    until(lambda: cache.counters.get("files_written") == 2)

    with open(path, "rb") as file, open(f"{path}.raw", "rb") as raw:
        assert (file.read(), raw.read()) == (b"one", b"\x00\xff")
    aws.rotate("db", "two")
    cache.secret("db", "&refreshNow=true")
    with open(path, "rb") as file:
        assert file.read() == b"two"
    assert sum("SECRET_CACHE_FILES" in text for _, text in cache.said) == 2
    cache.service.stop()
    until(lambda: not __import__("os").path.exists(path))


@pytest.mark.once
def test_nobody_waits_longer_for_a_stale_value_because_others_have_none(aws, cache, clock):
    """One timer for all: a caller without a value to fall back on waits until the deadline, the other a second."""
    aws.put_secret("known", "one")
    cache.secret("known")
    clock.ahead_ms += 301_000
    aws.script(Fault("hang", 99, seconds=5))
    patient = threading.Thread(target=lambda: cache.secret("unknown"))
    patient.start()
    until(lambda: aws.count("GetSecretValue", "unknown") == 1)

    assert cache.secret("known").cache == "stale"
    assert cache.service.cache._flights, "the other one still waits"
    patient.join()


def test_an_answer_that_cannot_be_written_keeps_nobody_waiting(aws, cache, monkeypatch, capsys):
    aws.put_secret("db", "one")
    aws.latency = 0.3
    calls = []

    def broken(*arguments, **_options):
        calls.append(arguments)
        raise RuntimeError("a mistake of ours")

    monkeypatch.setattr(cache.service._front._replies.__class__, "outcome", broken)

    answers = together(5, lambda _: cache.secret("db"))

    assert {(answer.status, answer.body) for answer in answers} == {(500, b"internal error")}
    assert len(calls) == 5
    assert "a mistake of ours" in capsys.readouterr().err
