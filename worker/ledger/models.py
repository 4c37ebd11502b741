"""The ledger's tables. The SQL ledger is the truth: everything that must not be lost is here.

The CHECK constraints forbid contradictions (a final job that still has a lease, a dead letter that is half resolved),
so no bug and no hand-written UPDATE can create a row that no process would move. Only `worker.ledger.writer` writes
rows.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from uuid import UUID

from sqlalchemy import (
    DDL,
    BigInteger,
    CheckConstraint,
    ForeignKey,
    Index,
    Numeric,
    SmallInteger,
    event,
    func,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from worker.ledger import base
from worker.ledger.alert_models import Alert, AlertCondition, AlertDelivery, AlertWatch
from worker.ledger.audit_models import AuditEntry, AuditHead, AuditLink
from worker.ledger.base import Base, one_of
from worker.ledger.dead_letter_models import DeadLetter
from worker.ledger.dispatch_models import (
    AcceptedVerdict,
    ApiPace,
    ApiUse,
    CircuitClosing,
    Dispatcher,
    Hold,
    PastHold,
    Restore,
    SchemaSupport,
    ServedRound,
    TenantLink,
)
from worker.ledger.report_models import CaseVersion, FinishedDay, Operation, OperationItem
from worker.ledger.states import (
    AttemptOutcome,
    State,
    TokenSource,
    Trigger,
    WaitReason,
)
from worker.ledger.webhook_models import WebhookCount, WebhookEvent

__all__ = [
    "AcceptedVerdict",
    "Alert",
    "AlertCondition",
    "AlertDelivery",
    "AlertWatch",
    "ApiPace",
    "ApiUse",
    "Attempt",
    "AuditEntry",
    "AuditHead",
    "AuditLink",
    "Base",
    "CaseVersion",
    "CircuitClosing",
    "DeadLetter",
    "Dispatcher",
    "FinishedDay",
    "Hold",
    "Job",
    "Operation",
    "OperationItem",
    "PastHold",
    "Restore",
    "SchemaSupport",
    "ServedRound",
    "TenantLink",
    "WebhookCount",
    "WebhookEvent",
]


class Job(Base):
    """One case to be submitted, once."""

    __tablename__ = "jobs"
    __table_args__ = (
        CheckConstraint(one_of("state", State), name="state"),
        CheckConstraint(one_of("next_trigger", Trigger), name="next_trigger"),
        CheckConstraint(f"wait_reason IS NULL OR {one_of('wait_reason', WaitReason)}", name="wait_reason"),
        CheckConstraint("priority BETWEEN 0 AND 2", name="priority"),
        CheckConstraint("attempt_count >= 0 AND request_count >= 0", name="counts"),
        CheckConstraint("length(external_tenant_id) BETWEEN 1 AND 255", name="external_tenant_id"),
        CheckConstraint("length(idempotency_key) BETWEEN 1 AND 255", name="idempotency_key"),
        CheckConstraint(
            "(state = 'submitting') = (lease_token IS NOT NULL) AND (state = 'submitting') = (lease_until IS NOT NULL)"
            " AND (state = 'submitting') = (lease_owner IS NOT NULL)",
            name="lease_while_submitting",
        ),
        CheckConstraint("(state = 'queued') = (queued_at IS NOT NULL)", name="queued_at_while_queued"),
        CheckConstraint("(state = 'waiting') = (due_at IS NOT NULL)", name="due_at_while_waiting"),
        CheckConstraint(
            "(state IN ('submitted', 'discarded')) = (finalized_at IS NOT NULL)",
            name="finalized_at_when_final",
        ),
        CheckConstraint("(state = 'submitted') = (case_id IS NOT NULL)", name="case_id_when_submitted"),
        CheckConstraint("length(trace_context) <= 100", name="trace_context"),
        CheckConstraint(
            "purged_at IS NULL OR (finalized_at IS NOT NULL AND case_body = '{}')", name="purged_when_final"
        ),
        # A key and its hidden form have the same digest: whichever is stored, also while a purge replaces one with the
        # other, the same key makes one job.
        Index("uq_jobs_key", text("job_key(external_tenant_id, idempotency_key)"), unique=True),
        # One partial index for each query over living rows; none contains final rows.
        Index(
            "ix_jobs_pending_turn",
            "priority",
            "round",
            "created_at",
            "id",
            postgresql_where=text("state = 'pending'"),
        ),
        Index(
            "ix_jobs_pending_tenant",
            "external_tenant_id",
            "priority",
            "round",
            postgresql_where=text("state = 'pending'"),
        ),
        Index(
            "ix_jobs_held_tenant",
            "external_tenant_id",
            "priority",
            "round",
            "created_at",
            "id",
            postgresql_where=text("state = 'held'"),
        ),
        Index("ix_jobs_waiting_due", "due_at", postgresql_where=text("state = 'waiting'")),
        Index("ix_jobs_queued_at", "queued_at", postgresql_where=text("state = 'queued'")),
        Index("ix_jobs_lease_until", "lease_until", postgresql_where=text("state = 'submitting'")),
        Index(
            "ix_jobs_pending_since",
            "pending_since",
            # The second condition is always true; migration 0004 explains it.
            postgresql_where=text("state = 'pending' AND pending_since > '-infinity'"),
        ),
        # The report reads all dead jobs from this index alone, in the order in which it reads their dead letters.
        # All its columns are short: a row too long for an index could not be marked dead.
        Index(
            "ix_jobs_dead",
            "id",
            postgresql_include=["external_tenant_id", "amount", "currency", "outcome_unknown"],
            postgresql_where=text("state = 'dead'"),
        ),
        Index("ix_jobs_dead_tenant", "external_tenant_id", "id", postgresql_where=text("state = 'dead'")),
        Index("ix_jobs_dead_reference", text("left(creditor_reference, 50)"), postgresql_where=text("state = 'dead'")),
        # Find any job, in any state, by what is printed on an invoice.
        Index(
            "ix_jobs_reference",
            text("left(creditor_reference, 50)"),
            postgresql_where=text("creditor_reference IS NOT NULL"),
        ),
        # The dead jobs whose case may exist at Debitura (`worker.policy.replay_plan`).
        Index(
            "ix_jobs_dead_may_exist",
            "id",
            postgresql_where=text("state = 'dead' AND (outcome_unknown OR look_up_first)"),
        ),
        # Two that do contain final rows: for what was done today, and for a tenant's last good submission.
        Index("ix_jobs_finalized", "state", "finalized_at", postgresql_where=text("finalized_at IS NOT NULL")),
        Index(
            "ix_jobs_submitted_tenant",
            "external_tenant_id",
            "finalized_at",
            postgresql_where=text("state = 'submitted'"),
        ),
        # What a purge still has to look at.
        Index(
            "ix_jobs_unpurged",
            "finalized_at",
            postgresql_where=text("finalized_at IS NOT NULL AND purged_at IS NULL"),
        ),
        {
            # Rows change state about four times: leave room for the new versions, and vacuum by rows, not by share,
            # so that millions of final rows don't delay the removal of the living ones' dead versions.
            "postgresql_with": {
                "fillfactor": 70,
                "autovacuum_vacuum_scale_factor": 0,
                "autovacuum_vacuum_threshold": 5000,
                "autovacuum_analyze_scale_factor": 0,
                "autovacuum_analyze_threshold": 5000,
            }
        },
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    external_tenant_id: Mapped[str]
    idempotency_key: Mapped[str]
    case_body: Mapped[str]
    """The JSON text, fixed once at intake: every request sends exactly these bytes (as UTF-8). With
    CASE_ENCRYPTION_KEYS it is encrypted (`worker.case.encryption`); `{}` once it is purged."""
    creditor_reference: Mapped[str | None]
    amount: Mapped[Decimal | None] = mapped_column(Numeric(20, 4))
    currency: Mapped[str | None]
    state: Mapped[str] = mapped_column(server_default=State.PENDING)
    priority: Mapped[int] = mapped_column(SmallInteger, server_default=text("1"))
    round: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    due_at: Mapped[datetime | None]
    attempt_count: Mapped[int] = mapped_column(server_default=text("0"))
    """Attempts that count towards the limit, since the first enqueue or the last replay."""
    request_count: Mapped[int] = mapped_column(server_default=text("0"))
    """The number of the newest row in `attempts`; it is never reset."""
    uncounted_requests: Mapped[int] = mapped_column(server_default=text("0"))
    """Requests since the enqueue or the last replay that did not count as attempts (409, 429)."""
    worker_lost: Mapped[bool] = mapped_column(server_default=text("false"))
    """Its last worker did not report back; the job may have killed it."""
    failing_since: Mapped[datetime | None]
    """When it first met an API's own fault since the enqueue or the last replay; a rate limit does not reset it."""
    next_trigger: Mapped[str] = mapped_column(server_default=Trigger.INITIAL)
    submission_key: Mapped[UUID]
    """The Idempotency-Key now in use (developer-concepts/idempotency)."""
    outcome_unknown: Mapped[bool] = mapped_column(server_default=text("false"))
    """A request under this submission key may have arrived, and no later answer has settled its outcome."""
    lease_token: Mapped[UUID | None]
    lease_owner: Mapped[str | None]
    lease_until: Mapped[datetime | None]
    queued_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    pending_since: Mapped[datetime] = mapped_column(server_default=func.now())
    """When it was enqueued or last replayed; its waiting time counts from here."""
    finalized_at: Mapped[datetime | None]
    case_id: Mapped[str | None]
    case_reference: Mapped[str | None]
    last_error: Mapped[str | None]
    purged_at: Mapped[datetime | None]
    """When its case was removed; the job, its attempts and dates are kept."""
    trace_context: Mapped[str | None]
    """The W3C traceparent of the enqueuing caller: every attempt, however late, joins that trace."""
    look_up_first: Mapped[bool] = mapped_column(server_default=text("false"))
    """The ledger was restored from a backup, and this case may have been submitted in the lost hours: send nothing
    before a look-up by creditorReference has found nothing."""
    link_trial: Mapped[bool] = mapped_column(server_default=text("false"))
    """It may go out although its tenant's client link was found invalid: a replay, or a probe of the link."""
    withdrawals: Mapped[int] = mapped_column(SmallInteger, server_default=text("0"))
    """How often the brake took back its dead letter."""
    wait_reason: Mapped[str | None]
    """Why it waits; None unless it is `waiting`, or if an older worker made it wait."""


