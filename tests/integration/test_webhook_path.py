"""A restored client link end to end: sandbox, signed webhook, web process, canary, submitted case."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from tests.support.command_line import PROGRAM
from tests.support.databases import Database
from tests.support.pipeline import Pipeline
from tests.support.sandbox_witness import Witness
from tests.support.until import until
from tests.support.webhooks import PATH, SECRET, Debitura, Events, encoded
from worker.report.webhooks.inbox import ACTOR

Vars = dict[str, str]


def test_an_event_of_a_process_that_died_is_worked_on_by_the_page_s_next_one(
    pipeline: Pipeline, ledger: Database, variables: Vars
) -> None:
    # Given an event that was acknowledged, and a process that died over it
    pipeline.submit("missing-acme")
    Events(ledger).keep(tenant="missing-acme")

    # When the page starts again
    debitura = Debitura(ledger, variables)
    with debitura.visitor.http:
        until("the event is processed", lambda: ledger.value("SELECT count(*) FROM operation_items") == 1, within=60)

    assert ledger.value("SELECT outcome FROM webhook_events") == "replayed"


@contextmanager
def page(variables: Vars) -> Iterator[str]:
    """Run `case-worker web` as a process. Yields its URL."""
    environment = {**os.environ, **variables, "DEBITURA_WEBHOOK_SECRET": encoded(SECRET)}
    with subprocess.Popen(
        [PROGRAM, "web", "--port", "0"], env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().split()[4].rstrip("/")
        finally:
            process.terminate()
            process.wait(20)


def test_from_a_broken_link_to_a_submitted_case_by_the_true_path(
    pipeline: Pipeline, ledger: Database, variables: Vars, sandbox: Witness
) -> None:
    # Given a tenant whose cases go through, until its link is revoked
    assert pipeline.job(pipeline.submit(creditorReference="R0"))["state"] == "submitted"
    sandbox.link("acme", "invalid")
    jobs = [pipeline.submit(creditorReference=f"R{n}") for n in (1, 2)]
    assert [pipeline.job(job)["state"] for job in jobs] == ["dead", "held"]
    assert pipeline.letters(jobs[0])[0]["reason"] == "second_unauthorized"
    before = len(sandbox.cases())

    # When the client links again, a forger and somebody late say so in vain, and then Debitura says so, twice
    sandbox.link("acme", "ok")
    with page(variables) as address:
        fields = {
            "url": address + PATH, "secret": encoded(SECRET), "event": "client.linked", "externalTenantId": "acme",
            "id": "11111111-2222-3333-4444-555555555555",
        }  # fmt: skip
        sandbox.control("webhook", **fields | {"secret": encoded(b"of somebody else, 20")})
        sandbox.control("webhook", **fields, ageSeconds=400)
        until("both are refused", lambda: [d["status"] for d in sandbox.look("webhooks")] == [401, 401], within=60)
        sandbox.control("webhook", **fields)
        sandbox.control("webhook", **fields)

        # Then a canary replays them, while a worker works
        def worked() -> bool:
            pipeline.run()
            return all(pipeline.job(job)["state"] == "submitted" for job in jobs)

        until("both jobs are submitted", worked, within=60)
        until("both are accepted", lambda: [d["status"] for d in sandbox.look("webhooks")[2:]] == [200, 200], within=60)
        until("the replay is done", lambda: ledger.value("SELECT state FROM operations") == "done", within=60)

    # And each case is there once
    assert len(sandbox.cases()) == before + 2
    assert sandbox.look("stats")["max_cases_per_reference"] == 1
    assert ledger.rows("SELECT actor, canary, done FROM operations") == [(ACTOR, True, 1)]
