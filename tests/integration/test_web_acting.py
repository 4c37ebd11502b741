"""Act on the page: preview, confirm, progress, result, corrections, and the audit log."""

from __future__ import annotations

import pytest

from tests.support.databases import Database
from tests.support.pipeline import Pipeline, refused
from tests.support.rows import insert_dead_job, insert_unreadable_message, set_hold
from tests.support.web_visitor import USERS, Visitor, report
from worker.ledger.writer.holds import HoldName
from worker.report.operations import run as carry_out

Vars = dict[str, str]


@pytest.fixture
def olga(ledger: Database, variables: Vars) -> Visitor:
    visitor = Visitor(report(ledger, variables, REPORT_USERS=USERS))
    visitor.sign_in("olga")
    return visitor


def confirm(visitor: Visitor, **fields: str) -> int:
    """Confirm the preview on the last page. Returns the operation's number."""
    sent = visitor.post("/act", token=visitor.hidden("token"), **fields)
    return int(sent.headers["location"].rpartition("/")[2])


def test_a_replay_is_previewed_confirmed_and_carried_out(pipeline: Pipeline, ledger: Database, olga: Visitor) -> None:
    jobs = refused(pipeline, 2, "acme") + refused(pipeline, 1, "bell")

    # Given a preview, which does nothing
    look = olga.get("/act?verb=replay&scope=filter&reason=validation").text
    assert 'data-preview="jobs">3<' in look
    assert 'data-preview="tenants">2<' in look
    assert "New key." in look
    assert {pipeline.job(j)["state"] for j in jobs} == {"dead"}

    # When it is confirmed
    number = confirm(olga, note="fixed at the sender")
    carry_out(ledger.engine, number)

    # Then the jobs wait for their turn, and the log says who, what and why
    assert {pipeline.job(j)["state"] for j in jobs} == {"pending"}
    page = olga.get(f"/operations/{number}").text
    assert "Done." in page
    assert "fixed at the sender" in page
    assert "Reason: <bdi" in page, "what was selected"
    assert "2 tenants" in page
    assert "3,751.50" in page
    entries = ledger.rows("SELECT actor, action, note, detail ->> 'door' FROM audit_log WHERE job_id IS NOT NULL")
    assert entries == [("olga", "replay", "fixed at the sender", "web page")] * 3
    started = ledger.rows(
        "SELECT actor, detail -> 'filter' ->> 'reason' FROM audit_log WHERE action = 'operation_started'"
    )
    assert started == [("olga", "validation")]


def test_a_discard_needs_a_reason_in_words(pipeline: Pipeline, ledger: Database, olga: Visitor) -> None:
    job = refused(pipeline)[0]
    olga.get("/act?verb=discard&scope=filter")
    token = olga.hidden("token")

    without = olga.post("/act", token=token, note="   ")
    assert without.status_code == 400
    assert "Give a reason" in without.text
    assert ledger.value("SELECT count(*) FROM operations") == 0

    sent = olga.post("/act", token=token, note="paid meanwhile")
    carry_out(ledger.engine, int(sent.headers["location"].rpartition("/")[2]))
    assert pipeline.job(job)["state"] == "discarded"


def test_a_discard_of_cases_that_may_exist_is_warned_of(ledger: Database, olga: Visitor) -> None:
    insert_dead_job(ledger, "known")
    insert_dead_job(ledger, "unknown", unknown=True, reference="R-1")

    assert "may exist" not in olga.get("/act?verb=discard&scope=filter&tenant=known").text
    assert "1 case may exist at Debitura already" in olga.get("/act?verb=discard&scope=filter").text


@pytest.mark.parametrize(
    "query", ["scope=ticked", "scope=ticked&id=", "scope=ticked&id=all", "", "scope=filter&status=abc", "scope=all"]
)
def test_what_is_not_clearly_selected_is_not_taken_for_everything(
    pipeline: Pipeline, olga: Visitor, query: str
) -> None:
    refused(pipeline)

    answer = olga.get(f"/act?verb=discard&{query}")

    assert answer.status_code == 400
    assert "Nothing is selected" in answer.text


def test_only_ticked_jobs_are_acted_on(pipeline: Pipeline, ledger: Database, olga: Visitor) -> None:
    jobs = refused(pipeline, 3)
    letter = pipeline.letters(jobs[1])[0]["id"]

    olga.get(f"/act?verb=replay&scope=ticked&id={letter}")
    carry_out(ledger.engine, confirm(olga))

    assert [pipeline.job(j)["state"] for j in jobs] == ["dead", "pending", "dead"]


