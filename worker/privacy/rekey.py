"""Re-encrypt everything with the newest key, including data stored before there was a key.

Runs in small, independent transactions: it can be interrupted at any time and run again, while workers run.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Generic, TypeVar

from sqlalchemy import Connection, Engine

from worker.case.codec import reference_in
from worker.case.protection import Kept, Protection
from worker.errors import CaseSealed
from worker.ledger.database import transaction
from worker.ledger.writer import reseal
from worker.ledger.writer.reseal import NO_JOB, Found, FoundJob

#: The most texts in one transaction.
CHUNK = 200

F = TypeVar("F", bound=Found)
M = TypeVar("M")


@dataclass(slots=True)
class Resealed:
    """Progress and result."""

    texts: int = 0
    unopened: Counter[str] = field(default_factory=Counter)
    """Texts that could not be decrypted, by the fingerprint of their key."""


@dataclass(frozen=True, slots=True)
class _AsFound:
    """A job's case in the form that `Protection.kept` accepts."""

    external_tenant_id: str
    idempotency_key: str
    case_body: str
    creditor_reference: str | None
    amount: None = None
    currency: None = None


@dataclass(frozen=True, slots=True)
class _Kind(Generic[F, M]):
    """One kind of text."""

    first: tuple[Any, ...]
    """The key before all others."""
    find: Callable[..., Sequence[F]]
    """Locks and reads the rows after a key."""
    make: Callable[[F], M]
    """Makes the new value. Raises CaseSealed."""
    put: Callable[[Connection, Sequence[Any]], None]
    """Stores the new values, each after its key."""


def rekey(engine: Engine, protection: Protection, tell: Callable[[Resealed], object] = lambda _: None) -> Resealed:
    """Encrypt every text with the newest key, and hide fields that CASE_PLAINTEXT_FIELDS does not name.

    Calls `tell` with the progress. Jobs that are queued, under way or locked are left for another run. `protection`
    must have a keyring.
    """
    assert protection.keyring is not None
    done, newest, hides_amount = Resealed(), protection.keyring.newest, protection.hides_amount
    jobs = partial(
        reseal.jobs_to_seal, newest=newest, hides_reference=protection.hides_reference, hides_amount=hides_amount
    )
    put_jobs = partial(reseal.put_jobs, hides_amount=hides_amount)
    versions = partial(reseal.versions_to_seal, newest=newest)
    messages = partial(reseal.messages_to_seal, newest=newest)
    kinds: tuple[_Kind[Any, Any], ...] = (
        _Kind((NO_JOB,), jobs, partial(_kept, protection), put_jobs),
        _Kind((NO_JOB, 0), versions, partial(_case, protection), reseal.put_versions),
        _Kind((0,), messages, partial(_message, protection), reseal.put_messages),
    )
    for kind in kinds:
        after = kind.first
        while found := _step(engine, kind, after, done):
            after = found[-1].key
            tell(done)
    return done


def _step(engine: Engine, kind: _Kind[F, M], after: tuple[Any, ...], done: Resealed) -> Sequence[F]:
    """Process the next texts in one transaction. Returns them; empty when none is left."""
    with transaction(engine) as connection:
        found = kind.find(connection, *after, chunk=CHUNK)
        made = _made(found, kind.make, done)
        if made:
            kind.put(connection, [(*one.key, new) for one, new in made])
    return found


def _case(protection: Protection, version: Found) -> str:
    return protection.seal_case(version.owner, protection.open_case(version.owner, version.text))


def _message(protection: Protection, message: Found) -> str:
    return protection.seal_message(message.owner, protection.open_message(message.owner, message.text))


def _kept(protection: Protection, job: FoundJob) -> Kept:
    body = protection.open_case(job.owner, job.text)
    reference = job.creditor_reference or reference_in(body)
    return protection.kept(job.owner, _AsFound(job.external_tenant_id, job.idempotency_key, body, reference))


def _made(found: Sequence[F], make: Callable[[F], M], done: Resealed) -> list[tuple[F, M]]:
    """The new value of each text that can be decrypted; the others are counted and left unchanged."""
    made = []
    for one in found:
        try:
            made.append((one, make(one)))
        except CaseSealed as error:
            done.unopened[error.key] += 1
    done.texts += len(made)
    return made
