"""The tables of Debitura's webhooks: the events that need processing, and counts of all that came."""

from __future__ import annotations

from datetime import date, datetime
from enum import StrEnum

from sqlalchemy import BigInteger, CheckConstraint, Date, Index, func, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from worker.ledger.base import Base, one_of


class WebhookOutcome(StrEnum):
    """What was done about an event."""

    REPLAYED = "replayed"
    """Replays were begun; `operations` lists them."""
    NOTHING_TO_REPLAY = "nothing_to_replay"
    """The tenant has no dead job whose cause the event fixes."""
    NO_TENANT = "no_tenant"
    """It names no tenant."""


class WebhookEvent(Base):
    """One event that fixes something. Only these fields are kept: the payload names people."""

    __tablename__ = "webhook_events"
    __table_args__ = (
        CheckConstraint("length(id) BETWEEN 1 AND 255", name="id"),
        CheckConstraint(f"outcome IS NULL OR {one_of('outcome', WebhookOutcome)}", name="outcome"),
        CheckConstraint("(worked_at IS NULL) = (outcome IS NULL)", name="worked_with_outcome"),
        Index("ix_webhook_events_unworked", "received_at", postgresql_where=text("worked_at IS NULL")),
        Index("ix_webhook_events_worked", "worked_at", postgresql_where=text("worked_at IS NOT NULL")),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    """Debitura's own id of the event: it is processed once, however often it comes."""
    event: Mapped[str]
    external_tenant_id: Mapped[str | None]
    received_at: Mapped[datetime] = mapped_column(server_default=func.now())
    worked_at: Mapped[datetime | None]
    outcome: Mapped[str | None]
    operations: Mapped[list[int]] = mapped_column(ARRAY(BigInteger), server_default=text("'{}'"))
    """The bulk operations that it began."""


class WebhookCount(Base):
    """How many events of a name came on a day (UTC), repeats included."""

    __tablename__ = "webhook_counts"
    __table_args__ = (CheckConstraint("received >= 0", name="received"),)

    day: Mapped[date] = mapped_column(Date, primary_key=True)
    event: Mapped[str] = mapped_column(primary_key=True)
    """A name from the documentation, or `other`."""
    received: Mapped[int] = mapped_column(BigInteger)
