"""Times as the platform writes them, to epoch milliseconds. ``datetime`` would do it, at six times the cost of its import."""

from __future__ import annotations

__all__ = ["format_ms", "parse_ms"]


def parse_ms(text: str) -> int | None:
    """``2026-11-23T08:00:00.700Z`` as epoch milliseconds; None where it is no time.

    Lenient, since samples in the AWS documentation are: no fraction or one of any length, ``:521`` for ``.521``, an offset such
    as ``+01:00``, a blank instead of the T, no zone (then UTC). A leap second counts as the second after it.
    """
    date, clock = text[:10], text[11:]
    if len(date) != 10 or date[4] != "-" or date[7] != "-" or text[10:11] not in ("T", "t", " "):
        return None
    clock, offset_ms = _zone(clock)
    if len(clock) < 8 or clock[2] != ":" or clock[5] != ":" or clock[8:9] not in ("", ".", ":", ","):
        return None
    fraction = clock[9:]
    parts = (date[:4], date[5:7], date[8:], clock[:2], clock[3:5], clock[6:8], fraction or "0")
    if not all(part.isascii() and part.isdigit() for part in parts) or offset_ms is None:
        return None
    year, month, day, hour, minute, second = [int(part) for part in parts[:6]]
    if not (1 <= month <= 12 and 1 <= day <= 31 and hour <= 24 and minute <= 59 and second <= 60):
        return None
    seconds = _days(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second
    return seconds * 1_000 + int((fraction + "000")[:3]) - offset_ms


def format_ms(ms: int) -> str:
    """Epoch milliseconds as the platform writes them: ``2026-11-23T08:00:00.700Z``."""
    days, rest = divmod(ms, 86_400_000)
    # The inverse of `_days`: eras of 400 years that begin with a March.
    era, day = divmod(days + 719_468, 146_097)
    year = (day - day // 1_460 + day // 36_524 - day // 146_096) // 365
    day_of_year = day - (365 * year + year // 4 - year // 100)
    month = (5 * day_of_year + 2) // 153
    day = day_of_year - (153 * month + 2) // 5 + 1
    month = month + 3 if month < 10 else month - 9
    year += era * 400 + (month <= 2)
    clock = (rest // 3_600_000, rest // 60_000 % 60, rest // 1_000 % 60, rest % 1_000)
    return "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ" % (year, month, day, *clock)


def _zone(clock: str) -> tuple[str, int | None]:
    """The time of day without its zone, and the zone's distance from UTC in ms (None: it cannot be read)."""
    if clock[-1:] in ("Z", "z"):
        return clock[:-1], 0
    at = max(clock.rfind("+"), clock.rfind("-"))
    if at < 0:
        return clock, 0
    digits = clock[at + 1 :].replace(":", "", 1)
    if len(digits) != 4 or not (digits.isascii() and digits.isdigit()):
        return clock[:at], None
    minutes = int(digits[:2]) * 60 + int(digits[2:])
    return clock[:at], minutes * 60_000 * (1 if clock[at] == "+" else -1)


def _days(year: int, month: int, day: int) -> int:
    """Days since 1970-01-01 in the Gregorian calendar (a year that begins in March has its leap day at the end)."""
    year -= month <= 2
    day_of_year = (153 * ((month + 9) % 12) + 2) // 5 + day - 1
    return year * 365 + year // 4 - year // 100 + year // 400 + day_of_year - 719_468
