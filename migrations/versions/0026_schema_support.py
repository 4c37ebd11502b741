"""The oldest code that the schema suits, so that workers of two versions can share a database while one is rolled out.

Revision: 0026, after 0025
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None
# Code from before this one asks nobody and takes no other version than its own.
oldest_code = "0026"


def upgrade() -> None:
    """Add a table that no older code knows. Its one row is written by migrations/env.py with every migration."""
    op.create_table(
        "schema_support",
        sa.Column("id", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("oldest_code", sa.Text(), nullable=False),
        sa.CheckConstraint("id = 1", name=op.f("ck_schema_support_one_row")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_schema_support")),
    )


def downgrade() -> None:
    """Drop it: the schema then suits its own code only, as before."""
    op.drop_table("schema_support")
