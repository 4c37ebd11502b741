"""Job keys: one job for a key in either of its forms, and the index that a purge reads.

Revision: 0013, after 0012
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

# As worker/ledger/functions.py had it then.
JOB_KEY = r"""
CREATE FUNCTION job_key(tenant text, key text) RETURNS bytea LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN key ~ '^hidden[:]sha256[:][0-9a-f]{64}$' THEN decode(right(key, 64), 'hex')
           ELSE sha256(CAST(replace(CAST(length(tenant) AS text) || ':' || tenant || key, '\', '\\') AS bytea)) END
$$
"""


def upgrade() -> None:
    """Build both indexes beside the running fleet; should that be cut off, running it again begins anew."""
    with op.get_context().autocommit_block():
        drop()
        op.get_bind().exec_driver_sql(JOB_KEY)
        op.create_index(
            "uq_jobs_key",
            "jobs",
            [sa.text("job_key(external_tenant_id, idempotency_key)")],
            unique=True,
            postgresql_concurrently=True,
        )
        op.create_index(
            "ix_jobs_unpurged",
            "jobs",
            ["finalized_at"],
            postgresql_where=sa.text("finalized_at IS NOT NULL AND purged_at IS NULL"),
            postgresql_concurrently=True,
        )


def downgrade() -> None:
    """Drop them, without locking anybody out. Keys that are hidden stay so: older code does not find those jobs."""
    with op.get_context().autocommit_block():
        drop()


def drop() -> None:
    """All that are there, whole or half built."""
    op.drop_index("ix_jobs_unpurged", "jobs", postgresql_concurrently=True, if_exists=True)
    op.drop_index("uq_jobs_key", "jobs", postgresql_concurrently=True, if_exists=True)
    op.execute("DROP FUNCTION IF EXISTS job_key(text, text)")
