"""Which of the layers in use there are newer versions of, by the indexes at hand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from layer_build.outdated.uses import Arn, Use, arns
from layer_build.publishing.plan import order

if TYPE_CHECKING:
    from collections.abc import Iterable

CURRENT, BEHIND, NEWER = "current", "behind", "newer than the index"


@dataclass(frozen=True)
class Known:
    """A layer version that an index has, with its entry there."""

    arn: Arn
    entry: dict[str, Any]

    @property
    def rank(self) -> tuple[Any, ...]:
        return order(str(self.entry["version"])), self.arn.number


@dataclass(frozen=True)
class Verdict:
    """``has``: None where the index knows the layer, but not this version of it."""

    use: Use
    state: str
    has: Known | None
    newest: Known


def known(entries: Iterable[dict[str, Any]]) -> list[Known]:
    """All that the indexes' entries say was published."""
    return [
        Known(arn, entry)
        for entry in entries
        for place in entry.get("published", {}).values()
        for arn in arns(str(place["arn"]))
    ]


def judge(use: Use, index: list[Known]) -> Verdict | None:
    """Of one layer in use; None where no index has the layer."""
    same = [one for one in index if one.arn.meets(use.arn)]
    if not same:
        return None
    has = max((one for one in same if one.arn.number == use.arn.number), key=lambda one: one.rank, default=None)
    like = has or max(same, key=lambda one: one.rank)
    # The newest may be of another layer: where a name was changed, or carries the version.
    kin = [one for one in index if _kin(one) == _kin(like) and _place(one.arn) == _place(like.arn)]
    newest = max(kin, key=lambda one: one.rank)
    if has is None:
        state = NEWER if use.arn.number > max(one.arn.number for one in same) else BEHIND
    else:
        state = BEHIND if newest.rank[0] > has.rank[0] or newest.arn.number > has.arn.number else CURRENT
    return Verdict(use, state, has, newest)


def _kin(one: Known) -> tuple[Any, ...]:
    runtime = one.entry.get("runtime", "python")
    # The Python that a layer brings may be another in the next one.
    return (
        one.entry["name"],
        one.entry["architecture"],
        runtime,
        () if runtime == "any" else tuple(one.entry["pythons"]),
    )


def _place(arn: Arn) -> tuple[str, str]:
    return arn.region, arn.account
