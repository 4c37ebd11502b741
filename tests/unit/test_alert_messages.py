"""Alert texts and formats, and that the documented code verifies their signature."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from worker.alerts.messages import Message, generic_body, signature, slack_body
from worker.alerts.words import page_of, text_of, title_of
from worker.ledger.alert_models import AlertKind
from worker.ledger.states import Reason

DOCUMENTATION = (Path(__file__).parents[2] / "docs" / "alerts.md").read_text(encoding="utf-8")
REPORT = "https://cases.example.com"
CAUSE = str(UUID(int=7))
GROUP = {"cause": CAUSE, "reason": "business_rule", "errorType": "CreditorBlocked", "httpStatus": 422, "failures": 3}
LINK = {"externalTenantId": "acme <b>&", "reason": "client_link_not_found"}
CIRCUIT = {"circuit": "customer_api", "since": "2026-01-31T15:23:45+00:00"}
PENDING = {"since": "2026-01-31T15:23:45+00:00", "seconds": 1000.0, "limit": 900.0}
FACTS: dict[AlertKind, dict[str, Any]] = {
    AlertKind.NEW_FAILURE_GROUP: {"count": 1, "groups": [GROUP]},
    AlertKind.INVALID_LINK: {"count": 1, "links": [LINK]},
    AlertKind.PARTNER_KEY_REFUSED: CIRCUIT | {"circuit": "api_key"},
    AlertKind.PARTNER_KEY_ACCEPTED: CIRCUIT | {"circuit": "api_key", "seconds": 75.0},
    AlertKind.CIRCUIT_OPENED: CIRCUIT,
    AlertKind.CIRCUIT_CLOSED: CIRCUIT | {"seconds": 75.0},
    AlertKind.OLDEST_PENDING_OVER: PENDING,
    AlertKind.OLDEST_PENDING_RECOVERED: PENDING,
    AlertKind.TEST: {},
}


def message(kind: AlertKind, facts: dict[str, Any] | None = None) -> Message:
    said = FACTS[kind] if facts is None else facts
    return Message(
        uuid4(), kind.value, "test", datetime(2026, 1, 31, 15, 23, 45, tzinfo=UTC), title_of(kind, said),
        text_of(kind, said), said, page_of(kind, said, REPORT),
    )  # fmt: skip


@pytest.mark.parametrize("kind", AlertKind)
def test_every_kind_has_a_title_a_text_and_a_page_and_is_documented(kind: AlertKind) -> None:
    made = message(kind)

    assert made.title
    assert made.text.endswith(".")
    assert made.link is not None
    assert made.link.startswith(REPORT)
    assert f"`{kind}`" in DOCUMENTATION


@pytest.mark.parametrize("reason", list(Reason))
def test_every_reason_has_words(reason: Reason) -> None:
    group = GROUP | {"reason": reason.value, "errorType": None}

    assert text_of(AlertKind.NEW_FAILURE_GROUP, {"count": 1, "groups": [group]}).startswith("3 failures so far. ")


def test_one_group_leads_to_its_own_page_and_a_sum_to_the_front_page() -> None:
    many = {"count": 1000, "groups": [GROUP] * 10}

    assert message(AlertKind.NEW_FAILURE_GROUP).link == f"{REPORT}/jobs?cause={CAUSE}"
    made = message(AlertKind.NEW_FAILURE_GROUP, many)
    assert (made.title, made.link) == ("1,000 new groups of failures", f"{REPORT}/")
    assert "and 990 more" in made.text


def test_a_sum_of_links_names_the_first_tenants() -> None:
    made = message(
        AlertKind.INVALID_LINK, {"count": 12, "links": [LINK | {"externalTenantId": f"t{n}"} for n in range(10)]}
    )

    assert made.title == "12 client links are invalid"
    assert "t0, t1, t2" in made.text
    assert "and 2 more" in made.text
    assert made.link == f"{REPORT}/links"


def test_without_a_report_s_address_there_is_no_link() -> None:
    assert page_of(AlertKind.INVALID_LINK, FACTS[AlertKind.INVALID_LINK], "") is None


def test_the_generic_form_has_what_is_documented() -> None:
    made = message(AlertKind.INVALID_LINK)

    told = json.loads(generic_body(made))

    example = re.search(r"```json\n(.+?)```", DOCUMENTATION, re.DOTALL)
    assert example is not None
    assert told.keys() == json.loads(example[1]).keys()
    assert (told["id"], told["kind"], told["at"]) == (str(made.id), "invalid_link", "2026-01-31T15:23:45+00:00")
    assert told["facts"] == {"count": 1, "links": [LINK]}


def test_in_slack_a_tenant_s_name_is_neither_a_tag_nor_a_link() -> None:
    text = json.loads(slack_body(message(AlertKind.INVALID_LINK)))["text"]

    assert "acme &lt;b&gt;&amp;" in text
    assert text.startswith("*Invalid client link: tenant acme")
    assert text.splitlines()[0].endswith("* (test)"), "not production"
    assert text.splitlines()[-1].startswith(f"<{REPORT}/jobs?")
    assert text.splitlines()[-1].endswith("|Open the report>")


@pytest.fixture
def documented() -> Callable[..., bool]:
    """The verification code of the documentation, as a receiver would paste it."""
    code = re.search(r"```python\n(.+?)```", DOCUMENTATION, re.DOTALL)
    assert code is not None
    names: dict[str, Any] = {}
    exec(code[1], names)  # what is documented is what is tested
    return names["is_from_case_worker"]  # type: ignore[no-any-return]


SECRET, NEXT = "an old secret, 24 letters", "a new secret, 24 letters."


def test_the_documented_code_accepts_what_was_signed_just_now(documented: Callable[..., bool]) -> None:
    body = generic_body(message(AlertKind.INVALID_LINK))

    assert documented(signature([SECRET], body, now=1000.9), body, SECRET, now=1100)
    assert documented(signature([NEXT, SECRET], body, now=1000), body, SECRET, now=1000), "while one replaces the other"
    assert documented(signature([NEXT, SECRET], body, now=1000), body, NEXT, now=1000)


def test_the_documented_code_refuses_what_was_changed_or_is_old(documented: Callable[..., bool]) -> None:
    body = generic_body(message(AlertKind.INVALID_LINK))
    header = signature([SECRET], body, now=1000)

    assert not documented(header, body + b" ", SECRET, now=1000)
    assert not documented(header, body, NEXT, now=1000)
    assert not documented(header, body, SECRET, now=1000 + 301)
    assert not documented(header.replace("t=1000", "t=1300"), body, SECRET, now=1300)
    assert not documented("", body, SECRET, now=1000)
    assert not documented("t=x,v1=é", body, SECRET, now=1000)
