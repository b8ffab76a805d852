"""Carries a plan out, in an order that leaves nothing half-published.

First the versions in all regions, then who may use them, at last the parameters that name them: nobody is sent to a version
that is not everywhere, or that he may not use. A region that fails does not keep the others from the same step, but the next
one is not begun.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from layer_build.publishing import aws as amazon
from layer_build.publishing import plan, reading
from layer_build.publishing.aws import AwsError, words
from layer_build.publishing.plan import Version

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from layer_build.publishing.aws import Aws
    from layer_build.publishing.plan import Allow, Grant, Point, Publish, Region
    from layer_build.publishing.zips import Zip

_ACTION = "lambda:GetLayerVersion"
_LICENSE = "Apache-2.0"
_ATTEMPTS = 3
_LONGEST = 8.0  # seconds between two attempts


class Publisher:
    """One run. `say` is told each thing done, `wrong` what failed; `dry`: nothing is done, all else is the same."""

    def __init__(self, aws: Aws, say: Callable[[str], None], wrong: Callable[[str], None], *, dry: bool) -> None:
        self._aws = aws
        self._say = say
        self._wrong = wrong
        self._dry = dry
        self.done: list[dict[str, Any]] = []
        self.failed: list[str] = []

    def run(self, regions: Sequence[Region], zips: Sequence[Zip], grants: Sequence[Grant], prefix: str) -> bool:
        """Everything, step by step; whether all of it is done."""
        steps: list[tuple[Callable[[], Sequence[Any]], Callable[[Any], None]]] = [
            (lambda: plan.to_publish(regions, zips), self._publish),
            (lambda: plan.to_allow(regions, zips, grants), self._allow),
            (lambda: plan.to_point(regions, zips, prefix) if prefix else [], self._point),
        ]
        for planned, do in steps:
            for one in planned():
                try:
                    do(one)
                except AwsError as error:
                    self.failed.append(str(error))
                    self._wrong(str(error))
            if self.failed:
                return False
        return True

    def _publish(self, step: Publish) -> None:
        region, one = step.region, step.zip
        version = region.predicted(one) if self._dry else self._published(region, one)
        region.add(one, version)
        said = f"{region.name}: publish {one.layer_name}: version {version.number} is {one.version} ({one.path.name})"
        self._told("publish", f"{said}, {one.entry['zipped']:,} bytes", region, version, one)

    def _published(self, region: Region, one: Zip) -> Version:
        """The version that a call has made."""
        data = one.data()
        answer: dict[str, Any] | Version = self._carefully(
            region,
            "publish_layer_version",
            lambda: self._there(region, one),
            LayerName=one.layer_name,
            Description=one.description,
            Content={"ZipFile": data},
            CompatibleArchitectures=[one.architecture],
            LicenseInfo=_LICENSE,
            # Without a list it is for all; a list holds 15, fewer than Lambda has.
            **({} if one.runtimes == ("any",) else {"CompatibleRuntimes": list(one.runtimes)}),
        )
        if isinstance(answer, Version):
            return answer
        found = reading.sha256(answer["Content"])
        if found != one.sha256:
            raise AwsError(
                f"{region.name}: {answer['LayerVersionArn']}: AWS has SHA-256 {found}, sent was {one.sha256}: "
                "what was published is not what was built; no parameter names it"
            )
        return Version(int(answer["Version"]), answer["LayerVersionArn"], one.version, one.sha256)

    def _carefully(self, region: Region, operation: str, look: Callable[[], Any], **arguments: Any) -> Any:
        """The answer of a call that must not be carried out twice.

        One without an answer may have been carried out: before it is made again, `look` says what is there, or None.
        """
        client = self._aws.client("lambda", region.name, once=True)
        attempts = self._aws.client("lambda", region.name).meta.config.retries.get("total_max_attempts", _ATTEMPTS)
        for attempt in range(1, attempts + 1):
            try:
                return getattr(client, operation)(**arguments)
            except Exception as error:
                unclear = amazon.unclear(error)
                again = attempt < attempts and (unclear or amazon.throttled(error))
                if again:
                    time.sleep(min(2.0 ** (attempt - 1), _LONGEST))
                # A conflict: what is asked for may be there, of an earlier attempt.
                there = look() if unclear or amazon.code(error) == "ResourceConflictException" else None
                if there is not None:
                    return there
                if not again:
                    raise AwsError(f"{region.name}: {arguments['LayerName']}: {words(error)}") from error
        raise AssertionError("the last attempt returns or raises")

    def _there(self, region: Region, one: Zip) -> Version | None:
        found = reading.versions(self._aws, region.name, one)
        return next((version for version in found if version.sha256 == one.sha256), None)

    def _allow(self, step: Allow) -> None:
        region, version, grant = step.region, step.version, step.grant
        if not self._dry:
            self._carefully(
                region,
                "add_layer_version_permission",
                lambda: self._allowed(step),
                LayerName=step.zip.layer_name,
                VersionNumber=version.number,
                StatementId=grant.statement,
                Action=_ACTION,
                Principal=grant.principal,
                **({"OrganizationId": grant.organization} if grant.organization else {}),
            )
        region.grants.setdefault(version.arn, []).append(grant)
        text = f"{region.name}: allow {grant} to use {step.zip.layer_name}: version {version.number}"
        self._told("allow", text, region, version, step.zip, grant=str(grant))

    def _allowed(self, step: Allow) -> Grant | None:
        found = reading.grants(self._aws, step.region.name, step.zip.layer_name, step.version)
        return step.grant if step.grant in found else None

    def _point(self, step: Point) -> None:
        if not self._dry:
            self._aws.call(
                "ssm", "put_parameter", step.region.name, Name=step.name, Value=step.arn, Type="String", Overwrite=True
            )
        step.region.parameters[step.name] = step.arn
        change = f" (was {step.before})" if step.before else ""
        self._say(f"{step.region.name}: set {step.name} = {step.arn}{change}")
        self.done.append({"do": "parameter", "region": step.region.name, "name": step.name, "value": step.arn})

    def _told(self, do: str, text: str, region: Region, version: Version, one: Zip, **more: str) -> None:
        self._say(text)
        self.done.append(
            {
                "do": do,
                "region": region.name,
                "layer": one.layer_name,
                "version": version.number,
                "arn": version.arn,
                **more,
            }
        )


def read_all(aws: Aws, names: Sequence[str], zips: Sequence[Zip], prefix: str) -> tuple[list[Region], list[str]]:
    """What is in each region, and what could not be read: with anything there nothing should be begun."""
    found, failed = [], []
    for name in names:
        try:
            found.append(reading.region(aws, name, zips, prefix))
        except AwsError as error:
            failed.append(str(error))
    return found, failed
