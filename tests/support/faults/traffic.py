"""Enqueue work continuously during faults."""

from __future__ import annotations

import threading
from types import TracebackType
from typing import Self

from tests.support.faults.stage import Stage

#: Cases and tenants that end with a person: an invalid link, no link, a rule, a field error.
REFUSED: tuple[dict[str, str], ...] = (
    {"prefix": "invalid"},
    {"prefix": "missing"},
    {"tag": "sandbox:business=MissingKycVerification"},
    {"tag": "sandbox:problem"},
)


class Traffic:
    """A thread that enqueues cases at a steady rate, through the ledger and, one in eight, through the broker.

    With `refused_too`, one in eight is a case that the API refuses for good.
    """

    def __init__(self, stage: Stage, *, per_second: float = 15, refused_too: bool = False) -> None:
        self._stage, self._pause, self._refused_too = stage, 1 / per_second, refused_too
        self._stop = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="traffic", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        if self._error is not None and error is None:
            raise self._error

    def _run(self) -> None:
        number = 0
        try:
            while not self._stop.wait(self._pause):
                number += 1
                if number % 8 == 0:
                    self._stage.send(1)
                elif number % 8 == 4 and self._refused_too:
                    self._stage.enqueue(1, **REFUSED[number // 8 % len(REFUSED)])
                else:
                    self._stage.enqueue(1)
        except BaseException as error:  # noqa: BLE001 - raised again in the test's thread
            self._error = error
