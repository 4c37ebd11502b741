"""Rate limits as documented in developer-concepts/rate-limiting: per API key; rejected requests don't count."""

from __future__ import annotations

import re
from collections import deque
from typing import Protocol

SEGMENT_SECONDS = 10
SEGMENTS_PER_MINUTE = 6


class Window(Protocol):
    """One limit. All times are seconds since the epoch."""

    def wait(self, now: float) -> float:
        """Seconds until another request would be accepted; 0 if it would be accepted now."""

    def count(self, now: float) -> None:
        """Count an accepted request."""


class SlidingMinute:
    """At most `limit` requests in the running 10-second segment and the five before it."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._segments: deque[list[int]] = deque()  # [number of the segment, requests in it]
        self._total = 0

    def wait(self, now: float) -> float:
        current = int(now // SEGMENT_SECONDS)
        while self._segments and self._segments[0][0] <= current - SEGMENTS_PER_MINUTE:
            self._total -= self._segments.popleft()[1]
        if self._total < self.limit:
            return 0.0
        oldest = self._segments[0][0] if self._segments else current
        return (oldest + SEGMENTS_PER_MINUTE) * SEGMENT_SECONDS - now

    def count(self, now: float) -> None:
        current = int(now // SEGMENT_SECONDS)
        if not self._segments or self._segments[-1][0] != current:
            self._segments.append([current, 0])
        self._segments[-1][1] += 1
        self._total += 1


class FixedWindow:
    """At most `limit` requests per window.

    The hour follows the clock (`aligned`); the day is 24 hours from the first request.
    """

    def __init__(self, limit: int, seconds: int, *, aligned: bool) -> None:
        self.limit = limit
        self.seconds = seconds
        self.aligned = aligned
        self._ends_at = 0.0
        self._total = 0

    def wait(self, now: float) -> float:
        if now >= self._ends_at or self._total < self.limit:
            return 0.0
        return self._ends_at - now

    def count(self, now: float) -> None:
        if now >= self._ends_at:
            start = now // self.seconds * self.seconds if self.aligned else now
            self._ends_at = start + self.seconds
            self._total = 0
        self._total += 1


class RateLimits:
    """All limits combined. Raises ValueError for an unknown notation.

    >>> RateLimits("2000/minute;20000/hour;100000/day").wait(0.0)
    0.0
    """

    def __init__(self, notation: str = "") -> None:
        self.notation = notation
        self._windows = [_window(part) for part in notation.split(";") if part.strip()]

    def admit(self, now: float) -> float:
        """0 if the request is accepted (and counted), else the seconds to wait."""
        if not self._windows:
            return 0.0
        wait = self.wait(now)
        if wait <= 0:
            for window in self._windows:
                window.count(now)
        return wait

    def wait(self, now: float) -> float:
        """Seconds until every limit would accept a request."""
        return max((window.wait(now) for window in self._windows), default=0.0)


def _window(part: str) -> Window:
    match = re.fullmatch(r"(\d+)/(minute|hour|day)", part.strip())
    if match is None:
        raise ValueError(f"rate limits look like 2000/minute;20000/hour;100000/day, not {part!r}")
    limit = int(match[1])
    if match[2] == "minute":
        return SlidingMinute(limit)
    if match[2] == "hour":
        return FixedWindow(limit, 3600, aligned=True)
    return FixedWindow(limit, 86_400, aligned=False)
