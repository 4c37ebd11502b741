"""How fast requests may leave: the API's rate limits as numbers. Pure; the ledger does the counting.

Source: developer-concepts/rate-limiting. Per API key, whichever comes first: 2,000 a minute (sliding, in 10-second
segments), 20,000 an hour (fixed), 100,000 a day (fixed, from the first request). Every window is treated as a sliding
one here, so it is never exceeded wherever the API's own window begins.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import limits

#: Share of the shortest limit at which requests are released evenly. A request arrives some time after its release, so
#: the last hundredths would only be refused.
EVEN_SHARE = 0.98
#: Seconds of even pace that may be released at once, to fill a batch.
TOLERANCE = 0.25
#: Share of the shortest window that an idle fleet may release at once; it shrinks to nothing at half use.
IDLE_BURST = 0.1
#: Windows up to this many seconds are released evenly.
SHORT = 60


#: Names of the usual windows, by their seconds.
WINDOW_NAMES = {1: "second", 60: "minute", 3600: "hour", 86_400: "day"}


@dataclass(frozen=True, slots=True)
class Window:
    """At most `amount` requests in any `seconds`."""

    seconds: int
    amount: int


@dataclass(frozen=True, slots=True)
class Pace:
    """All windows of one API, the shortest first."""

    windows: tuple[Window, ...]

    @classmethod
    def parse(cls, notation: str) -> Self:
        """Parse the notation of `limits`, e.g. `2000/minute;20000/hour`. Raises ValueError."""
        items = limits.parse_many(notation)
        return cls(tuple(sorted((Window(i.get_expiry(), i.amount) for i in items), key=lambda w: w.seconds)))

    @property
    def even(self) -> Window:
        """The window that is released evenly: the slowest of the short ones."""
        short = [w for w in self.windows if w.seconds <= SHORT] or [self.windows[0]]
        return max(short, key=lambda w: w.seconds / w.amount)

    @property
    def interval(self) -> float:
        """Seconds between two requests at the even pace."""
        return self.even.seconds / (self.even.amount * EVEN_SHARE)

    def tolerance(self, used: int) -> float:
        """Return how many seconds ahead of the even pace may be released, after `used` requests in the even window."""
        idle = max(0.0, 1 - 2 * used / self.even.amount)
        return TOLERANCE + IDLE_BURST * self.even.seconds * idle

    def allowed(self, *, ahead: float, used: Mapping[int, int]) -> int:
        """Return how many requests may be released now.

        `ahead`: how many seconds the last releases are ahead of the even pace (0 when they are behind it). `used`:
        requests so far in each window, by its seconds.
        """
        spare = self.tolerance(used.get(self.even.seconds, 0)) - max(0.0, ahead)
        evenly = int(spare / self.interval) + 1 if spare >= 0 else 0
        return max(0, min([evenly, *(w.amount - used.get(w.seconds, 0) for w in self.windows)]))

    def within(self, used: Mapping[int, int]) -> bool:
        """Whether every window has room for one more request."""
        return all(used.get(window.seconds, 0) < window.amount for window in self.windows)

    def seconds_for(self, jobs: int, used: Mapping[int, int]) -> float:
        """Estimate how long it takes to release that many more requests, one for each job."""
        waits = [jobs * self.interval]
        for window in self.windows:
            beyond = jobs - max(0, window.amount - used.get(window.seconds, 0))
            waits.append(max(0, beyond) / window.amount * window.seconds)
        return max(waits)
