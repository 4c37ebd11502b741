"""What a webhook event says, and which failures it fixes."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.ledger.queries.filters import FailureFilter
from worker.report.webhooks.events import DOCUMENTED, Event, event_rules, has_event_rule, read_event

ENVELOPE: dict[str, Any] = {
    "id": "550e8400-e29b-41d4-a716-446655440000",
    "specVersion": "1.0",
    "event": "client.linked",
    "timestamp": "2026-01-31T15:23:45Z",
    "data": {"externalTenantId": "partner-client-123", "creditor": {"companyName": "Acme Corporation Ltd"}},
    "links": {"client": "https://api.example/clients/partner-client-123"},
}


def body(**changes: Any) -> bytes:
    return json.dumps({k: v for k, v in (ENVELOPE | changes).items() if v is not None}).encode()


def test_of_an_event_only_id_name_and_tenant_are_taken() -> None:
    assert read_event(body()) == Event(ENVELOPE["id"], "client.linked", "partner-client-123")


@pytest.mark.parametrize(
    "broken",
    [
        b"",
        b"\xff",
        b"[]",
        b"null",
        b"[" * 100_000,
        body(id=None),
        body(id=""),
        body(id=5),
        body(id="x" * 256),
        body(id="a\x00b"),
        body(id="\ud800"),
        body(event=None),
        body(event=["client.linked"]),
    ],
    ids=lambda raw: raw[:20].decode("latin-1").encode("unicode_escape").decode(),
)
def test_what_is_no_event_is_refused_in_words(broken: bytes) -> None:
    with pytest.raises(ValueError, match=r"body|no id|no event name"):
        read_event(broken)


@pytest.mark.parametrize(
    "data", [None, {}, [], {"externalTenantId": None}, {"externalTenantId": 5}, {"externalTenantId": ""}]
)
def test_an_event_need_not_name_a_tenant(data: Any) -> None:
    assert read_event(body(data=data)).external_tenant_id is None


def test_an_unknown_event_is_counted_as_other() -> None:
    assert read_event(body(event="client.onboarding.new_thing")).counted_as == "other"
    assert read_event(body(event="case.created")).counted_as == "case.created"


def test_a_link_cures_failures_for_the_link_and_no_others() -> None:
    assert event_rules("client.linked", "acme") == (FailureFilter(tenant="acme", invalid_links=True),)


def test_a_signed_contract_cures_what_waited_for_it_and_a_link_that_was_not_there_yet() -> None:
    contract, link = event_rules("client.onboarding.contract_signed", "acme")

    assert contract == FailureFilter(tenant="acme", reason="business_rule", error_type="MissingDebtCollectionContract")
    assert link == FailureFilter(tenant="acme", reason="client_link_not_found")


@given(event=st.sampled_from(sorted(DOCUMENTED)) | st.text(max_size=40), tenant=st.text(min_size=1, max_size=20))
def test_every_cure_is_of_that_tenant_alone_and_narrower_than_all_its_failures(event: str, tenant: str) -> None:
    found = event_rules(event, tenant)

    assert bool(found) == has_event_rule(event)
    for wanted in found:
        assert wanted.tenant == tenant
        assert wanted != FailureFilter(tenant=tenant)


def test_what_only_prepares_or_ends_a_link_replays_nothing() -> None:
    others = DOCUMENTED - {"client.linked", "client.onboarding.contract_signed"}

    assert {event for event in others if event_rules(event, "acme")} == set()
