"""Canary replays: one job, then five, then the rest; stopped when one dies again."""

from __future__ import annotations

from uuid import UUID, uuid4

import pytest

from tests.support.operations import items, leases_end, operation, previewed, started
from tests.support.pipeline import Pipeline
from tests.support.sandbox_witness import Witness
from worker.ledger import queries
from worker.ledger.database import transaction
from worker.ledger.queries import FailureFilter
from worker.ledger.states import State
from worker.ledger.writer import operations as writer
from worker.ledger.writer import resolve
from worker.ledger.writer.resolve import Actor
from worker.report.operations import Step, run, run_step


class Canary:
    """A canary operation that the test carries out step by step."""

    def __init__(self, pipeline: Pipeline, wanted: FailureFilter | None = None) -> None:
        self.pipeline = pipeline
        self.number = started(pipeline.ledger, previewed(pipeline.ledger, wanted), canary=True)
        self.lease = uuid4()

    def step(self) -> Step:
        with transaction(self.pipeline.engine) as connection:
            return run_step(connection, self.number, lease=self.lease)[0]

    def replayed(self) -> int:
        return operation(self.pipeline.ledger, self.number).done


def unsigned(pipeline: Pipeline, count: int) -> list[UUID]:
    """Dead jobs of a client that has not signed."""
    return [pipeline.submit("unfinished-client", creditorReference=f"R{n}") for n in range(count)]


def test_each_canary_stage_waits_until_its_jobs_have_ended(pipeline: Pipeline, sandbox: Witness) -> None:
    # Given eight dead jobs whose cause was dealt with
    unsigned(pipeline, 8)
    sandbox.link("unfinished-client", "ok")
    canary = Canary(pipeline)

    # When the first stage has begun, nothing more is sent until its job has ended
    assert canary.step() is Step.CONTINUE
    assert [canary.step(), canary.step()] == [Step.WAIT, Step.WAIT]
    assert canary.replayed() == 1
    pipeline.run()

    # Then five more, likewise
    assert canary.step() is Step.CONTINUE
    assert canary.step() is Step.WAIT
    assert canary.replayed() == 6
    pipeline.run()

    # Then the rest
    assert canary.step() is Step.CONTINUE
    assert canary.step() is Step.FINISHED
    told = operation(pipeline.ledger, canary.number)
    assert (told.state, told.done, told.stage) == ("done", 8, 3)
    assert [item.stage for item in items(pipeline.ledger, canary.number)] == [1, 2, 2, 2, 2, 2, 3, 3]
    pipeline.run()
    assert {item.state_now for item in items(pipeline.ledger, canary.number)} == {"submitted"}


def test_a_canary_stops_when_its_job_fails_for_the_same_cause(pipeline: Pipeline) -> None:
    # Given a cause that was not dealt with
    jobs = unsigned(pipeline, 3)
    canary = Canary(pipeline)
    canary.step()
    pipeline.run()

    # When the first job has died again
    assert canary.step() is Step.FINISHED

    # Then the rest was left alone, and it says why
    told = operation(pipeline.ledger, canary.number)
    assert (told.state, told.done) == ("stopped", 1)
    assert f"canary job {jobs[0]} died for the same cause again (business_rule: " in str(told.message)
    assert [len(pipeline.letters(job)) for job in jobs] == [2, 1, 1]


def test_a_canary_stops_and_says_so_when_its_job_fails_for_another_cause(pipeline: Pipeline, sandbox: Witness) -> None:
    unsigned(pipeline, 3)
    sandbox.link("unfinished-client", "missing")
    canary = Canary(pipeline)
    canary.step()
    pipeline.run()

    assert canary.step() is Step.FINISHED

    told = operation(pipeline.ledger, canary.number)
    assert told.state == "stopped"
    assert "died for another cause (client_link_not_found: " in str(told.message)


