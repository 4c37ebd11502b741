"""The tables that operators' work leaves behind: which code the schema suits, and restores from a backup."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, CheckConstraint, Identity, SmallInteger, func
from sqlalchemy.orm import Mapped, mapped_column

from worker.ledger.base import Base


class SchemaSupport(Base):
    """One row: the oldest code version that works with the schema. Written by migrations/env.py with each migration."""

    __tablename__ = "schema_support"
    __table_args__ = (CheckConstraint("id = 1", name="one_row"),)

    id: Mapped[int] = mapped_column(SmallInteger, primary_key=True, autoincrement=False)
    oldest_code: Mapped[str]


class Restore(Base):
    """One time that the ledger was put back to an earlier moment, as `case-worker reconcile` noted it."""

    __tablename__ = "restores"

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    at: Mapped[datetime] = mapped_column(server_default=func.now())
    restored_to: Mapped[datetime | None]
    """The moment of the backup, as far as it is known."""
    look_up_until: Mapped[datetime]
    """Jobs that are enqueued until then are looked up before they are sent: the ledger may have known them once."""
    actor: Mapped[str]
