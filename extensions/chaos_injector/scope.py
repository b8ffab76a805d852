"""Where faults may happen: allow-lists, deny-lists that win, and production, which must be meant three times over."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from extensions.chaos_injector.plan import Scope
    from extensions.chaos_injector.settings import ChaosSettings

__all__ = ["Bounds", "names_production", "qualified"]

_PRODUCTION = frozenset(("prod", "production", "prd", "live"))


class Bounds:
    """What the settings have to say besides the experiment's scope. Reasons are "" where nothing speaks against."""

    __slots__ = ("_all_is_prod", "_settings")

    def __init__(self, settings: ChaosSettings) -> None:
        self._settings = settings
        self._all_is_prod: bool | None = None  # since the pattern that would tell is wrong

    def outside(self, scope: Scope, what: str, name: str, *, known: bool) -> str:
        """Why the lists rule out `name`; where it is not known, any list that is not empty does. ``what``: functions, ..."""
        denied: tuple[str, ...] = getattr(scope.deny, what)
        allowed: tuple[str, ...] = getattr(scope.allow, what)
        shown = name or ("(none)" if known else "(not known)")
        if denied and (not known or _any(denied, name)):
            return f"scope: deny.{what} has {shown}"
        if allowed and not _any(allowed, name):
            return f"scope: {what} has not {shown}"
        if what in ("functions", "aliases", "tenants") and _any(self._settings.deny, name):
            return f"scope: CHAOS_DENY has {shown}"
        return ""

    def production(self, scope: Scope, what: str, name: str) -> str:
        """Why a name of production rules it out: ``what`` is functions or aliases."""
        if not name or not self._is_prod(name):
            return ""
        begin = f"prod: the {'function' if what == 'functions' else 'alias'} {name} is production: "
        if not self._settings.allow_prod:
            return f"{begin}CHAOS_ALLOW_PROD is not set"
        if not scope.allow_prod:
            return f"{begin}scope.allow_prod is not true"
        return "" if name in getattr(scope.allow, what) else f"{begin}scope.{what} does not name it without *"

    def _is_prod(self, name: str) -> bool:
        pattern = self._settings.prod
        if not pattern:
            return names_production(name)
        from extensions.chaos_injector.matching import search, why_not_regex

        if self._all_is_prod is None:
            self._all_is_prod = bool(why_not_regex(pattern))
        return self._all_is_prod or search(pattern, name, too_long=True)


def _any(patterns: tuple[str, ...], name: str) -> bool:
    if not name or not patterns:
        return False
    from extensions.chaos_injector.matching import glob

    return any(glob(pattern, name) for pattern in patterns)


def names_production(name: str) -> bool:
    """Whether a word of a name says so, and none before it says that it is not: Prod-Checkout, checkoutLIVE2, not products."""
    before: tuple[str, ...] = ()
    for word in _words(name):
        if "non" not in before and not _PRODUCTION.isdisjoint(word):
            return True
        before = word
    return False


def _words(name: str) -> Iterator[tuple[str, ...]]:
    """The words of a name in small letters, digits too, each in all readings: PRDCheckout is PRD Checkout or PRDC heckout."""
    runs: list[tuple[str, str]] = []  # kind and text
    for one in name:
        kind = "A" if one.isupper() else "a" if one.isalpha() else "0" if one.isdigit() else ""
        if runs and runs[-1][0] == kind:
            runs[-1] = (kind, runs[-1][1] + one)
        else:
            runs.append((kind, one))
    last = ""  # what an upper-case run has left for the small letters behind it
    for at, (kind, text) in enumerate(runs):
        before_small = kind == "A" and at + 1 < len(runs) and runs[at + 1][0] == "a"
        if before_small and len(text) > 1:
            yield text.lower(), text[:-1].lower()
        elif kind == "a":
            yield text, (last + text).lower()
        elif kind and not before_small:
            yield (text.lower(),)
        last = text[-1] if before_small else ""


def qualified(arn: str, version: str) -> tuple[str, str]:
    """Alias and version of ``arn:aws:lambda:REGION:ACCOUNT:function:NAME[:QUALIFIER]``; a qualifier of digits is a version."""
    parts = arn.split(":")
    qualifier = parts[7] if len(parts) > 7 else ""
    if qualifier.isdigit() or qualifier == "$LATEST":
        return "", qualifier
    return qualifier, version
