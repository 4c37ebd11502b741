"""Rules for every page, lists and files, and that a hostile case can't break a page."""

from __future__ import annotations

import csv
import io
import json
from html.parser import HTMLParser

import pytest

from tests.support.databases import Database
from tests.support.pipeline import Pipeline
from tests.support.rows import change_dead_letters, insert_dead_job, insert_unreadable_message, set_hold, set_leader
from tests.support.web_visitor import Visitor, report
from worker.ledger.writer.holds import HoldName
from worker.report.web.security_middleware import MAX_BODY

Vars = dict[str, str]
HOSTILE = {
    "creditorReference": '=HYPERLINK("http://evil.example")',
    "comments": "<script>alert(1)</script>",
    "debtor": {"type": "Company", "name": "\u202e<img src=x onerror=alert(1)>", "countryAlpha2": "DK"},
}
HOSTILE_TENANT = "<script>alert('t')</script>"


class Strict(HTMLParser):
    """Collect everything that a strict content security policy would block, and every URL."""

    def __init__(self) -> None:
        super().__init__()
        self.sins: list[str] = []
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = dict(attrs)
        self.sins += [f"{tag} {name}" for name in named if name == "style" or name.startswith("on")]
        if tag == "style" or (tag == "script" and "src" not in named):
            self.sins.append(f"inline {tag}")
        self.addresses += [str(named[name]) for name in ("src", "href", "action", "formaction") if name in named]


def hostile_job(pipeline: Pipeline, ledger: Database) -> str:
    """A dead job in which every text is hostile."""
    job = pipeline.submit(HOSTILE_TENANT, currencyCode="?", **HOSTILE)
    detail = {
        "status": 400, "type": "</span><script>alert(2)</script>", "message": "<b onmouseover=alert(3)>" + "x" * 10_000,
        "fields": {"<script>": ["<script>alert(4)</script>"]}, "combinedSigningUrl": "javascript:alert(5)",
        "excerpt": "<script>alert(6)</script>",
        "businessErrors": [{"type": "<i>", "message": "\u202e", "solutionUrl": "javascript:alert(7)"}] * 2,
    }  # fmt: skip
    change_dead_letters(ledger, job, detail=detail, solution_url="javascript:alert(8)")
    return str(job)


@pytest.mark.parametrize(
    "path",
    ["/", "/jobs", "/jobs/{job}", "/links", "/operations", "/audit",
     "/find?q={tenant}", "/act?verb=discard&scope=filter", "/jobs?tenant={tenant}",
     "/nowhere", "/jobs?min=x", "/messages/2"],
)  # fmt: skip
def test_nothing_that_a_case_says_becomes_part_of_the_page(
    pipeline: Pipeline, ledger: Database, variables: Vars, path: str
) -> None:
    job = hostile_job(pipeline, ledger)
    insert_unreadable_message(ledger)
    visitor = Visitor(report(ledger, variables))

    answer = visitor.get(path.replace("{job}", job).replace("{tenant}", "%3Cscript%3E"))

    page = Strict()
    page.feed(answer.text)
    assert page.sins == []
    assert "<script>alert" not in answer.text
    assert "\u202e" not in answer.text
    assert not [a for a in page.addresses if not a.startswith(("/", "#"))], (
        "nothing leads elsewhere, or comes from there"
    )


@pytest.mark.parametrize("path", ["/", "/jobs", "/login", "/nowhere", "/healthz", "/metrics", "/export.csv"])
def test_every_answer_keeps_browsers_strict(ledger: Database, variables: Vars, path: str) -> None:
    headers = Visitor(report(ledger, variables)).get(path).headers

    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cache-control"] == "no-store"


