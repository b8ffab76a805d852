"""Made-up secrets of every family, in the places where functions let them slip; and lines that hold none.

Everything is put together here, so that no text of this file looks like a secret to whoever scans it.
"""

from __future__ import annotations

import json
import string
import timeit

from extensions.log_shipper.redact import Redactor

_ALNUM = string.ascii_letters + string.digits


def _chars(count, alphabet=_ALNUM, seed=7):
    """So many characters, the same in every run."""
    found, state = [], seed * 2_654_435_761 % 2**32
    for _ in range(count):
        state = (state * 1_103_515_245 + 12_345) % 2**31
        found.append(alphabet[state // 65_536 % len(alphabet)])
    return "".join(found)


def _card(prefix, length):
    digits = [int(one) for one in prefix + _chars(length - 1 - len(prefix), string.digits)]
    total = sum(digits[-2::-2]) + sum(one * 2 - 9 * (one > 4) for one in digits[-1::-2])
    return "".join(map(str, digits)) + str(-total % 10)


HEX = "0123456789abcdef"
#: family: a token that shows by itself what it is
TOKENS = {
    "aws access key": "AKIA" + _chars(16, string.ascii_uppercase + "234567"),
    "aws temporary key": "ASIA" + _chars(16, string.ascii_uppercase + "234567"),
    "jwt": "eyJ" + _chars(30) + ".eyJ" + _chars(40) + "." + _chars(43),
    "github": "ghp_" + _chars(36),
    "github fine-grained": "github_pat_" + _chars(22) + "_" + _chars(59),
    "gitlab": "glpat-" + _chars(20),
    "slack": "xoxb-" + _chars(12, string.digits) + "-" + _chars(24),
    "stripe": "sk_" + "live_" + _chars(24),
    "google": "AIza" + _chars(35),
    "google oauth": "ya29." + _chars(60),
    "npm": "npm_" + _chars(36),
    "pypi": "pypi-AgEIcHlwaS5vcmc" + _chars(60),
    "sendgrid": "SG." + _chars(22) + "." + _chars(43),
    "twilio": "SK" + _chars(32, HEX),
    "openai": "sk-" + "proj-" + _chars(48),
    "anthropic": "sk-" + "ant-api03-" + _chars(60),
    "hugging face": "hf_" + _chars(34),
    "shopify": "shpat_" + _chars(32, HEX),
    "vault": "hvs." + _chars(40),
    "new relic": _chars(36, HEX) + "NRAL",
    "private key": f"-----BEGIN PRIVATE KEY-----\n{_chars(64)}\n{_chars(64, seed=9)}\n-----END PRIVATE KEY-----",
    "visa": _card("4", 16),
    "visa, spaced": " ".join(_card("41", 16)[at : at + 4] for at in range(0, 16, 4)),
    "mastercard, dashed": "-".join(_card("55", 16)[at : at + 4] for at in range(0, 16, 4)),
    "amex": _card("37", 15),
}
#: how such a token stands in a line
AROUND = {
    "alone": "{}",
    "in a sentence": "could not use {} for the order, giving up",
    "after a colon": "got: {}, retrying",
    "in brackets": "[ERROR] rejected ({})",
    "in json": json.dumps({"event": "login", "detail": "{}", "n": 3}),
    "in json in json": json.dumps({"body": json.dumps({"deep": ["{}"]})}),
}
#: values that only the name before them tells
VALUES = ("hunter2", "correct-horse/battery", "p@ssw0rd!", "aGVsbG8gd29ybGQ=")
#: how a name and its value stand in a line
NAMED = {
    "assignment": "connecting with {name}={value} to the database",
    "colon": "{name}: {value}",
    "double quotes": 'config {name}="{value}" loaded',
    "single quotes": "config {{'{name}': '{value}'}}",
    "json": '{{"{name}":"{value}","other":1}}',
    "json, spaced": 'request {{"user": "bob", "{name}" : "{value}"}} done',
    "escaped json": 'body={{\\"{name}\\":\\"{value}\\",\\"n\\":1}} end',
    "twice escaped json": 'body="{{\\\\\\"{name}\\\\\\":\\\\\\"{value}\\\\\\"}}"',
    "query": "GET https://api.example.com/v1/x?a=1&{name}={value}&b=2 200",
    "ruby": ":{name} => {value}",
    "form": "user[{name}]={value}&commit=1",
}
NAMES = ("password", "DB_PASSWORD", "clientSecret", "api-key", "access_token", "private_key")
URLS = ("https://bob:{}@db.example.com/x", "postgres://svc:{}@10.0.0.1:5432/app", "redis://:{}@cache:6379/0")
HEADERS = (
    "Authorization: Bearer {}", "authorization: Basic {}", "X-Api-Key: {}", "Cookie: id={}; theme=dark",
    "Set-Cookie: sid={}; Secure", "Proxy-Authorization: Digest {}", "X-Amz-Security-Token: {}",
)  # fmt: skip


def secrets():
    """(what it is, the secret, the text of a line that holds it)."""
    found = []
    for family, token in TOKENS.items():
        for place, around in AROUND.items():
            inside = json.dumps(token)[1:-1] if "json" in place else token
            if place == "in json in json":
                inside = json.dumps(inside)[1:-1]
            found.append((f"{family} {place}", token, around.replace("{}", inside)))
    for name in NAMES:
        for way, text in NAMED.items():
            for value in VALUES:
                if way in ("assignment", "colon", "query", "ruby", "form") and "&" in value:
                    continue
                found.append((f"{name} {way} {value}", value, text.format(name=name, value=value)))
    found += [
        (f"url {url}", value, f"connecting to {url.format(value)} now") for url in URLS for value in ("s3cr3t", "a%40b")
    ]
    found += [(f"header {header}", _chars(24), f"> {header.format(_chars(24))}") for header in HEADERS]
    return found


REQUEST = "8476a536-e9f4-11e8-9739-2dfe598c3fcd"
INNOCENT = (
    "plain text", "", "2026-11-23T08:00:00.700Z\t" + REQUEST + "\tINFO\tprocessed 12 orders in 340 ms",
    "START RequestId: " + REQUEST + " Version: $LATEST", "Duration: 12.5 ms\tBilled Duration: 13 ms\tMemory Size: 128 MB",
    "all tests passed", "the passenger's pass", "token count 512, tokens: 17 used", "keyboard interrupt at key 7",
    "authors: Bob and Ann", "author=Bob", "the secretary's desk", "session ended", "basic understanding of bearer bonds",
    "order 4111111111111112 has a wrong check digit", "trace 1-5f35ae12-0c0fec141ab77a00bc047aa2 sampled",
    "sha256 " + "ab" * 32, "at 1795420800000 epoch", "id=12345678901234567890123", "192.168.0.1:8080 -> 10.0.0.1:443",
    "http://example.com/path?x=1&y=2", "mail bob@example.com sent", "a@b", "monkey=1", "passed: 3, failed: 0", "bypass=1",
    "compass: north", "nextToken=abc", "password=", 'password: ""', "password: null", '{"password":null}', '{"token":""}',
    "token=[REDACTED]", '{"level":"INFO","message":"ok","duration":12.5}', '{"items":[1,2,3],"nested":{"a":{"b":"c"}}}',
    "x" * 5000, "a=b " * 200, "{not json", "[ERROR] something [bad] happened", "caf\u00e9 \u6f22\u5b57 \U0001f600",
    "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----", "C:\\temp\\new", "tab\there", "quote \" and ' here",
    "phone +49 30 1234567", "iban-like DE00 0000 0000 0000 0000 00", "version=1.2.3", "key: value",
    "key=value", "primary key: 17", "keys: a, b", "KeyError: 'x'", "monkeys = 12", "public_key_id: 9", "tokenizer: fast",
    "secretly: no", "cookies: 3", "authenticated: yes", "sessions: 9", "credentialed=yes", "Authorized: yes", "skating",
    "ASIA is large",
)  # fmt: skip


def cost_per_line():
    """Microseconds that looking for secrets takes in an ordinary line of 40 to 300 characters, in which there are none."""
    redactor = Redactor()
    lines = [json.dumps(text).encode() for text in INNOCENT if 40 < len(text) < 300]
    return (
        min(timeit.repeat(lambda: [redactor.redact(line) for line in lines], number=200, repeat=5))
        / 200
        / len(lines)
        * 1e6
    )
