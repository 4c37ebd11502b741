"""The autoscaling signal, `GET /scaling`, on a real ledger."""

from __future__ import annotations

import threading
from typing import Any

import psycopg
import pytest
from local_servers import free_port
from sqlalchemy import create_engine, event
from sqlalchemy.exc import OperationalError, SQLAlchemyError

from tests.support.databases import Database
from tests.support.pipeline import Pipeline
from tests.support.rows import ago, change_attempts, change_job, from_now, insert_requests, set_hold
from tests.support.web_visitor import USERS, Visitor, report
from worker.fleet.reading import KEPT_FOR, READ_TIMEOUT, FleetReader
from worker.fleet.settings import FleetSettings
from worker.ledger.database import transaction
from worker.ledger.queries import waiting
from worker.ledger.writer.holds import HoldName

Vars = dict[str, str]


@pytest.fixture
def signal(ledger: Database, variables: Vars) -> Any:
    """The answer an autoscaler gets without signing in; keywords are settings."""

    def ask(**settings: str) -> Any:
        visitor = Visitor(report(ledger, variables, REPORT_USERS=USERS, **settings))
        answer = visitor.get("/scaling")
        assert answer.status_code == 200
        assert "acme" not in answer.text
        return answer.json()

    return ask


def test_an_empty_ledger_needs_no_worker(signal: Any) -> None:
    said = signal()
    assert (said["useful_workers"], said["limited_by"]) == (0, "nothing_to_do")
    assert said["reasons"] == ["Nothing is due."]


def test_an_empty_ledger_keeps_the_configured_minimum_of_workers(signal: Any) -> None:
    said = signal(WORKER_SCALING_MINIMUM="2")
    assert said["useful_workers"] == 2
    assert "Not fewer than 2, as configured." in said["reasons"]


def test_a_backlog_of_many_tenants_wants_many_workers(signal: Any, pipeline: Pipeline) -> None:
    for n in range(40):
        pipeline.enqueue(f"acme-{n}")
    small = {"WORKER_THREADS": "2", "WORKER_CONCURRENCY": "2", "WORKER_SCALING_DRAIN_SECONDS": "2"}
    said = signal(WORKER_RATE_LIMITS="100/second", **small)
    assert said["useful_workers"] == 5, "40 jobs in 2 s, each 1 s as long as nothing is measured, 4 at once in a worker"
    assert said["limited_by"] == "backlog"
    assert said["jobs"] == {"pending": 40, "due_soon": 0, "under_way": 0}
    assert said["requests_at_once_per_worker"] == 4

    said = signal(WORKER_RATE_LIMITS="300/minute", **small)
    assert (said["useful_workers"], said["limited_by"]) == (2, "pace"), "5 a second are allowed"


def test_one_tenant_s_backlog_wants_no_more_than_its_share(signal: Any, pipeline: Pipeline) -> None:
    for _ in range(40):
        pipeline.enqueue("acme")
    said = signal(WORKER_THREADS="1", WORKER_CONCURRENCY="1", WORKER_SCALING_DRAIN_SECONDS="2")
    assert (said["useful_workers"], said["limited_by"]) == (4, "tenants")


def test_a_job_that_will_be_due_brings_a_worker_in_time_to_wake_it(
    signal: Any, pipeline: Pipeline, ledger: Database
) -> None:
    job_id = pipeline.enqueue()
    for seconds, workers in ((3600, 0), (30, 1)):
        change_job(ledger, job_id, state="waiting", due_at=from_now(f"{seconds} s"))
        assert signal()["useful_workers"] == workers


@pytest.mark.parametrize("name", [HoldName.RATE_LIMIT, HoldName.API_KEY, HoldName.CUSTOMER_API])
def test_one_worker_is_enough_during_a_hold(signal: Any, pipeline: Pipeline, ledger: Database, name: HoldName) -> None:
    for n in range(40):
        pipeline.enqueue(f"acme-{n}")
    set_hold(ledger, name)
    said = signal(WORKER_THREADS="1", WORKER_CONCURRENCY="1", WORKER_SCALING_DRAIN_SECONDS="1")
    assert (said["useful_workers"], said["limited_by"]) == (1, "hold")


def test_a_circuit_that_is_being_probed_still_limits_the_workers(
    signal: Any, pipeline: Pipeline, ledger: Database
) -> None:
    pipeline.enqueue()
    set_hold(ledger, HoldName.CUSTOMER_API, seconds=-1)
    assert signal()["limited_by"] == "hold"


