"""Look up first: after a restore, jobs that the lost hours may have submitted are looked up before they are sent.

Revision: 0028, after 0027
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0028"
down_revision = "0027"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add a column with a constant default, which rewrites nothing, and a table that no older code knows."""
    op.add_column("jobs", sa.Column("look_up_first", sa.Boolean(), server_default=sa.text("false"), nullable=False))
    op.create_table(
        "restores",
        sa.Column("id", sa.BigInteger(), sa.Identity(), nullable=False),
        sa.Column("at", postgresql.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("restored_to", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("look_up_until", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_restores")),
    )


def downgrade() -> None:
    """Drop both. Let marked jobs end first: without the mark they are sent without a look-up."""
    op.drop_table("restores")
    op.drop_column("jobs", "look_up_first")
