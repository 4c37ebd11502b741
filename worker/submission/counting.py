"""What a recorded result counts as, in the metrics."""

from __future__ import annotations

import re

from worker.ledger.states import Reason, State
from worker.ledger.writer.record import Result
from worker.telemetry.metrics import count, definitions, observe


def count_result(result: Result, age: float) -> None:
    """One job's transition was written down, `age` seconds after the job was enqueued."""
    if result.sent is not None:
        count(definitions.SUBMISSIONS, result.sent.outcome)
    if result.state is State.SUBMITTED:
        observe(definitions.SUBMITTED_AFTER, age)
    if result.reason is not None:
        count(definitions.DIED, result.reason)
    if result.reason is Reason.SECOND_UNAUTHORIZED:
        count(definitions.SECOND_UNAUTHORIZED, reason_of_401(result.sent.error_type if result.sent else None))


def reason_of_401(error_type: str | None) -> str:
    """What the API gave as the reason of a 401, as one of a few known words: it may send any text."""
    if not error_type:
        return "none_given"
    word = re.sub(r"(?<=[a-z])(?=[A-Z])|[^a-zA-Z]+", "_", error_type.strip()).lower()
    return word if word in definitions.SECOND_UNAUTHORIZED.words else "other"
