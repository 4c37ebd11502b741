"""The database rejects contradictory rows, and its enumerations match the code's."""

from __future__ import annotations

import re
from enum import StrEnum
from uuid import UUID

import psycopg
import pytest

from tests.support.databases import Database
from tests.support.pipeline import Pipeline
from tests.support.rows import change_job
from worker.ledger.states import (
    FINAL_STATES,
    INVALID_LINK_REASONS,
    AttemptOutcome,
    Priority,
    Reason,
    Resolution,
    State,
    TokenSource,
    Trigger,
)


@pytest.fixture
def jobs(pipeline: Pipeline) -> dict[str, UUID]:
    """One job in each state."""
    found = {
        "submitted": pipeline.submit(),
        "dead": pipeline.submit(tag="sandbox:status=403"),
        "discarded": pipeline.submit(tag="sandbox:status=404"),
        "waiting": pipeline.submit(tag="sandbox:status=503"),
        "submitting": pipeline.enqueue(),
    }
    change_job(pipeline.ledger, found["discarded"], state="discarded")
    pipeline.claim(pipeline.release())
    found["queued"] = pipeline.enqueue()
    pipeline.release()
    found["pending"] = pipeline.enqueue()
    assert {name: pipeline.job(job)["state"] for name, job in found.items()} == {name: name for name in found}
    return found


@pytest.mark.parametrize(
    ("state", "change", "constraint"),
    [
        ("pending", "state = 'lost'", "state"),
        ("pending", "state = 'submitting'", "lease_while_submitting"),
        ("submitting", "lease_token = NULL", "lease_while_submitting"),
        ("submitting", "lease_until = NULL", "lease_while_submitting"),
        ("submitting", "lease_owner = NULL", "lease_while_submitting"),
        ("submitting", "state = 'pending'", "lease_while_submitting"),
        ("dead", "lease_token = gen_random_uuid()", "lease_while_submitting"),
        ("submitted", "lease_until = now()", "lease_while_submitting"),
        ("waiting", "lease_owner = 'x'", "lease_while_submitting"),
        ("queued", "queued_at = NULL", "queued_at_while_queued"),
        ("queued", "state = 'pending'", "queued_at_while_queued"),
        ("pending", "queued_at = now()", "queued_at_while_queued"),
        ("pending", "state = 'queued'", "queued_at_while_queued"),
        ("waiting", "due_at = NULL", "due_at_while_waiting"),
        ("waiting", "state = 'pending'", "due_at_while_waiting"),
        ("pending", "due_at = now()", "due_at_while_waiting"),
        ("pending", "state = 'waiting'", "due_at_while_waiting"),
        ("submitted", "finalized_at = NULL", "finalized_at_when_final"),
        ("discarded", "finalized_at = NULL", "finalized_at_when_final"),
        ("dead", "finalized_at = now()", "finalized_at_when_final"),
        ("dead", "state = 'discarded'", "finalized_at_when_final"),
        ("submitted", "state = 'pending', finalized_at = NULL", "case_id_when_submitted"),
        ("submitted", "case_id = NULL", "case_id_when_submitted"),
        ("dead", "case_id = 'x'", "case_id_when_submitted"),
        ("pending", "state = 'submitted', finalized_at = now()", "case_id_when_submitted"),
        ("pending", "priority = 3", "priority"),
        ("pending", "priority = -1", "priority"),
        ("pending", "attempt_count = -1", "counts"),
        ("pending", "request_count = -1", "counts"),
        ("pending", "next_trigger = 'whim'", "next_trigger"),
        ("pending", "external_tenant_id = ''", "external_tenant_id"),
        ("pending", "external_tenant_id = repeat('x', 256)", "external_tenant_id"),
        ("pending", "idempotency_key = ''", "idempotency_key"),
        ("pending", "idempotency_key = repeat('x', 256)", "idempotency_key"),
    ],
)
def test_a_job_cannot_contradict_itself(
    ledger: Database, jobs: dict[str, UUID], state: str, change: str, constraint: str
) -> None:
    with pytest.raises(psycopg.errors.CheckViolation) as refused:
        ledger.rows(f"UPDATE jobs SET {change} WHERE id = %s", jobs[state])

    assert f"ck_jobs_{constraint}" in str(refused.value)


