"""Debitura's webhooks: events to be worked on once each, and how many came.

Revision: 0016, after 0015
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

MOMENT = postgresql.TIMESTAMP(timezone=True)


def upgrade() -> None:
    """Add two tables that no older code knows."""
    op.create_table(
        "webhook_events",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("event", sa.Text(), nullable=False),
        sa.Column("external_tenant_id", sa.Text(), nullable=True),
        sa.Column("received_at", MOMENT, server_default=sa.text("now()"), nullable=False),
        sa.Column("worked_at", MOMENT, nullable=True),
        sa.Column("outcome", sa.Text(), nullable=True),
        sa.Column("operations", postgresql.ARRAY(sa.BigInteger()), server_default=sa.text("'{}'"), nullable=False),
        sa.CheckConstraint("length(id) BETWEEN 1 AND 255", name=op.f("ck_webhook_events_id")),
        sa.CheckConstraint(
            "outcome IS NULL OR outcome IN ('replayed', 'nothing_to_replay', 'no_tenant')",
            name=op.f("ck_webhook_events_outcome"),
        ),
        sa.CheckConstraint(
            "(worked_at IS NULL) = (outcome IS NULL)", name=op.f("ck_webhook_events_worked_with_outcome")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhook_events")),
    )
    op.create_index(
        "ix_webhook_events_unworked",
        "webhook_events",
        ["received_at"],
        postgresql_where=sa.text("worked_at IS NULL"),
    )
    op.create_index(
        "ix_webhook_events_worked",
        "webhook_events",
        ["worked_at"],
        postgresql_where=sa.text("worked_at IS NOT NULL"),
    )
    op.create_table(
        "webhook_counts",
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("event", sa.Text(), nullable=False),
        sa.Column("received", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("received >= 0", name=op.f("ck_webhook_counts_received")),
        sa.PrimaryKeyConstraint("day", "event", name=op.f("pk_webhook_counts")),
    )


def downgrade() -> None:
    """Drop them. The audit log keeps what the events have done."""
    op.drop_table("webhook_counts")
    op.drop_table("webhook_events")
