"""The table of dead letters: what needed a person."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, Computed, ForeignKey, Identity, Index, SmallInteger, func, text
from sqlalchemy.dialects.postgresql import TSVECTOR
from sqlalchemy.orm import Mapped, mapped_column

from worker.ledger import fingerprint
from worker.ledger.base import Base, one_of
from worker.ledger.states import INVALID_LINK_REASONS, Reason, Resolution


class DeadLetter(Base):
    """One time that a job needed a person. A job that dies again gets another row."""

    __tablename__ = "dead_letters"
    __table_args__ = (
        CheckConstraint(one_of("reason", Reason), name="reason"),
        CheckConstraint(
            f"invalid_client_link = ({one_of('reason', INVALID_LINK_REASONS)})", name="invalid_client_link"
        ),
        CheckConstraint(f"resolution IS NULL OR {one_of('resolution', Resolution)}", name="resolution"),
        CheckConstraint(
            "(resolved_at IS NULL) = (resolution IS NULL) AND (resolved_at IS NULL) = (resolved_by IS NULL)",
            name="wholly_resolved",
        ),
        CheckConstraint("job_id IS NOT NULL OR reason = 'malformed_message'", name="job_unless_malformed"),
        Index("uq_dead_letters_open_job", "job_id", unique=True, postgresql_where=text("resolved_at IS NULL")),
        Index("ix_dead_letters_open", "reason", "created_at", postgresql_where=text("resolved_at IS NULL")),
        Index("ix_dead_letters_job", "job_id", "created_at"),
        # The report groups and filters all open failures from this index alone.
        Index(
            "ix_dead_letters_open_facts",
            "job_id",
            postgresql_include=[
                "id",
                "cause",
                "solution",
                "created_at",
                "reason",
                "invalid_client_link",
                "error_type",
                "http_status",
            ],
            postgresql_where=text("resolved_at IS NULL"),
        ),
        Index("ix_dead_letters_open_id", "id", postgresql_where=text("resolved_at IS NULL")),
        Index("ix_dead_letters_open_cause", "cause", "id", postgresql_where=text("resolved_at IS NULL")),
        Index(
            "ix_dead_letters_open_words",
            "words",
            postgresql_using="gin",
            postgresql_where=text("resolved_at IS NULL"),
        ),
        {
            # An index-only scan is fast only after vacuum: vacuum by rows, not by share, as for jobs.
            "postgresql_with": {
                "autovacuum_vacuum_scale_factor": 0,
                "autovacuum_vacuum_threshold": 5000,
                "autovacuum_vacuum_insert_scale_factor": 0,
                "autovacuum_vacuum_insert_threshold": 5000,
            }
        },
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    job_id: Mapped[UUID | None] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"))
    reason: Mapped[str]
    invalid_client_link: Mapped[bool]
    detail: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'"))
    """What the API said: status, type, message, fields, businessErrors, combinedSigningUrl; or the raw message."""
    solution_url: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    resolved_at: Mapped[datetime | None]
    resolution: Mapped[str | None]
    resolved_by: Mapped[str | None]
    note: Mapped[str | None]
    cause: Mapped[UUID] = mapped_column(Computed(fingerprint.CAUSE, persisted=True))
    """Equal for failures with the same reason, error type and message, except for numbers, ids and quoted values."""
    error_type: Mapped[str | None] = mapped_column(Computed(fingerprint.ERROR_TYPE, persisted=True))
    http_status: Mapped[int | None] = mapped_column(SmallInteger, Computed(fingerprint.HTTP_STATUS, persisted=True))
    solution: Mapped[UUID | None] = mapped_column(Computed(fingerprint.SOLUTION, persisted=True))
    words: Mapped[str | None] = mapped_column(TSVECTOR, Computed(fingerprint.WORDS, persisted=True))
