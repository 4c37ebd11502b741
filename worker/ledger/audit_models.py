"""Who did what, when and why; and the hash chain that shows whether an entry was changed later.

The database refuses to change or delete an entry, and chains each one at commit: its hash is SHA-256 over the previous
hash and the entry's text. A user who can disable triggers can still change an entry, but then it no longer fits the
chain; and rebuilding the whole chain gives a different head than the one that was kept elsewhere.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import DDL, BigInteger, CheckConstraint, Identity, Index, LargeBinary, SmallInteger, event, func, text
from sqlalchemy.orm import Mapped, mapped_column

from worker.ledger import base
from worker.ledger.base import Base


class AuditEntry(Base):
    """Who did what, when and why."""

    __tablename__ = "audit_log"
    __table_args__ = (
        Index("ix_audit_log_job", "job_id", postgresql_where=text("job_id IS NOT NULL")),
        Index("ix_audit_log_at", "at", "id"),
        Index("ix_audit_log_actor", text("left(actor, 100)"), "at", "id"),
        Index("ix_audit_log_action", "action", "at", "id"),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    at: Mapped[datetime] = mapped_column(server_default=func.now())
    actor: Mapped[str]
    action: Mapped[str]
    job_id: Mapped[UUID | None]
    """No foreign key: the entry is kept longer than the job."""
    detail: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'"))
    note: Mapped[str | None]


class AuditLink(Base):
    """One entry's position in the chain. Positions follow the order of commits, which can differ from that of ids."""

    __tablename__ = "audit_chain"
    __table_args__ = (Index("uq_audit_chain_entry", "entry_id", unique=True),)

    position: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    """1, 2, 3 … without a gap."""
    entry_id: Mapped[int] = mapped_column(BigInteger)
    """No foreign key: a missing entry must be detectable."""
    hash: Mapped[bytes] = mapped_column(LargeBinary)


class AuditHead(Base):
    """One row: the chain's length and its last hash."""

    __tablename__ = "audit_head"
    __table_args__ = (CheckConstraint("id = 1", name="one_row"),)

    id: Mapped[int] = mapped_column(SmallInteger, primary_key=True, autoincrement=False)
    entries: Mapped[int] = mapped_column(BigInteger)
    hash: Mapped[bytes] = mapped_column(LargeBinary)


for statement in (
    base.AUDIT_TEXT,
    base.AUDIT_CHAIN,
    base.AUDIT_REFUSE,
    base.AUDIT_HEAD,
    *base.AUDIT_TRIGGERS,
):
    event.listen(Base.metadata, "after_create", DDL(statement))  # type: ignore[no-untyped-call]  # SQLAlchemy's own gap
