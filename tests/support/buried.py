"""Dead jobs by the row, for tests that need many or odd ones."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID, uuid4

from tests.support.databases import Database
from worker.ledger.states import INVALID_LINK_REASONS


def bury(
    ledger: Database,
    tenant: str = "acme",
    *,
    reason: str = "validation",
    message: str | None = "debtor.email: Invalid email format",
    error_type: str | None = "ValidationError",
    status: int | None = 400,
    amount: str | None = "100.00",
    currency: str | None = "DKK",
    reference: str | None = None,
    solution: str | None = None,
    age: str = "0 s",
    unknown: bool = False,
    detail: dict[str, Any] | None = None,
) -> UUID:
    """One dead job with its open dead letter, `age` old."""
    job = uuid4()
    ledger.rows(
        "INSERT INTO jobs (id, external_tenant_id, idempotency_key, case_body, submission_key, state, amount, currency,"
        " creditor_reference, outcome_unknown, attempt_count, request_count, last_error, created_at)"
        " VALUES (%s, %s, %s, %s, %s, 'dead', %s, %s, %s, %s, 1, 1, %s, now() - %s::interval)",
        job, tenant, str(job), '{"debtor":{}}', uuid4(), amount, currency, reference, unknown, message, age,
    )  # fmt: skip
    said = {"status": status, "type": error_type, "message": message} if detail is None else detail
    ledger.rows(
        "INSERT INTO dead_letters (job_id, reason, invalid_client_link, detail, solution_url, created_at)"
        " VALUES (%s, %s, %s, %s, %s, now() - %s::interval)",
        job, reason, reason in INVALID_LINK_REASONS, json.dumps({k: v for k, v in said.items() if v is not None}),
        solution, age,
    )  # fmt: skip
    return job


def dead_letter_message(ledger: Database, message: str = "its body is torn") -> int:
    """One unreadable message. Returns its dead letter's id."""
    return int(
        str(
            ledger.value(
                "INSERT INTO dead_letters (reason, invalid_client_link, detail)"
                " VALUES ('malformed_message', false, %s) RETURNING id",
                json.dumps({"message": message, "sent": "secret"}),
            )
        )
    )