def test_what_came_after_the_preview_is_not_part_of_it(pipeline: Pipeline, ledger: Database, olga: Visitor) -> None:
    before = refused(pipeline, 1, "acme")
    olga.get("/act?verb=replay&scope=filter")
    token = olga.hidden("token")
    after = refused(pipeline, 1, "bell")

    sent = olga.post("/act", token=token)
    carry_out(ledger.engine, int(sent.headers["location"].rpartition("/")[2]))

    assert (pipeline.job(before[0])["state"], pipeline.job(after[0])["state"]) == ("pending", "dead")


def test_a_confirmation_of_nothing_any_more_is_said(pipeline: Pipeline, ledger: Database, olga: Visitor) -> None:
    job = refused(pipeline)[0]
    olga.get("/act?verb=replay&scope=filter")
    token = olga.hidden("token")
    pipeline.replay(job)

    late, torn = olga.post("/act", token=token), olga.post("/act", at="/", token="torn")

    assert (late.status_code, torn.status_code) == (409, 409)
    assert "Nothing was done" in late.text
    assert ledger.value("SELECT count(*) FROM operations") == 0


def test_progress_is_told_to_the_script_and_can_be_cancelled(
    pipeline: Pipeline, ledger: Database, olga: Visitor
) -> None:
    jobs = refused(pipeline, 8)
    olga.get("/act?verb=replay&scope=filter")
    place = f"/operations/{confirm(olga, canary='yes')}"

    running = olga.get(f"{place}/progress.json").json()
    assert (running["finished"], running["done"], running["total"]) == (False, 0, 8)
    assert "http-equiv" in olga.get(place).text, "without script the page loads itself again"
    olga.post(f"{place}/cancel", at=place)
    carry_out(ledger.engine, int(place.rpartition("/")[2]))

    assert olga.get(f"{place}/progress.json").json()["finished"]
    page = olga.get(place).text
    assert "Cancelled by olga" in page
    assert "http-equiv" not in page
    assert {pipeline.job(j)["state"] for j in jobs} == {"dead"}


def test_the_result_can_be_downloaded(pipeline: Pipeline, ledger: Database, olga: Visitor) -> None:
    job = refused(pipeline)[0]
    olga.get("/act?verb=replay&scope=filter")
    number = confirm(olga)
    carry_out(ledger.engine, number)

    answer = olga.get(f"/operations/{number}/result.csv")

    assert answer.headers["content-disposition"].startswith('attachment; filename="operation-')
    assert f'"{job}","acme","acme-0","replayed"' in answer.text, "with the reference that people know it by"
    assert olga.get("/operations/999/result.csv").status_code == 404
    assert olga.get("/operations/99999999999999999999999").status_code == 404


def test_personal_data_is_hidden_until_somebody_asks_and_is_named(
    pipeline: Pipeline, ledger: Database, variables: Vars, olga: Visitor
) -> None:
    job = refused(pipeline)[0]
    victor = Visitor(report(ledger, variables, REPORT_USERS=USERS))
    victor.sign_in("victor")

    hidden = olga.get(f"/jobs/{job}").text
    assert "Ærøskøbing" not in hidden + victor.get(f"/jobs/{job}").text
    assert "Reveal personal data" in hidden
    assert "Reveal personal data" not in victor.html

    revealed = olga.post(f"/jobs/{job}/reveal").text
    assert "Ærøskøbing" in revealed
    assert ledger.rows("SELECT actor, action, job_id FROM audit_log") == [("olga", "reveal", job)]
    assert "Personal data viewed by olga" in olga.get(f"/jobs/{job}").text
    assert "Ærøskøbing" not in olga.html, "the next time it is hidden again"
    assert olga.get(f"/jobs/{job}/reveal").status_code == 303


def test_what_an_unreadable_message_holds_is_hidden_too(ledger: Database, olga: Visitor) -> None:
    insert_unreadable_message(ledger)
    number = ledger.value("SELECT id FROM dead_letters")

    assert "secret" not in olga.get(f"/messages/{number}").text
    assert "its body is torn" in olga.html
    assert "secret" in olga.post(f"/messages/{number}/reveal").text
    assert ledger.value("SELECT detail ->> 'dead_letter' FROM audit_log WHERE action = 'reveal'") == str(number)
    assert olga.get("/messages/12345").status_code == 404


def test_the_timeline_tells_a_life(pipeline: Pipeline, ledger: Database, olga: Visitor) -> None:
    job = pipeline.submit("invalid-tenant")
    pipeline.replay(job)
    set_hold(ledger, HoldName.API_KEY)

    page = olga.get(f"/jobs/{job}").text

    order = ["Enqueued", "Attempt 1", "Attempt 2", "Dead: Client link invalid", "Replayed by", "Waits now"]
    places = [page.index(words) for words in order]
    assert places == sorted(places)
    assert "ALARM: the partner API key is rejected" in page
    assert "retried with a fresh token" in page
    assert "HTTP 401" in page
