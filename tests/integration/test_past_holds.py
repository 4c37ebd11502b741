"""Past holds, in the timelines of the jobs that waited for them."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from tests.support.pipeline import Pipeline
from tests.support.rows import ago, change_job, insert_dead_letter, set_hold
from tests.support.sandbox_witness import Witness
from worker.ledger import queries
from worker.ledger.database import transaction
from worker.ledger.queries.story import HOLDS
from worker.ledger.writer.holds import PAST_HOLDS_KEPT_DAYS, HoldName, end_lapsed_holds, forget_past_holds
from worker.report.story import timeline


def held(pipeline: Pipeline, job: UUID) -> list[dict[str, Any]]:
    with pipeline.engine.connect() as connection:
        return queries.story(connection, job).holds


def note(pipeline: Pipeline, name: str, began: str, ended: str) -> None:
    """Insert a hold that began and ended so long ago."""
    pipeline.ledger.rows(
        f"INSERT INTO past_holds VALUES ('{name}', now() - interval '{began}', now() - interval '{ended}')"
    )


def an_hour_later(pipeline: Pipeline) -> None:
    for table, columns in {"jobs": ["created_at"], "attempts": ["started_at"], "holds": ["since", "until"]}.items():
        moved = ", ".join(f"{column} = {column} - interval '1 hour'" for column in columns)
        pipeline.ledger.rows(f"UPDATE {table} SET {moved}")
    with transaction(pipeline.engine) as connection:
        end_lapsed_holds(connection)


def test_a_job_s_timeline_tells_of_a_rate_limit_it_waited_for(pipeline: Pipeline, sandbox: Witness) -> None:
    sandbox.faults({"endpoint": "cases", "kind": "retry-after", "retryAfter": 42.0, "times": 1})
    job = pipeline.submit()
    assert held(pipeline, job) == [], "what holds it now is told elsewhere"

    an_hour_later(pipeline)
    pipeline.again()
    assert pipeline.job(job)["state"] == "submitted"
    assert [h["name"] for h in held(pipeline, job)] == ["rate_limit"]
    with pipeline.engine.connect() as connection:
        texts = [event.text.split(":")[0] for event in timeline(queries.story(connection, job))]
    assert [text.split(" ")[0] for text in texts] == ["enqueued,", "attempt", "held", "attempt", "submitted"]


def test_a_job_s_timeline_tells_of_a_circuit_that_has_closed(pipeline: Pipeline, sandbox: Witness) -> None:
    sandbox.control("api-key", accepted=False)
    job = pipeline.submit()
    sandbox.control("api-key", accepted=True)
    pipeline.again()

    assert pipeline.holds() == {}
    assert [h["name"] for h in held(pipeline, job)] == ["api_key"]


def test_two_rate_limits_in_a_row_are_two_past_holds(pipeline: Pipeline) -> None:
    for _ in range(2):
        set_hold(pipeline.ledger, HoldName.RATE_LIMIT, seconds=100)
        pipeline.ledger.rows("UPDATE holds SET since = since - interval '1 hour', until = until - interval '1 hour'")
    with transaction(pipeline.engine) as connection:
        end_lapsed_holds(connection)

    assert pipeline.ledger.value("SELECT count(*) FROM past_holds WHERE ended_at > since") == 2


@pytest.mark.parametrize(
    ("began", "ended", "told"),
    [
        ("9 hours", "8 hours", False),  # before it was enqueued, 5 hours ago
        ("6 hours", "4 hours 30 minutes", True),
        ("3 hours 30 minutes", "2 hours 30 minutes", False),  # while it was dead, from 4 to 2 hours ago
        ("90 minutes", "80 minutes", True),  # after its replay
        ("30 minutes", "20 minutes", False),  # after it was submitted, an hour ago
    ],
)
def test_only_what_held_the_fleet_while_the_job_was_to_be_sent_is_told(
    pipeline: Pipeline, began: str, ended: str, told: bool
) -> None:
    job = pipeline.submit()
    change_job(pipeline.ledger, job, created_at=ago("5 hours"), finalized_at=ago("1 hour"))
    insert_dead_letter(
        pipeline.ledger, job, created_at=ago("4 hours"), resolved_at=ago("2 hours"), resolution="replayed",
        resolved_by="ada",
    )  # fmt: skip
    note(pipeline, "rate_limit", began, ended)

    assert [h["name"] for h in held(pipeline, job)] == ["rate_limit"] * told


def test_a_job_s_timeline_tells_of_the_latest_holds_only(pipeline: Pipeline) -> None:
    job = pipeline.enqueue()
    change_job(pipeline.ledger, job, created_at=ago("1 day"))
    for minute in range(HOLDS + 5):
        note(pipeline, "rate_limit", f"{2 * minute + 2} minutes", f"{2 * minute + 1} minutes")

    found = held(pipeline, job)
    assert len(found) == HOLDS
    assert found[-1]["since"] == pipeline.ledger.value("SELECT max(since) FROM past_holds")


def test_past_holds_that_ended_long_ago_are_deleted(pipeline: Pipeline) -> None:
    note(pipeline, "rate_limit", f"{PAST_HOLDS_KEPT_DAYS + 2} days", f"{PAST_HOLDS_KEPT_DAYS + 1} days")
    note(pipeline, "api_key", f"{PAST_HOLDS_KEPT_DAYS} days", f"{PAST_HOLDS_KEPT_DAYS - 1} days")
    with transaction(pipeline.engine) as connection:
        forget_past_holds(connection)

    assert pipeline.ledger.rows("SELECT name FROM past_holds") == [("api_key",)]
