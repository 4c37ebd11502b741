"""Trace context: a job carries the W3C traceparent of whoever enqueued it, so that every attempt joins that trace.

Revision: 0027, after 0026
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0027"
down_revision = "0026"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add a column without a default, which rewrites nothing; its check is validated beside the running fleet."""
    with op.get_context().autocommit_block():
        op.add_column("jobs", sa.Column("trace_context", sa.Text(), nullable=True), if_not_exists=True)
        op.execute("ALTER TABLE jobs DROP CONSTRAINT IF EXISTS ck_jobs_trace_context")
        op.execute(
            "ALTER TABLE jobs ADD CONSTRAINT ck_jobs_trace_context CHECK (length(trace_context) <= 100) NOT VALID"
        )
        op.execute("ALTER TABLE jobs VALIDATE CONSTRAINT ck_jobs_trace_context")


def downgrade() -> None:
    """Drop it: attempts then begin traces of their own."""
    op.drop_column("jobs", "trace_context")
