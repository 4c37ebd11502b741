"""What a replay or discard would act on, and a token that ties somebody's confirmation to exactly that."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from worker.errors import SelectionChanged
from worker.ledger.queries import FailureFilter, Selected, moment_of, selected, targets_by_id
from worker.ledger.states import State, Verb
from worker.report.formatting import counted

PAST = {Verb.REPLAY: "replayed", Verb.DISCARD: "discarded"}
NOT_REPLAYABLE = (
    "a message that became no job cannot be replayed: correct the sender, send the case again, then discard the message"
)


@dataclass(frozen=True, slots=True)
class Skipped:
    """Something selected that is not acted on, and why."""

    what: str
    why: str


@dataclass(frozen=True, slots=True)
class Preview:
    """What is selected at one moment."""

    verb: Verb
    wanted: FailureFilter
    """The filter with its ages as points in time."""
    selected: Selected
    skipped: tuple[Skipped, ...]
    """What was asked for by id and cannot be acted on; for a replay also the unreadable messages."""
    token: str
    """Give it back to `worker.report.operations.start` to confirm exactly this."""

    @property
    def count(self) -> int:
        """How many failures would be acted on."""
        messages = self.selected.messages if self.verb is Verb.DISCARD else 0
        return self.selected.jobs + messages


@dataclass(frozen=True, slots=True)
class Confirmed:
    """What a token says: which failures somebody has seen counted."""

    verb: Verb
    wanted: FailureFilter
    newest: int
    count: int
    """Jobs and unreadable messages."""


def preview(connection: Connection, verb: Verb, wanted: FailureFilter) -> Preview:
    """Look at what is selected, without acting: how many jobs of how many tenants, what money, and under which keys."""
    fixed = wanted.fixed_at(moment_of(connection))
    found = selected(connection, fixed)
    skipped = _not_dead(connection, verb, fixed)
    if verb is Verb.REPLAY and found.messages:
        skipped.append(Skipped(counted(found.messages, "unreadable message"), NOT_REPLAYABLE))
    token = _write_token(Confirmed(verb, fixed, found.newest, found.jobs + found.messages))
    return Preview(verb, fixed, found, tuple(skipped), token)


def read_token(token: str) -> Confirmed:
    """What was confirmed. Raises SelectionChanged for a token that this version did not make.

    A token gives nobody a right: it only says which selection was seen, so it is not signed.
    """
    try:
        values = json.loads(base64.urlsafe_b64decode(token.encode()))
        return Confirmed(
            Verb(values["verb"]),
            FailureFilter.from_dict(values["filter"]),
            int(values["newest"]),
            int(values["count"]),
        )
    except (ValueError, KeyError, TypeError, ArithmeticError):
        raise SelectionChanged("the confirmation cannot be read: look at the selection again") from None


def _write_token(confirmed: Confirmed) -> str:
    values: dict[str, Any] = {
        "verb": confirmed.verb.value,
        "filter": confirmed.wanted.as_dict(),
        "newest": confirmed.newest,
        "count": confirmed.count,
    }
    return base64.urlsafe_b64encode(json.dumps(values, separators=(",", ":")).encode()).decode()


def _not_dead(connection: Connection, verb: Verb, wanted: FailureFilter) -> list[Skipped]:
    """Those of the jobs asked for by id that do not exist or are not dead."""
    if not wanted.jobs:
        return []
    found = {target.job_id: target for target in targets_by_id(connection, wanted.jobs)}
    missing = [Skipped(str(job), "there is no such job") for job in dict.fromkeys(wanted.jobs) if job not in found]
    return missing + [
        Skipped(str(job), f"it is {target.state}, and only a dead job can be {PAST[verb]}")
        for job, target in found.items()
        if target.state != State.DEAD
    ]
