"""The audit view: actions in words, filters, pages, export; also for viewers."""

from __future__ import annotations

import csv
import io

import pytest

from tests.support.databases import Database
from tests.support.operations import previewed, started
from tests.support.rows import insert_audit_entry, insert_dead_job
from tests.support.web_visitor import USERS, Visitor, report
from worker.ledger.queries import FailureFilter
from worker.report.operations import run

Vars = dict[str, str]


@pytest.fixture
def victor(ledger: Database, variables: Vars) -> Visitor:
    """A viewer."""
    visitor = Visitor(report(ledger, variables, REPORT_USERS=USERS))
    visitor.sign_in("victor")
    return visitor


def test_what_was_done_is_told_in_words_with_its_filter(ledger: Database, victor: Visitor) -> None:
    job = insert_dead_job(ledger, reference="INV-1")
    run(ledger.engine, started(ledger, previewed(ledger, FailureFilter(reference="INV-1"))))

    page = victor.get("/audit").text

    assert "Replayed the job under a new submission key" in page
    assert "replay 1 job of 1 tenant" in page
    assert 'Reference: <bdi class="foreign">INV-1</bdi>' in page
    assert f'href="/jobs/{job}"' in page
    assert "is done: 1 done" in page
    assert 'href="/audit"' in victor.get("/operations").text


def test_the_filter_is_in_the_address(ledger: Database, victor: Visitor) -> None:
    job = insert_dead_job(ledger)
    insert_audit_entry(ledger, "ada", note="first-note", at="2026-01-31 23:59+00")
    insert_audit_entry(ledger, "ada", "edit", note="second-note", at="2026-02-01 00:00+00")
    insert_audit_entry(ledger, "bob", note="third-note", at="2026-02-02 12:00+00")
    insert_audit_entry(ledger, "bob", "edit", job_id=job, note="fourth-note")

    def notes(query: str) -> list[str]:
        page = victor.get(f"/audit?{query}").text
        return [note for note in ("fourth", "third", "second", "first") if f"{note}-note" in page]

    assert notes("") == ["fourth", "third", "second", "first"]
    assert notes("who=ada") == ["second", "first"]
    assert notes("action=edit") == ["fourth", "second"]
    assert notes(f"job={job}") == ["fourth"]
    assert notes("from=2026-02-01&to=2026-02-01") == ["second"]
    assert notes("who=ada&action=reveal&to=2026-01-31") == ["first"]
    assert notes("who=nobody") == []
    assert "Nothing matches this filter" in victor.html
    assert victor.get("/audit?from=soon").status_code == 400
    assert victor.get("/audit.csv?from=soon").status_code == 400


def test_pages_follow_each_other_without_a_gap_also_within_one_moment(ledger: Database, victor: Visitor) -> None:
    ledger.rows(
        "INSERT INTO audit_log (actor, action, note)"
        " SELECT 'ada', 'reveal', 'n' || g || '.' FROM generate_series(1, 120) g"
    )
    seen: list[str] = []
    address = "/audit?who=ada"
    while address:
        page = victor.get(address).text
        seen += [f"n{n}." for n in range(120, 0, -1) if f">n{n}.<" in page]
        _, older, rest = page.partition('href="/audit?who=ada&amp;before=')
        address = f"/audit?who=ada&before={rest.partition(chr(34))[0]}" if older else ""

    assert seen == [f"n{n}." for n in range(120, 0, -1)]


def test_the_file_has_all_that_fits_and_no_formula(ledger: Database, victor: Visitor) -> None:
    insert_audit_entry(ledger, "=cmd()", note='=HYPERLINK("http://evil.example")')
    insert_audit_entry(ledger, "bob", "edit")

    answer = victor.get("/audit.csv?action=reveal")

    (row,) = csv.DictReader(io.StringIO(answer.text.removeprefix("\ufeff")))
    assert (row["actor"], row["action"], row["what"]) == ("'=cmd()", "reveal", "Viewed the job's personal data")
    assert row["note"] == '\'=HYPERLINK("http://evil.example")'
