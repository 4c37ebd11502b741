"""The ledger: every table, index, function and trigger, and the rows of which there is always one.

Revision: 0001
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None
#: The oldest code that works with this schema.
oldest_code = "0001"

# A tenant's idempotency key and its hidden form have the same digest (see `worker.case.protection.key_digest`), and a
# unique index on it lets only one of them in. Backslashes are doubled: the cast reads bytea's escape format.
JOB_KEY = r"""
CREATE FUNCTION job_key(tenant text, key text) RETURNS bytea LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN key ~ '^hidden[:]sha256[:][0-9a-f]{64}$' THEN decode(right(key, 64), 'hex')
           ELSE sha256(CAST(replace(CAST(length(tenant) AS text) || ':' || tenant || key, '\', '\\') AS bytea)) END
$$
"""
# The text that `worker.ledger.queries.audit` builds again to check it.
AUDIT_TEXT = """
CREATE FUNCTION audit_text(entry audit_log) RETURNS text LANGUAGE sql STABLE AS $$
    SELECT CAST(jsonb_build_array(entry.id, CAST(extract(epoch FROM entry.at) * 1000000 AS bigint), entry.actor,
                                  entry.action, entry.job_id, entry.detail, entry.note) AS text)
$$
"""
# Runs at commit, in turn: whoever commits waits for the one before, who holds the head until its commit is done. The
# head is the last lock that a transaction takes, so nobody can wait for somebody who waits for it.
AUDIT_CHAIN = """
CREATE FUNCTION audit_chain_entry() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    made record;
BEGIN
    UPDATE audit_head SET entries = entries + 1, hash = sha256(hash || convert_to(audit_text(NEW), 'UTF8'))
    WHERE id = 1 RETURNING entries, hash INTO STRICT made;
    INSERT INTO audit_chain (position, entry_id, hash) VALUES (made.entries, NEW.id, made.hash);
    RETURN NULL;
END
$$
"""
AUDIT_REFUSE = """
CREATE FUNCTION audit_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION USING MESSAGE = TG_TABLE_NAME || ' is append-only: ' || TG_OP || ' is refused',
        ERRCODE = 'insufficient_privilege';
END
$$
"""
AUDIT_TRIGGERS = (
    "CREATE CONSTRAINT TRIGGER audit_log_chained AFTER INSERT ON audit_log DEFERRABLE INITIALLY DEFERRED"
    " FOR EACH ROW EXECUTE FUNCTION audit_chain_entry()",
    "CREATE TRIGGER audit_log_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_log"
    " FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse()",
    "CREATE TRIGGER audit_chain_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_chain"
    " FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse()",
    "CREATE TRIGGER audit_chain_by_trigger BEFORE INSERT ON audit_chain"
    " FOR EACH STATEMENT WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION audit_refuse()",
    "CREATE TRIGGER audit_head_by_trigger BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON audit_head"
    " FOR EACH STATEMENT WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION audit_refuse()",
)
#: The head of a chain without an entry.
AUDIT_HEAD = "INSERT INTO audit_head (id, entries, hash) VALUES (1, 0, decode(repeat('00', 32), 'hex'))"

#: In the order in which they can be dropped.
TABLES = (
    "operation_items",
    "dead_letters",
    "case_versions",
    "attempts",
    "alert_deliveries",
    "webhook_events",
    "webhook_counts",
    "tenant_links",
    "accepted_verdicts",
    "served_rounds",
    "schema_support",
    "restores",
    "past_holds",
    "pace",
    "operations",
    "jobs",
    "holds",
    "finished_days",
    "dispatcher",
    "circuit_closings",
    "audit_log",
    "audit_head",
    "audit_chain",
    "api_use",
    "alerts",
    "alert_watch",
    "alert_conditions",
)


def upgrade() -> None:
    """Make the schema."""
    connection = op.get_bind()
    # Its colons are no bound parameters.
    connection.exec_driver_sql(JOB_KEY)
    op.create_table(
        "alert_conditions",
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("since", postgresql.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("seen_at", postgresql.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("facts", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.CheckConstraint(
            "kind IN ('new_failure_group', 'invalid_link', 'partner_key_refused', 'circuit_opened', 'oldest_pending_over')",
            name=op.f("ck_alert_conditions_kind"),
        ),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_alert_conditions")),
    )
    op.create_table(
        "alert_watch",
        sa.Column("id", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("looked_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.CheckConstraint("id = 1", name=op.f("ck_alert_watch_one_row")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_alert_watch")),
    )
    op.create_table(
        "alerts",
        sa.Column("id", sa.UUID(), nullable=False),
        sa.Column("dedup_key", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("facts", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("created_at", postgresql.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "kind IN ('new_failure_group', 'invalid_link', 'partner_key_refused', 'partner_key_accepted', 'circuit_opened', 'circuit_closed', 'oldest_pending_over', 'oldest_pending_recovered')",
            name=op.f("ck_alerts_kind"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_alerts")),
    )
    op.create_index("ix_alerts_created", "alerts", ["kind", "created_at"], unique=False)
    op.create_index("uq_alerts_dedup_key", "alerts", ["dedup_key"], unique=True)
    op.create_table(
        "api_use",
        sa.Column("api", sa.Text(), nullable=False),
        sa.Column("since", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("requests", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("answers", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("failures", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.CheckConstraint("api IN ('customer', 'referral')", name=op.f("ck_api_use_api")),
        sa.PrimaryKeyConstraint("api", "since", name=op.f("pk_api_use")),
    )
    op.create_table(
        "audit_chain",
        sa.Column("position", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("entry_id", sa.BigInteger(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("position", name=op.f("pk_audit_chain")),
    )
    op.create_index("uq_audit_chain_entry", "audit_chain", ["entry_id"], unique=True)
    op.create_table(
        "audit_head",
        sa.Column("id", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("entries", sa.BigInteger(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.CheckConstraint("id = 1", name=op.f("ck_audit_head_one_row")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_head")),
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
    op.create_index("ix_audit_log_action", "audit_log", ["action", "at", "id"], unique=False)
    op.create_index(
        "ix_audit_log_actor", "audit_log", [sa.literal_column("left(actor, 100)"), "at", "id"], unique=False
    )
    op.create_index("ix_audit_log_at", "audit_log", ["at", "id"], unique=False)
    op.create_index(
        "ix_audit_log_job", "audit_log", ["job_id"], unique=False, postgresql_where=sa.text("job_id IS NOT NULL")
    )
    op.create_table(
        "circuit_closings",
        sa.Column("circuit", sa.Text(), nullable=False),
        sa.Column("closed_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("circuit", name=op.f("pk_circuit_closings")),
    )
    op.create_table(
        "dispatcher",
        sa.Column("id", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("leader", sa.Text(), nullable=True),
        sa.Column("lease_until", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("purged_on", sa.Date(), nullable=True),
        sa.Column("unpublished_since", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.CheckConstraint("id = 1", name=op.f("ck_dispatcher_one_row")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_dispatcher")),
    )
    op.create_table(
        "finished_days",
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("jobs", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("state IN ('submitted', 'discarded')", name=op.f("ck_finished_days_state")),
        sa.PrimaryKeyConstraint("day", "state", name=op.f("pk_finished_days")),
    )
    op.create_table(
        "accepted_verdicts",
        sa.Column("verdict", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("accepted_until", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("accepted_by", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("verdict", name=op.f("pk_accepted_verdicts")),
    )
    op.create_table(
        "tenant_links",
        sa.Column("external_tenant_id", sa.Text(), nullable=False),
        sa.Column("good", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("since", postgresql.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("probe_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("probe_pause", sa.Float(), nullable=False),
        sa.Column("probe_job", sa.UUID(), nullable=True),
        sa.PrimaryKeyConstraint("external_tenant_id", name=op.f("pk_tenant_links")),
    )
    op.create_index("ix_tenant_links_probe_at", "tenant_links", ["probe_at"], unique=False)
    op.create_table(
        "holds",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("since", postgresql.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("until", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("probe_job", sa.UUID(), nullable=True),
        sa.Column("probes", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("probe_tenant", sa.Text(), nullable=True),
        sa.Column("verdict", sa.Text(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_holds")),
    )
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
        sa.Column("uncounted_requests", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("worker_lost", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("failing_since", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("next_trigger", sa.Text(), server_default="initial", nullable=False),
        sa.Column("submission_key", sa.UUID(), nullable=False),
        sa.Column("outcome_unknown", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("lease_token", sa.UUID(), nullable=True),
        sa.Column("lease_owner", sa.Text(), nullable=True),
        sa.Column("lease_until", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("queued_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("created_at", postgresql.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column(
            "pending_since", postgresql.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
        sa.Column("finalized_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("case_id", sa.Text(), nullable=True),
        sa.Column("case_reference", sa.Text(), nullable=True),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.Column("purged_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("trace_context", sa.Text(), nullable=True),
        sa.Column("look_up_first", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("link_trial", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("withdrawals", sa.SmallInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("wait_reason", sa.Text(), nullable=True),
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
            "next_trigger IN ('initial', 'retry', 'unauthorized_retry', 'replay')", name=op.f("ck_jobs_next_trigger")
        ),
        sa.CheckConstraint(
            "purged_at IS NULL OR (finalized_at IS NOT NULL AND case_body = '{}')",
            name=op.f("ck_jobs_purged_when_final"),
        ),
        sa.CheckConstraint(
            "state IN ('pending', 'waiting', 'queued', 'submitting', 'held', 'submitted', 'dead', 'discarded')",
            name=op.f("ck_jobs_state"),
        ),
        sa.CheckConstraint(
            "wait_reason IS NULL OR wait_reason IN ('backoff', 'rate_limit', 'conflict', 'api_fault', 'no_token', 'look_up_failed', 'key_missing', 'case_altered', 'worker_lost', 'internal_error', 'stopped')",
            name=op.f("ck_jobs_wait_reason"),
        ),
        sa.CheckConstraint("attempt_count >= 0 AND request_count >= 0", name=op.f("ck_jobs_counts")),
        sa.CheckConstraint("length(external_tenant_id) BETWEEN 1 AND 255", name=op.f("ck_jobs_external_tenant_id")),
        sa.CheckConstraint("length(idempotency_key) BETWEEN 1 AND 255", name=op.f("ck_jobs_idempotency_key")),
        sa.CheckConstraint("length(trace_context) <= 100", name=op.f("ck_jobs_trace_context")),
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
        "ix_jobs_dead",
        "jobs",
        ["id"],
        unique=False,
        postgresql_include=["external_tenant_id", "amount", "currency", "outcome_unknown"],
        postgresql_where=sa.text("state = 'dead'"),
    )
    op.create_index(
        "ix_jobs_dead_may_exist",
        "jobs",
        ["id"],
        unique=False,
        postgresql_where=sa.text("state = 'dead' AND (outcome_unknown OR look_up_first)"),
    )
    op.create_index(
        "ix_jobs_dead_reference",
        "jobs",
        [sa.literal_column("left(creditor_reference, 50)")],
        unique=False,
        postgresql_where=sa.text("state = 'dead'"),
    )
    op.create_index(
        "ix_jobs_dead_tenant",
        "jobs",
        ["external_tenant_id", "id"],
        unique=False,
        postgresql_where=sa.text("state = 'dead'"),
    )
    op.create_index(
        "ix_jobs_finalized",
        "jobs",
        ["state", "finalized_at"],
        unique=False,
        postgresql_where=sa.text("finalized_at IS NOT NULL"),
    )
    op.create_index(
        "ix_jobs_held_tenant",
        "jobs",
        ["external_tenant_id", "priority", "round", "created_at", "id"],
        unique=False,
        postgresql_where=sa.text("state = 'held'"),
    )
    op.create_index(
        "ix_jobs_lease_until", "jobs", ["lease_until"], unique=False, postgresql_where=sa.text("state = 'submitting'")
    )
    op.create_index(
        "ix_jobs_pending_since",
        "jobs",
        ["pending_since"],
        unique=False,
        postgresql_where=sa.text("state = 'pending' AND pending_since > '-infinity'"),
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
        "ix_jobs_reference",
        "jobs",
        [sa.literal_column("left(creditor_reference, 50)")],
        unique=False,
        postgresql_where=sa.text("creditor_reference IS NOT NULL"),
    )
    op.create_index(
        "ix_jobs_submitted_tenant",
        "jobs",
        ["external_tenant_id", "finalized_at"],
        unique=False,
        postgresql_where=sa.text("state = 'submitted'"),
    )
    op.create_index(
        "ix_jobs_unpurged",
        "jobs",
        ["finalized_at"],
        unique=False,
        postgresql_where=sa.text("finalized_at IS NOT NULL AND purged_at IS NULL"),
    )
    op.create_index(
        "ix_jobs_waiting_due", "jobs", ["due_at"], unique=False, postgresql_where=sa.text("state = 'waiting'")
    )
    op.create_index(
        "uq_jobs_key", "jobs", [sa.literal_column("job_key(external_tenant_id, idempotency_key)")], unique=True
    )
    op.create_table(
        "operations",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("verb", sa.Text(), nullable=False),
        sa.Column("canary", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("state", sa.Text(), server_default="running", nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("note", sa.Text(), nullable=True),
        sa.Column("door", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("filter", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("newest", sa.BigInteger(), nullable=False),
        sa.Column("jobs", sa.Integer(), nullable=False),
        sa.Column("messages", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("tenants", sa.Integer(), nullable=False),
        sa.Column("amounts", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("cursor", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("done", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("skipped", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("stage", sa.SmallInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("lease_token", sa.UUID(), nullable=True),
        sa.Column("lease_until", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("created_at", postgresql.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("finished_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("cancelled_by", sa.Text(), nullable=True),
        sa.Column("cancelled_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("message", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "(state = 'running') = (finished_at IS NULL)", name=op.f("ck_operations_finished_unless_running")
        ),
        sa.CheckConstraint("state = 'running' OR lease_token IS NULL", name=op.f("ck_operations_lease_while_running")),
        sa.CheckConstraint("state IN ('running', 'done', 'stopped', 'cancelled')", name=op.f("ck_operations_state")),
        sa.CheckConstraint(
            "verb <> 'discard' OR (note IS NOT NULL AND note <> '')", name=op.f("ck_operations_discard_has_a_note")
        ),
        sa.CheckConstraint("verb = 'replay' OR NOT canary", name=op.f("ck_operations_canary_replays")),
        sa.CheckConstraint("verb IN ('replay', 'discard')", name=op.f("ck_operations_verb")),
        sa.CheckConstraint(
            "(cancelled_by IS NULL) = (cancelled_at IS NULL)", name=op.f("ck_operations_wholly_cancelled")
        ),
        sa.CheckConstraint("(lease_token IS NULL) = (lease_until IS NULL)", name=op.f("ck_operations_whole_lease")),
        sa.CheckConstraint(
            "jobs >= 0 AND messages >= 0 AND done >= 0 AND skipped >= 0 AND stage >= 0",
            name=op.f("ck_operations_counts"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_operations")),
    )
    op.create_index(
        "ix_operations_running",
        "operations",
        ["lease_until"],
        unique=False,
        postgresql_where=sa.text("state = 'running'"),
    )
    op.create_table(
        "pace",
        sa.Column("api", sa.Text(), nullable=False),
        sa.Column("next_at", postgresql.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("api IN ('customer', 'referral')", name=op.f("ck_pace_api")),
        sa.PrimaryKeyConstraint("api", name=op.f("pk_pace")),
    )
    op.create_table(
        "past_holds",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("since", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("ended_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("verdict", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("name", "since", name=op.f("pk_past_holds")),
    )
    op.create_index("ix_past_holds_ended_at", "past_holds", ["ended_at"], unique=False)
    op.create_table(
        "restores",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("at", postgresql.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("restored_to", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("look_up_until", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_restores")),
    )
    op.create_table(
        "schema_support",
        sa.Column("id", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("oldest_code", sa.Text(), nullable=False),
        sa.CheckConstraint("id = 1", name=op.f("ck_schema_support_one_row")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_schema_support")),
    )
    op.create_table(
        "served_rounds",
        sa.Column("priority", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("round", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.CheckConstraint("priority BETWEEN 0 AND 2", name=op.f("ck_served_rounds_priority")),
        sa.PrimaryKeyConstraint("priority", name=op.f("pk_served_rounds")),
    )
    op.create_table(
        "webhook_counts",
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("event", sa.Text(), nullable=False),
        sa.Column("received", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("received >= 0", name=op.f("ck_webhook_counts_received")),
        sa.PrimaryKeyConstraint("day", "event", name=op.f("pk_webhook_counts")),
    )
    op.create_table(
        "webhook_events",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("event", sa.Text(), nullable=False),
        sa.Column("external_tenant_id", sa.Text(), nullable=True),
        sa.Column("received_at", postgresql.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("worked_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("outcome", sa.Text(), nullable=True),
        sa.Column("operations", postgresql.ARRAY(sa.BigInteger()), server_default=sa.text("'{}'"), nullable=False),
        sa.CheckConstraint(
            "outcome IS NULL OR outcome IN ('replayed', 'nothing_to_replay', 'no_tenant')",
            name=op.f("ck_webhook_events_outcome"),
        ),
        sa.CheckConstraint(
            "(worked_at IS NULL) = (outcome IS NULL)", name=op.f("ck_webhook_events_worked_with_outcome")
        ),
        sa.CheckConstraint("length(id) BETWEEN 1 AND 255", name=op.f("ck_webhook_events_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhook_events")),
    )
    op.create_index(
        "ix_webhook_events_unworked",
        "webhook_events",
        ["received_at"],
        unique=False,
        postgresql_where=sa.text("worked_at IS NULL"),
    )
    op.create_index(
        "ix_webhook_events_worked",
        "webhook_events",
        ["worked_at"],
        unique=False,
        postgresql_where=sa.text("worked_at IS NOT NULL"),
    )
    op.create_table(
        "alert_deliveries",
        sa.Column("alert_id", sa.UUID(), nullable=False),
        sa.Column("target", sa.Text(), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), server_default="pending", nullable=False),
        sa.Column("attempts", sa.SmallInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("due_at", postgresql.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.Column("finished_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.CheckConstraint(
            "(state = 'pending') = (finished_at IS NULL)", name=op.f("ck_alert_deliveries_finished_unless_pending")
        ),
        sa.CheckConstraint("state IN ('pending', 'delivered', 'given_up')", name=op.f("ck_alert_deliveries_state")),
        sa.CheckConstraint("attempts >= 0", name=op.f("ck_alert_deliveries_attempts")),
        sa.ForeignKeyConstraint(
            ["alert_id"], ["alerts.id"], name=op.f("fk_alert_deliveries_alert_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("alert_id", "target", name=op.f("pk_alert_deliveries")),
    )
    op.create_index(
        "ix_alert_deliveries_due",
        "alert_deliveries",
        ["target", "due_at"],
        unique=False,
        postgresql_where=sa.text("state = 'pending'"),
    )
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
            "token_source IS NULL OR token_source IN ('cached', 'minted')", name=op.f("ck_attempts_token_source")
        ),
        sa.CheckConstraint(
            "trigger IN ('initial', 'retry', 'unauthorized_retry', 'replay')", name=op.f("ck_attempts_trigger")
        ),
        sa.CheckConstraint("(outcome IS NULL) = (finished_at IS NULL)", name=op.f("ck_attempts_finished_with_outcome")),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_attempts_job_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("job_id", "number", name=op.f("pk_attempts")),
    )
    op.create_index(
        "ix_attempts_trouble",
        "attempts",
        ["finished_at", "job_id"],
        unique=False,
        postgresql_where=sa.text("outcome IN ('server_error', 'unknown', 'not_sent')"),
    )
    op.create_table(
        "case_versions",
        sa.Column("job_id", sa.UUID(), nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("case_body", sa.Text(), nullable=False),
        sa.Column("created_at", postgresql.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("edited_by", sa.Text(), nullable=True),
        sa.Column("note", sa.Text(), nullable=True),
        sa.CheckConstraint("(number = 1) = (edited_by IS NULL)", name=op.f("ck_case_versions_first_is_the_senders")),
        sa.CheckConstraint("number >= 1", name=op.f("ck_case_versions_number")),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_case_versions_job_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("job_id", "number", name=op.f("pk_case_versions")),
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
        sa.Column(
            "cause",
            sa.UUID(),
            sa.Computed(
                "CAST(md5(reason || '|' || COALESCE(left(detail ->> 'type', 100), '') || '|' || regexp_replace(regexp_replace(regexp_replace(regexp_replace(regexp_replace(regexp_replace(left(COALESCE(detail ->> 'message', ''), 500), '\\s+', ' ', 'g'), '\"[^\"]*\"|`[^`]*`|(?<!\\w)''[^'']*''(?!\\w)', '#', 'g'), '[\\u201c\\u201e][^\\u201c\\u201d]*[\\u201c\\u201d]|\\u00ab[^\\u00bb]*\\u00bb|(?<!\\w)\\u2018[^\\u2019]*\\u2019(?!\\w)', '#', 'g'), '[^\\s@]+@[^\\s@]+', '#', 'g'), '(?<![\\w./+-])(?![A-Za-z][A-Za-z_.]*(\\d[A-Za-z_.]*){1,2}(?![\\w./+-]))[\\w./+-]*\\d[\\w./+-]*', '#', 'g'), '#([ .,:;]+#)+', '#', 'g')) AS uuid)",
                persisted=True,
            ),
            nullable=False,
        ),
        sa.Column("error_type", sa.Text(), sa.Computed("left(detail ->> 'type', 100)", persisted=True), nullable=True),
        sa.Column(
            "http_status",
            sa.SmallInteger(),
            sa.Computed(
                "CASE WHEN detail ->> 'status' ~ '^[1-9]\\d\\d$' THEN CAST(detail ->> 'status' AS smallint) END",
                persisted=True,
            ),
            nullable=True,
        ),
        sa.Column("solution", sa.UUID(), sa.Computed("CAST(md5(solution_url) AS uuid)", persisted=True), nullable=True),
        sa.Column(
            "words",
            postgresql.TSVECTOR(),
            sa.Computed(
                "to_tsvector('simple', regexp_replace(left(detail ->> 'message', 4000), '[\\s!-/:-@\\[-`{-~\\u00ab\\u00bb\\u2010-\\u201f\\u2026]+', ' ', 'g'))",
                persisted=True,
            ),
            nullable=True,
        ),
        sa.CheckConstraint(
            "invalid_client_link = (reason IN ('second_unauthorized', 'client_link_not_found'))",
            name=op.f("ck_dead_letters_invalid_client_link"),
        ),
        sa.CheckConstraint(
            "job_id IS NOT NULL OR reason = 'malformed_message'", name=op.f("ck_dead_letters_job_unless_malformed")
        ),
        sa.CheckConstraint(
            "reason IN ('second_unauthorized', 'client_link_not_found', 'validation', 'business_rule', 'forbidden', 'not_found', 'retries_exhausted', 'outcome_unknown', 'malformed_message', 'unexpected_response')",
            name=op.f("ck_dead_letters_reason"),
        ),
        sa.CheckConstraint(
            "resolution IS NULL OR resolution IN ('replayed', 'discarded', 'withdrawn')",
            name=op.f("ck_dead_letters_resolution"),
        ),
        sa.CheckConstraint(
            "(resolved_at IS NULL) = (resolution IS NULL) AND (resolved_at IS NULL) = (resolved_by IS NULL)",
            name=op.f("ck_dead_letters_wholly_resolved"),
        ),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_dead_letters_job_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_dead_letters")),
        postgresql_with={
            "autovacuum_vacuum_scale_factor": 0,
            "autovacuum_vacuum_threshold": 5000,
            "autovacuum_vacuum_insert_scale_factor": 0,
            "autovacuum_vacuum_insert_threshold": 5000,
        },
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
        "ix_dead_letters_open_cause",
        "dead_letters",
        ["cause", "id"],
        unique=False,
        postgresql_where=sa.text("resolved_at IS NULL"),
    )
    op.create_index(
        "ix_dead_letters_open_facts",
        "dead_letters",
        ["job_id"],
        unique=False,
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
        postgresql_where=sa.text("resolved_at IS NULL"),
    )
    op.create_index(
        "ix_dead_letters_open_id", "dead_letters", ["id"], unique=False, postgresql_where=sa.text("resolved_at IS NULL")
    )
    op.create_index(
        "ix_dead_letters_open_words",
        "dead_letters",
        ["words"],
        unique=False,
        postgresql_using="gin",
        postgresql_where=sa.text("resolved_at IS NULL"),
    )
    op.create_index(
        "uq_dead_letters_open_job",
        "dead_letters",
        ["job_id"],
        unique=True,
        postgresql_where=sa.text("resolved_at IS NULL"),
    )
    op.create_table(
        "operation_items",
        sa.Column("operation_id", sa.BigInteger(), nullable=False),
        sa.Column("dead_letter_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("job_id", sa.UUID(), nullable=True),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("why", sa.Text(), nullable=True),
        sa.Column("stage", sa.SmallInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("at", postgresql.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("(outcome = 'skipped') = (why IS NOT NULL)", name=op.f("ck_operation_items_why_skipped")),
        sa.CheckConstraint("outcome IN ('replayed', 'discarded', 'skipped')", name=op.f("ck_operation_items_outcome")),
        sa.ForeignKeyConstraint(
            ["operation_id"], ["operations.id"], name=op.f("fk_operation_items_operation_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("operation_id", "dead_letter_id", name=op.f("pk_operation_items")),
    )
    for statement in (AUDIT_TEXT, AUDIT_CHAIN, AUDIT_REFUSE, AUDIT_HEAD, *AUDIT_TRIGGERS):
        connection.exec_driver_sql(statement)
    op.execute("INSERT INTO dispatcher (id) VALUES (1)")
    op.execute("INSERT INTO pace (api) VALUES ('customer'), ('referral')")
    op.execute("INSERT INTO alert_watch (id) VALUES (1)")
    op.execute("INSERT INTO served_rounds (priority) VALUES (0), (1), (2)")


def downgrade() -> None:
    """Drop everything, with all jobs and their history."""
    # It takes a row of audit_log, so it has to go before the table.
    op.execute("DROP FUNCTION audit_text(audit_log)")
    for table in TABLES:
        op.drop_table(table)
    for name in ("audit_chain_entry()", "audit_refuse()", "job_key(text, text)"):
        op.execute(f"DROP FUNCTION {name}")
