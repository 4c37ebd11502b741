"""Access to the page: passwords, sessions, roles, and loopback without users."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.command_line import run
from tests.support.databases import Database
from tests.support.web_visitor import HASH, PASSWORD, USERS, Visitor, report
from worker.report.web import passwords
from worker.report.web.people import parse_users

Vars = dict[str, str]
KEY = "k" * 40


def test_without_users_the_page_refuses_to_listen_beyond_this_machine(variables: Vars) -> None:
    result = run(variables, "web", "--host", "0.0.0.0", "--port", "0")

    assert result.exit_code == 2
    assert result.stderr.count("\n") == 1
    assert "without REPORT_USERS the report serves this machine only" in result.stderr


def test_a_bad_setting_ends_the_page_with_one_line(variables: Vars) -> None:
    result = run(variables | {"REPORT_USERS": "olga:boss:secret-hash"}, "web", "--port", "0")

    assert result.exit_code == 2
    assert "REPORT_USERS: entry 1 should be name:role:password-hash" in result.stderr
    assert "secret-hash" not in result.stderr


def test_the_page_names_a_port_that_is_taken(variables: Vars) -> None:
    result = run(variables, "web", "--host", "127.0.0.1", "--port", variables["REDIS_URL"].split(":")[2].split("/")[0])

    assert result.exit_code == 2
    assert "cannot be used" in result.stderr


def test_a_command_makes_an_entry_for_a_user() -> None:
    result = run({}, "hash-password", "olga", "--role", "operator", stdin=f"{PASSWORD}\n")

    user = parse_users(result.stdout)["olga"]
    assert (result.exit_code, user.role) == (0, "operator")
    assert passwords.matches(PASSWORD, user.password_hash)


@pytest.mark.parametrize(("name", "password"), [("olga", "short"), ("ol:ga", PASSWORD), ("ol ga", PASSWORD)])
def test_no_user_entry_is_made_that_could_not_be_used(name: str, password: str) -> None:
    assert run({}, "hash-password", name, stdin=f"{password}\n").exit_code == 2


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8080", "127.0.0.1.evil.example", ""])
def test_without_users_no_other_host_name_is_answered_to(ledger: Database, variables: Vars, host: str) -> None:
    """A web site that rebinds its name to 127.0.0.1 must not read the page through its visitor's browser."""
    visitor = Visitor(report(ledger, variables))

    assert visitor.get("/", Host=host).status_code == 421
    assert visitor.get("/metrics", Host=host).status_code == 421


@pytest.mark.parametrize("host", ["127.0.0.1:8080", "localhost", "LOCALHOST:1", "[::1]:8080"])
def test_without_users_everybody_on_this_machine_is_an_operator(ledger: Database, variables: Vars, host: str) -> None:
    visitor = Visitor(report(ledger, variables))

    assert visitor.get("/", Host=host).status_code == 200
    assert "operator" in visitor.html


def test_a_user_signs_in_and_comes_to_where_they_wanted(ledger: Database, variables: Vars) -> None:
    visitor = Visitor(report(ledger, variables, REPORT_USERS=USERS))

    sent = visitor.get("/jobs?tenant=a%26b")
    assert (sent.status_code, sent.headers["location"]) == (303, "/login?next=%2Fjobs%3Ftenant%3Da%2526b")
    visitor.get(sent.headers["location"])
    let_in = visitor.post("/login", name="olga", password=PASSWORD, next="/jobs?tenant=a%26b")

    assert (let_in.status_code, let_in.headers["location"]) == (303, "/jobs?tenant=a%26b")
    assert visitor.get("/").status_code == 200
    assert ">olga</bdi>" in visitor.html


@pytest.mark.parametrize(
    ("name", "password"), [("olga", "wrong password"), ("nobody", PASSWORD), ("olga", ""), ("", "")]
)
def test_a_wrong_name_and_a_wrong_password_look_the_same(
    ledger: Database, variables: Vars, name: str, password: str
) -> None:
    visitor = Visitor(report(ledger, variables, REPORT_USERS=USERS))

    refused = visitor.sign_in(name, password)

    assert refused.status_code == 403
    assert "Name or password is wrong." in refused.text
    assert visitor.get("/").status_code == 303


