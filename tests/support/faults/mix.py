"""Many faults at once, in an order that a seed decides: work keeps coming, everything settles, the invariant holds."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random

from tests.support.faults.catalog import Fault, Strike
from tests.support.faults.stage import Stage
from tests.support.faults.traffic import Traffic

#: Faults under way at the same time, at most.
AT_ONCE = 3


@dataclass(slots=True)
class Outcome:
    """What one round did."""

    faults: Counter[str] = field(default_factory=Counter)
    settled_in: float = 0.0
    """Seconds from the end of the last fault to the last job settled."""


class Mix:
    """A round of faults on one stage. The same seed gives the same faults in the same order."""

    def __init__(self, stage: Stage, dice: Random, faults: Sequence[Fault], *, away: float = 3.0) -> None:
        self._stage, self._dice, self._faults, self._away = stage, dice, faults, away
        self._free = threading.Semaphore(AT_ONCE)
        self._targets = {fault.target: threading.Lock() for fault in faults}
        self._guard = threading.Lock()
        self._errors: list[BaseException] = []
        self.outcome = Outcome()

    def run(self, *, jobs: int, strikes: int) -> Outcome:
        """Enqueue at least so many jobs while so many faults strike; settle; check. Raises AssertionError."""
        targets = list(self._targets)
        chosen = [self._one_of(self._dice.choice(targets)) for _ in range(strikes)]
        seeds = [self._dice.randrange(2**32) for _ in chosen]
        before = len(self._stage.expected)
        self._stage.witness.behave()
        with Traffic(self._stage, per_second=jobs / 8, refused_too=True):
            threads = [self._begin(fault, seed) for fault, seed in zip(chosen, seeds, strict=True)]
            for thread in threads:
                thread.join()
        if self._errors:
            self._errors[0].add_note(f"the faults of this round: {', '.join(fault.name for fault in chosen)}")
            raise self._errors[0]
        self._stage.witness.behave()
        self._stage.revive()
        ended = time.monotonic()
        self._stage.enqueue(max(jobs - (len(self._stage.expected) - before), 1))
        self._stage.settle(broker_forgot=any(fault.broker_forgets for fault in chosen))
        self.outcome.settled_in = time.monotonic() - ended
        self._stage.require_invariant()
        return self.outcome

    def _one_of(self, target: str) -> Fault:
        return self._dice.choice([fault for fault in self._faults if fault.target == target])

    def _begin(self, fault: Fault, seed: int) -> threading.Thread:
        self._free.acquire()
        thread = threading.Thread(target=self._happen, args=(fault, seed), name=fault.name, daemon=True)
        thread.start()
        time.sleep(self._dice.uniform(0.1, 0.8))
        return thread

    def _happen(self, fault: Fault, seed: int) -> None:
        try:
            with self._targets[fault.target]:
                fault.happen(Strike(self._stage, Random(seed), away=self._away))
            with self._guard:
                self.outcome.faults[fault.name] += 1
        except BaseException as error:  # noqa: BLE001 - raised again in the thread that waits for the round
            self._errors.append(error)
        finally:
            self._free.release()
