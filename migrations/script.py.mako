"""${message}

Revision: ${up_revision}, after ${down_revision | comma,n}
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
${imports if imports else ""}

revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}
branch_labels = None
depends_on = None
# Migrations only add, so that older workers go on. One that they cannot live with says which code version can:
# oldest_code = ${repr(up_revision)}


def upgrade() -> None:
    """Say what it does, and why it is safe on a live table."""
    ${upgrades if upgrades else "pass"}


def downgrade() -> None:
    """Undo it without losing a job."""
    ${downgrades if downgrades else "pass"}