def test_a_fault_of_the_page_is_told_without_its_insides(
    ledger: Database, variables: Vars, monkeypatch: pytest.MonkeyPatch
) -> None:
    visitor = Visitor(report(ledger, variables))
    monkeypatch.setattr("worker.ledger.queries.tiles", lambda _: 1 / 0)

    answer = visitor.get("/")

    assert answer.status_code == 500
    assert "incident" in answer.text
    assert "ZeroDivision" not in answer.text
    assert "content-security-policy" in answer.headers


def test_style_and_script_may_be_kept_for_ever_since_their_address_changes(ledger: Database, variables: Vars) -> None:
    visitor = Visitor(report(ledger, variables))
    page = Strict()
    page.feed(visitor.get("/").text)

    ours = [address for address in page.addresses if address.startswith("/static/")]
    answers = [visitor.get(address) for address in ours]

    assert len(ours) == 3
    assert {a.headers["content-type"].split(";")[0] for a in answers} == {
        "text/css",
        "text/javascript",
        "image/svg+xml",
    }
    assert all("immutable" in a.headers["cache-control"] for a in answers)
    assert visitor.get("/static/000000000000/report.css").status_code == 404
    assert visitor.get("/static/../application.py").status_code == 404


def test_a_form_has_a_largest_size(ledger: Database, variables: Vars) -> None:
    visitor = Visitor(report(ledger, variables))
    announced = visitor.http.post("/act", content=b"x" * (MAX_BODY + 1))
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    chunked = visitor.http.post("/act", content=iter([b"x" * 1_000_000] * 6), headers=form)

    assert announced.status_code == 413
    assert chunked.status_code == 413


def test_tiles_say_why_jobs_wait(pipeline: Pipeline, ledger: Database, variables: Vars) -> None:
    pipeline.enqueue()
    set_hold(ledger, HoldName.RATE_LIMIT, detail="the API said 429")
    set_leader(ledger)

    page = Visitor(report(ledger, variables)).get("/").text

    assert "On hold" in page
    assert "The Customer API&#39;s rate limit is reached." in page
    assert "the API said 429" in page
    assert "<b>1</b><span>waiting</span>" in page


def test_a_filter_is_in_the_address_and_one_that_cannot_be_read_lists_nothing(
    pipeline: Pipeline, ledger: Database, variables: Vars
) -> None:
    pipeline.submit("a", currencyCode="?", creditorReference="A-1")
    pipeline.submit("b", tag="sandbox:status=403", creditorReference="B-1")
    visitor = Visitor(report(ledger, variables))

    by_tenant = visitor.get("/jobs?tenant=a").text
    by_words = visitor.get("/jobs?text=currency+ISO").text
    wrong = visitor.get("/jobs?tenant=a&status=abc")

    assert ("A-1" in by_tenant, "B-1" in by_tenant) == (True, False)
    assert ("A-1" in by_words, "B-1" in by_words) == (True, False)
    assert wrong.status_code == 400
    assert "A-1" not in wrong.text
    assert "should be a status from 100 to 599" in wrong.text


@pytest.mark.parametrize(
    ("query", "said"),
    [("cause=x", "This part should be UUIDs"), ("from=yesterday", "This part should be a time such as")],
)
def test_what_is_wrong_with_a_part_that_has_no_field_is_said_too(
    ledger: Database, variables: Vars, query: str, said: str
) -> None:
    answer = Visitor(report(ledger, variables)).get(f"/jobs?{query}")

    assert answer.status_code == 400
    assert said in answer.text


def test_a_cause_shows_a_message_and_not_its_pattern(ledger: Database, variables: Vars) -> None:
    """The pattern has a # for each word with a digit, also where the API names a field of ours."""
    insert_dead_job(ledger, message="debtor.stateAlpha2: The stateAlpha2 field is required.")
    visitor = Visitor(report(ledger, variables))

    assert '"foreign">debtor.stateAlpha2: The' in visitor.get("/").text
    assert '1</p>\n    <p class="sub">needs a person' in visitor.html
    insert_dead_job(ledger, message="debtor.zipCode: 12 is too short.")
    insert_dead_job(ledger, message="debtor.zipCode: 345 is too short.")
    assert "For example: <bdi" in visitor.get("/").text


