"""Entries of the zip, and links: where they lead, whether Lambda can unpack them, who may read them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from layer_build.checks.findings import ERROR, NOTE, rule

if TYPE_CHECKING:
    from collections.abc import Iterator

    from layer_build.checks.findings import Finding
    from layer_build.checks.subject import Subject

# AWS's text for a zip that it cannot unpack: InvalidParameterValueException of PublishLayerVersion.
_NOT_UNZIPPED = (
    "PublishLayerVersion refuses the zip: "
    '"Could not unzip uploaded file. Please check your file, then try to upload again."'
)

LEAVES = rule(
    "leaves-opt",
    ERROR,
    "the entry's name leads out of /opt",
    "a layer is unpacked into /opt and nowhere else: the zip is refused, or the file lies where nobody looks for it",
    "make the zip from inside the layer's folder: cd LAYER && zip -r ../layer.zip .",
)
BACKSLASH = rule(
    "backslash",
    ERROR,
    "the entry's name has a backslash, as Windows tools write it",
    "on Linux that is one file with a strange name in /opt, not a file in a folder: an extension is not found and not started",
    "make the zip with forward slashes: Python's zipfile, zip under WSL, or 7-Zip",
)
DUPLICATE = rule(
    "duplicate-entry",
    ERROR,
    "the zip has {count} entries for this path",
    "which of them ends up in /opt depends on who unpacks it: what was looked at need not be what runs",
    "make the zip anew instead of adding to an old one",
)
ENCRYPTED = rule(
    "encrypted",
    ERROR,
    "the entry is encrypted",
    _NOT_UNZIPPED,
    "make the zip without a password",
)
UNREADABLE = rule(
    "unreadable-entry",
    ERROR,
    "the entry cannot be unpacked: {problem}",
    _NOT_UNZIPPED,
    "make the zip anew, stored or deflated",
)
NO_MODES = rule(
    "no-unix-modes",
    ERROR,
    "the zip was made without Unix modes, as Windows does it",
    "no file in extensions/ has its execute bit: 'fork/exec /opt/{first}: permission denied', Extension.LaunchError "
    "(PermissionDenied); no invocation works",
    "make the zip where modes are kept (Linux, macOS, WSL), or set them: ZipInfo.external_attr = 0o100755 << 16",
)
NOT_READABLE = rule(
    "not-readable",
    ERROR,
    "mode {mode}: not everybody may read it",
    "Lambda runs functions and extensions as a user who does not own /opt: '[Errno 13] Permission denied'",
    "chmod -R a+rX the layer's folder before it is zipped (0644 for files, 0755 for what is executed)",
)
LINK_OUTSIDE = rule(
    "link-outside",
    ERROR,
    "the link points to {target}, which is outside of the layer",
    "it works, if at all, on the machine that made the layer: on Lambda it is 'no such file or directory'",
    "put the file itself into the layer, or link to a path inside it",
)
LINK_SYSTEM = rule(
    "link-to-system",
    NOTE,
    "the link points to {target}, which belongs to the runtime or the function",
    "it is there only where the runtime or the function has such a file",
    "nothing, if that is meant",
)
LINK_DANGLING = rule(
    "link-dangling",
    ERROR,
    "the link points to {target}, which the layer does not have",
    "opening it on Lambda is 'no such file or directory', unless another layer brings that file",
    "put the file into the layer, or remove the link",
)
LEFTOVER = rule(
    "mac-leftover",
    NOTE,
    "a file that macOS adds to zips",
    "it takes room in /opt and does nothing",
    "zip -X -r layer.zip . -x '*.DS_Store' '__MACOSX/*'",
)

_SYSTEM = ("/var/", "/tmp/", "/usr/", "/lib/", "/lib64/", "/bin/", "/etc/", "/proc/", "/dev/")  # noqa: S108 - only compared


def check(subject: Subject) -> Iterator[Finding]:
    """What is wrong with the entries, whatever is in them."""
    yield from _members(subject)
    if not subject.has_modes:
        if subject.started:
            yield NO_MODES.at("", first=subject.started[0])
    else:
        for path, entry in subject.files.items():
            if not entry.mode & 0o004 and not entry.is_link:
                yield NOT_READABLE.at(path, mode=f"{entry.mode:04o}")
    for path, entry in subject.files.items():
        if entry.is_link:
            yield from _link(subject, path, entry.data.decode("utf-8", "replace"))
        elif path.startswith("__MACOSX/") or path.endswith("/.DS_Store") or path == ".DS_Store":
            yield LEFTOVER.at(path)


def _members(subject: Subject) -> Iterator[Finding]:
    counts: dict[str, int] = {}
    for member in subject.archive.members:
        if not member.place and member.name not in ("./", "."):
            yield LEAVES.at(member.name)
        if "\\" in member.name:
            yield BACKSLASH.at(member.name)
        if member.encrypted:
            yield ENCRYPTED.at(member.name)
        elif member.problem:
            yield UNREADABLE.at(member.name, problem=member.problem)
        if member.place and not member.is_folder:
            counts[member.place] = counts.get(member.place, 0) + 1
    for place, count in counts.items():
        count += place in subject.folders  # a file and a folder of the same name
        if count > 1:
            yield DUPLICATE.at(place, count=count)


def _link(subject: Subject, path: str, target: str) -> Iterator[Finding]:
    if target.startswith("/") and not target.startswith("/opt/"):
        yield (LINK_SYSTEM if target.startswith(_SYSTEM) else LINK_OUTSIDE).at(path, target=target)
    elif not subject.resolve(path):
        outside = _climbs_out(path, target)
        yield (LINK_OUTSIDE if outside else LINK_DANGLING).at(path, target=target)


def _climbs_out(path: str, target: str) -> bool:
    depth = 0 if target.startswith("/") else path.count("/")
    for part in target.removeprefix("/opt/").split("/"):
        depth += {"..": -1, ".": 0, "": 0}.get(part, 1)
        if depth < 0:
            return True
    return False
