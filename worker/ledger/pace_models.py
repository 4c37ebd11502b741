"""Small tables of the dispatcher's: which round is being served, when each circuit closed, and what held the fleet."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, CheckConstraint, Index, SmallInteger, text
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


class PastHold(Base):
    """A hold that has ended: for the timelines of the jobs that waited for it, and forgotten after a while."""

    __tablename__ = "past_holds"
    __table_args__ = (Index("ix_past_holds_ended_at", "ended_at"),)

    name: Mapped[str] = mapped_column(primary_key=True)
    since: Mapped[datetime] = mapped_column(primary_key=True)
    ended_at: Mapped[datetime]
