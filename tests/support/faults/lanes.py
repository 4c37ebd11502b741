"""Scenarios side by side: most of their time is waiting for leases, so each lane has a stage of its own.

A test waits for its scenario's outcome. A stage on which a scenario failed is given up for a new one.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Any

from tests.support.faults.stage import Stage

Scenario = Callable[[Stage], None]
#: Stages that stand at the same time, at most: beside the other tests, two cores have enough to do with them.
STAGES_AT_ONCE = 3


@dataclass(frozen=True, slots=True)
class Plan:
    """Scenarios that want the same kind of stage."""

    scenarios: Mapping[str, Scenario]
    lanes: int
    stage: Mapping[str, Any] = field(default_factory=dict)
    """Options for `Deployments.open`."""
    possible: Callable[[], object] = lambda: True
    """Whether this machine has what they need."""


class Programme:
    """Run the wanted scenarios of all plans, as many in parallel as the machine allows."""

    def __init__(self, open_stage: Callable[..., AbstractContextManager[Stage]]) -> None:
        self._open_stage = open_stage
        self._outcomes: dict[str, Future[None]] = {}
        self._threads: list[threading.Thread] = []
        self._room = threading.Semaphore(STAGES_AT_ONCE)

    def begin(self, plan: Plan, wanted: Sequence[str]) -> None:
        """Start a plan's lanes for those of its scenarios that are wanted."""
        queue: SimpleQueue[tuple[Scenario, Future[None]]] = SimpleQueue()
        names = [name for name in dict.fromkeys(wanted) if name in plan.scenarios]
        for name in names:
            self._outcomes[name] = Future()
            queue.put((plan.scenarios[name], self._outcomes[name]))
        for _ in range(min(plan.lanes, len(names))):
            thread = threading.Thread(target=self._run, args=(plan, queue), name="lane", daemon=True)
            self._threads.append(thread)
            thread.start()

    def outcome(self, name: str) -> None:
        """Wait for a scenario's end. Raises what it raised."""
        self._outcomes[name].result()

    def end(self) -> None:
        """Begin no more scenarios, and wait for those that are under way."""
        for outcome in self._outcomes.values():
            outcome.cancel()
        for thread in self._threads:
            thread.join()

    def _run(self, plan: Plan, queue: SimpleQueue[tuple[Scenario, Future[None]]]) -> None:
        with self._room, ExitStack() as ends:
            stage: Stage | None = None
            while True:
                try:
                    scenario, outcome = queue.get_nowait()
                except Empty:
                    return
                if not outcome.set_running_or_notify_cancel():
                    continue
                try:
                    stage = stage or ends.enter_context(self._open_stage(**plan.stage))
                    stage.revive()
                    scenario(stage)
                except BaseException as error:  # noqa: BLE001 - it is the test's to raise
                    outcome.set_exception(error)
                    stage = None
                    ends.close()
                else:
                    outcome.set_result(None)
