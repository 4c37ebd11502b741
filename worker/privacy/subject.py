"""Find what belongs to one tenant or one of its references, even if the reference is only in encrypted cases."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from worker.case.codec import read_json, reference_in
from worker.case.protection import Protection, key_digest
from worker.errors import CaseSealed, InvalidCase
from worker.ledger.queries.subjects import SubjectJob, SubjectMessage, kept_messages, tenant_jobs


@dataclass(frozen=True, slots=True)
class Subject:
    """The tenant (and reference) that a request is about."""

    tenant: str
    reference: str | None = None
    """The creditorReference; None: everything of the tenant."""


@dataclass(frozen=True, slots=True)
class Match:
    """A job that belongs to the subject, or may."""

    job: SubjectJob
    unsure: str | None = None
    """Why it can't be checked whether it does."""


def matching_jobs(connection: Connection, subject: Subject, protection: Protection) -> Iterator[Match]:
    """The subject's jobs, and those whose case can't be decrypted to check whether they are."""
    for job in tenant_jobs(connection, subject.tenant):
        try:
            if _is_about(job, subject, protection):
                yield Match(job)
        except CaseSealed as error:
            yield Match(job, str(error))


def matching_messages(connection: Connection, subject: Subject, protection: Protection) -> Iterator[SubjectMessage]:
    """The unreadable messages that name the tenant (and reference) in the fields that a valid message uses."""
    for message in kept_messages(connection):
        try:
            sent = read_json(protection.open_message(message.dead_letter_id, message.sent), where="sent")
        except (CaseSealed, InvalidCase):
            continue
        if _names(sent, subject):
            yield message


def _is_about(job: SubjectJob, subject: Subject, protection: Protection) -> bool:
    reference = subject.reference
    if reference is None or job.creditor_reference == reference:
        return True
    if job.key_digest == key_digest(subject.tenant, f"ref:{reference}"):
        return True
    if job.purged_at is not None:
        return False
    bodies = job.earlier if job.creditor_reference else [job.case_body, *job.earlier]
    return any(reference_in(protection.open_case(job.id, body)) == reference for body in bodies)


def _names(sent: Any, subject: Subject) -> bool:
    """Whether the message contains, at any depth, an object of that tenant whose case has that reference."""
    match sent:
        case dict():
            case = sent.get("case")
            found = case.get("creditorReference") if isinstance(case, dict) else None
            if sent.get("external_tenant_id") == subject.tenant and subject.reference in (None, found):
                return True
            return any(_names(member, subject) for member in sent.values())
        case list():
            return any(_names(member, subject) for member in sent)
    return False
