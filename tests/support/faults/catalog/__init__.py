"""The faults, one function each. A fault is over when its function returns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from tests.support.faults.stage import Stage


@dataclass(frozen=True, slots=True)
class Strike:
    """One occurrence of a fault: where, with which random numbers, and how long."""

    stage: Stage
    dice: Random
    away: float = 3.0
    """Seconds for which something that goes away stays away."""
    alone: bool = False
    """Whether this is the only fault. Then it must have an effect; otherwise the test proves nothing."""


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault by name."""

    name: str
    target: str
    """What it breaks; two faults on one target do not happen at once."""
    happen: Callable[[Strike], None]
    broker_forgets: bool = False
    """Whether messages on the broker may be gone afterwards: then senders have to send again."""
