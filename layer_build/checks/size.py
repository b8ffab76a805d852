"""Bytes: of the layer, of what is attached beside it, and what Lambda allows. Source: AWS docs, "Lambda quotas"."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from layer_build import tree
from layer_build.checks.findings import ERROR, NOTE, rule
from layer_build.targets import MAX_UNZIPPED

if TYPE_CHECKING:
    from collections.abc import Iterator

    from layer_build.checks.findings import Finding
    from layer_build.checks.subject import Subject

#: bytes; a zip that is handed over in the request itself: 50 MB
MAX_DIRECT = 52_428_800

TOO_LARGE = rule(
    "too-large",
    ERROR,
    "{size:,} bytes unzipped, {over:,} more than Lambda allows for a function and all its layers",
    '"Function code combined with layers exceeds the maximum allowed size of 262144000 bytes" (InvalidParameterValueException)',
    "leave out what is never imported: tests, boto3, other platforms, debug symbols (strip)",
)
TOO_LARGE_TOGETHER = rule(
    "too-large-together",
    ERROR,
    "{size:,} bytes unzipped, with the others {total:,}: {over:,} more than Lambda allows for a function and all its layers",
    '"Function code combined with layers exceeds the maximum allowed size of 262144000 bytes" (InvalidParameterValueException)',
    "make the largest of them smaller, attach fewer layers, or deploy the function as an image (10 GB)",
)
DIRECT = rule(
    "zip-over-50-mb",
    NOTE,
    "{zipped:,} bytes zipped",
    "handed over in the request it is refused: RequestEntityTooLargeException, 'Request must be smaller than ... bytes for the "
    "PublishLayerVersion operation'",
    "publish it from S3: --content S3Bucket=...,S3Key=...",
)


@dataclass(frozen=True)
class Budget:
    """What is used of the limit, in bytes: by this layer, and by what is attached beside it (name and size)."""

    layer: int
    others: tuple[tuple[str, int], ...] = ()

    @property
    def total(self) -> int:
        return self.layer + sum(size for _name, size in self.others)

    @property
    def free(self) -> int:
        """Negative where it is too much."""
        return MAX_UNZIPPED - self.total

    def table(self, name: str) -> str:
        """Each part and what is left, a line each; ends with a newline."""
        rows = [(name, self.layer), *self.others]
        if self.others:
            rows.append(("together", self.total))
        rows.append(("left of 262,144,000", self.free))
        return "".join(f"  {label:<40} {size:>13,} bytes\n" for label, size in rows)


def check(subject: Subject, others: int = 0) -> Iterator[Finding]:
    """The layer against the limits, alone and beside `others` bytes."""
    size = tree.size(subject.files)
    if size > MAX_UNZIPPED:
        yield TOO_LARGE.at("", size=size, over=size - MAX_UNZIPPED)
    elif size + others > MAX_UNZIPPED:
        yield TOO_LARGE_TOGETHER.at("", size=size, total=size + others, over=size + others - MAX_UNZIPPED)
    zipped = subject.archive.zipped
    if zipped is not None and zipped > MAX_DIRECT:
        yield DIRECT.at("", zipped=zipped)
