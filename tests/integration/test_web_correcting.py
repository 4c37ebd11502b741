"""Correcting a refused case on its page, and sending it again."""

from __future__ import annotations

import pytest

from tests.support.databases import Database
from tests.support.pipeline import Pipeline, refused
from tests.support.web_visitor import USERS, Visitor, report


@pytest.fixture
def olga(ledger: Database, variables: dict[str, str]) -> Visitor:
    visitor = Visitor(report(ledger, variables, REPORT_USERS=USERS))
    visitor.sign_in("olga")
    return visitor


def test_a_refused_case_is_corrected_and_sent_again(pipeline: Pipeline, ledger: Database, olga: Visitor) -> None:
    job = refused(pipeline)[0]

    # Given a form with what the API said at the field
    form = olga.post(f"/jobs/{job}/edit", at=f"/jobs/{job}").text
    assert 'name="case:currencyCode" value="?"' in form
    assert "ISO 4217" in form
    assert ledger.value("SELECT detail ->> 'for' FROM audit_log WHERE action = 'reveal'") == "edit"

    # When the field is corrected
    saved = olga.post(
        f"/jobs/{job}/correct",
        **{"seen": olga.hidden("seen"), "case:currencyCode": "DKK", "case:amountToRecover": "1250.5", "note": "a typo"},
    )
    assert saved.headers["location"] == f"/jobs/{job}"

    # Then it goes its way with the new wording, and both are kept
    pipeline.run()
    assert pipeline.job(job)["state"] == "submitted"
    page = olga.get(f"/jobs/{job}").text
    assert "Version 2" in page
    assert '<del><bdi class="foreign">?</bdi></del>' in page
    assert '<ins><bdi class="foreign">DKK</bdi></ins>' in page
    assert ledger.rows("SELECT actor, note FROM audit_log WHERE action = 'edit'") == [("olga", "a typo")]


def test_a_correction_that_cannot_be_is_told_at_its_field_and_nothing_is_lost(
    pipeline: Pipeline, ledger: Database, olga: Visitor
) -> None:
    job = refused(pipeline)[0]
    olga.post(f"/jobs/{job}/edit", at=f"/jobs/{job}")

    answer = olga.post(
        f"/jobs/{job}/correct",
        **{"seen": olga.hidden("seen"), "case:amountToRecover": "a lot", "case:currencyCode": "SEK", "note": "n"},
    )

    assert answer.status_code == 400
    assert 'value="a lot"' in answer.text
    assert 'value="SEK"' in answer.text
    assert "should be a number" in answer.text
    same = olga.post(f"/jobs/{job}/correct", **{"seen": "1", "case:currencyCode": "?"})
    assert "is unchanged" in same.text
    assert pipeline.job(job)["state"] == "dead"


def test_a_form_that_comes_back_is_a_look_at_personal_data_too(
    pipeline: Pipeline, ledger: Database, olga: Visitor
) -> None:
    """Sending an empty correction must not be a way around the audit log."""
    job = refused(pipeline)[0]
    other = pipeline.submit(tag="sandbox:status=403")
    olga.get("/")

    back = olga.post(f"/jobs/{job}/correct", seen="1", form_token=olga.token())
    assert "Ærøskøbing" in back.text
    assert ledger.rows("SELECT actor, action, job_id FROM audit_log") == [("olga", "reveal", job)]

    closed = olga.post(f"/jobs/{other}/correct", at="/", seen="1")
    assert closed.status_code == 409
    assert "Ærøskøbing" not in closed.text


def test_only_one_of_two_corrections_counts(pipeline: Pipeline, olga: Visitor) -> None:
    job = refused(pipeline)[0]
    olga.post(f"/jobs/{job}/edit", at=f"/jobs/{job}")
    seen = olga.hidden("seen")
    olga.post(f"/jobs/{job}/correct", **{"seen": seen, "case:currencyCode": "bad"})

    late = olga.post(f"/jobs/{job}/correct", at=f"/jobs/{job}", **{"seen": seen, "case:currencyCode": "DKK"})

    assert late.status_code == 409
    assert "Nothing was changed" in late.text


def test_a_case_that_failed_for_another_reason_is_not_corrected(pipeline: Pipeline, olga: Visitor) -> None:
    job = pipeline.submit(tag="sandbox:status=403")

    assert "Correct and replay" not in olga.get(f"/jobs/{job}").text
    assert olga.post(f"/jobs/{job}/edit").status_code == 409
    assert olga.post("/jobs/01a20bf9-ed11-7787-b474-ced3556ba29e/edit", at="/").status_code == 404
    assert olga.get("/jobs/no-uuid").status_code == 404
