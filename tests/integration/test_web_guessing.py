"""Password guessing is slowed down, from every address."""

from __future__ import annotations

from local_servers import free_port

from tests.support.databases import Database
from tests.support.web_visitor import PASSWORD, USERS, Visitor, report

Vars = dict[str, str]


def test_whoever_guesses_is_slowed_down_in_all_processes(ledger: Database, variables: Vars) -> None:
    app, other = (report(ledger, variables, REPORT_USERS=USERS) for _ in range(2))
    guesser = Visitor(app)

    codes = [guesser.sign_in("olga", "wrong password").status_code for _ in range(7)]
    elsewhere = Visitor(other).sign_in("olga", PASSWORD)

    assert codes == [403] * 6 + [429]
    assert elsewhere.status_code == 429, "though the password is right, and the process another"
    assert 0 < int(elsewhere.headers["retry-after"]) <= 301
    assert "Too many attempts" in elsewhere.text
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
