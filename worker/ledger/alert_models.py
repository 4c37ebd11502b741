"""The tables of alerts: current conditions, the alerts about them, and their delivery to each receiver.

No table holds a receiver's URL (its path may be a secret) or a debtor's data.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, SmallInteger, func, text
from sqlalchemy.orm import Mapped, mapped_column

from worker.ledger.base import Base, one_of


class AlertKind(StrEnum):
    """What an alert is about. Receivers route by these words, so don't change them."""

    NEW_FAILURE_GROUP = "new_failure_group"
    """Jobs have begun to fail for a cause that no open failure had."""
    INVALID_LINK = "invalid_link"
    """A tenant's client link was found invalid."""
    PARTNER_KEY_REFUSED = "partner_key_refused"
    PARTNER_KEY_ACCEPTED = "partner_key_accepted"
    """The end of the one above."""
    CIRCUIT_OPENED = "circuit_opened"
    CIRCUIT_CLOSED = "circuit_closed"
    OLDEST_PENDING_OVER = "oldest_pending_over"
    """The oldest job that is ready has waited longer than the limit."""
    OLDEST_PENDING_RECOVERED = "oldest_pending_recovered"
    TEST = "test"
    """A person tests the receivers. Never in the ledger."""


#: The kinds that begin a condition; the other kinds end one.
BEGINNINGS = (
    AlertKind.NEW_FAILURE_GROUP,
    AlertKind.INVALID_LINK,
    AlertKind.PARTNER_KEY_REFUSED,
    AlertKind.CIRCUIT_OPENED,
    AlertKind.OLDEST_PENDING_OVER,
)
#: The kinds that the ledger can hold.
TOLD = tuple(kind for kind in AlertKind if kind is not AlertKind.TEST)


class DeliveryState(StrEnum):
    """The state of one alert's delivery to one receiver."""

    PENDING = "pending"
    """To be sent, or sent again, when it is due."""
    DELIVERED = "delivered"
    """The receiver answered 2xx. Final."""
    GIVEN_UP = "given_up"
    """Every try failed. Final; `status` and `doctor` report it."""


class Alert(Base):
    """One alert, written in the transaction that finds its cause. Receivers recognize a repeat by the id."""

    __tablename__ = "alerts"
    __table_args__ = (
        CheckConstraint(one_of("kind", TOLD), name="kind"),
        Index("uq_alerts_dedup_key", "dedup_key", unique=True),
        Index("ix_alerts_created", "kind", "created_at"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    dedup_key: Mapped[str]
    """Identifies the event itself: a process that finds it again finds this row."""
    kind: Mapped[str]
    facts: Mapped[dict[str, Any]]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class AlertDelivery(Base):
    """The delivery of one alert to one receiver."""

    __tablename__ = "alert_deliveries"
    __table_args__ = (
        CheckConstraint(one_of("state", DeliveryState), name="state"),
        CheckConstraint("(state = 'pending') = (finished_at IS NULL)", name="finished_unless_pending"),
        CheckConstraint("attempts >= 0", name="attempts"),
        Index("ix_alert_deliveries_due", "target", "due_at", postgresql_where=text("state = 'pending'")),
    )

    alert_id: Mapped[UUID] = mapped_column(ForeignKey("alerts.id", ondelete="CASCADE"), primary_key=True)
    target: Mapped[str] = mapped_column(primary_key=True)
    """A digest that stands for the receiver's URL."""
    host: Mapped[str]
    """The receiver's host, to show to people."""
    state: Mapped[str] = mapped_column(server_default=DeliveryState.PENDING)
    attempts: Mapped[int] = mapped_column(SmallInteger, server_default=text("0"))
    due_at: Mapped[datetime] = mapped_column(server_default=func.now())
    """Not before this time. While it is being sent: when another process may take it over."""
    last_error: Mapped[str | None]
    finished_at: Mapped[datetime | None]


class AlertCondition(Base):
    """A condition that holds now and has been alerted, so that its begin and its end are each alerted once."""

    __tablename__ = "alert_conditions"
    __table_args__ = (CheckConstraint(one_of("kind", BEGINNINGS), name="kind"),)

    key: Mapped[str] = mapped_column(primary_key=True)
    kind: Mapped[str]
    since: Mapped[datetime] = mapped_column(server_default=func.now())
    seen_at: Mapped[datetime] = mapped_column(server_default=func.now())
    """When it was last seen to hold, to the minute."""
    facts: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'"))


class AlertWatch(Base):
    """One row: when conditions were last checked. Its lock lets one process check at a time."""

    __tablename__ = "alert_watch"
    __table_args__ = (CheckConstraint("id = 1", name="one_row"),)

    id: Mapped[int] = mapped_column(SmallInteger, primary_key=True, autoincrement=False)
    looked_at: Mapped[datetime | None]
