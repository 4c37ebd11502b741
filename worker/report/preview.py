"""Preview a replay or discard, with a token that ties the confirmation to exactly this selection."""

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
    "an unreadable message cannot be replayed: fix the sender, send the case again, then discard the message"
)


@dataclass(frozen=True, slots=True)
class Skipped:
    """A selected item that is skipped, and why."""

    what: str
    why: str


@dataclass(frozen=True, slots=True)
class Preview:
    """The selection at one moment."""

    verb: Verb
    wanted: FailureFilter
    """The filter, with ages converted to times."""
    selected: Selected
    skipped: tuple[Skipped, ...]
    """Ids that cannot be acted on; for a replay also the unreadable messages."""
    token: str
    """Pass it to `worker.report.operations.start` to confirm exactly this selection."""

    @property
    def count(self) -> int:
        """The number of failures that would be affected."""
        messages = self.selected.messages if self.verb is Verb.DISCARD else 0
        return self.selected.jobs + messages


@dataclass(frozen=True, slots=True)
class Confirmed:
    """A token's content: the selection that the user saw."""

    verb: Verb
    wanted: FailureFilter
    newest: int
    count: int
    """Jobs and unreadable messages."""


def preview(connection: Connection, verb: Verb, wanted: FailureFilter) -> Preview:
    """Count what is selected without changing it: jobs, tenants, amounts, and the keys to use."""
    fixed = wanted.fixed_at(moment_of(connection))
    found = selected(connection, fixed)
    skipped = _not_dead(connection, verb, fixed)
    if verb is Verb.REPLAY and found.messages:
        skipped.append(Skipped(counted(found.messages, "unreadable message"), NOT_REPLAYABLE))
    token = _write_token(Confirmed(verb, fixed, found.newest, found.jobs + found.messages))
    return Preview(verb, fixed, found, tuple(skipped), token)


def read_token(token: str) -> Confirmed:
    """Decode a token. Raises SelectionChanged if this version did not create it.

    A token grants no permission, so it is not signed; it only names the selection that the user saw.
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
        raise SelectionChanged("the confirmation cannot be read: open the preview again") from None


def _write_token(confirmed: Confirmed) -> str:
    values: dict[str, Any] = {
        "verb": confirmed.verb.value,
        "filter": confirmed.wanted.as_dict(),
        "newest": confirmed.newest,
        "count": confirmed.count,
    }
    return base64.urlsafe_b64encode(json.dumps(values, separators=(",", ":")).encode()).decode()


def _not_dead(connection: Connection, verb: Verb, wanted: FailureFilter) -> list[Skipped]:
    """The requested ids that do not exist or are not dead."""
    if not wanted.jobs:
        return []
    found = {target.job_id: target for target in targets_by_id(connection, wanted.jobs)}
    missing = [Skipped(str(job), "there is no such job") for job in dict.fromkeys(wanted.jobs) if job not in found]
    return missing + [
        Skipped(str(job), f"it is {target.state}, and only a dead job can be {PAST[verb]}")
        for job, target in found.items()
        if target.state != State.DEAD
    ]
