"""The nightly purge runs once a day in the leading worker and never blocks the dispatcher."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from tests.support.databases import Database
from tests.support.pipeline import Pipeline
from tests.support.rows import DAY, age
from tests.support.until import until
from worker.dispatch.dispatcher import Dispatcher
from worker.dispatch.retention import NightlyPurge


class Nobody:
    """A publisher that must not be used."""

    def publish(self, job_ids: Any) -> None:
        raise AssertionError("nothing is pending")

    def close(self) -> None:
        pass


def test_the_leading_worker_purges_at_night(new_pipeline: Callable[..., Pipeline]) -> None:
    pipeline = new_pipeline(PURGE_AFTER="90d")
    job = pipeline.submit()
    age(pipeline.ledger, job)
    dispatcher = Dispatcher(pipeline.settings, Nobody(), name="here:1")
    stop = threading.Event()
    thread = threading.Thread(target=dispatcher.run, kwargs={"stopped": stop.is_set})
    thread.start()
    try:
        until("the purge", lambda: pipeline.ledger.value("SELECT purged_on IS NOT NULL FROM dispatcher"), within=30)
    finally:
        stop.set()
        thread.join(10)

    assert pipeline.job(job)["purged_at"] is not None
    log = pipeline.ledger.rows("SELECT actor, detail ->> 'jobs', detail ->> 'door' FROM audit_log")
    assert log == [("dispatcher of here:1", "1", "nightly purge")]
    assert pipeline.ledger.value("SELECT purged_on FROM dispatcher") == datetime.now(UTC).date()


def nightly(ledger: Database, *, after: float | None = 90 * DAY, leads: bool = True) -> None:
    """Check once whether the purge is due, and wait for its end."""
    duty = NightlyPurge(ledger.engine, age=after, name="w", leads=lambda: leads, rest=0.0)
    duty.look()
    if duty._thread:
        duty._thread.join(10)
    duty.stop()


def test_a_nightly_purge_runs_once_a_night_unless_it_was_broken_off(pipeline: Pipeline) -> None:
    job = pipeline.submit()
    age(pipeline.ledger, job)

    def left() -> bool:
        return pipeline.job(job)["purged_at"] is None

    # Given nobody who wants it, it is not done; given a worker that loses the lead, it is left to the next one
    nightly(pipeline.ledger, after=None)
    assert pipeline.ledger.value("SELECT count(*) FROM audit_log") == 0
    nightly(pipeline.ledger, leads=False)
    assert left()
    nightly(pipeline.ledger)
    assert not left()

    # And what becomes due later that day waits for the next night
    entries = pipeline.ledger.value("SELECT count(*) FROM audit_log WHERE action = 'purge'")
    nightly(pipeline.ledger)
    assert pipeline.ledger.value("SELECT count(*) FROM audit_log WHERE action = 'purge'") == entries
    pipeline.ledger.rows("UPDATE dispatcher SET purged_on = purged_on - 1")
    nightly(pipeline.ledger)
    assert pipeline.ledger.value("SELECT count(*) FROM audit_log WHERE action = 'purge'") == int(str(entries)) + 1
