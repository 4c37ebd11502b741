"""Tell an API's outage from a few bad jobs. Pure, with the clock given.

Ten jobs that always fail look like an outage, except that the API answers others well. So a job that keeps failing
through a good answer is evidence about itself, not about the API. It counts again only when no good answer has come for
a while: one outage may follow another.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection
from dataclasses import dataclass
from uuid import UUID

#: Seconds to look back.
FAILURE_WINDOW = 30.0
#: Different jobs that must have failed: one job that fails again and again is no outage.
FAILED_JOBS_AT_LEAST = 10
#: A circuit opens when at least this share of an API's answers in the last FAILURE_WINDOW seconds was its own faults.
FAILURE_SHARE = 0.5
#: Seconds without a good answer after which all failures since that answer count, but no further back than the longest
#: backoff (by then every job has been tried again).
SILENCE = 30.0
SILENCE_LOOK_BACK = 3600.0

#: Seconds between two probes of a circuit: at first, and at most.
PROBE_EVERY = 2.0
PROBE_AT_LEAST_EVERY = 60.0
#: Seconds for which a circuit is open before its probes become rarer.
PROBE_OFTEN_FOR = 300.0


@dataclass(frozen=True, slots=True)
class Seen:
    """What the ledger knows of one API."""

    look_back: float
    """Seconds looked back: not beyond the time at which the circuit closed."""
    answers: int
    """Answers in that time, good or not, including those of the calling recorder."""
    failures: int
    """Those of them that were the API's own faults."""
    failed_jobs: int
    """Different jobs that failed in that time, without those that kept failing through a good answer."""
    failed_in_silence: int
    """All different jobs that failed since the last good answer; 0 until that is SILENCE seconds ago."""


class FailureRun:
    """The failures of one API that this process has seen within the window."""

    def __init__(self) -> None:
        self._failed: deque[tuple[float, UUID]] = deque()
        self._last_good = float("-inf")

    def note(
        self,
        *,
        now: float,
        answers: int,
        failed: Collection[UUID],
        persistently_failing: Collection[UUID] = (),
        look_back: float = FAILURE_WINDOW,
    ) -> None:
        """Add answers, of which those of the jobs `failed` were the API's own faults.

        `persistently_failing` jobs among them failed through a good answer, so they don't count. Entries older than
        `look_back` seconds are dropped.
        """
        if answers > len(failed):
            self._last_good = now
        while self._failed and self._failed[0][0] < now - min(look_back, FAILURE_WINDOW):
            self._failed.popleft()
        self._failed.extend((now, job) for job in failed if job not in persistently_failing)

    @property
    def widespread(self) -> bool:
        """Whether enough different jobs have failed for an outage to be possible."""
        return len({job for _, job in self._failed}) >= FAILED_JOBS_AT_LEAST

    @property
    def unbroken(self) -> bool:
        """Whether enough different jobs have failed since the last good answer."""
        return len({job for at, job in self._failed if at > self._last_good}) >= FAILED_JOBS_AT_LEAST


def is_outage(seen: Seen, run: FailureRun) -> bool:
    """Whether the API has an outage: enough different jobs have failed, and hardly any other answer came in between."""
    widespread = run.widespread or seen.failed_jobs >= FAILED_JOBS_AT_LEAST
    too_many = widespread and seen.failures >= FAILURE_SHARE * seen.answers
    return run.unbroken or too_many or seen.failed_in_silence >= FAILED_JOBS_AT_LEAST


def probe_pause(open_for: float, *, every: float = PROBE_EVERY, at_most: float = PROBE_AT_LEAST_EVERY) -> float:
    """Return the seconds until the next probe of a circuit that has been open for that many seconds.

    After PROBE_OFTEN_FOR it grows with the time: if only jobs that always fail remain, an outage can't be told from bad
    data, and they should not cost a request every two seconds for ever.
    """
    return min(at_most, every * max(1.0, open_for / PROBE_OFTEN_FOR))
