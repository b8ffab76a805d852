"""What the extensions of the demo send to: moto for AWS, rotel for OTLP, each a process of its own, on loopback."""

from __future__ import annotations

import base64
import gzip
import json
import sys
import time
from typing import TYPE_CHECKING, Any, Self

import boto3
import requests

from extension_kit.errors import ConfigError
from tests.receivers.programs import Program, Unavailable, free_port
from tests.receivers.rotel import REQUIREMENT, Rotel

if TYPE_CHECKING:
    from pathlib import Path

    from tests.receivers.rotel import DataPoint

REGION = "eu-west-1"
SECRET = "shop/signing"  # noqa: S105 - its name
KEY = "not-to-be-seen-anywhere-4b7f"
SHOWN, MEASURED = "/demo/shown", "/demo/measured"  # log groups: of the run that is shown, of those that are measured
_PATIENCE = 10.0  # seconds until what was sent has been read


class Moto(Program):
    """AWS on this machine: Secrets Manager and CloudWatch Logs, holding the shop's secret and two log groups."""

    def __init__(self, folder: Path) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        super().__init__("moto", [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)], folder)
        self.ready(port)
        self._logs = self.client("logs")
        self.client("secretsmanager").create_secret(Name=SECRET, SecretString=json.dumps({"key": KEY}))
        for group in (SHOWN, MEASURED):
            self._logs.create_log_group(logGroupName=group)
        requests.post(f"{self.url}/moto-api/recorder/start-recording", timeout=10).raise_for_status()

    def client(self, service: str) -> Any:
        return boto3.client(
            service, endpoint_url=self.url, region_name=REGION, aws_access_key_id="A", aws_secret_access_key="S"
        )  # fmt: skip

    def lines(self, count: int = 0) -> list[str]:
        """The lines of the shown run, as the shipper wrote them; waits until there are `count`."""
        until = time.monotonic() + _PATIENCE
        while len(found := self._events()) < count and time.monotonic() < until:
            time.sleep(0.05)
        return found

    def _events(self) -> list[str]:
        pages = self._logs.get_paginator("filter_log_events").paginate(logGroupName=SHOWN)
        return [event["message"] for page in pages for event in page["events"]]

    def reads_of_secrets(self) -> int:
        """How often it has been asked for the values of secrets so far."""
        return sum(1 for one in self._asked() if "SecretValue" in _target(one))

    def requests(self) -> list[str]:
        """Every request that has come, with its body."""
        return [f"{one['url']} {one['headers']} {_body(one)}" for one in self._asked()]

    def _asked(self) -> list[dict[str, Any]]:
        text = requests.get(f"{self.url}/moto-api/recorder/download-recording", timeout=10).text
        return [json.loads(line) for line in text.splitlines() if line]


def _target(recorded: dict[str, Any]) -> str:
    headers = {name.lower(): value for name, value in recorded["headers"].items()}
    return str(headers.get("x-amz-target", ""))


def _body(recorded: dict[str, Any]) -> str:
    body = recorded["body"] or ""
    data = base64.b64decode(body) if recorded["body_encoded"] else body.encode()
    headers = {name.lower(): value for name, value in recorded["headers"].items()}
    return (gzip.decompress(data) if headers.get("content-encoding") == "gzip" else data).decode(errors="replace")


class Receivers:
    """Both of them. Use as a context manager; ConfigError, in a line, for what cannot be had."""

    def __init__(self, folder: Path) -> None:
        try:
            self.moto = Moto(folder)
            try:
                self.rotel = Rotel(folder, "metrics")
            except BaseException:
                self.moto.close()
                raise
        except Unavailable as error:
            raise ConfigError(f"{error}: {REQUIREMENT} is fetched once, from a package index") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.rotel.close()
        self.moto.close()

    def everything(self) -> list[str]:
        """All that has come to them, and the lines as CloudWatch Logs has them now."""
        return [*self.moto.lines(), *self.moto.requests(), self.rotel.said()]

    def data_points(self, invocations: int) -> list[DataPoint]:
        """What rotel has decoded, when it counts so many `invocations`, or after a while."""
        until = time.monotonic() + _PATIENCE
        while True:
            found = self.rotel.data_points()
            if counted(found) >= invocations or time.monotonic() >= until:
                return found
            time.sleep(0.05)


def counted(points: list[DataPoint]) -> int:
    """Invocations, whatever came of them: the three sums exclude each other."""
    names = ("faas.invocations", "faas.errors", "faas.timeouts")
    return int(sum(point.value or 0 for point in points if point.name in names))
