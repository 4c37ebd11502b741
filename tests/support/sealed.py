"""Encryption keys for tests, and enqueueing under them."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from tests.support.databases import Database
from tests.support.pipeline import a_case
from worker.case.protection import Protection
from worker.intake.enqueue import EnqueuedJob, admit, insert
from worker.ledger.database import transaction

OLD, NEW = "11" * 32, "22" * 32
OPEN = Protection()
#: Everything is hidden.
SEALED = Protection.from_environment({"CASE_ENCRYPTION_KEYS": OLD})
#: Only the case itself is sealed.
READABLE = Protection.from_environment({"CASE_ENCRYPTION_KEYS": OLD, "CASE_PLAINTEXT_FIELDS": "amount reference"})


def enqueue(
    ledger: Database, protection: Protection, *, tenant: str = "acme", key: str | None = None, **case: Any
) -> EnqueuedJob:
    """Enqueue a valid case with these fields under that protection."""
    with transaction(ledger.engine) as connection:
        return insert(connection, admit(tenant, a_case(**case), key), protection)


def everything(ledger: Database) -> str:
    """All rows of all tables as text, as anyone with SQL access could read them."""
    names = ledger.rows("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    return "\n".join(str(row) for (name,) in names for row in ledger.rows(f"SELECT t::text FROM {name} t"))


def body(ledger: Database, job: UUID) -> str:
    """A job's case as it is stored."""
    return str(ledger.value("SELECT case_body FROM jobs WHERE id = %s", job))
