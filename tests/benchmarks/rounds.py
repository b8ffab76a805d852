"""One round: how much of everything is measured in it, in which order, and what its figures are."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from tests.benchmarks.report import Figures

T = TypeVar("T")
#: per contender, the figures of one round; the round's value is their median
Samples = dict[str, list[float]]


@dataclass(frozen=True)
class Effort:
    """How much is measured in one round."""

    starts: int = 15
    batches: int = 4  # of fresh processes
    slices: int = 4  # of each batch
    events: int = 150  # in a slice, back to back
    gap_slices: int = 2
    gap_events: int = 30  # in a slice, with 2 ms between two events
    warm_events: int = 15  # before each slice, not counted
    memory_events: int = 1000
    idle_s: float = 0.3
    environments: int = 3
    quota_environments: int = 1
    telemetry_batches: int = 2  # of fresh processes
    telemetry_slices: int = 4
    posts: int = 16  # in a slice, of each load
    small_posts: int = 200
    large_posts: int = 3
    warm_posts: int = 2  # before each slice, not counted
    pairs: int = 200  # of invokes, with and without an extension
    hits: int = 2000  # of a secret, in a slice
    warm_hits: int = 200  # before each slice, not counted


QUICK = Effort(
    starts=3, batches=1, slices=3, events=50, gap_events=5, idle_s=0.05, environments=1,
    telemetry_batches=1, telemetry_slices=2, posts=8, small_posts=50, large_posts=2, warm_posts=1, pairs=20,
    hits=200, warm_hits=20,
)  # fmt: skip


def rotated(things: list[T], by: int) -> list[T]:
    """Everybody is first, and after everybody else, equally often."""
    by %= max(1, len(things))
    return things[by:] + things[:by]


def medians(**metrics: Samples) -> Figures:
    """The figures of one round."""
    return {
        metric: {name: statistics.median(values) for name, values in samples.items()}
        for metric, samples in metrics.items()
    }
