"""How many jobs became final on each day that is over, so that a count need not read them all.

Revision: 0008, after 0007
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add a table that no older code knows; its rows come with the next `case-worker status`."""
    op.create_table(
        "finished_days",
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("jobs", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("state IN ('submitted', 'discarded')", name=op.f("ck_finished_days_state")),
        sa.PrimaryKeyConstraint("day", "state", name=op.f("pk_finished_days")),
    )


def downgrade() -> None:
    """Drop it: it can be counted again from `jobs`."""
    op.drop_table("finished_days")
