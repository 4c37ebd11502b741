"""Finding one job in whatever state: by its reference or id, on the page and in the terminal."""

from __future__ import annotations

import pytest

from tests.support.command_line import run
from tests.support.databases import Database
from tests.support.pipeline import Pipeline
from tests.support.rows import insert_dead_job
from tests.support.web_visitor import Visitor, report

Vars = dict[str, str]


@pytest.mark.parametrize("state", ["pending", "submitted", "dead"])
def test_a_reference_or_an_id_leads_to_its_job_whatever_its_state(
    pipeline: Pipeline, ledger: Database, variables: Vars, state: str
) -> None:
    fields = {"creditorReference": "INV/7 ü", **({"currencyCode": "?"} if state == "dead" else {})}
    job = pipeline.enqueue(**fields) if state == "pending" else pipeline.submit(**fields)
    visitor = Visitor(report(ledger, variables))

    assert pipeline.job(job)["state"] == state
    for typed in ("INV%2F7+%C3%BC", f" {job} ", str(job).upper()):
        answer = visitor.get(f"/find?q={typed}")
        assert (answer.status_code, answer.headers["location"]) == (303, f"/jobs/{job}")


def test_a_reference_that_two_clients_use_is_listed(pipeline: Pipeline, ledger: Database, variables: Vars) -> None:
    one, two = pipeline.enqueue("acme", creditorReference="7"), pipeline.enqueue("other", creditorReference="7")
    pipeline.enqueue("third", creditorReference="70")

    page = Visitor(report(ledger, variables)).get("/find?q=7").text

    assert f'href="/jobs/{one}"' in page
    assert f'href="/jobs/{two}"' in page
    assert "third" not in page


def test_what_nobody_has_is_said_and_an_empty_box_leads_to_the_jobs(ledger: Database, variables: Vars) -> None:
    visitor = Visitor(report(ledger, variables))

    assert "No job has this reference or id" in visitor.get("/find?q=%3Cb%3E").text
    assert visitor.get("/find?q=").headers["location"] == "/jobs"


def test_a_filter_by_reference_that_finds_no_failure_offers_all_jobs(ledger: Database, variables: Vars) -> None:
    insert_dead_job(ledger)
    visitor = Visitor(report(ledger, variables))

    for page in ("/", "/jobs"):
        assert 'href="/find?q=INV-1"' in visitor.get(f"{page}?reference=INV-1").text
        other = visitor.get(f"{page}?tenant=nobody")
        assert "Nothing matches this filter" in other.text
        assert "/find?q=" not in other.text


def test_show_takes_a_reference_and_a_tenant(pipeline: Pipeline, variables: Vars) -> None:
    one, two = pipeline.enqueue("acme", creditorReference="INV-1"), pipeline.enqueue("other", creditorReference="INV-1")

    assert f"job {two}" in run(variables, "show", "--reference", "INV-1", "--tenant", "other").stdout
    several = run(variables, "show", "--reference", "INV-1")
    assert several.exit_code == 2
    assert str(one) in several.stderr
    assert str(two) in several.stderr


def test_show_needs_an_id_or_a_known_reference(ledger: Database, variables: Vars) -> None:
    nobody = run(variables, "show", "--reference", "INV-2")
    assert (nobody.exit_code, "no job with the reference INV-2" in nobody.stderr) == (1, True)
    assert run(variables, "show").exit_code == 2