@pytest.mark.parametrize(
    ("table", "change", "constraint"),
    [
        ("dead_letters", "reason = 'bad luck'", "ck_dead_letters_reason"),
        ("dead_letters", "invalid_client_link = true", "ck_dead_letters_invalid_client_link"),
        ("dead_letters", "reason = 'second_unauthorized'", "ck_dead_letters_invalid_client_link"),
        ("dead_letters", "resolution = 'replayed'", "ck_dead_letters_wholly_resolved"),
        ("dead_letters", "resolved_at = now()", "ck_dead_letters_wholly_resolved"),
        ("dead_letters", "resolved_at = now(), resolution = 'discarded'", "ck_dead_letters_wholly_resolved"),
        ("dead_letters", "resolved_at = now(), resolution = 'forgotten', resolved_by = 'x'", "resolution"),
        ("dead_letters", "job_id = NULL", "ck_dead_letters_job_unless_malformed"),
        ("attempts", "outcome = NULL", "ck_attempts_finished_with_outcome"),
        ("attempts", "finished_at = NULL", "ck_attempts_finished_with_outcome"),
        ("attempts", "outcome = 'fine'", "ck_attempts_outcome"),
        ("attempts", "trigger = 'whim'", "ck_attempts_trigger"),
        ("attempts", "token_source = 'found'", "ck_attempts_token_source"),
        ("dispatcher", "id = 2", "ck_dispatcher_one_row"),
    ],
)
def test_a_dead_letter_an_attempt_and_the_dispatcher_cannot_contradict_themselves(
    ledger: Database, pipeline: Pipeline, table: str, change: str, constraint: str
) -> None:
    pipeline.submit(tag="sandbox:status=403")
    with pytest.raises(psycopg.errors.CheckViolation) as refused:
        ledger.rows(f"UPDATE {table} SET {change}")

    assert constraint in str(refused.value)


def test_a_job_has_at_most_one_open_dead_letter(ledger: Database, jobs: dict[str, UUID]) -> None:
    with pytest.raises(psycopg.errors.UniqueViolation, match="uq_dead_letters_open_job"):
        ledger.rows(
            "INSERT INTO dead_letters (job_id, reason, invalid_client_link) VALUES (%s, 'validation', false)",
            jobs["dead"],
        )


def test_a_tenant_s_key_has_one_job(ledger: Database, jobs: dict[str, UUID]) -> None:
    with pytest.raises(psycopg.errors.UniqueViolation, match="uq_jobs_key"):
        ledger.rows("UPDATE jobs SET idempotency_key = 'the same'")


@pytest.mark.parametrize(
    ("table", "constraint", "words"),
    [
        ("jobs", "state", State),
        ("jobs", "next_trigger", Trigger),
        ("attempts", "trigger", Trigger),
        ("attempts", "token_source", TokenSource),
        ("attempts", "outcome", AttemptOutcome),
        ("dead_letters", "reason", Reason),
        ("dead_letters", "invalid_client_link", INVALID_LINK_REASONS),
        ("dead_letters", "resolution", Resolution),
        ("jobs", "finalized_at_when_final", FINAL_STATES),
    ],
)
def test_the_database_knows_exactly_the_words_of_the_code(
    ledger: Database, table: str, constraint: str, words: type[StrEnum]
) -> None:
    definition = ledger.value(
        "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conname = %s", f"ck_{table}_{constraint}"
    )

    assert set(re.findall(r"'(\w+)'", str(definition))) == {word.value for word in words}


def test_the_priorities_are_the_database_s_range(ledger: Database) -> None:
    definition = str(
        ledger.value("SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conname = 'ck_jobs_priority'")
    )
    assert [int(n) for n in re.findall(r"\d+", definition)] == [min(Priority), max(Priority)]
    assert [Priority.parse(w) for w in ("high", "normal", "low")] == sorted(Priority)
    with pytest.raises(KeyError):
        Priority.parse("urgent")
