"""Values in words: amounts, durations, moments, and foreign text that is safe to print. Pure functions."""

from __future__ import annotations

import unicodedata
from datetime import UTC, datetime
from decimal import Decimal

#: Units of a duration, longest first: (seconds, name).
UNITS = ((86_400, "d"), (3600, "h"), (60, "min"))
#: Unicode categories that change how a line is shown, or what a terminal does, rather than being shown themselves.
#: (Cf is format characters such as the bidirectional overrides; joiners within words belong to it and are kept.)
_UNPRINTABLE = {"Cc", "Cs", "Co", "Zl", "Zp"}
_JOINERS = {"\u200c", "\u200d"}


def one_line(text: str) -> str:
    """Foreign text (a tenant's name, the API's message) as one line that does nothing to a terminal.

    White space of any kind becomes single spaces; control characters become a replacement character, so that an escape
    sequence in a message is seen and not obeyed.
    """
    return " ".join("".join(_printable(character) for character in text).split())


def _printable(character: str) -> str:
    if character.isspace():
        return " "
    category = unicodedata.category(character)
    if category in _UNPRINTABLE or (category == "Cf" and character not in _JOINERS):
        return "\N{REPLACEMENT CHARACTER}"
    return character


def number(amount: Decimal) -> str:
    """A plain decimal number with at least two decimals and no needless ones: 1250.1000 is 1250.10."""
    whole, _, fraction = format(amount, "f").partition(".")
    return f"{whole}.{fraction.rstrip('0').ljust(2, '0')}"


def money(amount: Decimal | None, currency: str | None) -> str:
    """An amount with its currency, e.g. `18750.00 DKK`; empty where there is no amount."""
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
    """A point in time to the second, in UTC: the same words for readers in every place."""
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def counted(count: int, noun: str) -> str:
    """`1 job`, `1,200 jobs`, `2 entries`."""
    if count == 1:
        return f"{count} {noun}"
    return f"{count:,} {noun[:-1]}ies" if noun.endswith("y") and noun[-2] not in "aeiou" else f"{count:,} {noun}s"


def said(error_type: str | None, message: str | None) -> str:
    """What the API (or we) said, as one line; empty for nothing. RFC 7807's type, a web address, is left out."""
    telling = error_type if error_type and "://" not in error_type else None
    return one_line(": ".join(part for part in (telling, message) if part))
