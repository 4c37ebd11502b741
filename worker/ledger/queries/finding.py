"""One job, in whatever state, by what people have in their hands: a reference or its id."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from sqlalchemy import Connection, text


@dataclass(frozen=True, slots=True)
class FoundJob:
    """A job that was looked for."""

    id: UUID
    external_tenant_id: str
    creditor_reference: str | None
    amount: Decimal | None
    currency: str | None
    state: str
    created_at: datetime


_COLUMNS = "id, external_tenant_id, creditor_reference, amount, currency, state, created_at"
_BY_ID = text(f"SELECT {_COLUMNS} FROM jobs WHERE id = :id")
_BY_REFERENCE = text(
    f"""
    SELECT {_COLUMNS} FROM jobs
    WHERE creditor_reference IS NOT NULL AND left(creditor_reference, 50) = left(:reference, 50)
      AND creditor_reference = :reference AND (CAST(:tenant AS text) IS NULL OR external_tenant_id = :tenant)
    ORDER BY created_at DESC, id DESC LIMIT :limit
    """
)


def find_jobs(connection: Connection, wanted: str, *, tenant: str | None = None, limit: int = 50) -> list[FoundJob]:
    """The jobs with that creditorReference, exactly, the newest first; and the one with that id."""
    parameters = {"reference": wanted, "tenant": tenant, "limit": limit}
    found = [FoundJob(**row._mapping) for row in connection.execute(_BY_REFERENCE, parameters)]
    try:
        job_id = UUID(wanted)
    except ValueError:
        return found
    by_id = [FoundJob(**row._mapping) for row in connection.execute(_BY_ID, {"id": job_id})]
    return [job for job in by_id if tenant in (None, job.external_tenant_id) and job not in found] + found
