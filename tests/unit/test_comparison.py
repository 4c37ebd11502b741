"""A found case is ours only if amount, currency and debtor agree, and if it is younger than our first request."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from worker.case.comparison import CLOCK_MARGIN, Match, compare, found_case

SENT_AT = datetime(2026, 11, 27, 7, 0, tzinfo=UTC)
SENT: dict[str, Any] = {
    "amountToRecover": 1250.50,
    "currencyCode": "DKK",
    "debtor": {"name": "Ærøskøbing Bådebyggeri ApS"},
}
FOUND: dict[str, Any] = {
    "grossAmount": 1250.5,
    "currency": "dkk",
    "debtor": {"name": " ærøskøbing  bådebyggeri ApS"},
    "dateCreated": "2026-11-27T07:00:01.1234567Z",
}


def match(found: dict[str, Any], sent: dict[str, Any] = SENT, at: datetime | None = SENT_AT) -> Match:
    return compare(sent, found_case(found), at).match


def test_a_case_that_agrees_in_everything_is_ours() -> None:
    assert match(FOUND) is Match.OURS


def test_the_shape_with_claims_is_compared_by_their_sum() -> None:
    claims = [{"amount": 1000, "currencyCode": "DKK"}, {"amount": 250.5, "currencyCode": "DKK"}]

    assert match(FOUND, {"debtor": SENT["debtor"], "claims": claims}) is Match.OURS


@pytest.mark.parametrize(
    "change",
    [
        {"grossAmount": 1250.51},
        {"currency": "SEK"},
        {"debtor": {"name": "Another ApS"}},
        {"dateCreated": "2026-11-26T07:00:00Z"},
        {"dateCreated": (SENT_AT - CLOCK_MARGIN - timedelta(seconds=1)).isoformat()},
        {"grossAmount": 1250.51, "debtor": None},
    ],
    ids=["amount", "currency", "debtor", "older", "just older", "amount, and no debtor"],
)
def test_one_difference_makes_it_anothers(change: dict[str, Any]) -> None:
    assert match(FOUND | change) is Match.ANOTHERS


@pytest.mark.parametrize(
    "change",
    [
        {"grossAmount": None}, {"grossAmount": "1250.5"}, {"grossAmount": True}, {"currency": None}, {"debtor": None},
        {"debtor": {"name": ""}}, {"debtor": "Anna"}, {"dateCreated": None}, {"dateCreated": "yesterday"},
    ],
    ids=str,
)  # fmt: skip
def test_what_the_api_does_not_tell_leaves_it_open(change: dict[str, Any]) -> None:
    assert match(FOUND | change) is Match.UNCLEAR


def test_clocks_may_differ_by_ten_minutes() -> None:
    assert match(FOUND | {"dateCreated": (SENT_AT - CLOCK_MARGIN).isoformat()}) is Match.OURS


def test_after_a_restore_the_time_of_creation_decides_nothing() -> None:
    assert match(FOUND | {"dateCreated": "2026-11-20T07:00:00Z"}, at=None) is Match.OURS


@pytest.mark.parametrize("content", [None, [], "x", 5, {}, {"debtor": []}])
def test_any_json_is_read_without_an_error(content: Any) -> None:
    assert compare(SENT, found_case(content), SENT_AT).match is Match.UNCLEAR
