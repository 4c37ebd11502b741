"""Record who did what, when and why."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy import Connection, bindparam, text
from sqlalchemy.dialects.postgresql import JSONB

from worker.ledger.states import AuditAction
from worker.ledger.writer.resolve import Actor

_AUDIT = text(
    "INSERT INTO audit_log (actor, action, job_id, detail, note) VALUES (:actor, :action, :job_id, :detail, :note)"
).bindparams(bindparam("detail", type_=JSONB))


def audit(
    connection: Connection, action: AuditAction, actor: Actor, detail: dict[str, Any], *, job_id: UUID | None = None
) -> None:
    """Record one action, in the transaction that does it. `detail` holds plain JSON values.

    Actions that change a job (`replay`, `discard`, `edit`) are recorded with the change; this is for the others:
    `reveal`, and what is done to whole operations.
    """
    connection.execute(
        _AUDIT,
        {"actor": actor.name, "action": str(action), "job_id": job_id, "detail": detail, "note": actor.note},
    )
