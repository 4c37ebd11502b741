"""Telling an API's outage from a few bad jobs: what one worker process has seen lately. Pure, with the clock given."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection
from uuid import UUID

#: Seconds that are looked back on.
FAILURE_WINDOW = 30.0
#: Different jobs that must have failed: one job that fails again and again is no outage.
FAILED_JOBS_AT_LEAST = 10


class FailureRun:
    """The failures of one API that this process has seen within the window."""

    def __init__(self) -> None:
        self._failed: deque[tuple[float, UUID]] = deque()
        self._last_good = float("-inf")

    def note(self, *, now: float, answers: int, failed: Collection[UUID]) -> None:
        """Take note of answers, of which those of the jobs `failed` were trouble of the API's own."""
        if answers > len(failed):
            self._last_good = now
        self._failed.extend((now, job) for job in failed)
        while self._failed and self._failed[0][0] < now - FAILURE_WINDOW:
            self._failed.popleft()

    @property
    def widespread(self) -> bool:
        """Whether enough different jobs have failed to speak of an outage at all."""
        return len({job for _, job in self._failed}) >= FAILED_JOBS_AT_LEAST

    @property
    def unbroken(self) -> bool:
        """Whether enough different jobs have failed since the last good answer."""
        return len({job for at, job in self._failed if at > self._last_good}) >= FAILED_JOBS_AT_LEAST
