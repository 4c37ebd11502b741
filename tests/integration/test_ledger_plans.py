"""Queries for unfinished jobs use the partial indexes, however many final rows exist."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from local_servers import LocalPostgres
from sqlalchemy import Connection

from tests.support.databases import TEMPLATE, Database, sqlalchemy_url
from tests.support.query_plans import plan_of
from worker.intake.enqueue import admit
from worker.ledger.database import get_engine
from worker.ledger.queries.waiting import due_work
from worker.ledger.states import Api
from worker.ledger.writer import release, resolve
from worker.ledger.writer.arrival import insert_job
from worker.ledger.writer.circuit_breaker import record_failures
from worker.ledger.writer.claim import claim
from worker.ledger.writer.pace import lock_for_release, read_in_turn
from worker.ledger.writer.record import apply_transitions, requeued
from worker.policy.circuit_breaker import FailureRun
from worker.policy.retry import RetryPolicy

NOBODY = [uuid4()]


@pytest.fixture(scope="module")
def seeded(postgres: LocalPostgres) -> Iterator[Database]:
    """Twelve thousand final rows, a few hundred unfinished ones in each state, and fresh statistics."""
    with psycopg.connect(postgres.url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE plans TEMPLATE {TEMPLATE}")
    url = f"{postgres.url.rsplit('/', 1)[0]}/plans"
    ledger = Database(url, get_engine(sqlalchemy_url(postgres.url, "plans")))
    ledger.rows(
        """
        INSERT INTO jobs (id, external_tenant_id, idempotency_key, case_body, submission_key, state, round, due_at,
                          queued_at, lease_token, lease_owner, lease_until, finalized_at, case_id)
        SELECT gen_random_uuid(), 'tenant-' || mod(n, 50), 'key-' || n, '{}', gen_random_uuid(), s.state, mod(n, 400),
               CASE s.state WHEN 'waiting' THEN now() + mod(n, 1000) * interval '1 s' END,
               CASE s.state WHEN 'queued' THEN now() END, CASE s.state WHEN 'submitting' THEN gen_random_uuid() END,
               CASE s.state WHEN 'submitting' THEN 'w' END, CASE s.state WHEN 'submitting' THEN now() END,
               CASE s.state WHEN 'submitted' THEN now() END, CASE s.state WHEN 'submitted' THEN 'c' END
        FROM generate_series(1, 13600) n,
             LATERAL (SELECT CASE WHEN mod(n, 34) = 0 THEN 'pending' WHEN mod(n, 34) = 1 THEN 'waiting'
                                  WHEN mod(n, 34) = 2 THEN 'queued' WHEN mod(n, 34) = 3 THEN 'submitting'
                                  ELSE 'submitted' END AS state) s
        """
    )
    ledger.rows(
        "INSERT INTO attempts (job_id, number, trigger, submission_key, worker, finished_at, outcome)"
        " SELECT id, n, 'initial', submission_key, 'w', now(), 'submitted' FROM jobs, generate_series(1, 5) n"
    )
    ledger.rows("VACUUM ANALYZE jobs, attempts")
    yield ledger
    ledger.engine.dispose()


def arrive(connection: Connection) -> None:
    insert_job(connection, admit("tenant-7", {"debtor": {}}))


def give_back(connection: Connection) -> None:
    apply_transitions(connection, [requeued(NOBODY[0], 1)], lease=uuid4())


def release_in_turn(connection: Connection) -> None:
    read_in_turn(connection)
    lock_for_release(connection)
    release.release(connection, room=20)


def probe(connection: Connection) -> None:
    read_in_turn(connection)
    release.release_probe(connection)


def mind(connection: Connection) -> None:
    record_failures(connection, Api.CUSTOMER, jobs=NOBODY, answers=1, run=FailureRun(), now=0.0, detail="HTTP 500")


def expire(connection: Connection) -> None:
    release.reclaim_expired(connection, policy=RetryPolicy(12, 2, 60))


def revive(connection: Connection) -> None:
    resolve.replay(connection, NOBODY, resolve.Actor("a"), {})


@pytest.mark.parametrize(
    ("work", "indexes"),
    [
        (release_in_turn, ["ix_jobs_pending_turn"]),
        (probe, ["ix_jobs_pending_turn"]),
        (release.wake_due, ["ix_jobs_waiting_due"]),
        (lambda c: release.reclaim_unclaimed(c, requeue_seconds=60), ["ix_jobs_queued_at"]),
        (expire, ["ix_jobs_lease_until"]),
        (lambda c: due_work(c, within=60), ["ix_jobs_waiting_due", "ix_jobs_pending_tenant", "ix_jobs_finalized"]),
        (arrive, ["ix_jobs_pending_turn", "ix_jobs_pending_tenant"]),
        (lambda c: claim(c, NOBODY, lease=uuid4(), worker="w", lease_seconds=1), ["pk_jobs"]),
        (give_back, ["pk_attempts"]),
        (revive, ["ix_jobs_pending_turn", "ix_jobs_pending_tenant"]),
        (lambda c: release.requeue_unpublished(c, NOBODY), ["pk_jobs"]),
        (mind, ["ix_attempts_trouble", "pk_jobs", "pk_api_use"]),
    ],
    ids=["release", "probe", "wake", "unclaimed", "expired", "demand", "next round", "claim", "record", "replay",
         "put back", "failures"],
)  # fmt: skip
def test_no_statement_of_the_way_reads_the_whole_table(
    seeded: Database, work: Callable[[Connection], Any], indexes: list[str]
) -> None:
    plan = plan_of(seeded, work)

    assert "Seq Scan on jobs" not in plan, plan
    assert "Seq Scan on attempts" not in plan, plan
    for index in indexes:
        assert index in plan, plan


def test_the_leader_s_look_at_the_standing_reads_only_living_rows(seeded: Database) -> None:
    plan = plan_of(seeded, release.standing)

    assert "Seq Scan on jobs" not in plan, plan
    assert "ix_jobs_queued_at" in plan


def test_final_rows_are_in_none_of_the_indexes_that_the_dispatcher_uses(seeded: Database) -> None:
    sizes = dict(
        seeded.rows("SELECT c.relname, c.reltuples::int FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid"
                    " WHERE i.indrelid = 'jobs'::regclass AND i.indpred IS NOT NULL"
                    " AND pg_get_expr(i.indpred, i.indrelid) ~ '(pending|waiting|queued|submitting)'")
    )  # fmt: skip

    assert sizes.keys() >= {
        "ix_jobs_pending_turn", "ix_jobs_pending_tenant", "ix_jobs_waiting_due", "ix_jobs_queued_at",
        "ix_jobs_lease_until",
    }  # fmt: skip
    assert all(int(str(rows)) <= 400 for rows in sizes.values()), sizes


def test_new_versions_of_a_row_fit_beside_the_old_ones(seeded: Database) -> None:
    """A row changes state about four times, so the table leaves free space and is vacuumed by row count."""
    options = {str(o) for (o,) in seeded.rows("SELECT unnest(reloptions) FROM pg_class WHERE relname = 'jobs'")}

    assert {"fillfactor=70", "autovacuum_vacuum_scale_factor=0", "autovacuum_vacuum_threshold=5000"} <= options


def test_statistics_that_are_behind_make_no_statement_slow(ledger: Database) -> None:
    """With statistics from before a sudden backlog, no dispatcher step scans the whole backlog per job."""
    ledger.rows("ALTER TABLE jobs SET (autovacuum_enabled = false)")
    try:
        ledger.rows("ANALYZE jobs")
        ledger.rows(
            "INSERT INTO jobs"
            " (id, external_tenant_id, idempotency_key, case_body, submission_key, state, due_at, round)"
            " SELECT gen_random_uuid(), 't' || mod(n, 500), n, '{}', gen_random_uuid(),"
            " CASE WHEN mod(n, 2) = 0 THEN 'waiting' ELSE 'pending' END,"
            " CASE WHEN mod(n, 2) = 0 THEN now() END, n / 500"
            " FROM generate_series(1, 20000) n"
        )
        with ledger.engine.begin() as connection:
            connection.exec_driver_sql("SET LOCAL statement_timeout = '2s'")  # it would take minutes the wrong way
            assert release.wake_due(connection) == release.CHUNK
            read_in_turn(connection)
            lock_for_release(connection)
            release.standing(connection)
            assert len(release.release(connection, room=50, tenant_cap=4)) == 50
            connection.exec_driver_sql("UPDATE jobs SET queued_at = now() - interval '1 hour' WHERE state = 'queued'")
            assert release.reclaim_unclaimed(connection, requeue_seconds=60) == 50
    finally:
        ledger.rows("ALTER TABLE jobs RESET (autovacuum_enabled)")
