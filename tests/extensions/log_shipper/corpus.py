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


def _card(prefix, length, seed):
    digits = [int(one) for one in prefix + _chars(length - 1 - len(prefix), string.digits, seed)]
    total = sum(digits[-2::-2]) + sum(one * 2 - 9 * (one > 4) for one in digits[-1::-2])
    return "".join(map(str, digits)) + str(-total % 10)


HEX = "0123456789abcdef"


def tokens(seed=7):
    """By family, tokens that show by themselves what they are."""

    def chars(count, alphabet=_ALNUM):
        return _chars(count, alphabet, seed)

    return {
        "aws access key": "AKIA" + chars(16, string.ascii_uppercase + "234567"),
        "aws temporary key": "ASIA" + chars(16, string.ascii_uppercase + "234567"),
        "jwt": "eyJ" + chars(30) + ".eyJ" + chars(40) + "." + chars(43),
        "github": "ghp_" + chars(36),
        "github fine-grained": "github_pat_" + chars(22) + "_" + chars(59),
        "gitlab": "glpat-" + chars(20),
        "slack": "xoxb-" + chars(12, string.digits) + "-" + chars(24),
        "stripe": "sk_" + "live_" + chars(24),
        "google": "AIza" + chars(35),
        "google oauth": "ya29." + chars(60),
        "npm": "npm_" + chars(36),
        "pypi": "pypi-AgEIcHlwaS5vcmc" + chars(60),
        "sendgrid": "SG." + chars(22) + "." + chars(43),
        "twilio": "SK" + chars(32, HEX),
        "openai": "sk-" + "proj-" + chars(48),
        "anthropic": "sk-" + "ant-api03-" + chars(60),
        "hugging face": "hf_" + chars(34),
        "shopify": "shpat_" + chars(32, HEX),
        "vault": "hvs." + chars(40),
        "new relic": chars(36, HEX) + "NRAL",
        "private key": f"-----BEGIN PRIVATE KEY-----\n{chars(64)}\n{chars(64)[::-1]}\n-----END PRIVATE KEY-----",
        "visa": _card("4", 16, seed),
        "visa, spaced": " ".join(_card("41", 16, seed)[at : at + 4] for at in range(0, 16, 4)),
        "mastercard, dashed": "-".join(_card("55", 16, seed)[at : at + 4] for at in range(0, 16, 4)),
        "amex": _card("37", 15, seed),
    }


TOKENS = tokens()
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
VALUES = ("hunter{}", "correct-horse/{}", "p@ss{}!", "{}bGQ=")
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


#: places that a review has found: the value behind {}
REVIEWED = {
    "option": "app --password={} start", "option, short": "mysql -p password={} x", "led by _": "set _password={} now",
    "led by .": "x .password={} now", "bytes": "password=b'{}'", "bytes in a repr": "got {{'password': b'{}'}}",
    "unicode": "password=u'{}'", "option of rust": 'Config {{ password: Some("{}") }}', "wrapped": 'x password=Secret("{}")',
    "wrapped twice": 'password: Some(SecretString(value="{}"))', "equals": "if password == '{}'", "go": 'password := "{}"',
    "aligned": "password            : {}", "SecretString": '{{"SecretString":"{}"}}', "SecretBinary": "SecretBinary: {}",
    "passwords": '{{"passwords":["a","{}"]}}', "secrets": "secrets=[1, '{}']", "tokens": '{{"tokens":["{}"]}}',
    "api_keys": "api_keys: ['a', '{}'] loaded", "credentials": '{{"credentials":[{{"user":"{}"}}]}}',
    "AccountKey": "AccountName=a;AccountKey={};EndpointSuffix=x", "X-Auth-Key": "X-Auth-Key: {}",
    "X-Amz-Signature": "GET https://b.s3.amazonaws.com/k?X-Amz-Signature={}&x=1", "sig": "GET https://x/y?sv=1&sig={} 200",
    "sig, first": "GET https://x/y?sig={}", "client_assertion": "client_assertion={}&x=1",
    "@ in a password": "postgres://root:p@{}@db/x", "/ in a password": "postgres://u:p/{}@db/x",
    "both in a password": "postgres://u:p@a/{}@db/x", "# in a password": "amqp://u:p#{}@mq",
    "object on lines": 'credentials: {{\n "user": "{}"\n}} end', "list on lines": '"password":["a",\n"{}"] {{',
    "bracket in quotes": "credentials: {{'a': '}}', 'b': '{}'}}", "bracket never closed": "secrets: ['a', '{}'",
    "yaml |": "a:\n  password: |\n    {}\n  b: 1", "yaml >-": "password: >-\n  first\n\n  {}\nb: 1",
    "yaml, below": "- credentials:\n    user: {}\n- b", "yaml, after a prefix": "[INFO] password: |\n  {}",
    "digest": '> Authorization: Digest username="bob", response="{}"', "cookie in quotes": "curl -H 'Cookie: a=\"{}\"' x",
    "header as an object": '{{"name":"Authorization","value":"{}"}}', "value first": '{{"Value":"{}","Name":"DB_PASSWORD"}}',
    "header in a repr": "sent {{'name': 'Authorization', 'value': '{}'}}", "xml attributes": '<add key="Password" value="{}"/>',
    "header as a pair": '{{"headers":[["Authorization","{}"]]}}', "pair in a repr": "sent [('Cookie', '{}')]",
    "pair, second": "sent [('Host', 'x'), ('Cookie', '{}')]", "xml": "<x><password>{}</password></x>",
    "xml with a space of names": '<wsse:Password Type="x">{}</wsse:Password>',
    "cdata": "<password><![CDATA[<{}]]></password>",
    "triple quotes": 'password = """{}"""', "raw": 'password=r#"{}"#', "verbatim": 'password=@"{}"',
    "typed": 'password: str = "{}"', "typed, rust": 'let token: &str = "{}";', "no type": "password: {} = wrong",
    "default": "token = os.environ.get('A', '{}')", "members of yaml": "  - name: DB_PASSWORD\n    value: {}",
    "behind an escaped line end": "raw=GET /\\r\\nCookie: a={}\\r\\n", "name with a dash at its end": "password_: {}",
}  # fmt: skip


