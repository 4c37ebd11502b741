"""Purged jobs: which ones have no case any more, and when the nightly purge last came to its end.

Revision: 0012, after 0011
"""

from __future__ import annotations

from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add two columns without a default, and a rule for new rows, then look whether the old ones keep it.

    The look reads `jobs` once beside the running fleet: it holds no lock that a worker would wait for. Should it be cut
    off, running it again begins anew.
    """
    op.execute("ALTER TABLE jobs ADD COLUMN IF NOT EXISTS purged_at timestamptz")
    op.execute("ALTER TABLE dispatcher ADD COLUMN IF NOT EXISTS purged_on date")
    op.execute(
        "ALTER TABLE jobs DROP CONSTRAINT IF EXISTS ck_jobs_purged_when_final, ADD CONSTRAINT ck_jobs_purged_when_final"
        " CHECK (purged_at IS NULL OR (finalized_at IS NOT NULL AND case_body = '{}')) NOT VALID"
    )
    with op.get_context().autocommit_block():
        op.execute("ALTER TABLE jobs VALIDATE CONSTRAINT ck_jobs_purged_when_final")


def downgrade() -> None:
    """Drop them. A purged job stays empty (`{}`, which older code can read) and keeps its key's digest.

    After another upgrade it is taken for what it is: the same case finds it, and the next purge marks it again.
    """
    op.execute("ALTER TABLE jobs DROP CONSTRAINT ck_jobs_purged_when_final, DROP COLUMN purged_at")
    op.execute("ALTER TABLE dispatcher DROP COLUMN purged_on")