def test_a_failure_in_the_second_stage_stops_a_canary(pipeline: Pipeline, sandbox: Witness) -> None:
    # Given jobs of which only the first fares better
    unsigned(pipeline, 8)
    sandbox.link("unfinished-client", "ok")
    canary = Canary(pipeline)
    canary.step()
    pipeline.run()
    sandbox.link("unfinished-client", "unfinished")
    canary.step()
    pipeline.run()

    assert canary.step() is Step.FINISHED
    told = operation(pipeline.ledger, canary.number)
    assert (told.state, told.done, told.stage) == ("stopped", 6, 2)


def test_a_canary_waits_for_a_job_that_waits_for_a_retry(pipeline: Pipeline, sandbox: Witness) -> None:
    unsigned(pipeline, 2)
    sandbox.link("unfinished-client", "ok")
    canary = Canary(pipeline)
    canary.step()
    sandbox.fault("cases", "status", status=503, times=1)
    pipeline.run()

    assert canary.step() is Step.WAIT
    with pipeline.engine.connect() as connection:
        status = queries.canary_status(connection, canary.number, 1)
    assert (status.replayed, status.under_way, status.deaths) == (1, 1, [])


def test_a_canary_stage_with_too_few_jobs_ends_the_operation_when_they_have_ended(
    pipeline: Pipeline, sandbox: Witness
) -> None:
    unsigned(pipeline, 3)
    sandbox.link("unfinished-client", "ok")
    canary = Canary(pipeline)
    canary.step()
    pipeline.run()

    assert [canary.step(), canary.step()] == [Step.CONTINUE, Step.WAIT]
    pipeline.run()
    assert canary.step() is Step.FINISHED
    assert operation(pipeline.ledger, canary.number).state == "done"


def test_a_canary_job_that_somebody_discards_is_replaced(pipeline: Pipeline, sandbox: Witness) -> None:
    """It shows nothing of the others."""
    first, *_ = unsigned(pipeline, 3)
    canary = Canary(pipeline)
    canary.step()
    pipeline.run()
    with transaction(pipeline.engine) as connection:
        resolve.discard(connection, [first], Actor("bob", "paid"), {})
    sandbox.link("unfinished-client", "ok")

    assert [canary.step(), canary.step()] == [Step.CONTINUE, Step.WAIT]
    assert [item.stage for item in items(pipeline.ledger, canary.number)] == [1, 1]


def test_cancelling_a_canary_ends_its_wait(pipeline: Pipeline) -> None:
    jobs = unsigned(pipeline, 3)
    canary = Canary(pipeline)
    canary.step()
    with transaction(pipeline.engine) as connection:
        writer.cancel(connection, canary.number, Actor("bob"), {})

    assert canary.step() is Step.FINISHED
    assert operation(pipeline.ledger, canary.number).state == "cancelled"
    assert [pipeline.job(job)["state"] for job in jobs] == [State.PENDING, State.DEAD, State.DEAD]


def test_a_canary_goes_on_in_another_process(pipeline: Pipeline, sandbox: Witness) -> None:
    unsigned(pipeline, 8)
    sandbox.link("unfinished-client", "ok")
    canary = Canary(pipeline)
    canary.step()
    leases_end(pipeline.ledger)

    # When another process takes it up while the worker works
    assert run(pipeline.engine, canary.number, sleep=lambda _: pipeline.run())

    assert (operation(pipeline.ledger, canary.number).state, canary.replayed()) == ("done", 8)
    assert pipeline.ledger.value("SELECT count(*) FROM audit_log WHERE action = 'replay'") == 8


@pytest.mark.parametrize("count", [1, 6])
def test_a_canary_of_exactly_one_stage_is_carried_out(pipeline: Pipeline, sandbox: Witness, count: int) -> None:
    unsigned(pipeline, count)
    sandbox.link("unfinished-client", "ok")
    canary = Canary(pipeline)

    assert run(pipeline.engine, canary.number, lease=canary.lease, sleep=lambda _: pipeline.run())

    assert (operation(pipeline.ledger, canary.number).state, canary.replayed()) == ("done", count)
