"""Operations: replays and discards of whole selections, with what became of each failure.

Revision: 0009, after 0008
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

MOMENT = postgresql.TIMESTAMP(timezone=True)


def upgrade() -> None:
    """Add two tables that no older code knows."""
    op.create_table(
        "operations",
        sa.Column("id", sa.BigInteger(), sa.Identity(), nullable=False),
        sa.Column("verb", sa.Text(), nullable=False),
        sa.Column("canary", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("state", sa.Text(), server_default="running", nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("note", sa.Text(), nullable=True),
        sa.Column("door", postgresql.JSONB(), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("filter", postgresql.JSONB(), nullable=False),
        sa.Column("newest", sa.BigInteger(), nullable=False),
        sa.Column("jobs", sa.Integer(), nullable=False),
        sa.Column("messages", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("tenants", sa.Integer(), nullable=False),
        sa.Column("amounts", postgresql.JSONB(), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("cursor", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("done", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("skipped", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("stage", sa.SmallInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("lease_token", sa.UUID(), nullable=True),
        sa.Column("lease_until", MOMENT, nullable=True),
        sa.Column("created_at", MOMENT, server_default=sa.text("now()"), nullable=False),
        sa.Column("finished_at", MOMENT, nullable=True),
        sa.Column("cancelled_by", sa.Text(), nullable=True),
        sa.Column("cancelled_at", MOMENT, nullable=True),
        sa.Column("message", sa.Text(), nullable=True),
        sa.CheckConstraint("verb IN ('replay', 'discard')", name=op.f("ck_operations_verb")),
        sa.CheckConstraint("state IN ('running', 'done', 'stopped', 'cancelled')", name=op.f("ck_operations_state")),
        sa.CheckConstraint(
            "(state = 'running') = (finished_at IS NULL)", name=op.f("ck_operations_finished_unless_running")
        ),
        sa.CheckConstraint(
            "verb <> 'discard' OR (note IS NOT NULL AND note <> '')", name=op.f("ck_operations_discard_has_a_note")
        ),
        sa.CheckConstraint("verb = 'replay' OR NOT canary", name=op.f("ck_operations_canary_replays")),
        sa.CheckConstraint("(lease_token IS NULL) = (lease_until IS NULL)", name=op.f("ck_operations_whole_lease")),
        sa.CheckConstraint("state = 'running' OR lease_token IS NULL", name=op.f("ck_operations_lease_while_running")),
        sa.CheckConstraint(
            "(cancelled_by IS NULL) = (cancelled_at IS NULL)", name=op.f("ck_operations_wholly_cancelled")
        ),
        sa.CheckConstraint(
            "jobs >= 0 AND messages >= 0 AND done >= 0 AND skipped >= 0 AND stage >= 0",
            name=op.f("ck_operations_counts"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_operations")),
    )
    op.create_index(
        "ix_operations_running", "operations", ["lease_until"], postgresql_where=sa.text("state = 'running'")
    )
    op.create_table(
        "operation_items",
        sa.Column("operation_id", sa.BigInteger(), nullable=False),
        sa.Column("dead_letter_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("job_id", sa.UUID(), nullable=True),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("why", sa.Text(), nullable=True),
        sa.Column("stage", sa.SmallInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("at", MOMENT, server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("outcome IN ('replayed', 'discarded', 'skipped')", name=op.f("ck_operation_items_outcome")),
        sa.CheckConstraint("(outcome = 'skipped') = (why IS NOT NULL)", name=op.f("ck_operation_items_why_skipped")),
        sa.ForeignKeyConstraint(
            ["operation_id"], ["operations.id"], name=op.f("fk_operation_items_operation_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("operation_id", "dead_letter_id", name=op.f("pk_operation_items")),
    )


def downgrade() -> None:
    """Drop them; what was done to each job is still in `audit_log`."""
    op.drop_table("operation_items")
    op.drop_table("operations")
