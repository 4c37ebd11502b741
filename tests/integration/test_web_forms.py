"""Forms are accepted only from our own pages and from roles that may act."""

from __future__ import annotations

import pytest
from starlette.routing import Route

from tests.support.databases import Database
from tests.support.web_visitor import USERS, Visitor, report
from worker.report.web.application import routes

Vars = dict[str, str]


POSTS = sorted({r.path for r in routes() if isinstance(r, Route) and "POST" in (r.methods or ())})


@pytest.mark.parametrize("path", POSTS)
def test_no_form_from_elsewhere_is_taken(ledger: Database, variables: Vars, path: str) -> None:
    visitor = Visitor(report(ledger, variables, REPORT_USERS=USERS))
    visitor.sign_in()
    mine = visitor.get("/") and visitor.token()
    place = path.replace("{number:int}", "1").replace("{job_id}", "01a20bf9-ed11-7787-b474-ced3556ba29e")

    without, other = visitor.post(place, form_token=""), visitor.post(place, form_token="0" * 64)
    foreign = visitor.http.post(place, data={"form_token": mine}, headers={"Sec-Fetch-Site": "cross-site"})

    assert [r.status_code for r in (without, other, foreign)] == [403, 403, 403]
    assert "no longer valid" in foreign.text
    assert "set-cookie" not in foreign.headers, "nor does it end the visitor's session"


def test_a_form_from_elsewhere_without_the_cookie_does_not_replace_it(ledger: Database, variables: Vars) -> None:
    """SameSite keeps the cookie from the request, not the answer's from the browser."""
    visitor = Visitor(report(ledger, variables, REPORT_USERS=USERS))

    assert "set-cookie" not in visitor.post("/act", form_token="x").headers


OPERATORS = [
    ("GET", "/act?verb=replay&scope=filter"), ("POST", "/act"), ("POST", "/jobs/{job}/reveal"),
    ("POST", "/jobs/{job}/edit"), ("POST", "/jobs/{job}/correct"), ("POST", "/messages/1/reveal"),
    ("POST", "/operations/1/cancel"),
]  # fmt: skip


@pytest.mark.parametrize(("method", "path"), OPERATORS)
def test_a_viewer_may_not_act(ledger: Database, variables: Vars, method: str, path: str) -> None:
    visitor = Visitor(report(ledger, variables, REPORT_USERS=USERS))
    visitor.sign_in("victor")
    visitor.get("/")
    place = path.replace("{job}", "01a20bf9-ed11-7787-b474-ced3556ba29e")

    refused = visitor.get(place) if method == "GET" else visitor.post(place)

    assert refused.status_code == 403
    assert "This is for operators" in refused.text
    assert ledger.value("SELECT count(*) FROM audit_log") == 0