event.listen(Job.__table__, "before_create", DDL(base.JOB_KEY))  # type: ignore[no-untyped-call]  # SQLAlchemy's own gap


class Attempt(Base):
    """One POST /cases. Written just before the request leaves, so that a crash leaves evidence."""

    __tablename__ = "attempts"
    __table_args__ = (
        CheckConstraint(one_of("trigger", Trigger), name="trigger"),
        CheckConstraint(f"token_source IS NULL OR {one_of('token_source', TokenSource)}", name="token_source"),
        CheckConstraint(f"outcome IS NULL OR {one_of('outcome', AttemptOutcome)}", name="outcome"),
        CheckConstraint("(outcome IS NULL) = (finished_at IS NULL)", name="finished_with_outcome"),
        # Used only when an API has faults: how many different jobs have failed lately?
        Index(
            "ix_attempts_trouble",
            "finished_at",
            "job_id",
            postgresql_where=text("outcome IN ('server_error', 'unknown', 'not_sent')"),
        ),
    )

    job_id: Mapped[UUID] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    trigger: Mapped[str]
    submission_key: Mapped[UUID]
    worker: Mapped[str]
    started_at: Mapped[datetime] = mapped_column(server_default=func.now())
    finished_at: Mapped[datetime | None]
    token_fingerprint: Mapped[str | None]
    token_source: Mapped[str | None]
    http_status: Mapped[int | None] = mapped_column(SmallInteger)
    outcome: Mapped[str | None]
    error_type: Mapped[str | None]
    error_message: Mapped[str | None]
    duration_ms: Mapped[int | None]
    """From the request's start to the judged answer, in milliseconds."""
