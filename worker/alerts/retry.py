"""What follows from one try to deliver an alert. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

#: Tries before an alert is given up: with the waits between them, 20 to 45 minutes.
TRIES = 10
#: Seconds before the second try; each further wait is twice as long, up to the longest.
FIRST_WAIT, LONGEST_WAIT = 5.0, 1800.0


@dataclass(frozen=True, slots=True)
class Delivered:
    """The receiver has it."""


@dataclass(frozen=True, slots=True)
class Again:
    """Not yet."""

    seconds: float
    error: str


@dataclass(frozen=True, slots=True)
class GivenUp:
    """Not at all."""

    error: str


def after_try(
    attempt: int, *, status: int | None, error: str = "", retry_after: str | None = None, chance: float
) -> Delivered | Again | GivenUp:
    """Judge try number `attempt` (from 1). `status` None: no answer came, and `error` says why.

    Only 2xx is a delivery; any other answer may be mended at the receiver, so it is tried again like silence. The wait
    is between half and all of its length, by `chance` (0 to 1), so that receivers are not asked by many at once; a
    receiver that names a longer one (`Retry-After`, seconds) gets it, up to LONGEST_WAIT.
    """
    if status is not None and 200 <= status < 300:
        return Delivered()
    said = error if status is None else f"it answers {status}"
    if attempt >= TRIES:
        return GivenUp(said)
    wait = min(LONGEST_WAIT, FIRST_WAIT * 2 ** (attempt - 1))
    return Again(max(wait * (1 + chance) / 2, _asked(retry_after)), said)


def _asked(retry_after: str | None) -> float:
    if retry_after is None or not re.fullmatch(r"\d{1,9}", retry_after.strip()):
        return 0.0
    return min(float(retry_after), LONGEST_WAIT)
