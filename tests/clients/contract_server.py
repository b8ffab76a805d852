"""A small, strict server of the wire contract, over real sockets: what is not exactly right in a request is a violation.

Its data stands in `SECRETS`, `PARAMETERS` and `CONFIGURATIONS`, so that another server (the extension itself) can be filled
with the same and be asked by the same tests.
"""

from __future__ import annotations

import base64
import json
import threading
import time
from contextlib import contextmanager
from socket import SHUT_RDWR, create_server
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, unquote

from extension_kit.protocol import http1

if TYPE_CHECKING:
    from collections.abc import Iterator

TOKEN = "IQoJb3JpZ2luX2VjE-token+/="
ARN = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:"
#: name -> stage or version -> value
SECRETS = {
    "db/main": {
        "AWSCURRENT": '{"user":"ad\\u006din","password":"p\u00e4ss,w\\"o\'rd\\n","port":5432,"tls":true,"none":null,"":"e"}',
        "AWSPREVIOUS": "old",
    },
    "binary": {"AWSCURRENT": bytes(range(256))},
    "empty": {"AWSCURRENT": ""},
    "plain": {"AWSCURRENT": "just text \N{SNOWMAN}"},
    **{f"many-{number}": {"AWSCURRENT": f"value {number}"} for number in range(45)},
}
#: name -> versions, the first is version 1; SecureStrings begin with "secure:"
PARAMETERS = {
    "/app/limit": ["5", "10"],
    "/app/db/password": ["secure:hunter2"],
    "/app/list": ["a,b,c"],
    "plain": ["bare name"],
}
LABELS = {"/app/limit": {"first": 1}}
CONFIGURATIONS = {("shop", "prod env", "flags"): {"beta": {"enabled": True}, "dark/mode": {"enabled": False}}}

_SINGLE = {
    "/secretsmanager/get": {"secretId", "versionId", "versionStage", "refreshNow", "roleArn"},
    "/systemsmanager/parameters/get": {"name", "version", "label", "withDecryption", "refreshNow"},
}
_BATCH = {
    "/secretsmanager/batch": {"secretId"},
    "/systemsmanager/parameters/batch": {"name", "withDecryption"},
    "/systemsmanager/parameters/path": {"path", "recursive", "withDecryption", "refreshNow"},
}


class Refusal(Exception):
    """An answer other than 200."""

    def __init__(self, status: int, body: str, code: str = "") -> None:
        super().__init__(body)
        self.status, self.body, self.code = status, body, code


@contextmanager
def serving(host: str = "127.0.0.1", port: int = 0) -> Iterator[ContractServer]:
    """The strict server; whatever was wrong in any request fails the test at its end."""
    server = ContractServer(host, port)
    try:
        yield server
    finally:
        server.stop()
    assert server.violations == []


def arn_of(name: str) -> str:
    return f"{ARN}{name}-AbCdEf"


def failed(code: str) -> Refusal:
    return Refusal(400, "an unexpected error occurred while executing request", code)


