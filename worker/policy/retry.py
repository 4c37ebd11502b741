"""How often and when a job is tried again. Pure.

The worker and the ledger's SQL apply the same policy: SQL gets the numbers of `reclaim_limit`, and computes the delay
as `backoff` does.
"""

from __future__ import annotations

from dataclasses import dataclass

#: A 409 or 429 is not an attempt. A job that gets this many times the limit of attempts of them still goes to a person:
#: otherwise it would use up the other jobs' allowance for ever.
UNCOUNTED_FACTOR = 10
#: A job at its limit is still given out this many times, so that a worker can look up what became of it. If its workers
#: are lost even then, the dispatcher dead-letters it, so that it can't kill processes for ever.
LAST_LOOK_UPS = 3
#: Doublings after which the backoff stops growing, whatever its longest delay.
MOST_DOUBLINGS = 60


#: Seconds of a key's lifetime that are not relied on, and the same as a share of a short lifetime.
KEY_MARGIN, KEY_MARGIN_SHARE = 3600.0, 0.1


def key_trusted_for(remembered: float) -> float:
    """Return the seconds after its first request for which an Idempotency-Key prevents a second case.

    `remembered` is for how many seconds the API remembers a key (developer-concepts/idempotency; an older page says 24
    hours).
    """
    return remembered - min(KEY_MARGIN, KEY_MARGIN_SHARE * remembered)


#: For the API's documented lifetime of a day.
KEY_TRUSTED = key_trusted_for(86_400.0)


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """The limits of one deployment. Durations in seconds."""

    max_attempts: int
    base: float
    longest: float

    def backoff(self, attempts: int, chance: float) -> float:
        """Return exponential backoff with full jitter: up to base · 2^(attempts - 1), and never above the longest.

        `attempts` have been made so far (1 or more); `chance` is a random number from 0 to 1.
        """
        return chance * min(self.longest, self.base * 2.0 ** min(attempts - 1, MOST_DOUBLINGS))

    def backoff_in_sql(self, attempts: str) -> str:
        """`backoff` as an SQL expression, with SQL's own chance; `attempts` is an integer expression of 1 or more."""
        doublings = f"LEAST(({attempts}) - 1, {MOST_DOUBLINGS})"
        return f"random() * LEAST({self.longest!r}::float8, {self.base!r}::float8 * power(2::float8, {doublings}))"

    def after_conflict(self, chance: float) -> float:
        """Return the seconds to wait after a 409: its key has a request in flight, so retry soon, but not at once."""
        return min(self.longest, self.base * (0.5 + chance))

    def used_up(self, attempts: int) -> bool:
        """Whether the attempt under way, after `attempts` others, is the last one."""
        return attempts + 1 >= self.max_attempts

    def spent(self, attempts: int) -> bool:
        """Whether no attempt is left after `attempts`."""
        return attempts >= self.max_attempts

    def uncounted_used_up(self, requests: int) -> bool:
        """Whether a job got so many 409 and 429 answers that it goes to a person."""
        return requests >= UNCOUNTED_FACTOR * self.max_attempts

    @property
    def reclaim_limit(self) -> int:
        """Attempts from which a job whose worker was lost is dead-lettered instead of released again."""
        return self.max_attempts + LAST_LOOK_UPS
