"""Case versions: what the sender handed over, and what operators made of it.

Revision: 0010, after 0009
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add a table that no older code knows."""
    op.create_table(
        "case_versions",
        sa.Column("job_id", sa.UUID(), nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("case_body", sa.Text(), nullable=False),
        sa.Column("created_at", postgresql.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("edited_by", sa.Text(), nullable=True),
        sa.Column("note", sa.Text(), nullable=True),
        sa.CheckConstraint("number >= 1", name=op.f("ck_case_versions_number")),
        sa.CheckConstraint("(number = 1) = (edited_by IS NULL)", name=op.f("ck_case_versions_first_is_the_senders")),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_case_versions_job_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("job_id", "number", name=op.f("pk_case_versions")),
    )


def downgrade() -> None:
    """Drop it. The jobs keep their newest wording; what the senders had handed over is forgotten."""
    op.drop_table("case_versions")
