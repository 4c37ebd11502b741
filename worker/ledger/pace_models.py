"""Small tables of the dispatcher's: which round is being served, and when each circuit closed."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, CheckConstraint, SmallInteger, text
from sqlalchemy.orm import Mapped, mapped_column

from worker.ledger.base import Base


class ServedRound(Base):
    """One row per priority: the round being served. It only rises, so a tenant that is held back cannot lower it."""

    __tablename__ = "served_rounds"
    __table_args__ = (CheckConstraint("priority BETWEEN 0 AND 2", name="priority"),)

    priority: Mapped[int] = mapped_column(SmallInteger, primary_key=True, autoincrement=False)
    round: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))


class CircuitClosing(Base):
    """When a circuit last closed: what failed before says nothing of what comes after."""

    __tablename__ = "circuit_closings"

    circuit: Mapped[str] = mapped_column(primary_key=True)
    closed_at: Mapped[datetime]
