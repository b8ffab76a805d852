"""What a publication leaves behind for others: the index, a line in a changelog, statements of provenance."""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

from extension_kit.errors import ConfigError
from layer_build import contents, index
from layer_build.publishing.plan import order

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from layer_build.publishing.plan import Region
    from layer_build.publishing.zips import Zip

_KEY = ("name", "version", "architecture", "pythons", "runtime")
_LARGEST = 50_000_000  # bytes of an index that is read
_SECONDS = 30.0


def load(place: str) -> list[dict[str, Any]]:
    """The layers of the index at `place`, a file or an https URL; ConfigError where there is none, or it is none."""
    try:
        if place.startswith(("https://", "http://")):
            with urllib.request.urlopen(place, timeout=_SECONDS) as answer:  # noqa: S310 - the two schemes above
                data = answer.read(_LARGEST)
        else:
            data = Path(place).read_bytes()
    except FileNotFoundError:
        raise ConfigError(f"{place}: no such index; `publish --index {place}` makes one") from None
    except (OSError, ValueError) as error:
        raise ConfigError(f"{place}: the index cannot be read: {getattr(error, 'strerror', None) or error}") from error
    return parse(data, place)


def parse(data: bytes, place: str) -> list[dict[str, Any]]:
    """The same of the index's content."""
    try:
        content = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{place}: not an index: not JSON: {error}") from error
    layers = content.get("layers") if isinstance(content, dict) and content.get("format") == index.FORMAT else None
    if not isinstance(layers, list) or not all(_is_entry(one) for one in layers):
        raise ConfigError(f"{place}: not an index of format {index.FORMAT}")
    return layers


def _is_entry(one: Any) -> bool:
    return (
        isinstance(one, dict)
        and all(isinstance(one.get(key), str) for key in ("name", "version", "architecture", "sha256"))
        and isinstance(one.get("pythons"), list)
        and isinstance(one.get("published", {}), dict)
        and all(
            isinstance(item, dict) and isinstance(item.get("arn"), str) for item in one.get("published", {}).values()
        )
    )


def contradiction(known: Sequence[dict[str, Any]], zips: Iterable[Zip]) -> str:
    """A version that the index has with other content; "" where there is none."""
    for one in zips:
        for entry in known:
            if all(entry.get(key) == one.entry[key] for key in _KEY) and entry["sha256"] != one.entry["sha256"]:
                return (
                    f"{one.path}: the index has {one.name} {one.version} with SHA-256 {entry['sha256'][:16]}..., this is "
                    f"{one.entry['sha256'][:16]}...: what was published under a version stays as it is; raise the version "
                    "(or --rebuilt, where both were built from the same)"
                )
    return ""


def merged(known: Sequence[dict[str, Any]], zips: Sequence[Zip], regions: Sequence[Region]) -> list[dict[str, Any]]:
    """The index with what is published now: earlier versions and other regions stay in it."""
    entries = {one["sha256"]: one for one in known}
    for one in zips:
        before = entries.get(one.entry["sha256"], {})
        published = dict(before.get("published", {}))
        for region in regions:
            version = region.version(one)
            if version is not None:
                published[region.name] = {"arn": version.arn, "sha256": one.sha256, "signing_job": one.signed or None}
        entries[one.entry["sha256"]] = {**one.entry, "abilities": one.abilities, "published": published}
    return sorted(entries.values(), key=_sorted_by)


def _sorted_by(one: dict[str, Any]) -> tuple[Any, ...]:
    return (
        one["name"],
        one["architecture"],
        one.get("runtime", ""),
        one["pythons"],
        order(one["version"]),
        one["sha256"],
    )


def changelog(text: str, zips: Sequence[Zip], regions: Sequence[Region]) -> str:
    """`text` with a line for each zip below ``## Unreleased``, ``### Published``; the same text where they stand there."""
    lines = [line for line in (_line(one, regions) for one in zips) if line not in text.splitlines()]
    if not lines:
        return text
    old = text.splitlines() or ["# Changelog"]
    start = next((at for at, line in enumerate(old) if line.strip().lower().strip("# []") == "unreleased"), None)
    if start is None:
        first = next((at for at, line in enumerate(old) if line.startswith("## ")), len(old))
        old[first:first] = ([] if not first or not old[first - 1].strip() else [""]) + ["## Unreleased", ""]
        start = old.index("## Unreleased")
    end = next((at for at in range(start + 1, len(old)) if old[at].startswith("## ")), len(old))
    heading = next((at for at in range(start, end) if old[at].strip() == "### Published"), None)
    if heading is None:
        old[start + 1 : start + 1] = ["", "### Published", "", *lines]
    else:
        old[heading + 2 : heading + 2] = lines
    return "\n".join(old).rstrip("\n") + "\n"


def _line(one: Zip, regions: Sequence[Region]) -> str:
    numbers: dict[int, list[str]] = {}
    for region in regions:
        version = region.version(one)
        if version is not None:
            numbers.setdefault(version.number, []).append(region.name)
    where = "; ".join(f"version {number} in {', '.join(names)}" for number, names in sorted(numbers.items()))
    return f"- {one.name} {one.version} for {one.architecture}, {', '.join(one.runtimes)}: layer {one.layer_name}, {where}."


def statement(one: Zip) -> bytes:
    """What the zip was made of, as an in-toto statement with SLSA's provenance 1; not signed: whoever signs, signs this.

    Sources: https://in-toto.io/Statement/v1, https://slsa.dev/provenance/v1.
    """
    layer = contents.read(one.path)
    made = next(found.provenance for found in layer.ours if found.provenance)
    wheels = [
        {"uri": f"pkg:pypi/{part.name}@{part.version}", "name": part.wheel, "digest": {"sha256": part.sha256}}
        for part in made.dependencies
    ]
    content = {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": one.entry["file"], "digest": {"sha256": one.sha256}}],
        "predicateType": "https://slsa.dev/provenance/v1",
        "predicate": {
            "buildDefinition": {
                "buildType": "urn:lambda-extension-kit:layer:1",
                "externalParameters": {
                    "name": made.name,
                    "version": made.version,
                    "architecture": made.arch,
                    "pythons": list(made.pythons),
                    "launcher": made.launcher,
                },
                "internalParameters": {"zig": made.zig, "bytecode": made.bytecode},
                "resolvedDependencies": wheels,
            },
            "runDetails": {
                "builder": {
                    "id": "urn:lambda-extension-kit:layer_build",
                    "version": {"lambda-extension-kit": made.kit_version},
                }
            },
        },
    }
    return (json.dumps(content, indent=1, sort_keys=True) + "\n").encode()
