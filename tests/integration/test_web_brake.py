"""The brake on the page and in the terminal: what has stopped, and the answer of a person who knows better."""

from __future__ import annotations

import json
from collections.abc import Callable
from uuid import UUID

import pytest

from tests.support.command_line import run
from tests.support.databases import Database
from tests.support.pipeline import Pipeline
from tests.support.sandbox_witness import Witness
from tests.support.web_visitor import Visitor, report

Vars = dict[str, str]


@pytest.fixture
def stopped(new_pipeline: Callable[..., Pipeline], sandbox: Witness) -> list[UUID]:
    """30 jobs of 6 tenants, and an API that refuses a field for everybody."""
    pipeline = new_pipeline(WORKER_RATE_LIMITS="100000/minute")
    body = '{"debtor.phone": ["The field is not allowed"]}'
    sandbox.fault("cases", "status", status=400, body=body, contentType="application/json")
    jobs = [pipeline.enqueue(f"tenant-{n % 6}", creditorReference=f"r-{n}") for n in range(30)]
    pipeline.run()
    return jobs


@pytest.mark.usefixtures("stopped")
def test_the_page_says_what_has_stopped_and_accepts_the_verdict(ledger: Database, variables: Vars) -> None:
    visitor = Visitor(report(ledger, variables))

    page = visitor.get("/").text
    assert "data-brake" in page
    assert "debtor.phone: The field is not allowed" in page
    assert "30 jobs of 6 tenants wait: " in page

    visitor.post("/brake", at="/", answer="accept", note="a wrong import")
    assert "data-brake" not in visitor.get("/").text
    entry = ledger.rows("SELECT note FROM audit_log WHERE action = 'brake_accepted'")
    assert entry == [("a wrong import",)]


@pytest.mark.usefixtures("stopped")
def test_another_answer_changes_nothing(ledger: Database, variables: Vars) -> None:
    visitor = Visitor(report(ledger, variables))

    visitor.post("/brake", at="/", answer="perhaps")

    assert "data-brake" in visitor.get("/").text


@pytest.mark.usefixtures("stopped")
def test_the_terminal_says_so_too(variables: Vars) -> None:
    status = json.loads(run(variables, "status", "--json").output)
    assert status["brake"]["reason"] == "validation"
    assert (status["brake"]["jobs"], status["brake"]["tenants"]) == (30, 6)
    assert "the API rejects all jobs the same way" in " ".join(run(variables, "status").output.split())
    assert json.loads(run(variables, "brake", "status", "--json").output)["message"].startswith("debtor.phone")
    told = run(variables, "brake").output
    assert "30 jobs of 6 tenants (37515.0000 DKK)" in told

    released = run(variables, "brake", "release", "--note", "repaired")
    assert (released.exit_code, "The fleet continues" in released.output) == (0, True)
    assert run(variables, "brake", "release").exit_code == 1
    assert run(variables, "brake").output == "The brake is off: nothing is stopped.\n"
    assert json.loads(run(variables, "status", "--json").output)["brake"] is None
