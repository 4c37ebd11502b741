"""The ledger's rows as a test needs them."""

from __future__ import annotations

from uuid import UUID

from tests.support.databases import Database

DAY = 86_400.0


def age(ledger: Database, *jobs: UUID, days: int = 100) -> None:
    """Those jobs have been final for so long."""
    ledger.rows("UPDATE jobs SET finalized_at = now() - %s * interval '1 day' WHERE id = ANY(%s)", days, list(jobs))
