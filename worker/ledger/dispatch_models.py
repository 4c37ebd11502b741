"""Small tables of dispatching: who leads, the pace, what holds or held the fleet, and which round is being served."""

from __future__ import annotations

from datetime import date, datetime
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, Date, Identity, Index, SmallInteger, func, text
from sqlalchemy.orm import Mapped, mapped_column

from worker.ledger.base import Base, one_of
from worker.ledger.states import Api


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


class Dispatcher(Base):
    """One row: which worker's dispatcher leads, and until when."""

    __tablename__ = "dispatcher"
    __table_args__ = (CheckConstraint("id = 1", name="one_row"),)

    id: Mapped[int] = mapped_column(SmallInteger, primary_key=True, autoincrement=False)
    leader: Mapped[str | None]
    lease_until: Mapped[datetime | None]
    purged_on: Mapped[date | None] = mapped_column(Date)
    """The last day (UTC) on which the nightly purge came to its end."""
    unpublished_since: Mapped[datetime | None]
    """Since when the broker has taken no message; none while publishing works."""


class Hold(Base):
    """Why nothing is released just now: a 429 that holds the whole fleet, or a circuit that is open.

    A circuit's row outlives `until`: then one job at a time goes out as a probe, and the row goes when one succeeds.
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
    """Whose job the last probe was: the next one is of another tenant, if there is one."""
    verdict: Mapped[str | None]
    """For the brake: the verdict that everybody met, as `worker.ledger.writer.brake` compares it."""
    reason: Mapped[str | None]
    """For the brake: that verdict's dead-letter reason."""


class AcceptedVerdict(Base):
    """A verdict that a person let count as each job's own: for a while it does not pull the brake."""

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
    reason: Mapped[str]
    since: Mapped[datetime] = mapped_column(server_default=func.now())
    probe_at: Mapped[datetime]
    probe_pause: Mapped[float]
    """Seconds from the next probe to the one after it."""
    probe_job: Mapped[UUID | None]
    """The last probe."""


class ApiPace(Base):
    """One row per API: until when the requests released so far fill the even pace."""

    __tablename__ = "pace"
    __table_args__ = (CheckConstraint(one_of("api", Api), name="api"),)

    api: Mapped[str] = mapped_column(primary_key=True)
    next_at: Mapped[datetime] = mapped_column(server_default=func.now())


class ApiUse(Base):
    """Requests and failures of one API, by the second; after a few minutes, by the minute; after a day, no more."""

    __tablename__ = "api_use"
    __table_args__ = (CheckConstraint(one_of("api", Api), name="api"),)

    api: Mapped[str] = mapped_column(primary_key=True)
    since: Mapped[datetime] = mapped_column(primary_key=True)
    requests: Mapped[int] = mapped_column(server_default=text("0"))
    """Requests released to be sent, or sent beside the released ones (a second one after a 401, a look-up)."""
    answers: Mapped[int] = mapped_column(server_default=text("0"))
    """Requests that came to an end, well or not."""
    failures: Mapped[int] = mapped_column(server_default=text("0"))


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
