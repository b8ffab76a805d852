"""The list of what is in a layer (SBOM), as CycloneDX 1.6 in JSON; the same parts always give the same bytes.

Source of the format: https://cyclonedx.org/docs/1.6/json/. There is no time in it, and its serial number is derived from
its content: an SBOM must not be what makes two builds differ.
"""

from __future__ import annotations

import email.parser
import json
import re
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from extension_kit.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from layer_build.interpreter.made import Interpreter

FILE = "sbom.cdx.json"
#: kinds of component that CycloneDX 1.6 knows and a layer can hold
KINDS = ("application", "framework", "library", "platform", "file", "data")
_OURS = "Apache-2.0"
_SERIALS = uuid.uuid5(uuid.NAMESPACE_DNS, "cyclonedx.org")
_SHA256 = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True)
class Component:
    """One part of a layer. ``sha256`` is of the file that it came as (a wheel, a binary), in hexadecimal.

    ``license`` is an SPDX expression where ``spdx``, else the name that its author gives it. ``notes`` become properties.
    """

    name: str
    version: str
    kind: str = "library"
    purl: str = ""
    sha256: str = ""
    license: str = ""
    spdx: bool = True
    notes: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ConfigError(f"component {self.name}: kind {self.kind!r}: CycloneDX has {', '.join(KINDS)}")
        if self.sha256 and not _SHA256.fullmatch(self.sha256):
            raise ConfigError(f"component {self.name}: {self.sha256!r} is no SHA-256")

    @property
    def ref(self) -> str:
        """What names it within one SBOM: a layer for two Pythons may hold two wheels of one name and version."""
        return (self.purl or f"{self.name}@{self.version}") + (f"#{self.sha256[:16]}" if self.sha256 else "")


def sbom(subject: Component, parts: Sequence[Component]) -> bytes:
    """The SBOM of `subject`, made of `parts` in whatever order; ConfigError where one is given twice."""
    ordered = sorted(parts, key=lambda part: part.ref)
    refs = [part.ref for part in ordered]
    twice = sorted({ref for ref in (*refs, subject.ref) if [*refs, subject.ref].count(ref) > 1})
    if twice:
        raise ConfigError(f"{subject.name}: {twice[0]} is in the list of parts twice")
    content: dict[str, Any] = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": _shown(subject)},
        "components": [_shown(part) for part in ordered],
        "dependencies": [{"ref": subject.ref, "dependsOn": refs}, *({"ref": ref} for ref in refs)],
    }
    serial = uuid.uuid5(_SERIALS, json.dumps(content, sort_keys=True))
    content["serialNumber"] = serial.urn
    return (json.dumps(content, sort_keys=True, indent=1) + "\n").encode()


def _shown(one: Component) -> dict[str, Any]:
    shown: dict[str, Any] = {"type": one.kind, "bom-ref": one.ref, "name": one.name, "version": one.version}
    if one.purl:
        shown["purl"] = one.purl
    if one.sha256:
        shown["hashes"] = [{"alg": "SHA-256", "content": one.sha256}]
    if one.license:
        shown["licenses"] = [{"expression": one.license} if one.spdx else {"license": {"name": one.license}}]
    if one.notes:
        shown["properties"] = [{"name": name, "value": value} for name, value in sorted(one.notes)]
    return shown


def read(data: bytes) -> tuple[Component, tuple[Component, ...]]:
    """The subject and the parts of an SBOM, anyone's; ConfigError where it is not CycloneDX in JSON."""
    try:
        content = json.loads(data)
        if content["bomFormat"] != "CycloneDX":
            raise ConfigError(f"SBOM: {content['bomFormat']!r} is not CycloneDX")
        subject = content.get("metadata", {}).get("component") or {"name": ""}
        return _component(subject), tuple(_component(one) for one in content.get("components", []))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(f"SBOM: not CycloneDX in JSON: {error}") from error


def _component(shown: dict[str, Any]) -> Component:
    hashes = [one["content"].lower() for one in shown.get("hashes", []) if one["alg"] == "SHA-256"]
    licenses = shown.get("licenses", [])
    names = [one.get("expression") or one["license"].get("id") or one["license"]["name"] for one in licenses]
    kind = shown.get("type", "library")
    return Component(
        name=str(shown["name"]),
        version=str(shown.get("version", "")),
        kind=kind if kind in KINDS else "library",
        purl=str(shown.get("purl", "")),
        sha256=hashes[0] if hashes else "",
        license=", ".join(names),
        spdx=all("name" not in one.get("license", {}) for one in licenses),
        notes=tuple((one["name"], one.get("value", "")) for one in shown.get("properties", [])),
    )


def kit(version: str) -> Component:
    """The kit itself."""
    return Component("lambda-extension-kit", version, "framework", pypi("lambda-extension-kit", version), license=_OURS)


def launcher(version: str, sha256: str, zig: str, musl: str) -> Component:
    """The native launcher: our program, linked with the C library musl (MIT), compiled by `zig`."""
    notes = (("compiler", f"zig {zig}"), ("libc", f"musl {musl}, static"))
    return Component(
        "extension-kit-launcher", version, "application", sha256=sha256, license=f"{_OURS} AND MIT", notes=notes
    )


def interpreter(about: Interpreter) -> list[Component]:
    """The Python that a layer carries, and what is in it."""
    notes = (("origin", about.origin), ("security fixes", " ".join(about.fixes)))
    name = "extension-kit-python"
    found = [
        Component(name, about.release, "platform", f"pkg:generic/{name}@{about.release}", about.sha256, notes=notes)
    ]
    for part in about.parts:
        purl = f"pkg:generic/{part.name}@{part.version}"
        found.append(
            Component(
                part.name, part.version, "library", purl, part.sha256, part.licence, notes=(("source", part.url),)
            )
        )
    return found


def from_metadata(metadata: bytes, wheel: str, sha256: str) -> Component:
    """The component of a wheel, from its ``METADATA`` (core metadata), file name and SHA-256."""
    fields = email.parser.BytesParser().parsebytes(metadata, headersonly=True)
    name, version = fields.get("Name", ""), fields.get("Version", "")
    if not name or not version:
        raise ConfigError(f"{wheel}: its METADATA has no Name or no Version")
    license_, spdx = _license(fields.get("License-Expression"), fields.get("License"), fields.get_all("Classifier", []))
    notes = (("wheel", wheel),)
    return Component(name, version, "library", pypi(name, version), sha256, license_, spdx, notes)


def _license(expression: str | None, text: str | None, classifiers: list[str]) -> tuple[str, bool]:
    """What a wheel says of its licence, and whether that is SPDX; PEP 639 is the best word, a classifier the worst."""
    if expression:
        return expression.strip(), True
    first = (text or "").strip().splitlines()[:1]
    # Some put the whole text there: its first line is then a title, or the beginning of a sentence.
    if first and first[0].upper() != "UNKNOWN" and len(first[0]) <= 80:
        return first[0].strip(), False
    names = [one.rpartition("::")[2].strip() for one in classifiers if one.startswith("License ::")]
    return ", ".join(name for name in names if name != "OSI Approved"), False


def pypi(name: str, version: str) -> str:
    """The package URL of a distribution on PyPI (its name normalised as PEP 503 has it)."""
    return f"pkg:pypi/{re.sub(r'[-_.]+', '-', name).lower()}@{quote(version, safe='')}"
