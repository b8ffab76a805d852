"""The signer, compared with botocore's."""

from __future__ import annotations

import hashlib
import hmac
import subprocess
import sys
import time

import pytest
from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as Theirs
from hypothesis import example, given
from hypothesis import strategies as st

from extension_kit.aws import Credentials, signature
from extension_kit.aws.signature import Signer, encode_query, quote, stamp

SEGMENTS = st.text("abcXYZ019-._~ é%+&=", min_size=1, max_size=8).filter(lambda one: one not in (".", ".."))
PAIRS = st.lists(st.tuples(st.text(min_size=1, max_size=8), st.text(max_size=8)), max_size=5)
HEADERS = st.dictionaries(
    st.sampled_from(["X-Amz-Target", "Content-Type", "X-Custom", "Accept"]),
    st.text("abc 019;=/-", max_size=30).map(str.strip),
    max_size=4,
)


def theirs(credentials, region, service, now_ms, method, url, headers, body):
    request = AWSRequest(method, url, data=body, headers=dict(headers))
    at = stamp(now_ms)
    request.context["timestamp"] = at
    request.headers["X-Amz-Date"] = at
    if credentials.token:
        request.headers["X-Amz-Security-Token"] = credentials.token
    signer = SigV4Auth(
        Theirs(credentials.access_key, credentials.secret_key, credentials.token or None), service, region
    )
    return signer.signature(signer.string_to_sign(request, signer.canonical_request(request)), request)


@given(
    st.lists(SEGMENTS, max_size=3), PAIRS, HEADERS, st.binary(max_size=100), st.text("ABC/+=012", max_size=20),
    st.integers(0, 4_000_000_000_000), st.sampled_from(["us-east-1", "eu-central-2"]),
)  # fmt: skip
@example([], [("0", ""), ("00", "")], {}, b"", "", 0, "us-east-1")
def test_as_botocore_signs(segments, pairs, headers, body, token, now_ms, region):
    # botocore is given the path as it is sent, as we are; it escapes what was escaped once more, as AWS does.
    path = "/" + "/".join(quote(one) for one in segments)
    query = encode_query(pairs)
    url = f"http://host.example:8080{path}" + (f"?{query}" if query else "")
    credentials = Credentials("AKID", "SECRET", token)
    sent = [("Host", "host.example:8080"), *headers.items()]

    signed = Signer().sign(credentials, region, "svc", now_ms, "POST", path, query, sent, body)

    expected = theirs(credentials, region, "svc", now_ms, "POST", url, headers, body)
    assert dict(signed)["Authorization"].endswith(f"Signature={expected}")


def test_a_key_serves_for_a_day():
    signer = Signer()
    day = 86_400_000
    for now_ms in (0, 1, day - 1, day):
        signer.sign(Credentials("A", "S"), "r", "s", now_ms, "GET", "/", "", [("Host", "h")], b"")

    assert repr(signer) == "Signer(2 keys)"


def test_keys_do_not_pile_up():
    signer = Signer()
    for number in range(200):
        signer.sign(Credentials("A", f"S{number}"), "r", "s", 0, "GET", "/", "", [("Host", "h")], b"")

    assert int(repr(signer).split("(")[1].split()[0]) <= 64


@given(st.binary(max_size=200), st.binary(max_size=200))
def test_the_hash_is_the_standard_librarys(key, data):
    assert signature._hmac(key, data) == hmac.digest(key, data, "sha256")
    assert signature._sha256(data) == hashlib.sha256(data).hexdigest()


def test_signing_loads_no_openssl():
    code = (
        "import sys\nfrom extension_kit.aws import Credentials\nfrom extension_kit.aws.signature import Signer\n"
        "Signer().sign(Credentials('A', 'S'), 'r', 's', 0, 'GET', '/', '', [('Host', 'h')], b'')\n"
        "print([name for name in ('_hashlib', 'hashlib', 'ssl', 'hmac') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "[]\n"


@given(st.integers(0, 4_102_444_800_000))
def test_stamps(now_ms):
    assert stamp(now_ms) == time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now_ms // 1000))


@pytest.mark.parametrize("secret", ["top-secret", "session-token"])
def test_credentials_show_nothing(secret):
    shown = repr(Credentials("AKID", "top-secret", "session-token", 5))

    assert secret not in shown
    assert "AKID" in shown


KEYS = st.text("abc/ é+&=~", min_size=1, max_size=20).filter(lambda key: "//" not in key and key.strip("/") == key)


@given(KEYS, st.binary(max_size=60))
def test_paths_of_s3_as_botocore_signs_them(key, body):
    """Escaped once, as they are sent, with the hash of the body in a header."""
    path = f"/bucket/{quote(key, b'/')}"
    credentials = Credentials("AKID", "SECRET", "TOKEN")
    headers = [("Host", "s3.example:8080"), ("X-Amz-Content-Sha256", signature.content_hash(body))]

    signed = dict(Signer().sign(credentials, "eu-west-1", "s3", 1_000_000, "PUT", path, "", headers, body))

    request = AWSRequest("PUT", f"http://s3.example:8080{path}", data=body, headers=dict(headers[1:]))
    at = stamp(1_000_000)
    request.context["timestamp"] = at
    request.headers["X-Amz-Date"] = at
    request.headers["X-Amz-Security-Token"] = "TOKEN"
    signer = S3SigV4Auth(Theirs("AKID", "SECRET", "TOKEN"), "s3", "eu-west-1")
    expected = signer.signature(signer.string_to_sign(request, signer.canonical_request(request)), request)
    assert signed["Authorization"].endswith(f"Signature={expected}")
