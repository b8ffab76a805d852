"""AWS's side of the tests: moto for what it has, and botocore's own hooks for what goes wrong on the way."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import boto3
import botocore.session
import pytest
from botocore.awsrequest import AWSResponse
from botocore.httpsession import URLLib3Session
from moto.awslambda.models import lambda_backends
from moto.ssm.models import ssm_backends

from layer_build import provenance, tree
from layer_build.cli import main
from tests.layer_build import sample
from tests.layer_build.publishing import fakes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

#: byte-code of CPython 3.13, with the hash of a source that is not looked at, and nothing in it
PYC_313 = (3571).to_bytes(2, "little") + b"\r\n" + (1).to_bytes(4, "little") + bytes(8) + b"N"
ACCOUNT = "123456789012"
REGIONS = ("eu-west-1", "us-east-1", "ap-southeast-2")


class Body:
    """What botocore reads an answer from."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def stream(self, **_: Any) -> Iterator[bytes]:
        yield self.data


def answer(request: Any, status: int, code: str, message: str = "no") -> AWSResponse:
    """An error as AWS's protocols have it; botocore's own parser reads it."""
    if "sts" in str(request.headers["Authorization"]):
        text = f"<ErrorResponse><Error><Code>{code}</Code><Message>{message}</Message></Error></ErrorResponse>"
        return AWSResponse(request.url, status, {"Content-Type": "text/xml"}, Body(text.encode()))
    headers = {"x-amzn-ErrorType": code, "Content-Type": "application/json"}
    return AWSResponse(request.url, status, headers, Body(json.dumps({"__type": code, "message": message}).encode()))


class Killed(BaseException):
    """The process ended here: nothing of ours may catch it."""


class Wire:
    """All calls of botocore, in order; `fault` may answer one, or raise."""

    def __init__(self, session: boto3.session.Session) -> None:
        self.calls: list[str] = []
        self.regions: list[str] = []
        self.fault: Callable[[str, str, Any], Any] = lambda region, operation, request: None
        session.events.register("before-send.*.*", self._sent)

    def _sent(self, request: Any, event_name: str, **_: Any) -> Any:
        operation = event_name.rpartition(".")[2]
        region = str(request.headers["Authorization"]).split("/")[2]
        self.calls.append(operation)
        self.regions.append(region)
        return self.fault(region, operation, request)

    def count(self, operation: str) -> int:
        return self.calls.count(operation)

    @staticmethod
    def carried_out(request: Any) -> None:
        """AWS does it, and nobody hears of it."""
        URLLib3Session().send(request)


@pytest.fixture(scope="module")
def session():
    """One session for all: reading its models takes longer than the calls."""
    return boto3.session.Session(botocore_session=botocore.session.Session())


@pytest.fixture
def wire(empty_moto, session, monkeypatch):
    for name, value in (
        ("AWS_ENDPOINT_URL", empty_moto), ("AWS_ACCESS_KEY_ID", "A"), ("AWS_SECRET_ACCESS_KEY", "S"), ("AWS_MAX_ATTEMPTS", "1"),
        ("AWS_EC2_METADATA_DISABLED", "true"),
    ):  # fmt: skip
        monkeypatch.setenv(name, value)
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", session)
    found = Wire(session)
    yield found
    session.events.unregister("before-send.*.*", found._sent)


@pytest.fixture
def zips(tmp_path):
    """Two layers, as small as they come."""
    return layers(tmp_path / "dist")


def layers(folder: Path, version: str = "1.2.0", arches: tuple[str, ...] = ("x86_64", "arm64")) -> Path:
    folder.mkdir(exist_ok=True)
    manifest = sample.MANIFEST.replace("1.2.0", version)
    for arch in arches:
        files = sample.files(manifest, version=version, arch=arch)
        tree.write_zip(publishable(files), folder / f"log-shipper-{version}-{arch}-python3.13.zip")
    return folder


def publishable(files: tree.Tree) -> tree.Tree:
    """`files` as `verify` wants them: no byte-code in it, by choice."""
    place = "log-shipper/provenance.json"
    made = replace(provenance.parse(files[place].data), bytecode={})
    plain = {name.replace(".pyc", ".py"): one for name, one in files.items()}
    plain |= {
        name: tree.Entry(b"x = 1\n") for name in plain if name.endswith("/__init__.py") and "extension_kit" not in name
    }
    return plain | {place: tree.Entry(made.to_json())}


def for_every_runtime(folder: Path) -> Path:
    """A layer that says that it brings an interpreter, with a program in its place."""
    folder.mkdir(exist_ok=True)
    files = publishable(sample.files())
    place, program = "log-shipper/provenance.json", sample.elf()
    digest = hashlib.sha256(program).hexdigest()
    made = replace(provenance.parse(files[place].data), interpreter="3.13.9", interpreter_sha256=digest)
    root = "extension-kit-python/3.13/"
    files |= {
        place: tree.Entry(made.to_json()),
        f"{root}bin/python3.13": tree.Entry(program, 0o755),
        f"{root}lib/python3.13/os.pyc": tree.Entry(PYC_313),
        f"{root}lib/python3.13/lib-dynload/empty": tree.Entry(b""),
    }
    return sample.zipped(folder / "log-shipper-1.2.0-x86_64-any.zip", files)


def publish(*words: object, regions: tuple[str, ...] = REGIONS) -> int:
    return main(["publish", *map(str, words), "--regions", ",".join(regions)])


def held(regions: tuple[str, ...] = REGIONS) -> dict[str, Any]:
    """All that moto has of layers and parameters, region by region, but for times and random numbers."""
    return {region: _held(region) for region in regions}


def _held(region: str) -> dict[str, Any]:
    """Straight from moto, which is in this process: a call for each would take the tests' time."""
    found: dict[str, Any] = {}
    functions = lambda_backends[ACCOUNT][region]
    for layer in functions.list_layers():
        for version in functions.list_layer_versions(layer["LayerName"]):
            content = version.get_layer_version()
            found[f"{version.name}:{version.version}"] = {
                "sha256": content["Content"]["CodeSha256"],
                "runtimes": content.get("CompatibleRuntimes"),
                "architectures": content["CompatibleArchitectures"],
                "description": content["Description"],
                "grants": sorted(
                    (one["Sid"], one["Principal"], one.get("OrganizationId"), one["Action"])
                    for one in version.policy.statements
                ),
            }
    store = ssm_backends[ACCOUNT][region]
    values = {name: store.get_parameter(name) for name in _names(region)}
    return {"layers": found, "parameters": {name: (one.value, one.version) for name, one in sorted(values.items())}}


def _names(region: str) -> list[str]:
    return [one.name for one in ssm_backends[ACCOUNT][region].get_parameters_by_path("/extension-kit", True)[0]]


@pytest.fixture
def fake(wire, monkeypatch):
    """Layers' contents and AWS Signer; all else is moto's."""
    found = fakes.Fake()
    monkeypatch.setenv("AWS_ENDPOINT_URL_SIGNER", found.url)
    yield found
    found.close()
