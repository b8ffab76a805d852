"""A layer version as it is on AWS, beside what its index, its SBOM and AWS itself say of it."""

from __future__ import annotations

import hashlib
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any

from extension_kit.errors import ConfigError
from layer_build import contents, sbom
from layer_build.outdated.uses import arns
from layer_build.publishing import reading
from layer_build.publishing.aws import Aws, AwsError
from layer_build.targets import MAX_UNZIPPED

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_SECONDS = 60.0


def fetch(aws: Aws, arn: str, folder: Path) -> tuple[Path, dict[str, Any]]:
    """The version's zip in `folder`, and what AWS says of its content; ConfigError or AwsError where that cannot be had."""
    found = arns(arn)
    if len(found) != 1 or found[0].text != arn or not found[0].region:
        raise ConfigError(
            f"{arn}: the ARN of a layer version wanted, e.g. arn:aws:lambda:eu-west-1:123456789012:layer:NAME:1"
        )
    one = found[0]
    content = aws.call("lambda", "get_layer_version_by_arn", one.region, Arn=arn)["Content"]
    path = folder / f"{one.layer}-{one.number}.zip"
    path.write_bytes(_download(str(content.get("Location", "")), arn))
    return path, content


def _download(url: str, arn: str) -> bytes:
    """ConfigError for what is not there; the URL is signed and is not shown."""
    if not url.startswith(("https://", "http://")):
        raise AwsError(f"{arn}: AWS gives no URL for its content")
    try:
        with urllib.request.urlopen(url, timeout=_SECONDS) as answer:  # noqa: S310 - the two schemes above
            data: bytes = answer.read(MAX_UNZIPPED + 1)
    except urllib.error.HTTPError as error:
        raise AwsError(f"{arn}: its content cannot be downloaded: HTTP {error.code}") from error
    except (OSError, ValueError) as error:
        raise AwsError(f"{arn}: its content cannot be downloaded: {getattr(error, 'reason', error)}") from error
    if len(data) > MAX_UNZIPPED:
        raise AwsError(f"{arn}: its content has more than {MAX_UNZIPPED:,} bytes")
    return data


def differences(
    arn: str,
    path: Path,
    content: dict[str, Any],
    index: Sequence[dict[str, Any]] | None,
    beside: bytes | None,
    *,
    signed: bool,
) -> list[str]:
    """What is not as it should be, a line each. `beside`: the SBOM that was kept; `signed`: a signature is wanted."""
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    lines = []
    if (said := reading.sha256(content)) != digest:
        lines.append(f"downloaded was SHA-256 {digest}, AWS says {said or 'none'}: damaged or exchanged on the way")
    if index is not None:
        lines += _against(arn, digest, index)
    if signed and not content.get("SigningJobArn"):
        lines.append("it is not signed: AWS names no signing job for it")
    try:
        return lines + _parts(path, beside)
    except ConfigError as error:
        return [*lines, str(error)]


def _against(arn: str, digest: str, index: Sequence[dict[str, Any]]) -> list[str]:
    places = [place for entry in index for place in entry.get("published", {}).values() if place["arn"] == arn]
    if not places:
        return ["the index does not have it: nobody says what should be in it"]
    wanted = {str(place.get("sha256")) for place in places}
    return [] if digest in wanted else [f"its SHA-256 is {digest}, the index has {', '.join(sorted(wanted))}"]


def _parts(path: Path, beside: bytes | None) -> list[str]:
    """The SBOM in the layer against the one that was kept, the launcher, and the wheels that provenance names."""
    layer = contents.read(path)
    if not layer.ours:
        return ["no SBOM in it: it is not a layer of this kit"]
    lines = []
    for one in layer.ours:
        inside = layer.files.get(f"{one.name}/{sbom.FILE}")
        if inside is None:
            lines.append(f"{one.name}: no SBOM in it")
            continue
        if beside is not None and inside.data != beside:
            lines.append(f"{one.name}: the SBOM in it is not the one that was kept")
        hashes = {part.sha256 for part in one.parts if part.sha256}
        program = layer.files.get(f"{contents.FOLDER}{one.name}")
        if one.provenance is not None and one.provenance.launcher == "native":
            found = hashlib.sha256(program.data).hexdigest() if program else "none"
            lines += (
                []
                if found in hashes
                else [f"{one.name}: extensions/{one.name} has SHA-256 {found}, which the SBOM lacks"]
            )
        wheels = one.provenance.dependencies if one.provenance else ()
        lines += [f"{one.name}: {part.wheel} is not in the SBOM" for part in wheels if part.sha256 not in hashes]
    return lines
