"""Sealing everything with the newest key: what an older key has sealed, and what was stored before there was one.

Small transactions, each right by itself: it can be cut off at any moment and begun again, beside running workers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeVar
from uuid import UUID

from sqlalchemy import Engine

from worker.case_json import reference_in
from worker.errors import CaseSealed
from worker.ledger.database import transaction
from worker.ledger.writer import reseal
from worker.ledger.writer.reseal import NO_JOB, Found, FoundJob
from worker.protection import Kept, Protection

#: Texts in one transaction at most.
CHUNK = 200

F = TypeVar("F", bound=Found)
M = TypeVar("M")


@dataclass(slots=True)
class Resealed:
    """What came of it so far."""

    texts: int = 0
    unopened: Counter[str] = field(default_factory=Counter)
    """Texts that could not be opened, by the fingerprint of their key."""


@dataclass(frozen=True, slots=True)
class _AsFound:
    """A job's case as `Protection.kept` takes it."""

    external_tenant_id: str
    idempotency_key: str
    case_body: str
    creditor_reference: str | None
    amount: None = None
    currency: None = None


def rekey(engine: Engine, protection: Protection, tell: Callable[[Resealed], object] = lambda _: None) -> Resealed:
    """Seal every text with the newest key, and hide what CASE_READABLE does not name. `tell` is called as it goes on.

    Jobs that are on the queue, under way or locked are left for another run. `protection` has a keyring.
    """
    done = Resealed()
    for step in (_jobs, _versions, _messages):
        for _ in step(engine, protection, done):
            tell(done)
    return done


def _jobs(engine: Engine, protection: Protection, done: Resealed) -> Iterator[None]:
    assert protection.keyring is not None
    after: UUID = NO_JOB
    while True:
        with transaction(engine) as connection:
            found = reseal.jobs_to_seal(
                connection, after, newest=protection.keyring.newest, hides_reference=protection.hides_reference,
                hides_amount=protection.hides_amount, chunk=CHUNK,
            )  # fmt: skip
            made = _made(found, lambda job: _kept(protection, job), done)
            if made:
                rows = [(job.owner, kept) for job, kept in made]
                reseal.put_jobs(connection, rows, hides_amount=protection.hides_amount)
        if not found:
            return
        after = found[-1].owner
        yield


def _versions(engine: Engine, protection: Protection, done: Resealed) -> Iterator[None]:
    assert protection.keyring is not None
    after: tuple[UUID, int] = (NO_JOB, 0)
    while True:
        with transaction(engine) as connection:
            found = reseal.versions_to_seal(connection, *after, newest=protection.keyring.newest, chunk=CHUNK)
            made = _made(found, lambda v: protection.seal_case(v.owner, protection.open_case(v.owner, v.text)), done)
            if made:
                reseal.put_versions(connection, [(v.key[0], v.key[1], body) for v, body in made])
        if not found:
            return
        after = (found[-1].key[0], found[-1].key[1])
        yield


def _messages(engine: Engine, protection: Protection, done: Resealed) -> Iterator[None]:
    assert protection.keyring is not None
    after = 0
    while True:
        with transaction(engine) as connection:
            found = reseal.messages_to_seal(connection, after, newest=protection.keyring.newest, chunk=CHUNK)
            made = _made(
                found, lambda m: protection.seal_message(m.owner, protection.open_message(m.owner, m.text)), done
            )
            if made:
                reseal.put_messages(connection, [(m.owner, sent) for m, sent in made])
        if not found:
            return
        after = found[-1].owner
        yield


def _kept(protection: Protection, job: FoundJob) -> Kept:
    body = protection.open_case(job.owner, job.text)
    reference = job.creditor_reference or reference_in(body)
    return protection.kept(job.owner, _AsFound(job.external_tenant_id, job.idempotency_key, body, reference))


def _made(found: Sequence[F], make: Callable[[F], M], done: Resealed) -> list[tuple[F, M]]:
    """What becomes of each text that can be opened; the others are counted and left as they are."""
    made = []
    for one in found:
        try:
            made.append((one, make(one)))
        except CaseSealed as error:
            done.unopened[error.key] += 1
    done.texts += len(made)
    return made