def test_long_lists_come_in_pages_whose_links_lead_to_each_other(
    ledger: Database, pipeline: Pipeline, variables: Vars
) -> None:
    for number in range(60):
        pipeline.enqueue(currencyCode="?", creditorReference=f"R-{number:03}")
    pipeline.run()
    visitor = Visitor(report(ledger, variables))

    def shown(path: str) -> list[str]:
        html = visitor.get(path).text
        return [part.split("<")[0] for part in html.split('<b><bdi class="foreign">')[1:]]

    first = shown("/jobs?tenant=acme")
    following = visitor.html.split('">Older</a>')[0].rpartition('href="')[2].replace("&amp;", "&")
    second = shown(following)
    back = visitor.html.split('">Newer</a>')[0].rpartition('href="')[2].replace("&amp;", "&")

    assert (len(first), len(second)) == (50, 10)
    assert not set(first) & set(second)
    assert shown(back) == first


def test_the_file_for_spreadsheets_runs_no_formula_and_keeps_to_the_filter(
    pipeline: Pipeline, ledger: Database, variables: Vars
) -> None:
    hostile_job(pipeline, ledger)
    pipeline.submit("other", tag="sandbox:status=403")
    visitor = Visitor(report(ledger, variables))

    answer = visitor.get("/export.csv?reason=validation")

    rows = list(csv.DictReader(io.StringIO(answer.text.removeprefix("\ufeff"))))
    assert answer.headers["content-disposition"] == 'attachment; filename="failures.csv"'
    assert answer.headers["content-type"].startswith("text/csv")
    assert [row["creditor_reference"] for row in rows] == ['\'=HYPERLINK("http://evil.example")']


def test_the_file_for_programs_has_groups_and_failures(pipeline: Pipeline, ledger: Database, variables: Vars) -> None:
    pipeline.submit(currencyCode="?")
    visitor = Visitor(report(ledger, variables))

    found = json.loads(visitor.get("/export.json").text)

    assert len(found["groups"]) == len(found["failures"]) == 1
    assert visitor.get("/export.json?status=x").status_code == 400


def test_a_job_s_page_follows_it_while_it_is_under_way(pipeline: Pipeline, ledger: Database, variables: Vars) -> None:
    job = pipeline.enqueue()
    visitor = Visitor(report(ledger, variables))

    assert f'data-follow="/jobs/{job}/mark.json" data-mark="pending-0"' in visitor.get(f"/jobs/{job}").text
    assert visitor.get(f"/jobs/{job}/mark.json").json() == {"mark": "pending-0"}
    pipeline.run()
    assert visitor.get(f"/jobs/{job}/mark.json").json() == {"mark": "submitted-1"}
    assert "data-follow" not in visitor.get(f"/jobs/{job}").text


def test_files_of_the_page_are_marked_for_excel(ledger: Database, variables: Vars) -> None:
    insert_dead_job(ledger)
    visitor = Visitor(report(ledger, variables))

    assert visitor.get("/export.csv").text.startswith('\ufeff"job_id"')
    assert visitor.get("/export.json").text.startswith("{")


def test_the_currency_of_most_jobs_comes_first(ledger: Database, variables: Vars) -> None:
    for amount, currency in (("9000", "DKK"), ("1", "EUR"), ("2", "EUR"), ("5000", "AAA")):
        insert_dead_job(ledger, amount=amount, currency=currency)
    visitor = Visitor(report(ledger, variables))

    for path in ("/", "/jobs", "/act?verb=replay&scope=filter"):
        page = visitor.get(path).text.rpartition("</form>")[0] + visitor.html
        sums = [page.find(f"{total}.00") for total in ("3", "5,000", "9,000")]
        assert -1 < sums[0] < sums[1] < sums[2], path
