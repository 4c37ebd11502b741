"""Holds: why nothing is released just now, as rows that people can read.

Revision: 0002, after 0001
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add a table that no older code knows: safe while the older workers go on."""
    op.create_table(
        "holds",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("since", postgresql.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("until", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_holds")),
    )


def downgrade() -> None:
    """Drop it; a hold that was in force is found again by the next 429 or refused mint."""
    op.drop_table("holds")
