"""Migrations of a made-up later version of the code."""

from __future__ import annotations

import shutil
from pathlib import Path

from worker.ledger import migrate

PROJECT = Path(__file__).parents[2]
#: What a later version of the code brings along: it adds, so that this version's workers go on.
ADDS = """
revision, down_revision, branch_labels, depends_on = "9001", {head!r}, None, None
{oldest}
def upgrade():
    op.add_column("jobs", sa.Column("colour", sa.Text(), server_default="grey", nullable=False))
def downgrade():
    op.drop_column("jobs", "colour")
"""


def next_version(folder: Path, *, oldest: str = "") -> Path:
    """The migrations of a later version, which has one more."""
    scripts = folder / "migrations"
    shutil.copytree(PROJECT / "migrations", scripts, ignore=shutil.ignore_patterns("__pycache__"))
    text = ADDS.format(head=migrate.code_schema().newest, oldest=oldest)
    (scripts / "versions" / "9001_colour.py").write_text(f"import sqlalchemy as sa\nfrom alembic import op\n{text}")
    return scripts
