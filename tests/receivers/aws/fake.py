"""The server: signatures, permissions, faults, and what was asked."""

from __future__ import annotations

import json
import secrets
import socket
import struct
import threading
import time
import urllib.parse
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from tests.receivers.aws.state import ACCOUNT, OPERATIONS, Account, Refused, new_secret

SERVICES = {"secretsmanager": "secretsmanager", "AmazonSSM": "ssm"}


@dataclass
class Fault:
    """What goes wrong with the next `times` calls of `operation` ("": any), for `id` ("": any), in `region` ("": any).

    ``kind``: throttle, status, hang, reset, half, slow, garbage, skew, code.
    """

    kind: str
    times: int = 1
    operation: str = ""
    id: str = ""
    region: str = ""
    status: int = 500
    code: str = ""
    seconds: float = 30.0
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Call:
    """One request that was understood."""

    operation: str
    ids: tuple[str, ...]
    region: str
    access_key: str
    token: str
    body: dict
    at: float


@dataclass
class Key:
    secret: str
    token: str
    account: str = ACCOUNT
    expires: float = 0.0
    tags: dict[str, str] = field(default_factory=dict)


class AwsFake:
    """``with AwsFake() as aws``: listens on loopback. ``latency``: seconds that each call takes."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.refusals: list[str] = []
        self.latency = 0.0
        self.skew = 0.0  # seconds that AWS's clock is ahead
        self.lock = threading.RLock()
        self.denied: set[str] = set()
        self.accounts: dict[tuple[str, str], Account] = {}
        self.keys = {"AKIAFUNCTION": Key("function-secret-key", "function-session-token")}
        self.roles: dict[str, dict] = {}
        self.configurations: dict[tuple[str, str, str], tuple[bytes, str, str]] = {}
        self.tokens: dict[str, tuple[tuple[str, str, str], str]] = {}  # good once: configuration, version that was sent
        self.poll_seconds = 0
        self._faults: list[Fault] = []
        self._outage = ""
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self):
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_error):
        self._server.shutdown()
        self._server.server_close()

    def environ(self, **more):
        key = self.keys["AKIAFUNCTION"]
        return {
            "AWS_REGION": "us-east-1", "AWS_ACCESS_KEY_ID": "AKIAFUNCTION", "AWS_SECRET_ACCESS_KEY": key.secret,
            "AWS_SESSION_TOKEN": key.token, "EXTENSION_KIT_AWS_ENDPOINT_URL": self.url, **more,
        }  # fmt: skip

    # what there is

    def account(self, region="us-east-1", number=ACCOUNT):
        return self.accounts.setdefault((number, region), Account(region, number))

    def put_secret(self, name, value, *, region="us-east-1", account=ACCOUNT, stage="AWSCURRENT", tags=None):
        with self.lock:
            place = self.account(region, account)
            secret = place.secrets.get(name) or new_secret(place, name)
            place.secrets[name] = secret
            secret.tags.update(tags or {})
            return secret.arn, secret.add(value, stage)

    def rotate(self, name, value):
        return self.put_secret(name, value)[1]

    def delete_secret(self, name):
        with self.lock:
            del self.account().secrets[name]

    def replicate(self, name, region):
        with self.lock:
            secret = self.account().secrets[name]
            copy = new_secret(self.account(region), name)
            copy.arn = secret.arn.replace(":us-east-1:", f":{region}:")
            copy.versions = secret.versions
            self.account(region).secrets[name] = copy

    def put_parameter(self, name, value, type="String", labels=()):
        with self.lock:
            versions = self.account().parameters.setdefault(name, [])
            versions.append({
                "Value": value, "Type": type, "Version": len(versions) + 1, "labels": tuple(labels),
                "modified": round(time.time(), 3),
            })  # fmt: skip

    def put_configuration(self, application, environment, profile, body, content_type="application/json", label="1"):
        self.configurations[application, environment, profile] = (body, content_type, label)

    def allow_role(self, arn, *, external_id="", tags=None, account=ACCOUNT, lifetime=3600):
        self.roles[arn] = {"external_id": external_id, "tags": tags or {}, "account": account, "lifetime": lifetime}

    # what goes wrong

    def script(self, *faults):
        with self.lock:
            self._faults += faults

    def outage(self, kind="reset"):
        """Every call from now on: "reset", "503", "throttle"; "" ends it."""
        self._outage = kind

    def fault(self, operation, ids, region):
        with self.lock:
            if self._outage:
                named = {"reset": Fault("reset"), "503": Fault("status", status=503), "throttle": Fault("throttle")}
                return named[self._outage]
            for fault in self._faults:
                fits = fault.operation in ("", operation) and fault.region in ("", region)
                if fits and (not fault.id or fault.id in ids) and fault.times > 0:
                    fault.times -= 1
                    return fault
        return None

    # what was asked

    def count(self, operation="", id=""):
        with self.lock:
            return sum(operation in ("", call.operation) and (not id or id in call.ids) for call in self.calls)


def _handler(fake: AwsFake):
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True
        wbufsize = -1  # head and body in one write

        def log_message(self, *_): ...

        def do_POST(self):
            self._answer(self.rfile.read(int(self.headers.get("Content-Length") or 0)))

        def do_GET(self):
            self._answer(b"")

        def date_time_string(self, timestamp=None):
            return formatdate((timestamp or time.time()) + fake.skew, usegmt=True)

        # one call

        def _answer(self, body):
            try:
                service, operation, fields = self._read(body)
                ids = _ids(fields)
                scope = self.headers.get("Authorization", "").partition("Credential=")[2].split(",")[0].split("/")
                region = scope[2] if len(scope) > 2 else ""
                fault = fake.fault(operation, ids, region)
                key = self._authenticate(body, service, region)
                with fake.lock:
                    call = Call(operation, ids, region, scope[0], key.token, fields, time.time())
                    fake.calls.append(call)
                time.sleep(fake.latency)
                if fault is not None and self._fail(fault):
                    return
                if operation in fake.denied:
                    raise Refused("AccessDeniedException", f"User is not authorized to perform: {operation}")
                self._serve(service, operation, fields, key, region)
            except Refused as refused:
                fake.refusals.append(refused.code)
                self._refuse(refused)

        def _read(self, body):
            target = self.headers.get("X-Amz-Target")
            if target is not None:
                prefix, _, operation = target.partition(".")
                return SERVICES.get(prefix, prefix), operation, json.loads(body)
            if self.path.startswith(("/configuration", "/configurationsessions")):
                fields = json.loads(body) if body else dict(urllib.parse.parse_qsl(self.path.partition("?")[2]))
                return "appconfig", "StartConfigurationSession" if body else "GetLatestConfiguration", fields
            return "sts", "AssumeRole", dict(urllib.parse.parse_qsl(body.decode(), keep_blank_values=True))

        def _authenticate(self, body, service, region):
            given = self.headers.get("Authorization", "")
            access_key = given.partition("Credential=")[2].partition("/")[0]
            key = fake.keys.get(access_key)
            if key is None or self.headers.get("X-Amz-Security-Token", "") != key.token:
                raise Refused("UnrecognizedClientException", "The security token included in the request is invalid.")
            if key.expires and time.time() + fake.skew > key.expires:
                raise Refused("ExpiredTokenException", "The security token included in the request is expired")
            signed = given.partition("SignedHeaders=")[2].partition(",")[0].split(";")
            if not {"host", "x-amz-date"} <= set(signed):
                raise Refused("IncompleteSignature", "host and x-amz-date must be signed")
            request = AWSRequest(
                self.command, f"http://{self.headers['Host']}{self.path}", data=body,
                headers={name: self.headers[name] for name in signed if name != "host"},
            )  # fmt: skip
            stamp = self.headers["X-Amz-Date"]
            at = time.mktime(time.strptime(stamp, "%Y%m%dT%H%M%SZ")) - time.timezone
            if abs(at - time.time() - fake.skew) > 300:
                raise Refused("InvalidSignatureException", f"Signature expired: {stamp} is now earlier than allowed")
            signer = SigV4Auth(Credentials(access_key, key.secret), service, region)
            request.context["timestamp"] = stamp
            ours = signer.signature(signer.string_to_sign(request, signer.canonical_request(request)), request)
            if ours != given.partition("Signature=")[2]:
                raise Refused("InvalidSignatureException", "The request signature we calculated does not match")
            return key

        def _serve(self, service, operation, fields, key, region):
            if service == "sts":
                self._assume(fields)
            elif service == "appconfig":
                getattr(self, f"_{operation}")(fields)
            else:
                prefix = "AmazonSSM" if service == "ssm" else service
                serve = OPERATIONS.get(f"{prefix}.{operation}")
                if serve is None:
                    raise Refused("UnknownOperationException", "")
                with fake.lock:
                    answer = serve(fake.account(region, key.account), fields)
                self._send(200, json.dumps(answer).encode(), "application/x-amz-json-1.1")

        def _assume(self, form):
            role = fake.roles.get(form.get("RoleArn", ""))
            tags = {
                form[f"Tags.member.{n}.Key"]: form[f"Tags.member.{n}.Value"]
                for n in range(1, 51)
                if f"Tags.member.{n}.Key" in form
            }
            if role is None or role["external_id"] != form.get("ExternalId", "") or role["tags"] != tags:
                xml = b"<ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code><Message>not authorized to perform: "
                self._send(403, xml + b"sts:AssumeRole</Message></Error></ErrorResponse>", "text/xml")
                return
            access_key = f"ASIA{secrets.token_hex(6).upper()}"
            end = time.time() + fake.skew + role["lifetime"]
            token = secrets.token_urlsafe(40) + "+/=="
            key = fake.keys[access_key] = Key(secrets.token_urlsafe(20), token, role["account"], end, tags)
            ends = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(end))
            inside = f"<AccessKeyId>{access_key}</AccessKeyId><SecretAccessKey>{key.secret}</SecretAccessKey>"
            inside += f"<SessionToken>{token}</SessionToken><Expiration>{ends}</Expiration>"
            wrapped = f"<AssumeRoleResult><Credentials>{inside}</Credentials></AssumeRoleResult>"
            self._send(200, f"<AssumeRoleResponse>{wrapped}</AssumeRoleResponse>".encode(), "text/xml")

        def _StartConfigurationSession(self, fields):  # noqa: N802 - the operation's name
            names = ("ApplicationIdentifier", "EnvironmentIdentifier", "ConfigurationProfileIdentifier")
            wanted = tuple(fields.get(name, "") for name in names)
            if not 15 <= fields.get("RequiredMinimumPollIntervalInSeconds", 60) <= 86_400:
                raise Refused("BadRequestException", "RequiredMinimumPollIntervalInSeconds must be 15 to 86400")
            if wanted not in fake.configurations:
                self._send_error(404, "ResourceNotFoundException", "Configuration not found")
                return
            token = secrets.token_urlsafe(16)
            fake.tokens[token] = (wanted, "")
            self._send(201, json.dumps({"InitialConfigurationToken": token}).encode(), "application/json")

        def _GetLatestConfiguration(self, fields):  # noqa: N802 - the operation's name
            known = fake.tokens.pop(fields.get("configuration_token", ""), None)
            if known is None:
                raise Refused("BadRequestException", "Request token is invalid")
            wanted, sent = known
            body, content_type, label = fake.configurations[wanted]
            if content_type.startswith("application/ion") and "application/ion" not in self.headers.get("Accept", ""):
                raise Refused("BadRequestException", "a configuration in Ion is for who asks for it")
            token = secrets.token_urlsafe(16)
            fake.tokens[token] = (wanted, label)
            self._send(200, b"" if sent == label else body, content_type, {
                "Next-Poll-Configuration-Token": token, "Next-Poll-Interval-In-Seconds": str(fake.poll_seconds),
                "Version-Label": label,
            })  # fmt: skip

        # faults

        def _fail(self, fault):
            """Whether that was all that the caller gets."""
            if fault.kind == "throttle":
                self._send_error(400, "ThrottlingException", "Rate exceeded", fault.headers)
            elif fault.kind == "code":
                self._send_error(fault.status, fault.code, "scripted")
            elif fault.kind == "status":
                self._send_error(fault.status, "InternalServiceError", "scripted")
            elif fault.kind == "hang":
                time.sleep(fault.seconds)
                self.close_connection = True
            elif fault.kind == "reset":
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.connection.close()
                self.close_connection = True
            elif fault.kind in ("half", "slow"):
                self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{")
                self.wfile.flush()
                for _ in range(int(fault.seconds * 10) if fault.kind == "slow" else 0):
                    time.sleep(0.1)
                    self.wfile.write(b" ")
                    self.wfile.flush()
                self.close_connection = True
            elif fault.kind == "garbage":
                self._send(200, b"<html>not JSON</html>", "text/html")
            return True

        def _refuse(self, refused):
            self._send_error(refused.status, refused.code, refused.message)

        def _send_error(self, status, code, message, headers=None):
            body = json.dumps({"__type": f"com.amazon.coral.service#{code}", "message": message}).encode()
            self._send(
                status, body, "application/x-amz-json-1.1", {"x-amzn-errortype": f"{code}:http://x", **(headers or {})}
            )

        def _send(self, status, body, content_type, headers=None):
            self.send_response(status)
            for name, value in {
                "Content-Type": content_type,
                "Content-Length": str(len(body)),
                **(headers or {}),
            }.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)
            self.wfile.flush()

    return Handler


def _ids(fields):
    """What a request asks for, as far as it names it."""
    found = [fields[name] for name in ("SecretId", "Name", "Path", "RoleArn") if name in fields]
    for name in ("SecretIdList", "Names"):
        found += fields.get(name) or []
    names = ("ApplicationIdentifier", "EnvironmentIdentifier", "ConfigurationProfileIdentifier")
    return (*found, *(":".join(fields[name] for name in names) for _ in range(names[0] in fields)))
