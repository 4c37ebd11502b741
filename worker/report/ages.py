"""Durations as people type them: `30m`, `12h`, `7d`, `2w`."""

from __future__ import annotations

import re
from datetime import timedelta
from decimal import Decimal

UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
#: Beyond this, neither Python nor PostgreSQL can count back from now.
LONGEST = timedelta(days=36_500)
_AGE = re.compile(r"([0-9]{1,6})([mhdw])")


def parse_age(text: str) -> timedelta:
    """`30m`, `12h`, `7d` or `2w`. Raises ValueError for anything else."""
    match = _AGE.fullmatch(text.strip().lower())
    if match is None or int(match[1]) == 0:
        raise ValueError("should look like 30m, 12h, 7d or 2w")
    age = timedelta(**{UNITS[match[2]]: int(match[1])})
    if age > LONGEST:
        raise ValueError("should be at most a hundred years")
    return age


def age_text(age: timedelta) -> str:
    """The shortest text that `parse_age` reads as that duration, in whole minutes."""
    minutes = round(age.total_seconds() / 60)
    for unit, size in (("w", 10_080), ("d", 1440), ("h", 60)):
        if minutes and minutes % size == 0:
            return f"{minutes // size}{unit}"
    return f"{max(minutes, 1)}m"


# A comma may group thousands and nothing else: to take it out of `1250,50`, as much of Europe writes 1250.50, would
# make a hundredfold claim of it.
_AMOUNT = re.compile(r"-?([0-9]+|[0-9]{1,3}(,[0-9]{3})+|[0-9]{1,3}( [0-9]{3})+)(\.[0-9]+)?")
#: Characters of an amount; what is longer is none.
_LONGEST = 100


def parse_amount(text: str) -> Decimal:
    """`1250`, `1250.50`, `1,250.50` or `1 250.50`, to the digit. Raises ValueError for anything else."""
    typed = text.strip()
    if len(typed) > _LONGEST or not _AMOUNT.fullmatch(typed):
        comma = " (with a point, not a comma, before the decimals)" if "," in typed else ""
        raise ValueError(f"should be a number such as 1250.50{comma}")
    return Decimal(typed.replace(",", "").replace(" ", ""))
