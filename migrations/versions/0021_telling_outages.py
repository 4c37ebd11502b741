"""Telling an outage from jobs that always fail: since when a job fails, and when each circuit last closed.

Revision: 0021, after 0016
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0021"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add a column without a default and a table that no older code knows: safe while the older workers go on."""
    op.add_column("jobs", sa.Column("failing_since", postgresql.TIMESTAMP(timezone=True), nullable=True))
    op.create_table(
        "circuit_closings",
        sa.Column("circuit", sa.Text(), nullable=False),
        sa.Column("closed_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("circuit", name=op.f("pk_circuit_closings")),
    )


def downgrade() -> None:
    """Drop them; the next failures are judged as if they were the first."""
    op.drop_table("circuit_closings")
    op.drop_column("jobs", "failing_since")
