"""Causes: which failures are the same one, computed by the database from what the API said.

Revision: 0005, after 0004
"""

from __future__ import annotations

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

# As worker/ledger/fingerprint.py had it then.
CAUSE = r"""
    CAST(md5(reason || '|' || COALESCE(left(detail ->> 'type', 100), '') || '|' ||
    regexp_replace(regexp_replace(regexp_replace(regexp_replace(regexp_replace(regexp_replace(
        left(COALESCE(detail ->> 'message', ''), 500), '\s+', ' ', 'g'),
        '"[^"]*"|`[^`]*`|(?<!\w)''[^'']*''(?!\w)', '#', 'g'),
        '[\u201c\u201e][^\u201c\u201d]*[\u201c\u201d]|\u00ab[^\u00bb]*\u00bb|(?<!\w)\u2018[^\u2019]*\u2019(?!\w)', '#', 'g'),
        '[^\s@]+@[^\s@]+', '#', 'g'),
        '[\w./+-]*\d[\w./+-]*', '#', 'g'),
        '#([ .,:;]+#)+', '#', 'g')) AS uuid)
"""
WORDS = r"to_tsvector('simple', regexp_replace(left(detail ->> 'message', 4000), '[\s!-/:-@\[-`{-~\u00ab\u00bb\u2010-\u201f\u2026]+', ' ', 'g'))"
HTTP_STATUS = r"CASE WHEN detail ->> 'status' ~ '^[1-9]\d\d$' THEN CAST(detail ->> 'status' AS smallint) END"


def upgrade() -> None:
    """Add five computed columns in one rewrite of `dead_letters`.

    The table is locked while it is rewritten (some seconds for 100,000 rows). Workers that bury a job meanwhile wait,
    and try again after their lock timeout: nothing is lost. The far larger `jobs` is not touched.
    """
    op.execute(
        f"""
        ALTER TABLE dead_letters
            ADD COLUMN cause uuid GENERATED ALWAYS AS ({CAUSE}) STORED NOT NULL,
            ADD COLUMN error_type text GENERATED ALWAYS AS (left(detail ->> 'type', 100)) STORED,
            ADD COLUMN http_status smallint GENERATED ALWAYS AS ({HTTP_STATUS}) STORED,
            ADD COLUMN solution uuid GENERATED ALWAYS AS (CAST(md5(solution_url) AS uuid)) STORED,
            ADD COLUMN words tsvector GENERATED ALWAYS AS ({WORDS}) STORED
        """
    )


def downgrade() -> None:
    """Drop them: they hold nothing that is not in `detail`."""
    op.execute(
        "ALTER TABLE dead_letters DROP COLUMN words, DROP COLUMN solution, DROP COLUMN http_status, DROP COLUMN error_type,"
        " DROP COLUMN cause"
    )
