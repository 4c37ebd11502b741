"""How often and when a job is tried again. Pure.

The worker and the ledger's SQL apply the same policy: SQL gets the numbers of `reclaim_limit` and a delay that is
computed as `backoff` computes it.
"""

from __future__ import annotations

from dataclasses import dataclass

#: A 409 or 429 is not an attempt. A job that gets this many times the limit of attempts of them still goes to a person:
#: it would use up the allowance of the others for ever.
UNCOUNTED_FACTOR = 10
#: A job at its limit is still given out this many times, so that a worker can look up what became of it. One that
#: outlives its workers beyond that is dead-lettered by the dispatcher, so that it cannot kill processes for ever.
LAST_LOOK_UPS = 3
#: Doublings after which the backoff stops growing, whatever its longest delay.
MOST_DOUBLINGS = 60


#: Seconds of a key's memory that are not relied on, and as a share of a short memory.
KEY_MARGIN, KEY_MARGIN_SHARE = 3600.0, 0.1


def key_trusted_for(remembered: float) -> float:
    """Seconds after its first request for which an Idempotency-Key protects from a second case.

    `remembered` is for how many seconds the API remembers a key (developer-concepts/idempotency; an older page says 24
    hours).
    """
    return remembered - min(KEY_MARGIN, KEY_MARGIN_SHARE * remembered)


#: With the API's documented memory of a day.
KEY_TRUSTED = key_trusted_for(86_400.0)


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """The limits of one deployment. Durations in seconds."""

    max_attempts: int
    base: float
    longest: float

    def backoff(self, attempts: int, chance: float) -> float:
        """Exponential backoff with full jitter: up to base · 2^(attempts - 1), and never above the longest.

        `attempts` have been made so far (1 or more); `chance` is a random number from 0 to 1.
        """
        return chance * min(self.longest, self.base * 2.0 ** min(attempts - 1, MOST_DOUBLINGS))

    def backoff_in_sql(self, attempts: str) -> str:
        """`backoff` as an SQL expression, with SQL's own chance; `attempts` is an integer expression of 1 or more."""
        doublings = f"LEAST(({attempts}) - 1, {MOST_DOUBLINGS})"
        return f"random() * LEAST({self.longest!r}::float8, {self.base!r}::float8 * power(2::float8, {doublings}))"

    def after_conflict(self, chance: float) -> float:
        """Seconds after a 409: another request with this key is in flight, so soon again, but not at once."""
        return min(self.longest, self.base * (0.5 + chance))

    def used_up(self, attempts: int) -> bool:
        """Whether the attempt that is under way, after `attempts` others, is the last one."""
        return attempts + 1 >= self.max_attempts

    def spent(self, attempts: int) -> bool:
        """Whether no attempt is left after `attempts`."""
        return attempts >= self.max_attempts

    def uncounted_used_up(self, requests: int) -> bool:
        """Whether a job got so many 409 and 429 that it goes to a person."""
        return requests >= UNCOUNTED_FACTOR * self.max_attempts

    @property
    def reclaim_limit(self) -> int:
        """Attempts from which a job whose worker was lost is dead-lettered instead of being given out again."""
        return self.max_attempts + LAST_LOOK_UPS
