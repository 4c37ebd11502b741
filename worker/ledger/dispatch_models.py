"""Small tables of dispatching: the leader, the pace, present and past holds, and the round being served."""

from __future__ import annotations

from datetime import date, datetime
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, Date, Identity, Index, SmallInteger, func, text
from sqlalchemy.orm import Mapped, mapped_column

from worker.ledger.base import Base, one_of
from worker.ledger.states import Api


class ServedRound(Base):
    """One row per priority: the round being served. It only rises, so a tenant that is held back can't lower it."""

    __tablename__ = "served_rounds"
    __table_args__ = (CheckConstraint("priority BETWEEN 0 AND 2", name="priority"),)

    priority: Mapped[int] = mapped_column(SmallInteger, primary_key=True, autoincrement=False)
    round: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))


class CircuitClosing(Base):
    """When a circuit last closed: earlier failures say nothing about what comes after."""

    __tablename__ = "circuit_closings"

    circuit: Mapped[str] = mapped_column(primary_key=True)
    closed_at: Mapped[datetime]


class PastHold(Base):
    """A hold that has ended. Kept for a while for the timelines of the jobs that waited for it."""

    __tablename__ = "past_holds"
    __table_args__ = (Index("ix_past_holds_ended_at", "ended_at"),)

    name: Mapped[str] = mapped_column(primary_key=True)
    since: Mapped[datetime] = mapped_column(primary_key=True)
    ended_at: Mapped[datetime]
    verdict: Mapped[str | None]
    """For the brake: the verdict that it held the fleet for. Answers to requests of that time may come late."""


class Dispatcher(Base):
    """One row: the worker whose dispatcher leads, and until when."""

    __tablename__ = "dispatcher"
    __table_args__ = (CheckConstraint("id = 1", name="one_row"),)

    id: Mapped[int] = mapped_column(SmallInteger, primary_key=True, autoincrement=False)
    leader: Mapped[str | None]
    lease_until: Mapped[datetime | None]
    purged_on: Mapped[date | None] = mapped_column(Date)
    """The last day (UTC) on which the nightly purge was completed."""
    unpublished_since: Mapped[datetime | None]
    """Since when the broker has accepted no message; None while publishing works."""


class Hold(Base):
    """Why nothing is released now: a 429 that holds the whole fleet, or an open circuit.

    A circuit's row outlives `until`: then one job at a time goes out as a probe, and the row is deleted when a probe
    succeeds.
    """

    __tablename__ = "holds"

    name: Mapped[str] = mapped_column(primary_key=True)
    since: Mapped[datetime] = mapped_column(server_default=func.now())
    until: Mapped[datetime]
    detail: Mapped[str]
    probe_job: Mapped[UUID | None]
    """The job that is out as a probe."""
    probes: Mapped[int] = mapped_column(server_default=text("0"))
    """How many have been sent so far."""
    probe_tenant: Mapped[str | None]
    """The tenant of the last probe: the next one is of another tenant, if there is one."""
    verdict: Mapped[str | None]
    """For the brake: the verdict that all jobs got, as `worker.ledger.writer.brake` compares it."""
    reason: Mapped[str | None]
    """For the brake: that verdict's dead-letter reason."""


class AcceptedVerdict(Base):
    """A verdict that a person accepted as each job's own: for a while it does not trigger the brake."""

    __tablename__ = "accepted_verdicts"

    verdict: Mapped[str] = mapped_column(primary_key=True)
    reason: Mapped[str]
    message: Mapped[str]
    accepted_until: Mapped[datetime]
    accepted_by: Mapped[str]


class TenantLink(Base):
    """A tenant whose client link was found invalid: its jobs are held, and one is sent now and then as a probe."""

    __tablename__ = "tenant_links"
    __table_args__ = (Index("ix_tenant_links_probe_at", "probe_at"),)

    external_tenant_id: Mapped[str] = mapped_column(primary_key=True)
    good: Mapped[bool] = mapped_column(server_default=text("false"))
    """The link is good again: the held jobs are being freed, and then the row goes."""
    reason: Mapped[str]
    since: Mapped[datetime] = mapped_column(server_default=func.now())
    probe_at: Mapped[datetime]
    probe_pause: Mapped[float]
    """Seconds from the next probe to the one after it."""
    probe_job: Mapped[UUID | None]
    """The last probe."""


class ApiPace(Base):
    """One row per API: the time until which the requests released so far fill the even pace."""

    __tablename__ = "pace"
    __table_args__ = (CheckConstraint(one_of("api", Api), name="api"),)

    api: Mapped[str] = mapped_column(primary_key=True)
    next_at: Mapped[datetime] = mapped_column(server_default=func.now())


class ApiUse(Base):
    """Requests and failures of one API: per second, after a few minutes per minute, and deleted after a day."""

    __tablename__ = "api_use"
    __table_args__ = (CheckConstraint(one_of("api", Api), name="api"),)

    api: Mapped[str] = mapped_column(primary_key=True)
    since: Mapped[datetime] = mapped_column(primary_key=True)
    requests: Mapped[int] = mapped_column(server_default=text("0"))
    """Requests released to be sent, or sent in addition (a second one after a 401, a look-up)."""
    answers: Mapped[int] = mapped_column(server_default=text("0"))
    """Requests that ended, successful or not."""
    failures: Mapped[int] = mapped_column(server_default=text("0"))


class SchemaSupport(Base):
    """One row: the oldest code version that works with the schema. Written by migrations/env.py with each migration."""

    __tablename__ = "schema_support"
    __table_args__ = (CheckConstraint("id = 1", name="one_row"),)

    id: Mapped[int] = mapped_column(SmallInteger, primary_key=True, autoincrement=False)
    oldest_code: Mapped[str]


class Restore(Base):
    """One restore of the ledger to an earlier moment, as recorded by `case-worker reconcile`."""

    __tablename__ = "restores"

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    at: Mapped[datetime] = mapped_column(server_default=func.now())
    restored_to: Mapped[datetime | None]
    """The moment of the backup, if known."""
    look_up_until: Mapped[datetime]
    """Jobs enqueued until then are looked up before they are sent: the ledger may have lost an earlier job."""
    actor: Mapped[str]
