"""The open failures grouped by cause: what one person does once helps all jobs of a group."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, text

from worker.ledger.queries.failures import FailureFilter, conditions_of


@dataclass(frozen=True, slots=True)
class Cause:
    """Open failures with the same reason, error type and message."""

    reason: str
    invalid_client_link: bool
    error_type: str | None
    message: str | None
    failures: int
    """Jobs; for `malformed_message`, messages."""
    tenants: int
    amounts: dict[str, str]
    """The sum by currency, each a plain decimal number; `?` for amounts whose currency is not known."""
    without_amount: int
    """Failures whose amount is not known: they are in none of the sums."""
    first_seen: datetime
    last_seen: datetime
    solution_url: str | None
    """Where somebody clears it, if that is the same page for the whole group."""
    solution_urls: int
    """How many different pages there are."""


# Absent types and messages become '' on the way, so that the groups can be joined by equality.
_CAUSES = """
    WITH chosen AS (
        SELECT d.reason, d.invalid_client_link, COALESCE(d.detail ->> 'type', '') AS error_type,
               COALESCE(d.detail ->> 'message', '') AS message, d.solution_url, d.created_at, j.external_tenant_id,
               j.amount, COALESCE(j.currency, '?') AS currency
        FROM dead_letters d LEFT JOIN jobs j ON j.id = d.job_id
        WHERE d.resolved_at IS NULL {conditions}
    ), sums AS (
        SELECT reason, error_type, message, currency, sum(amount)::text AS total
        FROM chosen WHERE amount IS NOT NULL GROUP BY reason, error_type, message, currency
    ), money AS (
        SELECT reason, error_type, message, jsonb_object_agg(currency, total) AS amounts
        FROM sums GROUP BY reason, error_type, message
    ), groups AS (
        SELECT reason, error_type, message, bool_or(invalid_client_link) AS invalid_client_link, count(*) AS failures,
               count(DISTINCT external_tenant_id) AS tenants, count(*) - count(amount) AS without_amount,
               min(created_at) AS first_seen, max(created_at) AS last_seen, min(solution_url) AS solution_url,
               count(DISTINCT solution_url) AS solution_urls
        FROM chosen GROUP BY reason, error_type, message
    )
    SELECT reason, invalid_client_link, NULLIF(error_type, '') AS error_type, NULLIF(message, '') AS message, failures,
           tenants, COALESCE(amounts, '{{}}') AS amounts, without_amount, first_seen, last_seen,
           CASE WHEN solution_urls = 1 THEN solution_url END AS solution_url, solution_urls
    FROM groups LEFT JOIN money USING (reason, error_type, message)
    ORDER BY failures DESC, reason, error_type, message
"""


def causes(connection: Connection, wanted: FailureFilter) -> list[Cause]:
    """The causes of the open failures that fit, the most frequent first."""
    conditions, parameters = conditions_of(wanted)
    rows = connection.execute(text(_CAUSES.format(conditions=conditions)), parameters)
    return [Cause(**row._mapping) for row in rows]
