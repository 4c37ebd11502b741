"""Read the ledger's jobs for the invariant."""

from __future__ import annotations

from collections import defaultdict
from hashlib import sha256

from sqlalchemy import Connection, text

from tests.support.faults.invariant import LedgerJob


def all_jobs(connection: Connection) -> list[LedgerJob]:
    """Every job, with its open dead letters and its attempts."""
    attempts: dict[str, dict[str, int]] = defaultdict(dict)
    open_attempts: dict[str, int] = defaultdict(int)
    for job_id, key, sent, still_open in connection.execute(
        text(
            "SELECT job_id, submission_key, count(*) FILTER (WHERE outcome IS DISTINCT FROM 'not_sent'),"
            " count(*) FILTER (WHERE outcome IS NULL) FROM attempts GROUP BY job_id, submission_key"
        )
    ):
        attempts[str(job_id)][str(key)] = sent
        open_attempts[str(job_id)] += still_open
    reasons: dict[str, tuple[str, ...]] = defaultdict(tuple)
    for job_id, reason in connection.execute(
        text("SELECT job_id, reason FROM dead_letters WHERE job_id IS NOT NULL AND resolved_at IS NULL")
    ):
        reasons[str(job_id)] += (reason,)
    rows = connection.execute(
        text("SELECT id, external_tenant_id, idempotency_key, case_body, state, submission_key, case_id FROM jobs")
    )
    return [
        LedgerJob(
            id=str(row.id),
            tenant=row.external_tenant_id,
            idempotency_key=row.idempotency_key,
            body_sha256=sha256(row.case_body.encode()).hexdigest(),
            state=row.state,
            submission_key=str(row.submission_key),
            case_id=row.case_id,
            open_reasons=reasons[str(row.id)],
            open_attempts=open_attempts[str(row.id)],
            attempts=attempts[str(row.id)],
        )
        for row in rows
    ]
