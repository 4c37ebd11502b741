"""A way to the queue that only remembers."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from uuid import UUID


class Recorder:
    """Remembers what was published; the n-th call fails where n is in `failing` (counted from 0)."""

    def __init__(self) -> None:
        self.messages: list[list[UUID]] = []
        self.failing: set[int] = set()
        self.calls = self.closed = 0
        self.something = threading.Event()

    def publish(self, job_ids: Sequence[UUID]) -> None:
        number, self.calls = self.calls, self.calls + 1
        if number in self.failing:
            raise ConnectionResetError("the broker is gone")
        self.messages.append(list(job_ids))
        self.something.set()

    def close(self) -> None:
        self.closed += 1

    @property
    def ids(self) -> list[UUID]:
        return [job for message in self.messages for job in message]
