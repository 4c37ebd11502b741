"""The round being served, for each priority: so that a tenant that is held back does not turn it back for newcomers.

Revision: 0022, after 0021
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add a table that no older code knows; the first release raises its rows."""
    op.create_table(
        "served_rounds",
        sa.Column("priority", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("round", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.CheckConstraint("priority BETWEEN 0 AND 2", name=op.f("ck_served_rounds_priority")),
        sa.PrimaryKeyConstraint("priority", name=op.f("pk_served_rounds")),
    )
    op.execute("INSERT INTO served_rounds (priority) VALUES (0), (1), (2)")


def downgrade() -> None:
    """Drop it; the lowest pending round takes its place."""
    op.drop_table("served_rounds")
