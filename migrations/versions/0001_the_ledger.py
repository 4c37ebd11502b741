"""The ledger: jobs, attempts, dead_letters, audit_log, dispatcher.

Revision: 0001, the first
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables. Nothing is there yet, so nothing can be in the way."""
    op.create_table(
        "dispatcher",
        sa.Column("id", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("leader", sa.Text(), nullable=True),
        sa.Column("lease_until", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.CheckConstraint("id = 1", name=op.f("ck_dispatcher_one_row")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_dispatcher")),
    )
    op.execute("INSERT INTO dispatcher (id) VALUES (1)")
    op.create_table(
        "jobs",
        sa.Column("id", sa.UUID(), nullable=False),
        sa.Column("external_tenant_id", sa.Text(), nullable=False),
        sa.Column("idempotency_key", sa.Text(), nullable=False),
        sa.Column("case_body", sa.Text(), nullable=False),
        sa.Column("creditor_reference", sa.Text(), nullable=True),
        sa.Column("amount", sa.Numeric(precision=20, scale=4), nullable=True),
        sa.Column("currency", sa.Text(), nullable=True),
        sa.Column("state", sa.Text(), server_default="pending", nullable=False),
        sa.Column("priority", sa.SmallInteger(), server_default=sa.text("1"), nullable=False),
        sa.Column("round", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("due_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("attempt_count", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("request_count", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("next_trigger", sa.Text(), server_default="initial", nullable=False),
        sa.Column("submission_key", sa.UUID(), nullable=False),
        sa.Column("outcome_unknown", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("lease_token", sa.UUID(), nullable=True),
        sa.Column("lease_owner", sa.Text(), nullable=True),
        sa.Column("lease_until", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("queued_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("created_at", postgresql.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("finalized_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("case_id", sa.Text(), nullable=True),
        sa.Column("case_reference", sa.Text(), nullable=True),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.CheckConstraint("(state = 'queued') = (queued_at IS NOT NULL)", name=op.f("ck_jobs_queued_at_while_queued")),
        sa.CheckConstraint(
            "(state = 'submitted') = (case_id IS NOT NULL)", name=op.f("ck_jobs_case_id_when_submitted")
        ),
        sa.CheckConstraint(
            "(state = 'submitting') = (lease_token IS NOT NULL) AND (state = 'submitting') = (lease_until IS NOT NULL) AND (state = 'submitting') = (lease_owner IS NOT NULL)",
            name=op.f("ck_jobs_lease_while_submitting"),
        ),
        sa.CheckConstraint("(state = 'waiting') = (due_at IS NOT NULL)", name=op.f("ck_jobs_due_at_while_waiting")),
        sa.CheckConstraint(
            "(state IN ('submitted', 'discarded')) = (finalized_at IS NOT NULL)",
            name=op.f("ck_jobs_finalized_at_when_final"),
        ),
        sa.CheckConstraint(
            "next_trigger IN ('initial', 'retry', 'unauthorized_retry', 'replay')",
            name=op.f("ck_jobs_next_trigger"),
        ),
        sa.CheckConstraint(
            "state IN ('pending', 'waiting', 'queued', 'submitting', 'submitted', 'dead', 'discarded')",
            name=op.f("ck_jobs_state"),
        ),
        sa.CheckConstraint("attempt_count >= 0 AND request_count >= 0", name=op.f("ck_jobs_counts")),
        sa.CheckConstraint("length(external_tenant_id) BETWEEN 1 AND 255", name=op.f("ck_jobs_external_tenant_id")),
        sa.CheckConstraint("length(idempotency_key) BETWEEN 1 AND 255", name=op.f("ck_jobs_idempotency_key")),
        sa.CheckConstraint("priority BETWEEN 0 AND 2", name=op.f("ck_jobs_priority")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_jobs")),
        postgresql_with={
            "fillfactor": 70,
            "autovacuum_vacuum_scale_factor": 0,
            "autovacuum_vacuum_threshold": 5000,
            "autovacuum_analyze_scale_factor": 0,
            "autovacuum_analyze_threshold": 5000,
        },
    )
    op.create_index(
        "ix_jobs_lease_until",
        "jobs",
        ["lease_until"],
        unique=False,
        postgresql_where=sa.text("state = 'submitting'"),
    )
    op.create_index(
        "ix_jobs_pending_created",
        "jobs",
        ["created_at"],
        unique=False,
        postgresql_where=sa.text("state = 'pending'"),
    )
    op.create_index(
        "ix_jobs_pending_tenant",
        "jobs",
        ["external_tenant_id", "priority", "round"],
        unique=False,
        postgresql_where=sa.text("state = 'pending'"),
    )
    op.create_index(
        "ix_jobs_pending_turn",
        "jobs",
        ["priority", "round", "created_at", "id"],
        unique=False,
        postgresql_where=sa.text("state = 'pending'"),
    )
    op.create_index(
        "ix_jobs_queued_at", "jobs", ["queued_at"], unique=False, postgresql_where=sa.text("state = 'queued'")
    )
    op.create_index(
        "ix_jobs_waiting_due", "jobs", ["due_at"], unique=False, postgresql_where=sa.text("state = 'waiting'")
    )
    op.create_index("uq_jobs_tenant_idempotency_key", "jobs", ["external_tenant_id", "idempotency_key"], unique=True)
    op.create_table(
        "attempts",
        sa.Column("job_id", sa.UUID(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("trigger", sa.Text(), nullable=False),
        sa.Column("submission_key", sa.UUID(), nullable=False),
        sa.Column("worker", sa.Text(), nullable=False),
        sa.Column("started_at", postgresql.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("finished_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("token_fingerprint", sa.Text(), nullable=True),
        sa.Column("token_source", sa.Text(), nullable=True),
        sa.Column("http_status", sa.SmallInteger(), nullable=True),
        sa.Column("outcome", sa.Text(), nullable=True),
        sa.Column("error_type", sa.Text(), nullable=True),
        sa.Column("error_message", sa.Text(), nullable=True),
        sa.Column("duration_ms", sa.Integer(), nullable=True),
        sa.CheckConstraint(
            "outcome IS NULL OR outcome IN ('submitted', 'unauthorized', 'refused', 'rate_limited', 'conflict', 'server_error', 'unusable', 'not_sent', 'unknown')",
            name=op.f("ck_attempts_outcome"),
        ),
        sa.CheckConstraint(
            "token_source IS NULL OR token_source IN ('cached', 'minted')",
            name=op.f("ck_attempts_token_source"),
        ),
        sa.CheckConstraint(
            "trigger IN ('initial', 'retry', 'unauthorized_retry', 'replay')",
            name=op.f("ck_attempts_trigger"),
        ),
        sa.CheckConstraint("(outcome IS NULL) = (finished_at IS NULL)", name=op.f("ck_attempts_finished_with_outcome")),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_attempts_job_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("job_id", "number", name=op.f("pk_attempts")),
    )
    op.create_table(
        "audit_log",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("at", postgresql.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("job_id", sa.UUID(), nullable=True),
        sa.Column("detail", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("note", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_log")),
    )
    op.create_index(
        "ix_audit_log_job",
        "audit_log",
        ["job_id"],
        unique=False,
        postgresql_where=sa.text("job_id IS NOT NULL"),
    )
    op.create_table(
        "dead_letters",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("job_id", sa.UUID(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("invalid_client_link", sa.Boolean(), nullable=False),
        sa.Column("detail", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("solution_url", sa.Text(), nullable=True),
        sa.Column("created_at", postgresql.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("resolved_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("resolution", sa.Text(), nullable=True),
        sa.Column("resolved_by", sa.Text(), nullable=True),
        sa.Column("note", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "invalid_client_link = (reason IN ('second_unauthorized', 'client_link_not_found'))",
            name=op.f("ck_dead_letters_invalid_client_link"),
        ),
        sa.CheckConstraint(
            "job_id IS NOT NULL OR reason = 'malformed_message'",
            name=op.f("ck_dead_letters_job_unless_malformed"),
        ),
        sa.CheckConstraint(
            "reason IN ('second_unauthorized', 'client_link_not_found', 'validation', 'business_rule', 'forbidden', 'not_found', 'retries_exhausted', 'outcome_unknown', 'malformed_message', 'unexpected_response')",
            name=op.f("ck_dead_letters_reason"),
        ),
        sa.CheckConstraint(
            "resolution IS NULL OR resolution IN ('replayed', 'discarded')",
            name=op.f("ck_dead_letters_resolution"),
        ),
        sa.CheckConstraint(
            "(resolved_at IS NULL) = (resolution IS NULL) AND (resolved_at IS NULL) = (resolved_by IS NULL)",
            name=op.f("ck_dead_letters_wholly_resolved"),
        ),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_dead_letters_job_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_dead_letters")),
    )
    op.create_index("ix_dead_letters_job", "dead_letters", ["job_id", "created_at"], unique=False)
    op.create_index(
        "ix_dead_letters_open",
        "dead_letters",
        ["reason", "created_at"],
        unique=False,
        postgresql_where=sa.text("resolved_at IS NULL"),
    )
    op.create_index(
        "uq_dead_letters_open_job",
        "dead_letters",
        ["job_id"],
        unique=True,
        postgresql_where=sa.text("resolved_at IS NULL"),
    )


def downgrade() -> None:
    """Drop the tables with everything in them: only for a database that is to be given up."""
    op.drop_index(
        "uq_dead_letters_open_job", table_name="dead_letters", postgresql_where=sa.text("resolved_at IS NULL")
    )
    op.drop_index("ix_dead_letters_open", table_name="dead_letters", postgresql_where=sa.text("resolved_at IS NULL"))
    op.drop_index("ix_dead_letters_job", table_name="dead_letters")
    op.drop_table("dead_letters")
    op.drop_index("ix_audit_log_job", table_name="audit_log", postgresql_where=sa.text("job_id IS NOT NULL"))
    op.drop_table("audit_log")
    op.drop_table("attempts")
    op.drop_index("uq_jobs_tenant_idempotency_key", table_name="jobs")
    op.drop_index("ix_jobs_waiting_due", table_name="jobs", postgresql_where=sa.text("state = 'waiting'"))
    op.drop_index("ix_jobs_queued_at", table_name="jobs", postgresql_where=sa.text("state = 'queued'"))
    op.drop_index("ix_jobs_pending_turn", table_name="jobs", postgresql_where=sa.text("state = 'pending'"))
    op.drop_index("ix_jobs_pending_tenant", table_name="jobs", postgresql_where=sa.text("state = 'pending'"))
    op.drop_index("ix_jobs_pending_created", table_name="jobs", postgresql_where=sa.text("state = 'pending'"))
    op.drop_index("ix_jobs_lease_until", table_name="jobs", postgresql_where=sa.text("state = 'submitting'"))
    op.drop_table("jobs")
    op.drop_table("dispatcher")
