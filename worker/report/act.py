"""Replaying and discarding what people have selected, in short transactions, with a count of what came of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Engine

from worker.ledger.database import transaction
from worker.ledger.queries import FailureFilter, Target, page_of_targets, selected, targets_by_id
from worker.ledger.states import State
from worker.ledger.writer import resolve
from worker.ledger.writer.resolve import Actor

#: Jobs in one transaction at most, so that none is held up for long and what is done stays done.
CHUNK = 500


class Verb(StrEnum):
    """What a person does."""

    REPLAY = "replay"
    DISCARD = "discard"


@dataclass(frozen=True, slots=True)
class Selection:
    """What to act on: jobs by id, or all open failures that fit a filter."""

    ids: tuple[UUID, ...] = ()
    wanted: FailureFilter = field(default_factory=FailureFilter)
    """Of no meaning when there are ids."""

    def as_dict(self) -> dict[str, Any]:
        """For the audit log."""
        return {"selected": "by id"} if self.ids else {"selected": "by filter", "filter": self.wanted.as_dict()}


@dataclass(slots=True)
class Tally:
    """How many were acted on, or would be."""

    jobs: int = 0
    tenants: int = 0
    messages: int = 0
    new_key: int = 0
    """Jobs whose outcome is known: a replay takes a new submission key."""
    looked_up: int = 0
    """Outcome unknown, with a creditorReference: the same key, and the case is looked up first."""
    same_key: int = 0
    """Outcome unknown, and nothing to look it up by: the same key."""


@dataclass(frozen=True, slots=True)
class Skipped:
    """Something selected that was not acted on, and why."""

    what: str
    why: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What is selected at one moment."""

    selection: Selection
    tally: Tally
    targets: tuple[Target, ...] = ()
    """The dead jobs among the ids; for a filter they are read when their turn comes."""
    skipped: tuple[Skipped, ...] = ()
    newest: int = 0


def plan(connection: Connection, verb: Verb, selection: Selection) -> Plan:
    """Look at what is selected, without acting."""
    if selection.ids:
        return _plan_ids(connection, verb, selection)
    found = selected(connection, selection.wanted)
    tally = Tally(
        found.jobs, found.tenants, found.messages if verb is Verb.DISCARD else 0,
        found.outcome_known, found.can_be_looked_up, found.cannot_be_looked_up,
    )  # fmt: skip
    skipped = (_not_replayable(found.messages),) if verb is Verb.REPLAY and found.messages else ()
    return Plan(selection, tally, skipped=skipped, newest=found.newest)


class Action:
    """A plan being carried out. What is done is in `tally` and `skipped`, also after it was interrupted."""

    def __init__(self, made: Plan, verb: Verb, actor: Actor, detail: dict[str, Any]) -> None:
        """`detail` goes to the audit log, beside how the jobs were selected."""
        self.tally = Tally()
        self.skipped = list(made.skipped)
        self._plan = made
        self._verb = verb
        self._actor = actor
        self._detail = detail | made.selection.as_dict()
        self._tenants: set[str] = set()

    def carry_out(self, engine: Engine, *, progress: Callable[[int], None] = lambda _: None) -> None:
        """Act on chunk after chunk; `progress` is told how many were dealt with in all.

        Raises SQLAlchemy's errors; the chunks before are committed, and doing it again is harmless.
        """
        if self._plan.selection.ids:
            for start in range(0, len(self._plan.targets), CHUNK):
                chunk = self._plan.targets[start : start + CHUNK]
                with transaction(engine) as connection:
                    done = self._act(connection, chunk)
                self._count(chunk, done)
                progress(start + len(chunk))
            return
        after = seen = 0
        while True:
            with transaction(engine) as connection:
                chunk = tuple(
                    page_of_targets(
                        connection, self._plan.selection.wanted, after=after, newest=self._plan.newest, limit=CHUNK
                    )
                )
                done = self._act(connection, chunk)
            if not chunk:
                return
            self._count(chunk, done)
            seen += len(chunk)
            progress(seen)
            after = max(target.dead_letter_id or 0 for target in chunk)

    def _act(self, connection: Connection, chunk: Sequence[Target]) -> set[UUID | int]:
        """Returns the job ids, and the dead letters of messages, that were acted on."""
        jobs = [target.job_id for target in chunk if target.job_id]
        letters = [target.dead_letter_id for target in chunk if not target.job_id and target.dead_letter_id]
        if self._verb is Verb.REPLAY:
            return set(resolve.replay(connection, jobs, self._actor, self._detail)) if jobs else set()
        done: set[UUID | int] = set()
        if jobs:
            done |= set(resolve.discard(connection, jobs, self._actor, self._detail))
        if letters:
            done |= set(resolve.discard_messages(connection, letters, self._actor, self._detail))
        return done

    def _count(self, chunk: Sequence[Target], done: set[UUID | int]) -> None:
        for target in chunk:
            if target.job_id is None:
                self.tally.messages += target.dead_letter_id in done
            elif target.job_id in done:
                _add(self.tally, self._tenants, target)
            else:
                self.skipped.append(Skipped(str(target.job_id), "somebody else acted on it a moment ago"))


def _plan_ids(connection: Connection, verb: Verb, selection: Selection) -> Plan:
    found = targets_by_id(connection, selection.ids)
    known = {target.job_id for target in found}
    skipped = [
        Skipped(str(job_id), "there is no such job") for job_id in dict.fromkeys(selection.ids) if job_id not in known
    ]
    skipped += [
        Skipped(str(target.job_id), f"it is {target.state}, and only a dead job can be {_PAST[verb]}")
        for target in found
        if target.state != State.DEAD
    ]
    dead = tuple(target for target in found if target.state == State.DEAD)
    tally, tenants = Tally(), set[str]()
    for target in dead:
        _add(tally, tenants, target)
    return Plan(selection, tally, dead, tuple(skipped))


_PAST = {Verb.REPLAY: "replayed", Verb.DISCARD: "discarded"}


def _add(tally: Tally, tenants: set[str], target: Target) -> None:
    tally.jobs += 1
    if target.external_tenant_id:
        tenants.add(target.external_tenant_id)
    tally.tenants = len(tenants)
    if not target.outcome_unknown:
        tally.new_key += 1
    elif target.creditor_reference:
        tally.looked_up += 1
    else:
        tally.same_key += 1


def _not_replayable(messages: int) -> Skipped:
    what = "1 unreadable message" if messages == 1 else f"{messages} unreadable messages"
    why = (
        "a message that became no job cannot be replayed: correct the sender, send the case again, then "
        "case-worker discard --reason malformed_message --note TEXT"
    )
    return Skipped(what, why)
