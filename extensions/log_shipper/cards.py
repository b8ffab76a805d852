"""Numbers of payment cards in a text: those that a card could have, also beside other digits."""

from __future__ import annotations

import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["cards", "is_card"]

#: Digits in groups, one blank or dash between two of them, as many as follow each other: never tried again, so linear.
_DIGITS = re.compile(r"(?<![0-9A-Za-z.\-])[0-9](?:[ \-]?[0-9]){12,}+")
_GROUP = re.compile(r"[0-9]+")
_SHORTEST, _LONGEST = 13, 19
_LEAST, _MOST = 3, 7  # digits of a group where a card's number is printed in several


def cards(text: str) -> Iterator[tuple[int, int]]:
    """Where each begins and ends: whole groups of digits, the longest that could be a card's number."""
    for run in _DIGITS.finditer(text):
        groups = [(group.start(), group.end()) for group in _GROUP.finditer(text, run.start(), run.end())]
        after = text[run.end() : run.end() + 1]
        if after == "-" or (after.isascii() and after.isalpha()):
            groups.pop()  # a part of something else: of an id, say
        at = 0
        while at < len(groups):
            count = _card_of(text, groups, at)
            if count:
                yield groups[at][0], groups[at + count - 1][1]
            at += count or 1


def _card_of(text: str, groups: list[tuple[int, int]], at: int) -> int:
    """Of how many groups the longest card consists that begins with the one at `at`; 0 where none does.

    Of several it is one if they look printed, or if nothing else stands beside them: a row of small numbers is no card.
    """
    number, best, looks_printed = "", 0, True
    for count, (start, end) in enumerate(groups[at : at + _LONGEST], 1):
        number += text[start:end]
        if len(number) > _LONGEST:
            break
        looks_printed = looks_printed and _LEAST <= end - start <= _MOST
        if (looks_printed or count in (1, len(groups))) and is_card(number):
            best = count
    return best


def is_card(number: str) -> bool:
    """Digits that a card could have: a known prefix, its length, and the check digit (ISO/IEC 7812)."""
    if not _SHORTEST <= len(number) <= _LONGEST or not _has_card_prefix(number):
        return False
    digits = [int(one) for one in number]
    total = sum(digits[-1::-2]) + sum(one * 2 - 9 * (one > 4) for one in digits[-2::-2])
    return total % 10 == 0


def _has_card_prefix(number: str) -> bool:
    length, two, four = len(number), int(number[:2]), int(number[:4])
    if number[0] == "4":
        return length in (13, 16, 19)
    if 51 <= two <= 55 or 2221 <= four <= 2720:
        return length == 16
    if two in (34, 37):
        return length == 15
    if two in (36, 38, 39) or 3000 <= four <= 3059:
        return length in (14, 16, 19)
    return (3528 <= four <= 3589 or two in (62, 65) or four == 6011 or 6440 <= four <= 6499) and length >= 16
