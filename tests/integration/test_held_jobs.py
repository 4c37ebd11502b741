"""One stop for a tenant's client link: its other jobs are not tried for nothing, and go on when the link is good."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

import pytest
from sqlalchemy import text

from tests.support.command_line import run
from tests.support.outages import dispatch, states
from tests.support.pipeline import Pipeline
from tests.support.sandbox_witness import Witness
from worker.intake.enqueue import admit, insert
from worker.ledger import queries
from worker.ledger.database import transaction
from worker.ledger.writer.tenant_links import FIRST_PROBE, free_links
from worker.ledger.writer.webhooks import keep_event, take_event
from worker.report.webhooks.inbox import process_event


@pytest.fixture
def pipeline(new_pipeline: Callable[..., Pipeline]) -> Pipeline:
    return new_pipeline(WORKER_RATE_LIMITS="100000/minute")


def jobs_behind_a_bad_link(pipeline: Pipeline, sandbox: Witness, count: int = 300, link: str = "invalid") -> list[UUID]:
    """As the fleet meets them: the dispatcher gives out what the tenant's cap allows."""
    sandbox.link("acme", link)
    jobs = [pipeline.enqueue("acme", creditorReference=f"r-{n}") for n in range(count)]
    while ids := dispatch(pipeline):
        pipeline.run(ids)
    return jobs


def by_state(pipeline: Pipeline) -> dict[str, int]:
    return {str(state): int(str(n)) for state, n in pipeline.ledger.rows("SELECT state, count(*) FROM jobs GROUP BY 1")}


def link_probes_are_due(pipeline: Pipeline) -> None:
    pipeline.ledger.rows("UPDATE tenant_links SET probe_at = now()")


@pytest.mark.parametrize("link", ["invalid", "missing"])
def test_one_invalid_link_costs_a_dozen_requests(pipeline: Pipeline, sandbox: Witness, link: str) -> None:
    jobs_behind_a_bad_link(pipeline, sandbox, link=link)

    found = by_state(pipeline)
    assert found["held"] >= 294
    assert found["dead"] == 300 - found["held"]
    assert len(sandbox.posts()) <= 12
    assert sandbox.look("stats")["mints"] <= 4
    flagged = pipeline.ledger.value("SELECT count(*) FROM dead_letters WHERE invalid_client_link")
    assert flagged == found["dead"]


def test_a_replay_that_is_submitted_lets_the_others_go_on(pipeline: Pipeline, sandbox: Witness) -> None:
    jobs = jobs_behind_a_bad_link(pipeline, sandbox, 20)
    dead = [job for job in jobs if pipeline.job(job)["state"] == "dead"]
    sandbox.link("acme", "ok")

    pipeline.replay(dead[0])
    pipeline.run(dispatch(pipeline))

    assert pipeline.job(dead[0])["state"] == "submitted"
    assert by_state(pipeline).get("held", 0) == 0
    while ids := dispatch(pipeline):
        pipeline.run(ids)
    assert by_state(pipeline) == {"submitted": 20 - len(dead) + 1, "dead": len(dead) - 1}


def test_a_replay_that_dies_of_another_cause_proves_the_link_too(pipeline: Pipeline, sandbox: Witness) -> None:
    jobs = jobs_behind_a_bad_link(pipeline, sandbox, 20)
    dead = next(job for job in jobs if pipeline.job(job)["state"] == "dead")
    sandbox.link("acme", "ok")
    body = '{"businessErrors": [{"type": "NoPartnerAvailable", "message": "x"}]}'
    sandbox.fault("cases", "status", status=422, body=body, contentType="application/json", times=1)

    pipeline.replay(dead)
    pipeline.run(dispatch(pipeline))

    assert pipeline.letters(dead)[-1]["reason"] == "business_rule"
    assert by_state(pipeline).get("held", 0) == 0


def test_a_replay_that_meets_the_same_refusal_leaves_them_held(pipeline: Pipeline, sandbox: Witness) -> None:
    jobs = jobs_behind_a_bad_link(pipeline, sandbox, 20)
    dead = next(job for job in jobs if pipeline.job(job)["state"] == "dead")
    held = by_state(pipeline)["held"]

    pipeline.replay(dead)
    pipeline.run(dispatch(pipeline))

    assert pipeline.job(dead)["state"] == "dead"
    assert by_state(pipeline)["held"] == held


def test_a_probe_goes_out_now_and_then_and_a_good_one_frees_the_rest(pipeline: Pipeline, sandbox: Witness) -> None:
    jobs_behind_a_bad_link(pipeline, sandbox, 20)
    before = by_state(pipeline)
    assert dispatch(pipeline) == [], "not before its time"

    # Given a probe that finds the link still invalid
    link_probes_are_due(pipeline)
    (probe,) = dispatch(pipeline)
    pipeline.run([probe])

    # Then it is held again, without a dead letter of its own, and the next one comes later
    assert by_state(pipeline) == before
    assert pipeline.letters(probe) == []
    pause, again_in = pipeline.ledger.rows(
        "SELECT probe_pause, extract(epoch FROM probe_at - now())::float8 FROM tenant_links"
    )[0]
    assert float(str(pause)) == 4 * FIRST_PROBE
    assert FIRST_PROBE < float(str(again_in)) <= 2 * FIRST_PROBE

    # And one that is submitted frees the rest
    sandbox.link("acme", "ok")
    link_probes_are_due(pipeline)
    pipeline.run(dispatch(pipeline))
    assert by_state(pipeline).get("held", 0) == 0
    assert pipeline.ledger.value("SELECT count(*) FROM audit_log WHERE action = 'link_freed'") == 1


