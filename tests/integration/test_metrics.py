"""The metrics of jobs and of the ledger, as Prometheus reads them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from uuid import uuid4

import pytest
from local_servers import free_port
from prometheus_client.parser import text_string_to_metric_families

from tests.support.alert_receiver import AlertReceiver
from tests.support.databases import Database
from tests.support.pipeline import Pipeline
from tests.support.rows import ago, change_job, change_jobs, set_hold
from tests.support.sandbox_witness import Witness
from tests.support.web_visitor import Visitor, report
from worker.alerts.delivery import Receiver
from worker.alerts.messages import Message
from worker.alerts.settings import AlertSettings
from worker.dispatch.dispatcher import Dispatcher
from worker.ledger.database import get_engine
from worker.ledger.writer.holds import HoldName
from worker.report.web.application import create_application
from worker.settings import Settings
from worker.submission.recorder import reason_of_401
from worker.telemetry.metrics import definitions, registry

Shown = dict[tuple[str, ...], float]
Look = Callable[[], Shown]


class Nowhere:
    """A broker that takes everything."""

    def publish(self, job_ids: object) -> None: ...
    def close(self) -> None: ...


@pytest.fixture
def look(ledger: Database, variables: dict[str, str]) -> Iterator[Look]:
    """Read /metrics, with all counters reset to 0 first."""
    registry.disable_metrics()
    registry.enable_metrics()

    def look() -> Shown:
        text = Visitor(report(ledger, variables)).get("/metrics").text
        assert "acme" not in text
        return {
            (sample.name, *sample.labels.values()): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }

    yield look
    registry.disable_metrics()


def test_an_alert_is_no_request_to_an_api(look: Look) -> None:
    with AlertReceiver() as receiver:
        settings = AlertSettings.from_environment({"ALERT_WEBHOOK_URLS": f"http://{receiver.address}/cases"})
        message = Message(uuid4(), "test", "test", datetime.now(UTC), "title", "text", {}, None)
        assert Receiver(settings.targets[0], settings).send(message).status == 200

    assert [name for name, *_ in look() if name.startswith("case_worker_api_request_seconds_count")] == []


def test_a_submitted_job_is_measured_at_each_step(pipeline: Pipeline, look: Look) -> None:
    pipeline.submit()
    pipeline.submit()

    shown = look()
    assert shown["case_worker_submissions_total", "submitted"] == 2
    assert shown["case_worker_enqueue_to_submitted_seconds_count",] == 2
    assert shown["case_worker_api_request_seconds_count", "POST /cases", "200"] == 2
    assert shown["case_worker_api_request_seconds_count", "POST /oauth/token", "200"] == 1
    assert shown["case_worker_token_mints_total", "minted"] == 1
    assert shown["case_worker_token_cache_hits_total", "memory"] == 1
    assert shown["case_worker_jobs", "submitted"] == 2
    assert shown["case_worker_ledger_up",] == 1


def test_the_seconds_from_enqueue_to_submitted_are_the_job_s_age(
    pipeline: Pipeline, ledger: Database, look: Look
) -> None:
    job_id = pipeline.enqueue()
    change_job(ledger, job_id, created_at=ago("1 hour"))
    pipeline.run()

    shown = look()
    assert shown["case_worker_enqueue_to_submitted_seconds_bucket", "3600.0"] == 0
    assert shown["case_worker_enqueue_to_submitted_seconds_bucket", "14400.0"] == 1


def test_another_process_s_token_is_a_hit_in_the_shared_cache(
    new_pipeline: Callable[..., Pipeline], look: Look
) -> None:
    new_pipeline().submit()
    new_pipeline().submit()
    assert look()["case_worker_token_cache_hits_total", "shared"] == 1


def test_a_401_and_the_request_after_it_are_both_counted(pipeline: Pipeline, look: Look) -> None:
    pipeline.submit(tag="sandbox:401-once")

    shown = look()
    assert shown["case_worker_unauthorized_retries_total",] == 1
    assert shown["case_worker_submissions_total", "unauthorized"] == 1
    assert shown["case_worker_submissions_total", "submitted"] == 1
    assert shown["case_worker_token_mints_total", "minted"] == 2
    assert sum(n for (name, *_), n in shown.items() if name == "case_worker_second_unauthorized_total") == 0


def test_a_second_401_is_counted_by_the_reason_that_was_given(pipeline: Pipeline, look: Look) -> None:
    job_id = pipeline.submit("invalid-acme")

    shown = look()
    given = reason_of_401(pipeline.attempts(job_id)[-1]["error_type"])
    assert shown["case_worker_second_unauthorized_total", given] == 1
    assert shown["case_worker_jobs_died_total", "second_unauthorized"] == 1
    assert shown["case_worker_submissions_total", "unauthorized"] == 2
    assert shown["case_worker_open_dead_letters", "second_unauthorized"] == 1


@pytest.mark.parametrize(
    ("error_type", "word"),
    [
        (None, "none_given"),
        ("", "none_given"),
        ("unauthorized", "unauthorized"),
        ("InvalidToken", "invalid_token"),
        ("token-expired", "token_expired"),
        ("Token Revoked", "token_revoked"),
        ("Bearer eyJhbGciOi is no good", "other"),
    ],
)
def test_a_reason_is_one_of_a_few_words(error_type: str | None, word: str) -> None:
    assert reason_of_401(error_type) == word
    assert word in definitions.SECOND_UNAUTHORIZED.words


@pytest.mark.parametrize(
    ("tenant", "result"), [("missing-acme", "no_client_link"), ("acme", "key_rejected"), ("acme", "unavailable")]
)
def test_a_mint_is_counted_by_what_came_of_it(
    pipeline: Pipeline, sandbox: Witness, look: Look, tenant: str, result: str
) -> None:
    if result == "key_rejected":
        sandbox.control("api-key", accepted=False)
    if result == "unavailable":
        sandbox.fault("token", "status", status=503)
    pipeline.submit(tenant)
    assert look()["case_worker_token_mints_total", result] == 1


def test_an_api_that_cannot_be_reached_has_a_status_of_its_own(
    new_pipeline: Callable[..., Pipeline], sandbox: Witness, look: Look
) -> None:
    away = new_pipeline(DEBITURA_CUSTOMER_API_URL=f"http://127.0.0.1:{free_port()}")
    away.submit()
    shown = look()
    assert shown["case_worker_api_request_seconds_count", "POST /cases", "not_sent"] == 1
    assert shown["case_worker_submissions_total", "not_sent"] == 1


def test_a_look_up_shows_its_endpoint_and_not_what_was_looked_for(
    pipeline: Pipeline, sandbox: Witness, ledger: Database, look: Look
) -> None:
    job_id = pipeline.enqueue(creditorReference="INV-77")
    change_job(ledger, job_id, outcome_unknown=True, next_trigger="replay")
    pipeline.run()
    assert look()["case_worker_api_request_seconds_count", "GET /cases/by-creditor-reference", "404"] == 1


def test_what_the_dispatcher_releases_and_takes_back_is_counted(
    pipeline: Pipeline, ledger: Database, look: Look
) -> None:
    pipeline.enqueue()
    dispatcher = Dispatcher(pipeline.settings, Nowhere(), name="one")
    dispatcher.tick()
    change_jobs(ledger, queued_at=ago("1 hour"))
    dispatcher._sweep_at = 0.0
    dispatcher.tick()
    pipeline.claim([row[0] for row in ledger.rows("SELECT id FROM jobs")])
    change_jobs(ledger, lease_until=ago("1 s"))
    dispatcher._sweep_at = 0.0
    dispatcher.tick()

    shown = look()
    assert shown["case_worker_jobs_released_total",] >= 2
    assert shown["case_worker_jobs_taken_back_total", "unclaimed"] == 1
    assert shown["case_worker_jobs_taken_back_total", "lease_expired"] == 1
    assert shown["case_worker_submissions_total", "unknown"] == 1
    assert shown["case_worker_jobs_died_total", "outcome_unknown"] == 0


def test_a_job_that_dies_because_its_last_lease_expired_is_counted(
    pipeline: Pipeline, ledger: Database, look: Look
) -> None:
    job_id = pipeline.enqueue()
    pipeline.claim(pipeline.release())
    change_job(ledger, job_id, attempt_count=100, lease_until=ago("1 s"))
    Dispatcher(pipeline.settings, Nowhere(), name="one").tick()

    shown = look()
    assert shown["case_worker_jobs_died_total", "outcome_unknown"] == 1
    assert shown["case_worker_open_dead_letters", "outcome_unknown"] == 1


def test_the_gauges_show_what_the_ledger_holds(pipeline: Pipeline, ledger: Database, look: Look) -> None:
    pipeline.submit()
    pipeline.enqueue()
    late = pipeline.enqueue()
    change_job(ledger, late, state="waiting", due_at=ago("50 s"))
    change_jobs(ledger, "pending", pending_since=ago("90 s"))
    set_hold(ledger, HoldName.CUSTOMER_API)
    set_hold(ledger, HoldName.MINT_RATE_LIMIT)

    shown = look()
    assert shown["case_worker_backlog_jobs",] == 2
    assert 89 < shown["case_worker_oldest_pending_job_age_seconds",] < 600
    assert 49 < shown["case_worker_dispatcher_lag_seconds",] < 600
    assert shown["case_worker_dispatcher_leads",] == 0
    circuits = ("customer_api", "referral_api", "api_key")
    assert [shown["case_worker_circuit_open", name] for name in circuits] == [1, 0, 0]
    assert shown["case_worker_rate_limit_held", "mint_rate_limit"] == 1
    assert shown["case_worker_rate_limit_held", "rate_limit"] == 0
    assert shown["case_worker_rate_limit_requests", "minute"] == 2000
    assert shown["case_worker_rate_limit_used_requests", "day"] == 0, "the test released it by hand"
    assert shown["case_worker_useful_workers",] == 1


def test_without_a_ledger_the_process_s_own_are_still_shown(variables: dict[str, str]) -> None:
    away = {**variables, "DATABASE_URL": f"postgresql://postgres@127.0.0.1:{free_port()}/x"}
    settings = Settings.from_environment(away)
    visitor = Visitor(create_application(settings, get_engine(settings.database_url), away))
    text = visitor.get("/metrics").text
    assert "case_worker_ledger_up 0.0\n" in text
    assert "case_worker_token_mints_total" in text
    assert "case_worker_jobs{" not in text
    answer = visitor.get("/scaling")
    assert (answer.status_code, answer.json()) == (503, {"error": "the database cannot be reached"})
