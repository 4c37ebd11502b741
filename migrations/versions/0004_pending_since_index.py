"""The index behind the age of the oldest pending job.

Revision: 0004, after 0003
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Build it beside the running fleet; should that be cut off, running it again begins anew."""
    with op.get_context().autocommit_block():
        op.drop_index("ix_jobs_pending_since", "jobs", postgresql_concurrently=True, if_exists=True)
        op.create_index(
            "ix_jobs_pending_since",
            "jobs",
            ["pending_since"],
            # The second condition is always true. It keeps the planner from reading this index, whole, for any other
            # question about pending jobs when its statistics are behind.
            postgresql_where=sa.text("state = 'pending' AND pending_since > '-infinity'"),
            postgresql_concurrently=True,
        )
        op.drop_index("ix_jobs_pending_created", "jobs", postgresql_concurrently=True, if_exists=True)


def downgrade() -> None:
    """The older code's index comes back, likewise."""
    with op.get_context().autocommit_block():
        op.drop_index("ix_jobs_pending_created", "jobs", postgresql_concurrently=True, if_exists=True)
        op.create_index(
            "ix_jobs_pending_created",
            "jobs",
            ["created_at"],
            postgresql_where=sa.text("state = 'pending'"),
            postgresql_concurrently=True,
        )
        op.drop_index("ix_jobs_pending_since", "jobs", postgresql_concurrently=True, if_exists=True)
