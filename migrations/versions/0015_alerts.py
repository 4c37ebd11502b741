"""Alerts: what is to be told to which receiver, and what has been told already.

Revision: 0015, after 0014
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

MOMENT = postgresql.TIMESTAMP(timezone=True)


def upgrade() -> None:
    """Add four tables that no older code knows."""
    op.create_table(
        "alerts",
        sa.Column("id", sa.UUID(), nullable=False),
        sa.Column("dedup_key", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("facts", postgresql.JSONB(), nullable=False),
        sa.Column("created_at", MOMENT, server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "kind IN ('new_failure_group', 'invalid_link', 'partner_key_refused', 'partner_key_accepted', 'circuit_opened', 'circuit_closed', 'oldest_pending_over', 'oldest_pending_recovered')",
            name=op.f("ck_alerts_kind"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_alerts")),
    )
    op.create_index("uq_alerts_dedup_key", "alerts", ["dedup_key"], unique=True)
    op.create_index("ix_alerts_created", "alerts", ["kind", "created_at"])
    op.create_table(
        "alert_deliveries",
        sa.Column("alert_id", sa.UUID(), nullable=False),
        sa.Column("target", sa.Text(), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), server_default="pending", nullable=False),
        sa.Column("attempts", sa.SmallInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("due_at", MOMENT, server_default=sa.text("now()"), nullable=False),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.Column("finished_at", MOMENT, nullable=True),
        sa.CheckConstraint("state IN ('pending', 'delivered', 'given_up')", name=op.f("ck_alert_deliveries_state")),
        sa.CheckConstraint(
            "(state = 'pending') = (finished_at IS NULL)", name=op.f("ck_alert_deliveries_finished_unless_pending")
        ),
        sa.CheckConstraint("attempts >= 0", name=op.f("ck_alert_deliveries_attempts")),
        sa.ForeignKeyConstraint(
            ["alert_id"], ["alerts.id"], name=op.f("fk_alert_deliveries_alert_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("alert_id", "target", name=op.f("pk_alert_deliveries")),
    )
    op.create_index(
        "ix_alert_deliveries_due",
        "alert_deliveries",
        ["target", "due_at"],
        postgresql_where=sa.text("state = 'pending'"),
    )
    op.create_table(
        "alert_conditions",
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("since", MOMENT, server_default=sa.text("now()"), nullable=False),
        sa.Column("seen_at", MOMENT, server_default=sa.text("now()"), nullable=False),
        sa.Column("facts", postgresql.JSONB(), server_default=sa.text("'{}'"), nullable=False),
        sa.CheckConstraint(
            "kind IN ('new_failure_group', 'invalid_link', 'partner_key_refused', 'circuit_opened', 'oldest_pending_over')",
            name=op.f("ck_alert_conditions_kind"),
        ),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_alert_conditions")),
    )
    op.create_table(
        "alert_watch",
        sa.Column("id", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("looked_at", MOMENT, nullable=True),
        sa.CheckConstraint("id = 1", name=op.f("ck_alert_watch_one_row")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_alert_watch")),
    )
    op.execute("INSERT INTO alert_watch (id) VALUES (1)")


def downgrade() -> None:
    """Drop them. What was told is forgotten, so a newer version tells what still holds once more."""
    op.drop_table("alert_watch")
    op.drop_table("alert_conditions")
    op.drop_table("alert_deliveries")
    op.drop_table("alerts")