def test_a_limit_that_is_used_up_for_long_wants_one_worker(signal: Any, pipeline: Pipeline, ledger: Database) -> None:
    for n in range(40):
        pipeline.enqueue(f"acme-{n}")
    insert_requests(ledger, 500, at=ago("10 minutes"))
    said = signal(WORKER_RATE_LIMITS="100/second;500/hour", WORKER_THREADS="1", WORKER_CONCURRENCY="1")
    assert (said["useful_workers"], said["limited_by"]) == (1, "pace_used_up")


def test_the_latency_is_that_of_the_last_submitted_jobs_and_of_lately_failed_ones(
    pipeline: Pipeline, ledger: Database
) -> None:
    done, failed, long_ago = (
        pipeline.submit(),
        pipeline.submit(tag="sandbox:status=503"),
        pipeline.submit(tag="sandbox:status=503"),
    )
    change_attempts(ledger, done, duration_ms=100)
    change_attempts(ledger, failed, duration_ms=3000)
    change_attempts(ledger, long_ago, duration_ms=9000, finished_at=ago("1 hour"))
    with transaction(ledger.engine) as connection:
        assert waiting.due_work(connection, within=60).latency == pytest.approx((0.1 + 3.0) / 2)


def test_failures_that_newer_answers_have_followed_no_longer_make_the_api_slow(
    pipeline: Pipeline, ledger: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise a minute of timeouts in an outage would ask for far too many workers."""
    failed, done = pipeline.submit(tag="sandbox:status=503"), [pipeline.submit() for _ in range(3)]
    change_attempts(ledger, failed, duration_ms=30000)
    for job_id in done:
        change_attempts(ledger, job_id, duration_ms=100)
    monkeypatch.setattr(waiting, "SAMPLE", 3)
    with transaction(ledger.engine) as connection:
        assert waiting.due_work(connection, within=60).latency == pytest.approx(0.1)


def test_tenants_are_counted_up_to_a_limit(
    pipeline: Pipeline, ledger: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    for n in range(5):
        pipeline.enqueue(f"acme-{n}")
        pipeline.enqueue(f"acme-{n}")
    with transaction(ledger.engine) as connection:
        assert waiting.due_work(connection, within=60).tenants == 5
        monkeypatch.setattr(waiting, "COUNTED_TENANTS", 3)
        assert waiting.due_work(connection, within=60).tenants == 3


def test_many_who_ask_cost_the_ledger_no_more_than_one(pipeline: Pipeline, ledger: Database) -> None:
    asked: list[str] = []

    def note(*said: Any) -> None:
        asked.append(said[2])

    event.listen(ledger.engine, "before_cursor_execute", note)
    now = 100.0
    reader = FleetReader(pipeline.settings, FleetSettings.from_environment({}), ledger.engine, clock=lambda: now)
    first = reader.read()
    statements = len(asked)
    assert reader.read() is first
    assert len(asked) == statements
    now += KEPT_FOR
    assert reader.read() is not first
    event.remove(ledger.engine, "before_cursor_execute", note)


def test_a_ledger_that_is_silent_is_not_waited_for(pipeline: Pipeline, ledger: Database) -> None:
    now = 100.0
    fleet = FleetSettings.from_environment({})
    reader = FleetReader(pipeline.settings, fleet, ledger.engine, clock=lambda: now, timeout=0.1)
    asked = [thread for thread in threading.enumerate() if thread.name == "fleet reader"]
    with psycopg.connect(ledger.url) as somebody:
        somebody.execute("LOCK TABLE jobs IN ACCESS EXCLUSIVE MODE")
        for _ in range(3):
            with pytest.raises(SQLAlchemyError, match="answer"):
                reader.read()
            now += KEPT_FOR
        (asking,) = {thread for thread in threading.enumerate() if thread.name == "fleet reader"} - set(asked)
    asking.join()
    reader._patience = READ_TIMEOUT
    assert reader.read().counts.jobs["pending"] == 0


def test_a_ledger_that_is_away_is_not_asked_by_each_who_waits(pipeline: Pipeline) -> None:
    connects: list[object] = []
    engine = create_engine(f"postgresql+psycopg://postgres@127.0.0.1:{free_port()}/x")
    event.listen(engine, "do_connect", lambda *said: connects.append(said) or None)
    now = 100.0
    reader = FleetReader(pipeline.settings, FleetSettings.from_environment({}), engine, clock=lambda: now)
    for _ in range(3):
        with pytest.raises(OperationalError):
            reader.read()
    assert len(connects) == 1
    now += KEPT_FOR
    with pytest.raises(OperationalError):
        reader.read()
    assert len(connects) == 2
