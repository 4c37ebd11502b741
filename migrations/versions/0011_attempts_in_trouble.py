"""The index behind the outage circuit: which jobs have failed lately by an API's own trouble?

Revision: 0011, after 0010
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Build it beside the running fleet; should that be cut off, running it again begins anew."""
    with op.get_context().autocommit_block():
        op.drop_index("ix_attempts_trouble", "attempts", postgresql_concurrently=True, if_exists=True)
        op.create_index(
            "ix_attempts_trouble",
            "attempts",
            ["finished_at", "job_id"],
            postgresql_where=sa.text("outcome IN ('server_error', 'unknown', 'not_sent')"),
            postgresql_concurrently=True,
        )


def downgrade() -> None:
    """Drop it."""
    with op.get_context().autocommit_block():
        op.drop_index("ix_attempts_trouble", "attempts", postgresql_concurrently=True, if_exists=True)
