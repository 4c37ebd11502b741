"""The indexes behind the report's groups, filters and search: over open failures only.

Revision: 0006, after 0005
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

FACTS = ["id", "cause", "solution", "created_at", "reason", "invalid_client_link", "error_type", "http_status"]
NAMES = (
    "ix_dead_letters_open_facts",
    "ix_dead_letters_open_id",
    "ix_dead_letters_open_cause",
    "ix_dead_letters_open_words",
)


def upgrade() -> None:
    """Build them beside the running fleet; should that be cut off, running it again begins anew."""
    still_open = sa.text("resolved_at IS NULL")
    with op.get_context().autocommit_block():
        drop()
        op.create_index(
            "ix_dead_letters_open_facts",
            "dead_letters",
            ["job_id"],
            postgresql_include=FACTS,
            postgresql_where=still_open,
            postgresql_concurrently=True,
        )
        op.create_index(
            "ix_dead_letters_open_id",
            "dead_letters",
            ["id"],
            postgresql_where=still_open,
            postgresql_concurrently=True,
        )
        op.create_index(
            "ix_dead_letters_open_cause",
            "dead_letters",
            ["cause", "id"],
            postgresql_where=still_open,
            postgresql_concurrently=True,
        )
        op.create_index(
            "ix_dead_letters_open_words",
            "dead_letters",
            ["words"],
            postgresql_using="gin",
            postgresql_where=still_open,
            postgresql_concurrently=True,
        )
        # A scan of an index alone is quick only where vacuum has been: by rows and not by share, as for jobs.
        op.execute(
            "ALTER TABLE dead_letters SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000,"
            " autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_insert_threshold = 5000)"
        )


def downgrade() -> None:
    """Drop them, without locking anybody out."""
    with op.get_context().autocommit_block():
        op.execute(
            "ALTER TABLE dead_letters RESET (autovacuum_vacuum_scale_factor, autovacuum_vacuum_threshold,"
            " autovacuum_vacuum_insert_scale_factor, autovacuum_vacuum_insert_threshold)"
        )
        drop()


def drop() -> None:
    """All that are there, whole or half built."""
    for name in NAMES:
        op.drop_index(name, "dead_letters", postgresql_concurrently=True, if_exists=True)