class ContractServer:
    """Both ports. ``aws_only``: as AWS's own layer, without batches, paths and error codes."""

    def __init__(self, host: str = "127.0.0.1", port: int = 0) -> None:
        self.aws_only = False
        self.requests: list[str] = []  # targets, in the order of arrival
        self.violations: list[str] = []
        # Sent as they are instead of the next answers: whole, in pieces, or closing the connection where it is None. One that
        # says "Connection: close" is followed by that.
        self.scripted: list[bytes | list[bytes] | None] = []
        self.delay = 0.0  # seconds before each answer
        self.connections = 0
        self.reads = 0  # values that were looked up because of refreshNow
        self._open: list = []
        self._listeners = [create_server((host, number), family=10 if ":" in host else 2) for number in (port, 0)]
        self.port, self.appconfig_port = (one.getsockname()[1] for one in self._listeners)
        self._threads = []
        for listener in self._listeners:
            self._start(self._accept, listener)

    def stop(self) -> None:
        for listener in self._listeners:
            listener.shutdown(SHUT_RDWR)
            listener.close()
        self.drop_connections()
        for thread in self._threads:
            thread.join(10)

    def drop_connections(self) -> None:
        """As a restart of the server does."""
        for connection in self._open:
            try:
                connection.shutdown(SHUT_RDWR)
            except OSError:
                pass

    def _start(self, target, *arguments) -> None:
        thread = threading.Thread(target=target, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self, listener) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            self.connections += 1
            self._open.append(connection)
            self._start(self._serve, connection, listener is self._listeners[1])

    def _serve(self, connection, appconfig: bool) -> None:
        reader = http1.MessageReader(http1.SERVER)
        with connection:
            while True:
                try:
                    data = connection.recv(65_536)
                    if not data:
                        return
                    reader.receive(data)
                    while isinstance(message := reader.next_message(), http1.Message):
                        time.sleep(self.delay)
                        answer = self._answer(message, appconfig)
                        pieces = [answer] if isinstance(answer, bytes) else answer or []
                        for piece in pieces:
                            connection.sendall(piece)
                            if len(pieces) > 1:
                                time.sleep(0.02)
                        if not pieces or b"Connection: close" in pieces[0]:
                            return
                except OSError:
                    return

    def _answer(self, message: http1.Message, appconfig: bool) -> bytes | list[bytes] | None:
        target = message.head.target.decode("ascii")
        self.requests.append(target)
        if self.scripted:
            return self.scripted.pop(0)
        try:
            body = self._appconfig(message.head) if appconfig else self._parameters_and_secrets(message.head)
        except Refusal as refusal:
            code = [(b"X-Amzn-Errortype", refusal.code.encode())] if refusal.code and not self.aws_only else []
            headers = [(b"Content-Type", b"text/plain"), *code]
            return http1.encode_response(refusal.status, headers, refusal.body.encode())
        return http1.encode_response(200, [(b"Content-Type", b"application/json")], body)

    def _expect(self, truth: object, text: str) -> None:
        if not truth:
            self.violations.append(text)

    def _common(self, head: http1.RequestHead, port: int, more: set[bytes]) -> tuple[str, list[tuple[str, str]]]:
        names = [name.lower() for name, _ in head.headers]
        self._expect(head.method == b"GET", f"{head.method!r}: only GET is served")
        self._expect(head.headers.get(b"host") == b"localhost:%d" % port, f"Host is {head.headers.get(b'host')!r}")
        self._expect(set(names) <= {b"host", *more}, f"unknown header in {names}")
        self._expect(len(set(names) - {b"context"}) == len([one for one in names if one != b"context"]), "header twice")
        path, question, query = head.target.decode("ascii").partition("?")
        self._expect(not question or query, "an empty query")
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=True, errors="strict") if query else []
        self._expect("+" not in query, "a plus sign in the query: it means a blank to some servers")
        return path, pairs

    def _parameters_and_secrets(self, head: http1.RequestHead) -> bytes:
        token = head.headers.get(b"x-aws-parameters-secrets-token")
        if token != TOKEN.encode():
            raise Refusal(401, "bad session token or header key", "AccessDeniedException")
        path, pairs = self._common(head, self.port, {b"x-aws-parameters-secrets-token"})
        known = _SINGLE if self.aws_only else {**_SINGLE, **_BATCH}
        if path not in known:
            raise Refusal(404, "Not found")
        names = [name for name, _ in pairs]
        allowed = known[path] - ({"refreshNow", "roleArn"} if self.aws_only else set())
        self._expect(set(names) <= allowed, f"unknown query parameter in {names}")
        several = {"secretId", "name"} if path in _BATCH else set()
        self._expect(all(names.count(name) == 1 for name in names if name not in several), f"twice in {names}")
        for name, value in pairs:
            if name in ("refreshNow", "withDecryption", "recursive"):
                self._expect(value in ("true", "false"), f"{name}={value}")
            self._expect(value, f"{name} is empty")
        self.reads += ("refreshNow", "true") in pairs
        return json.dumps(self._lookup(path, pairs)).encode()

    def _lookup(self, path: str, pairs: list[tuple[str, str]]) -> dict:
        one = dict(pairs)
        ids = [value for name, value in pairs if name in ("secretId", "name")]
        decrypt = one.get("withDecryption") == "true"
        if path == "/secretsmanager/get":
            return {**self._secret(one["secretId"], one), "ResultMetadata": {}}
        if path == "/systemsmanager/parameters/get":
            self._expect("version" not in one or "label" not in one, "version and label at once")
            return {"Parameter": self._parameter(one["name"], one, decrypt), "ResultMetadata": {}}
        if path == "/secretsmanager/batch":
            found, errors = self._several(ids, lambda id: self._secret(id, {}))
            return {"SecretValues": found, "Errors": errors}
        if path == "/systemsmanager/parameters/batch":
            found, errors = self._several(ids, lambda name: self._parameter(name, {}, decrypt))
            return {"Parameters": found, "InvalidParameters": [error["SecretId"] for error in errors], "Errors": []}
        below = one["path"].rstrip("/") + "/"
        names = [name for name in PARAMETERS if name.startswith(below)]
        if one.get("recursive") != "true":
            names = [name for name in names if "/" not in name.removeprefix(below)]
        return {"Parameters": [self._parameter(name, {}, decrypt) for name in names]}

    def _several(self, ids: list[str], find) -> tuple[list, list]:
        self._expect(0 < len(ids) <= 20 and len(set(ids)) == len(ids), f"a batch of {len(ids)}")
        found, errors = [], []
        for id in reversed(ids):  # AWS promises no order
            try:
                found.append(find(id))
            except Refusal as error:
                errors.append({"SecretId": id, "ErrorCode": error.code, "Message": error.body})
        return found, errors

    def _secret(self, id: str, options: dict[str, str]) -> dict:
        name = next((name for name in SECRETS if id in (name, arn_of(name), arn_of(name)[:-7])), "")
        if name == "":
            raise failed("AccessDeniedException" if id.startswith("denied") else "ResourceNotFoundException")
        stage = options.get("versionStage", "AWSCURRENT")
        if options.get("versionId"):
            stage = next((one for one in SECRETS[name] if f"id-of-{one}" == options["versionId"]), "")
        if stage not in SECRETS[name]:
            raise failed("ResourceNotFoundException")
        value = SECRETS[name][stage]
        if options.get("roleArn"):
            value = f"{value} as {options['roleArn']}"
        binary = isinstance(value, bytes)
        return {
            "ARN": arn_of(name), "CreatedDate": "2022-11-16T08:22:40.499Z", "Name": name,
            "SecretBinary": base64.b64encode(value).decode() if binary else None,
            "SecretString": None if binary else value,
            "VersionId": f"id-of-{stage}", "VersionStages": [stage],
        }  # fmt: skip

    def _parameter(self, name: str, options: dict[str, str], decrypt: bool) -> dict:
        bare, _colon, selector = name.partition(":") if not name.startswith("arn:") else (name, "", "")
        if bare.startswith("arn:"):
            bare = "/" + bare.partition(":parameter/")[2]
        selector = selector or options.get("version") or options.get("label") or ""
        versions = PARAMETERS.get(bare)
        if versions is None:
            raise failed("ParameterNotFound")
        number = LABELS.get(bare, {}).get(selector) or int(selector or len(versions))
        if not 0 < number <= len(versions):
            raise failed("ParameterVersionNotFound")
        value = versions[number - 1]
        secure = value.startswith("secure:")
        if secure:
            value = value.removeprefix("secure:") if decrypt else "AQICAHciphertext"
        return {
            "ARN": f"arn:aws:ssm:eu-west-1:123456789012:parameter/{bare.lstrip('/')}", "DataType": "text",
            "LastModifiedDate": "2022-11-16T08:22:40.499Z", "Name": bare, "Selector": f":{selector}" if selector else None,
            "SourceResult": None, "Type": "SecureString" if secure else "String", "Value": value, "Version": number,
        }  # fmt: skip

    def _appconfig(self, head: http1.RequestHead) -> bytes:
        path, pairs = self._common(head, self.appconfig_port, {b"context"})
        _empty, *parts = path.split("/")
        self._expect(parts[::2] == ["applications", "environments", "configurations"] and len(parts) == 6, path)
        self._expect({name for name, _ in pairs} <= {"flag"}, f"unknown query parameter in {pairs}")
        found = CONFIGURATIONS.get(tuple(unquote(part, errors="strict") for part in parts[1::2]))
        if found is None:
            raise Refusal(404, "ResourceNotFoundException: no such configuration")
        flags = [value for _, value in pairs]
        chosen = {name: value for name, value in found.items() if not flags or name in flags}
        contexts = [value.decode() for value in head.headers.get_all(b"context")]
        return json.dumps({**chosen, **({"_context": contexts} if contexts else {})}).encode()
