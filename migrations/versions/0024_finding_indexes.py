"""The indexes behind finding one job by its reference, whatever its state, and behind the audit view.

Revision: 0024, after 0023
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None

NAMES = {
    "ix_jobs_reference": "jobs",
    "ix_audit_log_at": "audit_log",
    "ix_audit_log_actor": "audit_log",
    "ix_audit_log_action": "audit_log",
}


def upgrade() -> None:
    """Build them beside the running fleet; should that be cut off, running it again begins anew."""
    with op.get_context().autocommit_block():
        drop()
        op.create_index(
            "ix_jobs_reference",
            "jobs",
            # A reference may be longer than an index takes: its beginning stands there.
            [sa.text("left(creditor_reference, 50)")],
            postgresql_where=sa.text("creditor_reference IS NOT NULL"),
            postgresql_concurrently=True,
        )
        op.create_index("ix_audit_log_at", "audit_log", ["at", "id"], postgresql_concurrently=True)
        op.create_index(
            "ix_audit_log_actor", "audit_log", [sa.text("left(actor, 100)"), "at", "id"], postgresql_concurrently=True
        )
        op.create_index("ix_audit_log_action", "audit_log", ["action", "at", "id"], postgresql_concurrently=True)


def downgrade() -> None:
    """Drop them, without locking anybody out."""
    with op.get_context().autocommit_block():
        drop()


def drop() -> None:
    """All that are there, whole or half built."""
    for name, table in NAMES.items():
        op.drop_index(name, table, postgresql_concurrently=True, if_exists=True)
