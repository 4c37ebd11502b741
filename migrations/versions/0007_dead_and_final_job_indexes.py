"""The indexes behind the report's money, tenants and references, and behind what was done today.

Revision: 0007, after 0006
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

NAMES = (
    "ix_jobs_dead",
    "ix_jobs_dead_tenant",
    "ix_jobs_dead_reference",
    "ix_jobs_dead_lookup",
    "ix_jobs_finalized",
    "ix_jobs_submitted_tenant",
)


def upgrade() -> None:
    """Build them beside the running fleet; should that be cut off, running it again begins anew."""
    with op.get_context().autocommit_block():
        drop()
        op.create_index(
            "ix_jobs_dead",
            "jobs",
            ["id"],
            postgresql_include=["external_tenant_id", "amount", "currency", "outcome_unknown"],
            postgresql_where=sa.text("state = 'dead'"),
            postgresql_concurrently=True,
        )
        op.create_index(
            "ix_jobs_dead_tenant",
            "jobs",
            ["external_tenant_id", "id"],
            postgresql_where=sa.text("state = 'dead'"),
            postgresql_concurrently=True,
        )
        op.create_index(
            "ix_jobs_dead_reference",
            "jobs",
            [sa.text("left(creditor_reference, 50)")],
            postgresql_where=sa.text("state = 'dead'"),
            postgresql_concurrently=True,
        )
        op.create_index(
            "ix_jobs_dead_lookup",
            "jobs",
            ["id"],
            postgresql_where=sa.text("state = 'dead' AND outcome_unknown AND creditor_reference IS NOT NULL"),
            postgresql_concurrently=True,
        )
        op.create_index(
            "ix_jobs_finalized",
            "jobs",
            ["state", "finalized_at"],
            postgresql_where=sa.text("finalized_at IS NOT NULL"),
            postgresql_concurrently=True,
        )
        op.create_index(
            "ix_jobs_submitted_tenant",
            "jobs",
            ["external_tenant_id", "finalized_at"],
            postgresql_where=sa.text("state = 'submitted'"),
            postgresql_concurrently=True,
        )


def downgrade() -> None:
    """Drop them, without locking anybody out."""
    with op.get_context().autocommit_block():
        drop()


def drop() -> None:
    """All that are there, whole or half built."""
    for name in reversed(NAMES):
        op.drop_index(name, "jobs", postgresql_concurrently=True, if_exists=True)