def test_a_job_that_arrives_meanwhile_is_held_and_says_so(pipeline: Pipeline, sandbox: Witness) -> None:
    jobs_behind_a_bad_link(pipeline, sandbox, 1)

    with transaction(pipeline.engine) as connection:
        arrived = insert(connection, admit("acme", {"debtor": {}, "currencyCode": "DKK"}, "late"))
        again = insert(connection, admit("acme", {"debtor": {}, "currencyCode": "DKK"}, "late"))
        other = insert(connection, admit("other", {"debtor": {}, "currencyCode": "DKK"}, "late"))

    assert (arrived.created, arrived.held) == (True, True)
    assert (again.created, again.held) == (False, True)
    assert (other.created, other.held) == (True, False)
    assert pipeline.job(arrived.id)["state"] == "held"


def test_a_retry_that_comes_due_meanwhile_is_held(pipeline: Pipeline, sandbox: Witness) -> None:
    waiting = pipeline.submit("acme", tag="sandbox:status=503")
    assert pipeline.job(waiting)["state"] == "waiting"
    pipeline.ledger.rows("UPDATE jobs SET due_at = now() + interval '1 hour'")
    jobs_behind_a_bad_link(pipeline, sandbox, 1)

    pipeline.wake()

    assert states(pipeline, [waiting]) == {"held"}


def test_a_good_check_frees_them(pipeline: Pipeline, sandbox: Witness) -> None:
    jobs_behind_a_bad_link(pipeline, sandbox, 20)

    with transaction(pipeline.engine) as connection:
        freed = free_links(connection, ["acme"])
        left = connection.execute(text("SELECT count(*) FROM tenant_links")).scalar_one()

    assert freed >= 14
    assert left == 0
    assert by_state(pipeline).get("held", 0) == 0


def test_the_webhook_that_a_client_is_linked_frees_them(pipeline: Pipeline, sandbox: Witness) -> None:
    jobs_behind_a_bad_link(pipeline, sandbox, 20)
    pipeline.ledger.rows("UPDATE dead_letters SET resolved_at = now(), resolution = 'discarded', resolved_by = 'x'")
    pipeline.ledger.rows("UPDATE jobs SET state = 'discarded', finalized_at = now() WHERE state = 'dead'")

    with transaction(pipeline.engine) as connection:
        keep_event(connection, event_id="e-1", event="client.linked", tenant="acme")
        event = take_event(connection)
        assert event is not None
        process_event(connection, event)

    assert by_state(pipeline).get("held", 0) == 0


def test_the_link_view_counts_them_with_their_money(pipeline: Pipeline, sandbox: Witness) -> None:
    jobs_behind_a_bad_link(pipeline, sandbox, 20)

    with transaction(pipeline.engine) as connection:
        (link,) = queries.invalid_links(connection).links

    assert (link.external_tenant_id, link.jobs, link.held) == ("acme", 20, by_state(pipeline)["held"])
    assert link.amounts == {"DKK": "25010.0000"}


def test_a_probe_that_nobody_would_be_told_of_dies_and_is_flagged(pipeline: Pipeline, sandbox: Witness) -> None:
    jobs_behind_a_bad_link(pipeline, sandbox, 20)
    pipeline.ledger.rows("UPDATE dead_letters SET resolved_at = now(), resolution = 'discarded', resolved_by = 'x'")
    pipeline.ledger.rows("UPDATE jobs SET state = 'discarded', finalized_at = now() WHERE state = 'dead'")

    link_probes_are_due(pipeline)
    (probe,) = dispatch(pipeline)
    pipeline.run([probe])

    assert pipeline.job(probe)["state"] == "dead"
    assert [letter["reason"] for letter in pipeline.letters(probe)] == ["second_unauthorized"]


def test_held_jobs_are_discarded_by_tenant_or_by_id(
    pipeline: Pipeline, sandbox: Witness, variables: dict[str, str]
) -> None:
    jobs = jobs_behind_a_bad_link(pipeline, sandbox, 20)
    held = [job for job in jobs if pipeline.job(job)["state"] == "held"]
    note = ("--note", "the invoices were paid")

    assert run(variables, "discard", "--held", *note).exit_code == 2
    one = run(variables, "discard", "--held", str(held[0]), *note)
    assert (one.exit_code, one.output) == (0, "1 held job discarded\n")
    told = run(variables, "discard", "--held", "--tenant", "acme", "--dry-run", *note).output
    assert told == f"{len(held) - 1} held jobs would be discarded\n"
    run(variables, "discard", "--held", "--tenant", "acme", *note)

    assert by_state(pipeline) == {"discarded": len(held), "dead": 20 - len(held)}
    audited = pipeline.ledger.value("SELECT count(*) FROM audit_log WHERE action = 'discard'")
    assert audited == len(held)


def test_held_jobs_of_a_data_subject_are_erased(
    pipeline: Pipeline, sandbox: Witness, variables: dict[str, str]
) -> None:
    jobs = jobs_behind_a_bad_link(pipeline, sandbox, 20)

    assert run(variables, "erase", "--tenant", "acme", "--note", "asked for", "--yes").exit_code == 0

    assert {pipeline.job(job)["case_body"] for job in jobs} == {"{}"}
    assert by_state(pipeline) == {"discarded": 20}
