"""Correct a refused case, show where the two versions differ, and send it again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

from sqlalchemy import Connection

from worker.case.codec import read_json
from worker.case.fields import leaves, members
from worker.case.protection import UNPROTECTED, Protection
from worker.errors import InvalidCase, WrongState
from worker.intake.enqueue import admit
from worker.ledger.queries import CaseVersion, Story, case_versions, story
from worker.ledger.states import State
from worker.ledger.writer import resolve
from worker.ledger.writer.edit import EDITABLE, edit_case
from worker.ledger.writer.resolve import Actor
from worker.report.story import PRIORITIES, open_letter


@dataclass(frozen=True, slots=True)
class Draft:
    """A job's case, ready to be corrected."""

    job_id: UUID
    version: CaseVersion
    """What is sent now; give its number back as `seen`."""
    case: dict[str, Any]
    errors: dict[str, list[str]]
    """What the API said, by the path of the field in this case."""
    other_errors: dict[str, list[str]]
    """What it said of fields that this case does not have: missing ones, or named in another way."""
    refused: str | None
    """Why it cannot be corrected; None: it can."""


@dataclass(frozen=True, slots=True)
class Edited:
    """A correction that was made."""

    version: int
    changes: list[Change]


def draft(connection: Connection, job_id: UUID, protection: Protection = UNPROTECTED) -> Draft:
    """The job's case with the API's field errors at its fields. Raises JobNotFound and CaseSealed.

    The case holds personal data: show it only to who may see it, and write that down.
    """
    told = story(connection, job_id)
    version = opened(case_versions(connection, job_id)[-1:], job_id, protection)[0]
    case = read_json(version.case_body, where="case")
    letter = open_letter(told)
    fields = letter["detail"].get("fields") if letter else None
    at, elsewhere = errors_by_path(case, fields if isinstance(fields, dict) else {})
    return Draft(job_id, version, case, at, elsewhere, why_not(told))


def opened(versions: Sequence[CaseVersion], job_id: UUID, protection: Protection) -> list[CaseVersion]:
    """The same wordings of that job's case, to be read. Raises CaseSealed."""
    return [replace(version, case_body=protection.open_case(job_id, version.case_body)) for version in versions]


def why_not(told: Story) -> str | None:
    """Why the job's case cannot be corrected, in one sentence; None where it can."""
    job, letter = told.job, open_letter(told)
    if job["state"] != State.DEAD or letter is None:
        return f"It is {job['state']}: only the case of a dead job can be corrected."
    if letter["reason"] not in EDITABLE:
        return f"It failed for {letter['reason']}: other data would not help."
    if job["outcome_unknown"]:
        return (
            "Its outcome is unknown: the API may have the case as it was first sent, so it must not be sent with other"
            " data. Replay it as it is, or ask Debitura."
        )
    if job["look_up_first"]:
        return (
            "The ledger was restored from a backup, and the API may have the case already: replay it first, which looks"
            " it up, and correct it if it comes back."
        )
    return None


def errors_by_path(
    case: dict[str, Any], fields: dict[str, list[str]]
) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """The API's field errors at the paths of this case, and those of fields that it does not have.

    The API may write `Debtor.Email`, `$.debtor.email` or `case.debtor.email` for `debtor.email`.
    """
    known = {path.lower(): path for path, _ in leaves(case)}
    known |= {path.lower(): path for path in case}
    at: dict[str, list[str]] = {}
    elsewhere: dict[str, list[str]] = {}
    for name, said in fields.items():
        plain = name.lower().removeprefix("$.").removeprefix("case.")
        into, path = (at, known[plain]) if plain in known else (elsewhere, name)
        into.setdefault(path, []).extend(said)
    return at, elsewhere


def correct(
    connection: Connection,
    job_id: UUID,
    case: Any,
    *,
    seen: int,
    actor: Actor,
    detail: dict[str, Any],
    protection: Protection = UNPROTECTED,
) -> Edited:
    """Give the job that case and replay it, in this transaction. `detail` (how it came in) goes to both audit entries.

    `case` is JSON as `worker.case.codec.read_json` reads it; the checks of a new case apply. The job keeps its
    idempotency key and takes a new submission key. Raises InvalidCase (also for a case that is the same as before),
    JobNotFound, CaseSealed and WrongState.
    """
    told = story(connection, job_id)
    job = told.job
    new = admit(job["external_tenant_id"], case, job["idempotency_key"], PRIORITIES[job["priority"]])
    newest = opened(case_versions(connection, job_id)[-1:], job_id, protection)[0]
    before = read_json(newest.case_body, where="case")
    changes = differences(before, read_json(new.case_body, where="case"))
    if not changes:
        raise InvalidCase("is the same as before, and the API would refuse it again", where="case")
    version = edit_case(
        connection,
        job_id,
        new,
        seen=seen,
        paths=[c.path for c in changes],
        actor=actor,
        door=detail,
        protection=protection,
    )
    if job_id not in resolve.replay(connection, [job_id], actor, {"version": version, **detail}):
        raise WrongState(f"job {job_id} was moved by somebody else: look at it again")
    return Edited(version, changes)


class Missing(Enum):
    """The value of what is not there. (JSON's null is a value: None.)"""

    MISSING = "missing"


MISSING = Missing.MISSING


@dataclass(frozen=True, slots=True)
class Change:
    """One place where two cases differ."""

    path: str
    """As the API names fields: `debtor.email`, `claims[0].amount`; empty for the whole case."""
    old: Any
    """MISSING: it was added."""
    new: Any
    """MISSING: it was taken away."""


def differences(old: Any, new: Any) -> list[Change]:
    """Where two JSON values differ, in the order of the old one, what is new last.

    Only leaves are listed, and empty or added objects and lists. Numbers are compared by value (1250.1 is 1250.10), and
    true is not 1.
    """
    return list(_differences(old, new, ""))


def _differences(old: Any, new: Any, path: str) -> list[Change]:
    if type(old) is type(new) and isinstance(old, (dict, list)):
        before, after = members(old, path), members(new, path)
        found: list[Change] = []
        for member in dict.fromkeys([*before, *after]):
            _, was = before.get(member, (None, MISSING))
            _, now = after.get(member, (None, MISSING))
            found += _differences(was, now, member)
        return found
    return [] if _same(old, new) else [Change(path, old, new)]


def _same(old: Any, new: Any) -> bool:
    if isinstance(old, bool) or isinstance(new, bool):
        return old is new
    numbers = (int, float, Decimal)
    if isinstance(old, numbers) and isinstance(new, numbers):
        return _exact(old) == _exact(new)
    return type(old) is type(new) and bool(old == new)


def _exact(value: float | Decimal) -> Decimal:
    return Decimal(str(value)) if isinstance(value, float) else Decimal(value)
