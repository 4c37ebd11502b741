"""A ledger with many jobs, made by the row: for plans and for measuring the report."""

from __future__ import annotations

import psycopg

#: What goes wrong: reason, HTTP status, error type, message, which ends in something that differs from job to job.
CAUSES = (
    ("business_rule", 422, "MissingKycVerification", "Verify your identity first"),
    ("validation", 400, "ValidationError", "debtor.email: Invalid email format"),
    ("client_link_not_found", 404, None, "there is no active client link"),
    ("second_unauthorized", 401, "Unauthorized", "the fresh token was refused too"),
    ("business_rule", 422, "MissingPowerOfAttorney", "Sign the power of attorney"),
    ("forbidden", 403, "Forbidden", "not allowed"),
    ("not_found", 404, "NotFound", "no such division"),
    ("retries_exhausted", 503, "ServiceUnavailable", "the API failed at every attempt"),
    ("outcome_unknown", None, None, "no response before the timeout"),
    ("unexpected_response", 418, None, "a response that is not the API's JSON"),
    ("validation", 400, "ValidationError", "debtor.zipCode: Too short"),
    ("business_rule", 422, "CreditorBlocked", "This creditor is blocked"),
)

_JOBS = """
    INSERT INTO jobs (id, external_tenant_id, idempotency_key, case_body, creditor_reference, amount, currency,
                      submission_key, state, due_at, created_at, finalized_at, case_id, case_reference, outcome_unknown,
                      request_count, attempt_count)
    SELECT gen_random_uuid(), 'tenant-' || mod(n::bigint * 7919, {tenants}), '{state}-' || n,
           '{{"comments":"' || repeat('x', 370) || '","debtor":{{}}}}',
           '{state}-' || n, CASE WHEN mod(n, 50) <> 0 THEN mod(n, 10000) + 0.5 END,
           (ARRAY['DKK', 'EUR', 'SEK'])[1 + mod(n, 3)], gen_random_uuid(), '{state}',
           CASE '{state}' WHEN 'waiting' THEN now() + interval '1 hour' END,
           now() - n * interval '{apart}',
           CASE '{state}' WHEN 'submitted' THEN now() - n * interval '{apart}' + interval '1 s' END,
           CASE '{state}' WHEN 'submitted' THEN gen_random_uuid()::text END,
           CASE '{state}' WHEN 'submitted' THEN 'ABCD1234' END,
           '{state}' = 'dead' AND mod(n, 20) = 0, 1, 1
    FROM generate_series(1, {count}) n
"""
_LETTERS = """
    INSERT INTO dead_letters (job_id, reason, invalid_client_link, detail, solution_url, created_at, resolved_at,
                              resolution, resolved_by)
    SELECT id, c.reason, c.reason IN ('second_unauthorized', 'client_link_not_found'),
           jsonb_strip_nulls(jsonb_build_object(
               'status', c.status, 'type', c.type, 'message', c.message || ' (case ' || j.n || ', INV-' || j.n || ')',
               'fields', jsonb_build_object('debtor.email', ARRAY['Invalid email format ' || j.n]))),
           CASE WHEN c.reason = 'business_rule' THEN 'https://x.example/' || external_tenant_id END,
           created_at + interval '5 s', {resolved}
    FROM (SELECT id, external_tenant_id, created_at, row_number() OVER (ORDER BY created_at) AS n
          FROM jobs WHERE state = '{state}' ORDER BY created_at DESC LIMIT {count}) j
    JOIN unnest(CAST(%(reasons)s AS text[]), CAST(%(statuses)s AS int[]), CAST(%(types)s AS text[]),
                CAST(%(messages)s AS text[])) WITH ORDINALITY AS c (reason, status, type, message, place)
      ON c.place = 1 + mod(CASE WHEN mod(j.n, 97) < 50 THEN mod(j.n, 97) ELSE mod(j.n, 5) END, 12)
    ORDER BY created_at
"""


def fill(url: str, *, submitted: int, dead: int, resolved: int = 0, living: int = 1000, tenants: int = 2000) -> None:
    """Fill an empty ledger, and let the server know what is in it.

    `resolved` of the submitted jobs were dead once and replayed.
    """
    with psycopg.connect(url, autocommit=True) as connection:
        # The rows are right by the way they are made, so foreign keys need not be looked up one by one.
        connection.execute("SET session_replication_role = replica")
        for state, count, apart in (
            ("submitted", submitted, "2 s"), ("pending", living // 2, "1 s"), ("waiting", living // 2, "1 s"),
            ("dead", dead, "13 s"),
        ):  # fmt: skip
            connection.execute(_JOBS.format(state=state, count=count, apart=apart, tenants=tenants))  # type: ignore[arg-type]  # put together from constants above
        reasons, statuses, types, messages = zip(*CAUSES, strict=True)
        values = {
            "reasons": list(reasons),
            "statuses": list(statuses),
            "types": list(types),
            "messages": list(messages),
        }
        for state, count, resolution in (
            ("submitted", resolved, "now(), 'replayed', 'ada'"), ("dead", dead, "NULL, NULL, NULL"),
        ):  # fmt: skip
            statement = _LETTERS.format(state=state, count=count, resolved=resolution)
            connection.execute(statement, values)  # type: ignore[arg-type]  # put together from constants above
        connection.execute(
            "INSERT INTO attempts (job_id, number, trigger, submission_key, worker, finished_at, outcome)"
            " SELECT id, 1, 'initial', submission_key, 'w', now(), 'refused' FROM jobs WHERE state = 'dead'"
        )
        connection.execute("VACUUM ANALYZE")
