"""Correct a rejected case, show the differences between versions, and replay the job."""

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
    """The current version; pass its number to `correct` as `seen`."""
    case: dict[str, Any]
    errors: dict[str, list[str]]
    """The API's errors, by path in this case."""
    other_errors: dict[str, list[str]]
    """Errors for fields that this case does not have: missing, or named differently."""
    refused: str | None
    """Why it cannot be corrected, or None."""


@dataclass(frozen=True, slots=True)
class Edited:
    """The result of a correction."""

    version: int
    changes: list[Change]


def draft(connection: Connection, job_id: UUID, protection: Protection = UNPROTECTED) -> Draft:
    """Read the job's case with the API's errors by field. Raises JobNotFound and CaseSealed.

    The case holds personal data: show it only to users who may see it, and audit the access.
    """
    found = story(connection, job_id)
    version = decrypted(case_versions(connection, job_id)[-1:], job_id, protection)[0]
    case = read_json(version.case_body, where="case")
    letter = open_letter(found)
    fields = letter["detail"].get("fields") if letter else None
    at, elsewhere = errors_by_path(case, fields if isinstance(fields, dict) else {})
    return Draft(job_id, version, case, at, elsewhere, why_not_editable(found))


def decrypted(versions: Sequence[CaseVersion], job_id: UUID, protection: Protection) -> list[CaseVersion]:
    """The versions of the job's case, decrypted. Raises CaseSealed."""
    return [replace(version, case_body=protection.open_case(job_id, version.case_body)) for version in versions]


def why_not_editable(found: Story) -> str | None:
    """Why the job's case cannot be corrected, in one sentence, or None."""
    job, letter = found.job, open_letter(found)
    if job["state"] != State.DEAD or letter is None:
        return f"It is {job['state']}: only the case of a dead job can be corrected."
    if letter["reason"] not in EDITABLE:
        return f"It failed for {letter['reason']}: a correction would not help."
    if job["outcome_unknown"]:
        return (
            "Its outcome is unknown: the API may have the case as first sent, so it must not be sent with other data."
            " Replay it unchanged, or ask Debitura."
        )
    if job["look_up_first"]:
        return (
            "The ledger was restored from a backup, and the API may already have the case: replay it first, which looks"
            " it up, and correct it if it fails again."
        )
    return None


def errors_by_path(
    case: dict[str, Any], fields: dict[str, list[str]]
) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """Map the API's field errors to paths of this case; return the others separately.

    The API may write `Debtor.Email`, `$.debtor.email` or `case.debtor.email` for `debtor.email`.
    """
    known = {path.lower(): path for path, _ in leaves(case)}
    known |= {path.lower(): path for path in case}
    at: dict[str, list[str]] = {}
    elsewhere: dict[str, list[str]] = {}
    for name, errors in fields.items():
        plain = name.lower().removeprefix("$.").removeprefix("case.")
        into, path = (at, known[plain]) if plain in known else (elsewhere, name)
        into.setdefault(path, []).extend(errors)
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
    """Store the corrected case and replay the job, in this transaction. `detail` (the channel) goes to both audit
    entries.

    `case` is JSON as read by `worker.case.codec.read_json`, and is checked like a new case. The job keeps its
    idempotency key and gets a new submission key. Raises InvalidCase (also for an unchanged case),
    JobNotFound, CaseSealed and WrongState.
    """
    found = story(connection, job_id)
    job = found.job
    new = admit(job["external_tenant_id"], case, job["idempotency_key"], PRIORITIES[job["priority"]])
    newest = decrypted(case_versions(connection, job_id)[-1:], job_id, protection)[0]
    before = read_json(newest.case_body, where="case")
    changes = differences(before, read_json(new.case_body, where="case"))
    if not changes:
        raise InvalidCase("is unchanged, and the API would reject it again", where="case")
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
        raise WrongState(f"job {job_id} was changed by another user: reload it")
    return Edited(version, changes)


class Missing(Enum):
    """Marks a missing value. (JSON's null is a value: None.)"""

    MISSING = "missing"


MISSING = Missing.MISSING


@dataclass(frozen=True, slots=True)
class Change:
    """One difference between two cases."""

    path: str
    """In the API's notation: `debtor.email`, `claims[0].amount`; empty for the whole case."""
    old: Any
    """MISSING if it was added."""
    new: Any
    """MISSING if it was removed."""


def differences(old: Any, new: Any) -> list[Change]:
    """The differences between two JSON values, in the order of the old one, additions last.

    Lists leaves, and empty or added objects and lists. Numbers compare by value (1250.1 equals 1250.10); true is not 1.
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
