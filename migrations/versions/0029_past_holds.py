"""Holds that are over are kept for a while, so that a job's timeline can tell what held it.

Revision: 0029, after 0028
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0029"
down_revision = "0028"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add a table that no older code knows."""
    op.create_table(
        "past_holds",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("since", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("ended_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("name", "since", name=op.f("pk_past_holds")),
    )
    op.create_index("ix_past_holds_ended_at", "past_holds", ["ended_at"])


def downgrade() -> None:
    """Drop it: timelines then tell of present holds only."""
    op.drop_table("past_holds")
