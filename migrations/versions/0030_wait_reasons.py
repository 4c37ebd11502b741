"""Why a job waits, as a word; and an index on the dead jobs whose case may exist, marked ones included.

Revision: 0030, after 0029
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0030"
down_revision = "0029"
branch_labels = None
depends_on = None

REASONS = (
    "backoff", "rate_limit", "conflict", "api_fault", "no_token", "look_up_failed", "key_missing", "case_altered",
    "worker_lost", "internal_error", "stopped",
)  # fmt: skip


def upgrade() -> None:
    """Add a column that older workers leave empty, and build the index beside the running fleet."""
    words = ", ".join(f"'{reason}'" for reason in REASONS)
    op.add_column("jobs", sa.Column("wait_reason", sa.Text(), nullable=True))
    op.execute(
        f"ALTER TABLE jobs ADD CONSTRAINT ck_jobs_wait_reason CHECK (wait_reason IS NULL OR wait_reason IN ({words}))"
        " NOT VALID"
    )
    op.execute("ALTER TABLE jobs VALIDATE CONSTRAINT ck_jobs_wait_reason")
    # The words of a missing key, found for the last time by how they begin.
    op.execute(
        "UPDATE jobs SET wait_reason = 'key_missing'"
        " WHERE state = 'waiting' AND starts_with(last_error, 'the case is sealed with key ')"
    )
    with op.get_context().autocommit_block():
        op.drop_index("ix_jobs_dead_may_exist", "jobs", postgresql_concurrently=True, if_exists=True)
        op.create_index(
            "ix_jobs_dead_may_exist",
            "jobs",
            ["id"],
            postgresql_where=sa.text("state = 'dead' AND (outcome_unknown OR look_up_first)"),
            postgresql_concurrently=True,
        )
        op.drop_index("ix_jobs_dead_lookup", "jobs", postgresql_concurrently=True, if_exists=True)


def downgrade() -> None:
    """Give the older code its index back, and drop the column."""
    with op.get_context().autocommit_block():
        op.drop_index("ix_jobs_dead_lookup", "jobs", postgresql_concurrently=True, if_exists=True)
        op.create_index(
            "ix_jobs_dead_lookup",
            "jobs",
            ["id"],
            postgresql_where=sa.text("state = 'dead' AND outcome_unknown AND creditor_reference IS NOT NULL"),
            postgresql_concurrently=True,
        )
        op.drop_index("ix_jobs_dead_may_exist", "jobs", postgresql_concurrently=True, if_exists=True)
    op.drop_constraint("ck_jobs_wait_reason", "jobs")
    op.drop_column("jobs", "wait_reason")
