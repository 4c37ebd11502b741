"""The tables of the report: daily counts, bulk operations with their results, and the versions of corrected cases."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, Date, ForeignKey, Identity, Index, SmallInteger, func, text
from sqlalchemy.orm import Mapped, mapped_column

from worker.ledger.base import Base, one_of
from worker.ledger.states import FINAL_STATES, ItemOutcome, OperationState, Verb


class FinishedDay(Base):
    """How many jobs became final on a past day (UTC), so that a count need not read them all."""

    __tablename__ = "finished_days"
    __table_args__ = (CheckConstraint(one_of("state", FINAL_STATES), name="state"),)

    day: Mapped[date] = mapped_column(Date, primary_key=True)
    state: Mapped[str] = mapped_column(primary_key=True)
    jobs: Mapped[int] = mapped_column(BigInteger)


class Operation(Base):
    """One replay or discard of a selection: what was selected, who requested it, and its progress.

    The process that runs it holds a lease; if that process dies, another one continues from `cursor`. Each chunk's
    transitions, results and cursor are one transaction, so nothing is done twice or lost.
    """

    __tablename__ = "operations"
    __table_args__ = (
        CheckConstraint(one_of("verb", Verb), name="verb"),
        CheckConstraint(one_of("state", OperationState), name="state"),
        CheckConstraint("(state = 'running') = (finished_at IS NULL)", name="finished_unless_running"),
        CheckConstraint("verb <> 'discard' OR (note IS NOT NULL AND note <> '')", name="discard_has_a_note"),
        CheckConstraint("verb = 'replay' OR NOT canary", name="canary_replays"),
        CheckConstraint("(lease_token IS NULL) = (lease_until IS NULL)", name="whole_lease"),
        CheckConstraint("state = 'running' OR lease_token IS NULL", name="lease_while_running"),
        CheckConstraint("(cancelled_by IS NULL) = (cancelled_at IS NULL)", name="wholly_cancelled"),
        CheckConstraint("jobs >= 0 AND messages >= 0 AND done >= 0 AND skipped >= 0 AND stage >= 0", name="counts"),
        Index("ix_operations_running", "lease_until", postgresql_where=text("state = 'running'")),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    verb: Mapped[str]
    canary: Mapped[bool] = mapped_column(server_default=text("false"))
    state: Mapped[str] = mapped_column(server_default=OperationState.RUNNING)
    actor: Mapped[str]
    note: Mapped[str | None]
    door: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'"))
    """How it was requested (web, command line), and what is known of the person there: for the audit log."""
    filter: Mapped[dict[str, Any]]
    newest: Mapped[int] = mapped_column(BigInteger)
    """The highest dead letter's id at the preview: jobs that die later do not belong to the selection."""
    jobs: Mapped[int]
    """How many were selected."""
    messages: Mapped[int] = mapped_column(server_default=text("0"))
    """How many of the selected dead letters are of unreadable messages."""
    tenants: Mapped[int]
    amounts: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'"))
    cursor: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    """Every dead letter of the selection up to this id has been processed."""
    done: Mapped[int] = mapped_column(server_default=text("0"))
    skipped: Mapped[int] = mapped_column(server_default=text("0"))
    stage: Mapped[int] = mapped_column(SmallInteger, server_default=text("0"))
    """Of a canary replay: 1 while one job is tried, 2 while five are, 3 for the rest. 0 before, and without canary."""
    lease_token: Mapped[UUID | None]
    lease_until: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    finished_at: Mapped[datetime | None]
    cancelled_by: Mapped[str | None]
    cancelled_at: Mapped[datetime | None]
    """When a person requested it; the process that runs the operation stops at the next chunk."""
    message: Mapped[str | None]
    """Why it stopped, in words."""


class OperationItem(Base):
    """The result for one failure that an operation selected."""

    __tablename__ = "operation_items"
    __table_args__ = (
        CheckConstraint(one_of("outcome", ItemOutcome), name="outcome"),
        CheckConstraint("(outcome = 'skipped') = (why IS NOT NULL)", name="why_skipped"),
    )

    operation_id: Mapped[int] = mapped_column(
        BigInteger, ForeignKey("operations.id", ondelete="CASCADE"), primary_key=True
    )
    dead_letter_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    """No foreign key: the result is kept as long as the operation."""
    job_id: Mapped[UUID | None]
    outcome: Mapped[str]
    why: Mapped[str | None]
    stage: Mapped[int] = mapped_column(SmallInteger, server_default=text("0"))
    at: Mapped[datetime] = mapped_column(server_default=func.now())


class CaseVersion(Base):
    """One version of a job's case. The first is what the sender submitted; a job that was never edited has none."""

    __tablename__ = "case_versions"
    __table_args__ = (
        CheckConstraint("number >= 1", name="number"),
        CheckConstraint("(number = 1) = (edited_by IS NULL)", name="first_is_the_senders"),
    )

    job_id: Mapped[UUID] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    case_body: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    edited_by: Mapped[str | None]
    note: Mapped[str | None]
