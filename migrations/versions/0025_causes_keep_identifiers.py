r"""Causes: a field's name with a digit in it, such as `debtor.stateAlpha2`, tells causes apart; an id does not.

Revision: 0025, after 0024
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None

FACTS = ["id", "cause", "solution", "created_at", "reason", "invalid_client_link", "error_type", "http_status"]

# As worker/ledger/fingerprint.py had it before, and has it from now on: only what it takes for a value with a digit
# differs.
BEFORE = r"[\w./+-]*\d[\w./+-]*"
NOW = r"(?<![\w./+-])(?![A-Za-z][A-Za-z_.]*(\d[A-Za-z_.]*){1,2}(?![\w./+-]))[\w./+-]*\d[\w./+-]*"
CAUSE = r"""
    CAST(md5(reason || '|' || COALESCE(left(detail ->> 'type', 100), '') || '|' ||
    regexp_replace(regexp_replace(regexp_replace(regexp_replace(regexp_replace(regexp_replace(
        left(COALESCE(detail ->> 'message', ''), 500), '\s+', ' ', 'g'),
        '"[^"]*"|`[^`]*`|(?<!\w)''[^'']*''(?!\w)', '#', 'g'),
        '[\u201c\u201e][^\u201c\u201d]*[\u201c\u201d]|\u00ab[^\u00bb]*\u00bb|(?<!\w)\u2018[^\u2019]*\u2019(?!\w)', '#', 'g'),
        '[^\s@]+@[^\s@]+', '#', 'g'),
        '{with_digit}', '#', 'g'),
        '#([ .,:;]+#)+', '#', 'g')) AS uuid)
"""


def upgrade() -> None:
    """Compute the causes of all dead letters anew.

    The column is made anew, which rewrites `dead_letters` under an exclusive lock (some seconds for 100,000 rows), got
    within the lock timeout or not at all. Workers that bury a job meanwhile wait, and try again: nothing is lost. The
    far larger `jobs` is not touched. Its two indexes are built beside the running fleet; should that be cut off,
    running it again begins anew. A link to a cause whose key has changed finds nothing, and says so.
    """
    _compute(NOW)


def downgrade() -> None:
    """Compute them as before."""
    _compute(BEFORE)


def _compute(with_digit: str) -> None:
    cause = CAUSE.replace("{with_digit}", with_digit)
    # With the column go the indexes that hold it.
    op.execute("ALTER TABLE dead_letters DROP COLUMN cause")
    op.execute(f"ALTER TABLE dead_letters ADD COLUMN cause uuid GENERATED ALWAYS AS ({cause}) STORED NOT NULL")
    still_open = sa.text("resolved_at IS NULL")
    with op.get_context().autocommit_block():
        op.create_index(
            "ix_dead_letters_open_facts",
            "dead_letters",
            ["job_id"],
            postgresql_include=FACTS,
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
