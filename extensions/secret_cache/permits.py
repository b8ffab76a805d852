"""Which ids may be asked for: globs that an operator has written. No I/O.

What is asked is looked at before AWS is, and what AWS has answered once more: an ARN without its suffix reads like the ARN of
a secret with a shorter name, and only the answer tells which one it was.
"""

from __future__ import annotations

from extensions.secret_cache.asks import PathAsk, name_in_arn
from extensions.secret_cache.found import Parameter, Parameters, Secret

TYPE_CHECKING = False
if TYPE_CHECKING:
    from extensions.secret_cache.asks import Ask
    from extensions.secret_cache.found import Found

__all__ = ["Permits", "matches"]

_SUFFIX = 7  # characters of a secret's ARN behind its name


class Permits:
    """``globs``: none means that everything is allowed."""

    __slots__ = ("globs",)

    def __init__(self, globs: tuple[str, ...] = ()) -> None:
        self.globs = globs

    def asking(self, ask: Ask) -> bool:
        """Whether `ask` may go to AWS."""
        if not self.globs:
            return True
        name = name_in_arn(ask.id)
        ways = [ask.id, name, name.removeprefix("/")]
        if isinstance(ask, PathAsk):
            ways.append(ask.id.rstrip("/") + "/")  # what ``/app/*`` says of ``/app``
        return self._any(ways)

    def answering(self, found: Found) -> Found | None:
        """What of `found` may be handed out; None for nothing."""
        if not self.globs:
            return found
        if isinstance(found, Parameters):
            return Parameters(tuple(item for item in found.items if self._parameter(item)))
        if isinstance(found, Secret):
            return found if self._any([found.name, found.arn, found.arn[:-_SUFFIX]]) else None
        if isinstance(found, Parameter):
            return found if self._parameter(found) else None
        return found

    def _parameter(self, found: Parameter) -> bool:
        return self._any([found.name, found.name.removeprefix("/"), found.arn or ""])

    def _any(self, ways: list[str]) -> bool:
        return any(matches(way, glob) for glob in self.globs for way in ways if way)


def matches(text: str, glob: str) -> bool:
    """Shell style, case matters: ``*`` is any run of characters, slashes included, ``?`` any one. Linear in both."""
    at = star = mark = 0
    star = -1
    position = 0
    while position < len(text):
        if at < len(glob) and glob[at] == "*":
            star, mark, at = at, position, at + 1
        elif at < len(glob) and glob[at] in ("?", text[position]):
            at, position = at + 1, position + 1
        elif star >= 0:
            mark += 1
            at, position = star + 1, mark
        else:
            return False
    return not glob[at:].strip("*")
