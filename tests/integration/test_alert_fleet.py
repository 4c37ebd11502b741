"""Alerts about what stops the fleet: a refused key, an open circuit, a job that waits too long; and their end."""

from __future__ import annotations

import pytest

from tests.support.alert_looks import Looks
from tests.support.databases import Database
from tests.support.pipeline import Pipeline
from tests.support.rows import ago, change_job, set_hold
from tests.support.sandbox_witness import Witness
from worker.ledger.writer.holds import HoldName
from worker.policy.circuit_breaker import FAILED_JOBS_AT_LEAST


@pytest.fixture
def looks(ledger: Database) -> Looks:
    return Looks(ledger)


def test_a_refused_partner_key_and_its_end(looks: Looks, pipeline: Pipeline, sandbox: Witness) -> None:
    pipeline.enqueue()
    sandbox.control("api-key", accepted=False)
    pipeline.run()
    assert [looks.look(), looks.look()] == [1, 0]

    sandbox.control("api-key", accepted=True)
    pipeline.again()
    assert [looks.look(), looks.look()] == [1, 0]

    assert looks.kinds() == ["partner_key_refused", "partner_key_accepted"]
    assert looks.told()[1][1]["seconds"] >= 0


def test_an_outage_opens_a_circuit_and_its_end_closes_it(looks: Looks, pipeline: Pipeline, sandbox: Witness) -> None:
    for n in range(FAILED_JOBS_AT_LEAST + 1):
        pipeline.enqueue(f"tenant-{n}")
    sandbox.fault("cases", "status", status=503)
    pipeline.run()
    assert set(pipeline.holds()) == {"customer_api"}
    looks.look()

    pipeline.ledger.rows("DELETE FROM holds")
    looks.look()

    assert looks.kinds() == ["circuit_opened", "circuit_closed"]
    assert {facts["circuit"] for _, facts in looks.told()} == {"customer_api"}


def test_a_circuit_that_has_opened_anew_between_two_looks_is_told_of_both_times(looks: Looks, ledger: Database) -> None:
    def opens() -> None:
        set_hold(ledger, HoldName.REFERRAL_API, detail="Müller GmbH said no")

    opens()
    looks.look()
    ledger.rows("DELETE FROM holds")
    opens()
    looks.look()

    assert sorted(looks.kinds()) == ["circuit_closed", "circuit_opened", "circuit_opened"]
    assert "Müller" not in str(looks.told()), "what an API says may name somebody"


def test_a_hold_for_a_rate_limit_is_the_usual_course_and_no_alert(looks: Looks, ledger: Database) -> None:
    set_hold(ledger, HoldName.RATE_LIMIT)

    assert looks.look() == 0


def test_the_oldest_pending_job_over_the_threshold_and_below_it_again(pipeline: Pipeline, ledger: Database) -> None:
    looks = Looks(ledger, ALERT_OLDEST_PENDING_SECONDS="100")
    job = pipeline.enqueue()

    def waits(seconds: int) -> int:
        change_job(ledger, job, pending_since=ago(f"{seconds} s"))
        return looks.look()

    assert [waits(99), waits(101), waits(300), waits(90), waits(101)] == [0, 1, 0, 0, 0]
    assert [waits(79), waits(101)] == [1, 1]
    pipeline.run()
    assert [looks.look(), looks.look()] == [1, 0]
    assert looks.kinds() == ["oldest_pending_over", "oldest_pending_recovered"] * 2