def secrets():
    """(what it is, the secret, the text of a line that holds it): each has a secret of its own."""
    found = []
    for seed, (place, around) in enumerate(AROUND.items(), 11):
        for family, token in tokens(seed).items():
            inside = json.dumps(token)[1:-1] if "json" in place else token
            if place == "in json in json":
                inside = json.dumps(inside)[1:-1]
            found.append((f"{family} {place}", token, around.replace("{}", inside)))
    named = [(f"{name} {way}", text.replace("{name}", name)) for name in NAMES for way, text in NAMED.items()]
    for seed, ((what, text), shape) in enumerate(((one, shape) for one in named for shape in VALUES), 101):
        value = shape.format(_chars(9, seed=seed))
        found.append((f"{what} {shape}", value, text.format(value=value)))
    others = [(f"url {url} {shape}", f"connecting to {url} now", shape) for url in URLS for shape in ("s3{}", "a%40{}")]
    others += [(f"header {header}", f"> {header}", "{}") for header in HEADERS]
    others += [(f"reviewed {what}", text, "{}") for what, text in REVIEWED.items()]
    for seed, (what, text, shape) in enumerate(others, 1_001):
        value = shape.format(_chars(18, seed=seed))
        found.append((what, value, text.format(value)))
    for seed, around in enumerate(("{} 12/27", "user 42 {}", "{} 123", "card 1 2 {} 3"), 2_001):
        card = _card("4", 16, seed)
        groups = " ".join(card[at : at + 4] for at in range(0, 16, 4))
        found += [
            (f"card {around}", card, around.format(card)),
            (f"card in groups {around}", groups, around.format(groups)),
        ]
    return found


REQUEST = "8476a536-e9f4-11e8-9739-2dfe598c3fcd"
#: What functions print all day.
ORDINARY = (
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
#: What comes close: most of it is searched, in vain.
CLOSE = (
    '{"usage":{"prompt_tokens":512,"completion_tokens":88,"total_tokens":600}}', "max_tokens=512",
    "total_tokens: 33", "secrets: 3 loaded", "tokens: 128k", "tokens=1200/4096", '{"tokens":{"in":512,"out":88}}',
    "https://example.com/a@b", "https://example.com:8080/a@b", "https://example.com/x?mail=bob@example.com",
    "https://registry:5000/img@sha256:12", "sig=SIGTERM", "signal: 15", '{"name":"alice","value":"x"}',
    '{"missing":["password","email"]}', "missing fields ['password', 'email']", "<p>password</p>", "<password></password>",
    "type <password> to log in", "2026-11-23 08:00 12 4111 rows", "4 8 15 16 23 42 4 8 15 16 23 42",
    "1795420800000 1795420800123", "--passes=3", "wrong password:\n    at Foo.bar()", '[["a","b"],["c","d"]]',
    "keys=3 tokens=17 secrets=0", "Some(3)", "f(\"a\", 'b')", "int-4111111111111111-x",
)  # fmt: skip
INNOCENT = ORDINARY + CLOSE


def cost_per_line():
    """Microseconds that looking for secrets takes in an ordinary line of 40 to 300 characters, in which there are none."""
    redactor = Redactor()
    lines = [json.dumps(text).encode() for text in ORDINARY if 40 < len(text) < 300]
    return (
        min(timeit.repeat(lambda: [redactor.redact(line) for line in lines], number=200, repeat=5))
        / 200
        / len(lines)
        * 1e6
    )
