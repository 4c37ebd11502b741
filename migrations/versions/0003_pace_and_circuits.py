"""Pace and circuits: what each API has been sent, and how a hold finds out that it is over.

Revision: 0003, after 0002
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add two tables and five columns with constant defaults: no table is rewritten, older workers go on."""
    op.create_table(
        "pace",
        sa.Column("api", sa.Text(), nullable=False),
        sa.Column("next_at", postgresql.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("api IN ('customer', 'referral')", name=op.f("ck_pace_api")),
        sa.PrimaryKeyConstraint("api", name=op.f("pk_pace")),
    )
    op.execute("INSERT INTO pace (api) VALUES ('customer'), ('referral')")
    op.create_table(
        "api_use",
        sa.Column("api", sa.Text(), nullable=False),
        sa.Column("since", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("requests", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("answers", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("failures", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.CheckConstraint("api IN ('customer', 'referral')", name=op.f("ck_api_use_api")),
        sa.PrimaryKeyConstraint("api", "since", name=op.f("pk_api_use")),
    )
    op.add_column(
        "jobs",
        sa.Column(
            "pending_since", postgresql.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
    )
    op.add_column("jobs", sa.Column("uncounted_requests", sa.Integer(), server_default=sa.text("0"), nullable=False))
    op.add_column("jobs", sa.Column("worker_lost", sa.Boolean(), server_default=sa.text("false"), nullable=False))
    op.add_column("holds", sa.Column("probe_job", sa.UUID(), nullable=True))
    op.add_column("holds", sa.Column("probes", sa.Integer(), server_default=sa.text("0"), nullable=False))


def downgrade() -> None:
    """Drop them; the API's own limits and the next failures take their place."""
    op.drop_column("jobs", "worker_lost")
    op.drop_column("jobs", "uncounted_requests")
    op.drop_column("jobs", "pending_since")
    op.drop_column("holds", "probes")
    op.drop_column("holds", "probe_job")
    op.drop_table("api_use")
    op.drop_table("pace")