@pytest.mark.parametrize(
    "place", ["//evil.example", "https://evil.example", "/\\evil.example", "javascript:alert(1)", ""]
)
def test_signing_in_leads_nowhere_else(ledger: Database, variables: Vars, place: str) -> None:
    visitor = Visitor(report(ledger, variables, REPORT_USERS=USERS))

    let_in = visitor.post("/login", at="/login", name="olga", password=PASSWORD, next=place)

    assert let_in.headers["location"] == "/"


def test_the_cookie_is_for_browsers_alone_and_over_https_for_this_host_alone(ledger: Database, variables: Vars) -> None:
    app = report(ledger, variables, REPORT_USERS=USERS)

    plain = Visitor(app).sign_in().headers["set-cookie"]
    secure = Visitor(app, origin="https://report.example").sign_in().headers["set-cookie"]

    assert plain.startswith("case-worker=")
    assert {"HttpOnly", "SameSite=lax", "Path=/"} <= set(plain.split("; "))
    assert secure.startswith("__Host-case-worker=")
    assert {"HttpOnly", "SameSite=lax", "Path=/", "Secure"} <= set(secure.split("; "))


def test_signing_in_begins_another_session(ledger: Database, variables: Vars) -> None:
    """A cookie planted before the sign-in must not be valid after it."""
    visitor = Visitor(report(ledger, variables, REPORT_USERS=USERS))
    visitor.get("/login")
    planted = visitor.token()

    visitor.post("/login", name="olga", password=PASSWORD)
    visitor.get("/")

    assert visitor.token() != planted
    assert visitor.post("/logout", form_token=planted).status_code == 403


def test_signing_out_ends_the_session(ledger: Database, variables: Vars) -> None:
    visitor = Visitor(report(ledger, variables, REPORT_USERS=USERS))
    visitor.sign_in()

    visitor.post("/logout", at="/")

    assert visitor.get("/").status_code == 303


def test_a_session_ends_when_the_password_or_the_user_goes(ledger: Database, variables: Vars) -> None:
    def asked_again(users: str, cookies: Any) -> int:
        visitor = Visitor(report(ledger, variables, REPORT_USERS=users, REPORT_SECRET_KEY=KEY))
        visitor.http.cookies = cookies
        return visitor.get("/").status_code

    visitor = Visitor(report(ledger, variables, REPORT_USERS=USERS, REPORT_SECRET_KEY=KEY))
    visitor.sign_in()
    cookies = visitor.http.cookies

    assert asked_again(USERS, cookies) == 200, "another process, the same settings"
    assert asked_again(f"olga:operator:{passwords.hash_password('another password')}", cookies) == 303
    assert asked_again(f"victor:viewer:{HASH}", cookies) == 303


def test_a_role_is_the_one_that_the_settings_say_now(ledger: Database, variables: Vars) -> None:
    visitor = Visitor(report(ledger, variables, REPORT_USERS=USERS, REPORT_SECRET_KEY=KEY))
    visitor.sign_in("olga")
    demoted = Visitor(report(ledger, variables, REPORT_USERS=f"olga:viewer:{HASH}", REPORT_SECRET_KEY=KEY))
    demoted.http.cookies = visitor.http.cookies

    assert demoted.get("/act?verb=replay&scope=filter").status_code == 403


@pytest.mark.parametrize("cookie", ["nonsense", "WyJ4Iiwib2xnYSIsbnVsbF0.aaaaaa.bbbb", "." * 50])
def test_a_forged_cookie_lets_nobody_in(ledger: Database, variables: Vars, cookie: str) -> None:
    visitor = Visitor(report(ledger, variables, REPORT_USERS=USERS))

    assert visitor.get("/", Cookie=f"case-worker={cookie}").status_code == 303
