"""Since when the broker takes no messages, so that people can read it.

Revision: 0023, after 0022
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add a column without a default to a table of one row."""
    op.add_column("dispatcher", sa.Column("unpublished_since", postgresql.TIMESTAMP(timezone=True), nullable=True))


def downgrade() -> None:
    """Drop it; the next publish that fails says so in the log."""
    op.drop_column("dispatcher", "unpublished_since")
