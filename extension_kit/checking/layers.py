"""Layers: each by itself, as ``layer_build verify`` judges it; all of them together, with the function."""

from __future__ import annotations

from typing import TYPE_CHECKING

from extension_kit.checking.findings import ERROR, NOTE, WARNING, Finding
from extension_kit.errors import ConfigError
from layer_build import archive
from layer_build.checks.size import MAX_DIRECT, TOO_LARGE, TOO_LARGE_TOGETHER
from layer_build.commands import verify
from layer_build.targets import MAX_UNZIPPED

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from extension_kit.checking.subject import Subject
    from layer_build.checks.report import Report

#: of one function (AWS docs, "Lambda quotas"; "Lambda Extensions API")
_MOST_LAYERS = 5
_MOST_EXTENSIONS = 10
_SIZES = (TOO_LARGE.code, TOO_LARGE_TOGETHER.code)  # told in the group of sizes
_MOST_PATHS = 3  # of one finding


def check(subject: Subject) -> Iterator[Finding]:
    """First what is wrong with each, then what they do to one another."""
    reports = [verify.report(path) for path in subject.layers]
    for report in reports:
        yield from _verified(report)
    yield from _together(subject, reports)
    yield from _sizes(subject)


def _verified(report: Report) -> Iterator[Finding]:
    for one, paths in report.groups:
        if one.code not in _SIZES:
            more = f" and {len(paths) - _MOST_PATHS} more" if len(paths) > _MOST_PATHS else ""
            places = ", ".join(path for path in paths[:_MOST_PATHS] if path)
            where = f"{places}{more}: " if places else ""
            level = ERROR if one.level == "error" else NOTE
            yield Finding("layer", level, report.name, f"{where}{one.what} [{one.code}]: {one.why}", one.fix)


def _together(subject: Subject, reports: list[Report]) -> Iterator[Finding]:
    if len(subject.layers) > _MOST_LAYERS:
        yield Finding(
            "layer", ERROR, "function", f"{len(subject.layers)} layers; Lambda attaches {_MOST_LAYERS} at most",
            "put several extensions into one layer: python -m layer_build build --plugins A,B",
        )  # fmt: skip
    if reports and not set.intersection(*(set(one.subject.arches) for one in reports)):
        said = "; ".join(f"{one.name}: {', '.join(one.subject.arches)}" for one in reports)
        yield Finding(
            "layer", ERROR, "function", f"no architecture could run all of them: {said}",
            "take the zips of the function's architecture",
        )  # fmt: skip
    yield from _twice(subject)
    first: dict[str, str] = {}
    for layer in subject.contents:
        for path in layer.files:
            if path.startswith("extensions/") and path.count("/") == 1:
                if path in first:
                    yield Finding(
                        "layer", WARNING, layer.path.name, f"{path} is in {first[path]} as well; the later layer's is taken",
                        "attach one of them",
                    )  # fmt: skip
                first[path] = layer.path.name
    if len(first) > _MOST_EXTENSIONS:
        yield Finding(
            "layer", ERROR, "function", f"{len(first)} extensions; Lambda registers {_MOST_EXTENSIONS} at most",
            "put several of them into one process: python -m layer_build build --plugins A,B",
        )  # fmt: skip


def _twice(subject: Subject) -> Iterator[Finding]:
    """Plug-ins that would run in two processes: each ships every line, and both want the same ports."""
    first: dict[str, tuple[str, str]] = {}
    for layer in subject.contents:
        for one in layer.ours:
            for spec in one.manifest.plugins if one.manifest is not None else ():
                name, place = first.setdefault(spec, (one.name, layer.path.name))
                if name != one.name and subject.may_run(spec):
                    yield Finding(
                        "layer", WARNING, layer.path.name, f"{spec} is in {place} as well: it would run twice, in {name} too",
                        "attach one of them, or build the layer of several without it (--plugins)",
                    )  # fmt: skip


def _sizes(subject: Subject) -> Iterator[Finding]:
    parts = [(layer.path.name, layer.unzipped) for layer in subject.contents]
    if subject.function is not None:
        parts.append(("the function", _function_size(subject.function)))
    if not parts:
        return
    total = sum(size for _name, size in parts)
    each = ", ".join(f"{name} {size:,}" for name, size in sorted(parts, key=lambda part: -part[1]))
    said = f"{total:,} of {MAX_UNZIPPED:,} bytes unzipped: {each}"
    if total > MAX_UNZIPPED:
        yield Finding(
            "sizes", ERROR, "function", f"{said}; that is {total - MAX_UNZIPPED:,} more than Lambda takes",
            "make the largest smaller (tests, boto3, other platforms), attach fewer layers, or deploy an image (10 GB)",
        )  # fmt: skip
    else:
        yield Finding("sizes", NOTE, "function", said, f"nothing: {MAX_UNZIPPED - total:,} are left")
    function = subject.function
    if function is not None and function.is_file() and function.stat().st_size > MAX_DIRECT:
        yield Finding(
            "sizes", NOTE, function.name, f"{function.stat().st_size:,} bytes zipped: an upload takes {MAX_DIRECT:,}",
            "deploy it from S3",
        )  # fmt: skip


def _function_size(path: Path) -> int:
    """Bytes, unzipped; of a folder what is in it now. ConfigError where it cannot be read."""
    if not path.is_dir():
        return archive.unzipped_size(path)
    try:
        return sum(one.lstat().st_size for one in path.rglob("*") if not one.is_dir() or one.is_symlink())
    except OSError as error:
        raise ConfigError(f"--function {path}: cannot be read: {error.strerror}") from error
