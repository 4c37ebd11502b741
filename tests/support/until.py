"""Wait for a condition instead of a fixed time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
#: Seconds between two looks.
LOOK_EVERY = 0.06


class NeverHappened(AssertionError):
    """The condition was not met in time."""


def until(what: str, look: Callable[[], T], *, within: float, but: Callable[[], str] = lambda: "") -> T:
    """Poll until the result is true, and return it.

    `within` is in seconds. Raises NeverHappened, which says what was waited for and what `but` found instead.
    """
    deadline = time.monotonic() + within
    while not (answer := look()):
        if time.monotonic() > deadline:
            raise NeverHappened(f"not within {within:g} s: {what}\n{but()}".rstrip())
        time.sleep(LOOK_EVERY)
    return answer
