"""Behind a company's proxy: which headers are trusted, and from whom."""

from __future__ import annotations

from local_servers import LocalValkey

from tests.support.databases import Database
from tests.support.web_visitor import USERS, Visitor, report

Vars = dict[str, str]


PROXY = {"REPORT_PROXY_USER_HEADER": "X-Forwarded-User", "REPORT_PROXY_ADDRESSES": "10.1.0.0/16"}


def test_a_configured_proxy_names_the_user(ledger: Database, variables: Vars) -> None:
    roles = {"REPORT_PROXY_ROLES": "olga@corp.example:operator *:viewer"}
    behind = Visitor(
        report(ledger, variables, **PROXY, **roles), address="10.1.2.3", origin="http://report.corp.example"
    )

    assert behind.get("/act?verb=replay&scope=filter", X_Forwarded_User="olga@corp.example").status_code == 200
    assert "olga@corp.example" in behind.html
    assert behind.get("/act?verb=replay&scope=filter", X_Forwarded_User="somebody").status_code == 403
    assert behind.get("/", X_Forwarded_User="somebody").status_code == 200


def test_only_a_configured_proxy_can_name_the_user(ledger: Database, variables: Vars) -> None:
    outside = Visitor(report(ledger, variables, **PROXY), address="203.0.113.7")
    both = Visitor(report(ledger, variables, REPORT_USERS=USERS, **PROXY), address="203.0.113.7")

    assert outside.get("/", X_Forwarded_User="olga").status_code == 403
    assert both.get("/", X_Forwarded_User="olga").status_code == 303, "they sign in like everybody"


def test_a_proxy_that_names_nobody_lets_nobody_in(ledger: Database, variables: Vars) -> None:
    behind = Visitor(report(ledger, variables, **PROXY), address="10.1.2.3")

    assert behind.get("/").status_code == 403
    assert "it named none" in behind.html


def test_whoever_is_on_no_list_is_not_let_in(ledger: Database, variables: Vars) -> None:
    roles = {"REPORT_PROXY_ROLES": "olga:operator"}
    behind = Visitor(report(ledger, variables, **PROXY, **roles), address="10.1.2.3")

    assert behind.get("/", X_Forwarded_User="mallory").status_code == 403
    assert "mallory has no role" in behind.html


def test_an_address_is_told_apart_from_the_proxy_it_comes_through(
    ledger: Database, variables: Vars, valkey: LocalValkey
) -> None:
    app = report(ledger, variables, REPORT_USERS=USERS, REPORT_PROXY_ADDRESSES="10.1.0.0/16")
    behind = Visitor(app, address="10.1.2.3")
    behind.http.headers["X-Forwarded-Proto"] = "https"
    behind.http.base_url = "https://report.corp.example"

    for _ in range(6):
        behind.http.headers["X-Forwarded-For"] = "203.0.113.1"
        behind.sign_in("olga", "wrong password")
    behind.http.headers["X-Forwarded-For"] = "203.0.113.2"
    let_in = behind.sign_in("olga")

    assert let_in.status_code == 303
    assert let_in.headers["set-cookie"].startswith("__Host-")
    assert valkey.client().keys("*203.0.113.1*")
