"""Store a new version of a dead job's case, and keep every older one."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy import Connection, bindparam, text
from sqlalchemy.dialects.postgresql import JSONB

from worker.case.protection import UNPROTECTED, Protection
from worker.errors import JobNotFound, WrongState
from worker.ledger.states import AuditAction, Reason, State
from worker.ledger.writer.arrival import NewJob
from worker.ledger.writer.resolve import Actor

#: The reasons that a corrected case can help against.
EDITABLE = (Reason.VALIDATION,)

_LOCK = text("SELECT state, outcome_unknown, look_up_first, case_body, created_at FROM jobs WHERE id = :id FOR UPDATE")
_REASON = text("SELECT reason FROM dead_letters WHERE job_id = :id AND resolved_at IS NULL")
_NEWEST = text("SELECT COALESCE(max(number), 1) FROM case_versions WHERE job_id = :id")
_EDIT = text(
    f"""
    WITH original AS (
        INSERT INTO case_versions (job_id, number, case_body, created_at)
        SELECT id, 1, case_body, created_at FROM jobs WHERE id = :id
        ON CONFLICT (job_id, number) DO NOTHING
    ), edited AS (
        INSERT INTO case_versions (job_id, number, case_body, edited_by, note)
        VALUES (:id, :number, :body, :actor, :note)
    ), audited AS (
        INSERT INTO audit_log (actor, action, job_id, detail, note)
        VALUES (:actor, '{AuditAction.EDIT}', :id, :detail, :note)
    )
    UPDATE jobs
    SET case_body = :body, creditor_reference = :reference, amount = :amount, currency = :currency
    WHERE id = :id AND state = 'dead' AND NOT outcome_unknown
    """
).bindparams(bindparam("detail", type_=JSONB))


def edit_case(
    connection: Connection,
    job_id: UUID,
    new: NewJob,
    *,
    seen: int,
    paths: list[str],
    actor: Actor,
    door: dict[str, Any],
    protection: Protection = UNPROTECTED,
) -> int:
    """Give a dead job another case. Returns the number of its newest version.

    `new` is the case as intake accepted it; its idempotency key is ignored, since the job keeps its own. For the audit
    log, `seen` is the version that was corrected, `paths` where the new one differs, and `door` how it came in (the
    values are in the two versions).

    The next request sends other bytes, so it needs another submission key, and only a replay after a known outcome
    makes one. After an unknown outcome the old key may own a case already, so the edit is refused.

    Raises JobNotFound, and WrongState if the job is not dead for a reason that a corrected case can help against, if
    its outcome is unknown, if it must be looked up after a restore, or if another edit came after `seen`.
    """
    job = connection.execute(_LOCK, {"id": job_id}).one_or_none()
    if job is None:
        raise JobNotFound(f"there is no job {job_id} in this database")
    if job.state != State.DEAD:
        raise WrongState(f"job {job_id} is {job.state}, and only the case of a dead job can be corrected")
    reason = connection.execute(_REASON, {"id": job_id}).scalar()
    if reason not in EDITABLE:
        raise WrongState(
            f"job {job_id} failed for {reason}: correcting its case helps only after {', '.join(EDITABLE)}"
        )
    if job.outcome_unknown:
        raise WrongState(
            f"the outcome of job {job_id} is unknown: the API may have the case as it was first sent, so it must not be"
            " sent with other data. Replay it as it is (which looks it up, or keeps its key), or ask Debitura"
        )
    if job.look_up_first:
        raise WrongState(
            f"the ledger was restored from a backup, and the API may have the case of job {job_id} already: replay it"
            " first, which looks it up, and correct it if it comes back"
        )
    newest = connection.execute(_NEWEST, {"id": job_id}).scalar_one()
    if newest != seen:
        raise WrongState(
            f"somebody has corrected job {job_id} since you opened it (version {newest} is the newest, you saw {seen}):"
            " look at it again"
        )
    number = int(newest) + 1
    kept = protection.kept(job_id, new)
    connection.execute(
        _EDIT,
        {
            "id": job_id, "number": number, "body": kept.case_body, "reference": kept.creditor_reference,
            "amount": kept.amount, "currency": kept.currency, "actor": actor.name, "note": actor.note,
            "detail": door | {"version": number, "changed": paths},
        },
    )  # fmt: skip
    return number
