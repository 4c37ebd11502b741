"""REPORT_USERS, password hashes, and trusted proxy headers."""

from __future__ import annotations

import pytest

from worker.errors import SettingsError
from worker.report.web import passwords
from worker.report.web.configuration import WebSettings
from worker.report.web.peers import peer_of
from worker.report.web.people import Role, parse_roles, parse_users
from worker.settings import Settings

HASH = passwords.hash_password("correct horse battery")
SHARED = Settings.from_environment({"DATABASE_URL": "postgresql://h/n"})


def settings(**environ: str) -> WebSettings:
    return WebSettings.from_environment(environ, SHARED)


def scope(address: str, *headers: tuple[str, str], scheme: str = "http") -> dict[str, object]:
    raw = [(name.lower().encode(), value.encode()) for name, value in headers]
    return {"type": "http", "client": (address, 1), "headers": raw, "scheme": scheme}


def test_a_hash_knows_its_password_only() -> None:
    assert passwords.matches("correct horse battery", HASH)
    assert not passwords.matches("correct horse batterY", HASH)
    assert not passwords.matches("", passwords.DUMMY_HASH)


def test_two_hashes_of_one_password_differ_and_fit_into_an_environment_variable() -> None:
    again = passwords.hash_password("correct horse battery")

    assert again != HASH
    assert not set("$:, \t\n'\"`\\%") & set(HASH)


def test_the_same_letters_typed_in_another_unicode_form_are_the_same_password() -> None:
    assert passwords.matches("A\u030angstro\u0308m-lo\u0308v", passwords.hash_password("\u00c5ngstr\u00f6m-l\u00f6v"))


def test_a_short_password_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 10"):
        passwords.hash_password("short")


@pytest.mark.parametrize("between", [" ", ",", "\n", " ,\n "])
def test_entries_are_separated_by_white_space_or_commas(between: str) -> None:
    users = parse_users(f"anna:operator:{HASH}{between}bo:viewer:{HASH}{between}")

    assert {name: user.role for name, user in users.items()} == {"anna": Role.OPERATOR, "bo": Role.VIEWER}


@pytest.mark.parametrize(
    "entry",
    [
        "anna", "anna:operator", f"anna:owner:{HASH}", f":viewer:{HASH}", "anna:viewer:plain-password",
        f"anna:viewer:{HASH[:-3]}", "anna:viewer:scrypt.40.8.1.AAAA.AAAA", "anna:viewer:scrypt.15.8.1..", f"{HASH}",
    ],
)  # fmt: skip
def test_a_bad_entry_is_told_by_its_number_and_not_repeated(entry: str) -> None:
    with pytest.raises(SettingsError, match="entry 2 should be name:role:password-hash") as caught:
        parse_users(f"bo:viewer:{HASH} {entry}")
    assert "plain-password" not in str(caught.value)
    assert HASH[:20] not in str(caught.value)


def test_a_user_cannot_be_listed_twice() -> None:
    with pytest.raises(SettingsError, match="'anna' twice"):
        parse_users(f"anna:viewer:{HASH} anna:operator:{HASH}")


def test_roles_behind_a_proxy() -> None:
    assert parse_roles("anna@corp.example:operator *:viewer") == {"anna@corp.example": "operator", "*": "viewer"}
    with pytest.raises(SettingsError, match="REPORT_PROXY_ROLES"):
        parse_roles("anna")


def test_a_proxy_header_needs_the_addresses_from_which_it_is_believed() -> None:
    with pytest.raises(SettingsError, match="REPORT_PROXY_ADDRESSES"):
        settings(REPORT_PROXY_USER_HEADER="X-User")
    with pytest.raises(SettingsError, match="REPORT_PROXY_ADDRESSES"):
        settings(REPORT_PROXY_USER_HEADER="X-User", REPORT_PROXY_ADDRESSES="everywhere")
    with pytest.raises(SettingsError, match="REPORT_PROXY_USER_HEADER"):
        settings(REPORT_PROXY_USER_HEADER="X User", REPORT_PROXY_ADDRESSES="10.0.0.1")


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "report.example", ""])
def test_without_users_only_loopback_is_served(host: str) -> None:
    with pytest.raises(SettingsError, match="REPORT_USERS"):
        settings().require_safe(host)
    settings(REPORT_USERS=f"anna:viewer:{HASH}").require_safe(host)
    settings(REPORT_PROXY_USER_HEADER="X-User", REPORT_PROXY_ADDRESSES="10.0.0.1").require_safe(host)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "[::1]"])
def test_loopback_needs_no_users(host: str) -> None:
    settings().require_safe(host)


def test_the_key_is_the_same_in_every_process_and_changes_with_the_passwords() -> None:
    one, other = f"anna:viewer:{HASH}", f"anna:viewer:{passwords.hash_password('another password')}"

    assert settings(REPORT_USERS=one).secret_key == settings(REPORT_USERS=one).secret_key
    assert settings(REPORT_USERS=one).secret_key != settings(REPORT_USERS=other).secret_key
    chosen = "k" * 32
    assert (
        settings(REPORT_USERS=one, REPORT_SECRET_KEY=chosen).secret_key
        == settings(REPORT_USERS=other, REPORT_SECRET_KEY=chosen).secret_key
    )
    with pytest.raises(SettingsError, match="at least 32"):
        settings(REPORT_SECRET_KEY="short")


BEHIND = settings(REPORT_PROXY_USER_HEADER="X-User", REPORT_PROXY_ADDRESSES="10.0.0.0/24, 2001:db8::1")


def test_headers_of_a_configured_proxy_are_believed() -> None:
    peer = peer_of(
        scope(
            "10.0.0.9",
            ("X-User", "anna"),
            ("X-Forwarded-Proto", "https"),
            ("X-Forwarded-For", "6.6.6.6, 203.0.113.7"),
        ),
        BEHIND,
    )
    assert (peer.user, peer.secure, peer.address, peer.trusted) == ("anna", True, "203.0.113.7", True)


def test_headers_of_anyone_but_a_configured_proxy_are_ignored() -> None:
    peer = peer_of(
        scope("203.0.113.7", ("X-User", "anna"), ("X-Forwarded-Proto", "https"), ("X-Forwarded-For", "10.0.0.1")),
        BEHIND,
    )
    assert (peer.user, peer.secure, peer.address, peer.trusted) == (None, False, "203.0.113.7", False)


def test_a_proxy_that_sends_two_names_names_nobody() -> None:
    assert peer_of(scope("10.0.0.9", ("X-User", "anna"), ("X-User", "bo")), BEHIND).user is None


def test_addresses_that_a_browser_made_up_are_not_taken() -> None:
    def address(listed: str) -> str:
        return peer_of(scope("10.0.0.9", ("X-Forwarded-For", listed)), BEHIND).address

    assert address("1.1.1.1, 203.0.113.7, 10.0.0.3") == "203.0.113.7"
    assert address("nonsense") == "10.0.0.9"
    assert address("2001:db8::7") == "2001:db8::7"


def test_an_ipv4_address_in_ipv6_clothes_is_the_same_proxy() -> None:
    assert peer_of(scope("::ffff:10.0.0.9", ("X-User", "anna")), BEHIND).user == "anna"
