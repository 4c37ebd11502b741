"""A clock for the sandbox that only the test moves."""

from __future__ import annotations


class Clock:
    """Seconds since the epoch, moved by hand."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0  # A full hour and a full ten seconds: windows begin here.

    def __call__(self) -> float:
        return self.now

    def forward(self, seconds: float) -> None:
        self.now += seconds
