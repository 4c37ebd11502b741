"""Who gets in: passwords, sessions, proxies, and this machine alone."""

from __future__ import annotations

from typing import Any

import pytest
from command_line import run
from local_servers import LocalValkey, free_port
from starlette.routing import Route
from web_visitor import HASH, PASSWORD, USERS, Visitor, report

from tests.databases import Database
from worker.report.web import passwords
from worker.report.web.application import routes
from worker.report.web.people import parse_users

Vars = dict[str, str]
KEY = "k" * 40


def test_without_users_it_refuses_to_listen_beyond_this_machine(variables: Vars) -> None:
    result = run(variables, "web", "--host", "0.0.0.0", "--port", "0")

    assert result.exit_code == 2
    assert result.stderr.count("\n") == 1
    assert "without REPORT_USERS the report serves this machine only" in result.stderr


def test_a_bad_setting_ends_it_with_one_line(variables: Vars) -> None:
    result = run(variables | {"REPORT_USERS": "olga:boss:secret-hash"}, "web", "--port", "0")

    assert result.exit_code == 2
    assert "REPORT_USERS: entry 1 should be name:role:password-hash" in result.stderr
    assert "secret-hash" not in result.stderr


def test_a_port_that_is_taken_is_said(variables: Vars) -> None:
    result = run(variables, "web", "--host", "127.0.0.1", "--port", variables["REDIS_URL"].split(":")[2].split("/")[0])

    assert result.exit_code == 2
    assert "cannot be listened on" in result.stderr


def test_an_entry_is_made_by_a_command() -> None:
    result = run({}, "hash-password", "olga", "--role", "operator", stdin=f"{PASSWORD}\n")

    user = parse_users(result.stdout)["olga"]
    assert (result.exit_code, user.role) == (0, "operator")
    assert passwords.matches(PASSWORD, user.password_hash)


@pytest.mark.parametrize(("name", "password"), [("olga", "short"), ("ol:ga", PASSWORD), ("ol ga", PASSWORD)])
def test_no_entry_is_made_that_could_not_be_used(name: str, password: str) -> None:
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
    """Whoever has planted a cookie before must not share it afterwards."""
    visitor = Visitor(report(ledger, variables, REPORT_USERS=USERS))
    visitor.get("/login")
    planted = visitor.token()

    visitor.post("/login", name="olga", password=PASSWORD)
    visitor.get("/")

    assert visitor.token() != planted
    assert visitor.post("/logout", form_token=planted).status_code == 403


def test_signing_out_ends_it(ledger: Database, variables: Vars) -> None:
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


def test_whoever_guesses_is_slowed_down_in_all_processes(ledger: Database, variables: Vars) -> None:
    app, other = (report(ledger, variables, REPORT_USERS=USERS) for _ in range(2))
    guesser = Visitor(app)

    codes = [guesser.sign_in("olga", "wrong password").status_code for _ in range(7)]
    elsewhere = Visitor(other).sign_in("olga", PASSWORD)

    assert codes == [403] * 6 + [429]
    assert elsewhere.status_code == 429, "though the password is right, and the process another"
    assert 0 < int(elsewhere.headers["retry-after"]) <= 301
    assert "Too many tries" in elsewhere.text
    assert Visitor(app, address="198.51.100.9").sign_in().status_code == 303, "from another address"
    assert Visitor(app).sign_in("victor").status_code == 303, "by another name"


def test_the_right_password_makes_up_for_slips_of_the_pen(ledger: Database, variables: Vars) -> None:
    app = report(ledger, variables, REPORT_USERS=USERS)

    codes = [
        Visitor(app).sign_in("olga", p).status_code for p in ["wrong"] * 5 + [PASSWORD] + ["wrong"] * 5 + [PASSWORD]
    ]

    assert 429 not in codes


def test_an_ipv6_network_counts_as_one_address(ledger: Database, variables: Vars) -> None:
    app = report(ledger, variables, REPORT_USERS=USERS)

    codes = [Visitor(app, address=f"2001:db8::{n}").sign_in("olga", "wrong").status_code for n in range(7)]

    assert codes[-1] == 429


def test_guessing_is_slowed_down_while_redis_is_away_too(ledger: Database, variables: Vars) -> None:
    away = variables | {"REDIS_URL": f"redis://127.0.0.1:{free_port()}/0"}
    app = report(ledger, away, REPORT_USERS=USERS)

    codes = [Visitor(app).sign_in("olga", "wrong password").status_code for _ in range(7)]

    assert codes == [403] * 6 + [429]


PROXY = {"REPORT_PROXY_USER_HEADER": "X-Forwarded-User", "REPORT_PROXY_ADDRESSES": "10.1.0.0/16"}


def test_a_configured_proxy_says_who_it_is(ledger: Database, variables: Vars) -> None:
    roles = {"REPORT_PROXY_ROLES": "olga@corp.example:operator *:viewer"}
    behind = Visitor(
        report(ledger, variables, **PROXY, **roles), address="10.1.2.3", origin="http://report.corp.example"
    )

    assert behind.get("/act?verb=replay&scope=filter", X_Forwarded_User="olga@corp.example").status_code == 200
    assert "olga@corp.example" in behind.html
    assert behind.get("/act?verb=replay&scope=filter", X_Forwarded_User="somebody").status_code == 403
    assert behind.get("/", X_Forwarded_User="somebody").status_code == 200


def test_nobody_else_can_say_so(ledger: Database, variables: Vars) -> None:
    outside = Visitor(report(ledger, variables, **PROXY), address="203.0.113.7")
    both = Visitor(report(ledger, variables, REPORT_USERS=USERS, **PROXY), address="203.0.113.7")

    assert outside.get("/", X_Forwarded_User="olga").status_code == 403
    assert both.get("/", X_Forwarded_User="olga").status_code == 303, "they sign in like everybody"


def test_a_proxy_that_names_nobody_lets_nobody_in(ledger: Database, variables: Vars) -> None:
    behind = Visitor(report(ledger, variables, **PROXY), address="10.1.2.3")

    assert behind.get("/").status_code == 403
    assert "has named nobody" in behind.html


def test_whoever_is_on_no_list_is_not_let_in(ledger: Database, variables: Vars) -> None:
    roles = {"REPORT_PROXY_ROLES": "olga:operator"}
    behind = Visitor(report(ledger, variables, **PROXY, **roles), address="10.1.2.3")

    assert behind.get("/", X_Forwarded_User="mallory").status_code == 403
    assert "mallory is not among those" in behind.html


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
