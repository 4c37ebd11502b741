"""Format and parse amounts, durations and times, and make untrusted text safe to print. Pure."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from worker.case.fields import one_line

#: Units of a duration, longest first: (seconds, name).
UNITS = ((86_400, "d"), (3600, "h"), (60, "min"))


def number(amount: Decimal) -> str:
    """A plain decimal number with at least two decimals and no further trailing zeros: 1250.1000 is 1250.10."""
    whole, _, fraction = format(amount, "f").partition(".")
    return f"{whole}.{fraction.rstrip('0').ljust(2, '0')}"


def money(amount: Decimal | None, currency: str | None) -> str:
    """An amount with its currency, e.g. `18750.00 DKK`; empty if there is none."""
    if amount is None:
        return ""
    return one_line(f"{number(amount)} {currency or '?'}")


def span(seconds: float) -> str:
    """A duration in its two largest units, e.g. `3 d 4 h`, `12 min 5 s`, `0.4 s`."""
    if seconds < 1:
        return f"{max(seconds, 0.0):.1f} s"
    left = round(seconds)
    parts: list[str] = []
    for size, name in UNITS:
        count, left = divmod(left, size)
        if count or parts:
            parts.append(f"{count} {name}")
    parts.append(f"{left} s")
    return " ".join(part for part in parts[:2] if not part.startswith("0 "))


def milliseconds(duration: int) -> str:
    """A duration given in milliseconds, e.g. `38 ms`, `4.2 s`, `3 min 2 s`."""
    if duration < 1000:
        return f"{duration} ms"
    return f"{duration / 1000:.1f} s" if duration < 60_000 else span(duration / 1000)


def moment(at: datetime) -> str:
    """A time to the second, in UTC: the same text for readers in every time zone."""
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def counted(count: int, noun: str) -> str:
    """`1 job`, `1,200 jobs`, `2 entries`."""
    if count == 1:
        return f"{count} {noun}"
    return f"{count:,} {noun[:-1]}ies" if noun.endswith("y") and noun[-2] not in "aeiou" else f"{count:,} {noun}s"


def describe_error(error_type: str | None, message: str | None) -> str:
    """An error as one line; empty for none. Omit the type if it is a URL (RFC 7807)."""
    kind = error_type if error_type and "://" not in error_type else None
    return one_line(": ".join(part for part in (kind, message) if part))


AGE_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
#: Neither Python nor PostgreSQL can subtract more from the current time.
LONGEST_AGE = timedelta(days=36_500)
_AGE = re.compile(r"([0-9]{1,6})([mhdw])")


def parse_age(text: str) -> timedelta:
    """Parse `30m`, `12h`, `7d` or `2w`. Raises ValueError for anything else."""
    match = _AGE.fullmatch(text.strip().lower())
    if match is None or int(match[1]) == 0:
        raise ValueError("should look like 30m, 12h, 7d or 2w")
    age = timedelta(**{AGE_UNITS[match[2]]: int(match[1])})
    if age > LONGEST_AGE:
        raise ValueError("should be at most a hundred years")
    return age


def age_text(age: timedelta) -> str:
    """The shortest text that `parse_age` reads as that duration, in whole minutes."""
    minutes = round(age.total_seconds() / 60)
    for unit, size in (("w", 10_080), ("d", 1440), ("h", 60)):
        if minutes and minutes % size == 0:
            return f"{minutes // size}{unit}"
    return f"{max(minutes, 1)}m"


# A comma may only group thousands. Removing it from `1250,50`, as much of Europe writes 1250.50, would make the claim a
# hundred times larger.
_AMOUNT = re.compile(r"-?([0-9]+|[0-9]{1,3}(,[0-9]{3})+|[0-9]{1,3}( [0-9]{3})+)(\.[0-9]+)?")
#: Maximum length of an amount.
_LONGEST = 100


def parse_amount(text: str) -> Decimal:
    """Parse `1250`, `1250.50`, `1,250.50` or `1 250.50` exactly. Raises ValueError for anything else."""
    typed = text.strip()
    if len(typed) > _LONGEST or not _AMOUNT.fullmatch(typed):
        comma = " (with a point, not a comma, before the decimals)" if "," in typed else ""
        raise ValueError(f"should be a number such as 1250.50{comma}")
    return Decimal(typed.replace(",", "").replace(" ", ""))
