"""Safe display of foreign data: links, text, personal data, charts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from xml.etree import ElementTree as ET

import pytest

from worker.case.fields import is_harmless
from worker.ledger.states import Reason
from worker.report.edit import differences
from worker.report.web import chart
from worker.report.web.labels import TITLES, title
from worker.report.web.rendering import amount, is_web_address, link, shown_case, shown_change, untrusted


@pytest.mark.parametrize(
    "url",
    [
        "javascript:alert(1)", "JavaScript:alert(1)", "data:text/html,x", " https://a.example", "https://",
        "//a.example", "https://a.example/\u202egnp.exe", 'https://a.example/"onclick="x', "https://user:password@a.example",
        "ftp://a.example", "https://a.example/\nx", "https://[", "vbscript:x", "https://a.example/" + "x" * 3000,
        "https://a.example\\@b.example",
    ],
)  # fmt: skip
def test_no_link_is_made_of_anything_but_a_plain_web_address(url: str) -> None:
    assert not is_web_address(url)
    assert "<a" not in link(url)


def test_a_link_tells_the_other_side_nothing() -> None:
    made = link("https://app.example/solve?client=a&x=1", "Open it")

    assert 'rel="noopener noreferrer"' in made
    assert 'href="https://app.example/solve?client=a&amp;x=1"' in made


def test_foreign_text_is_escaped_isolated_and_one_line() -> None:
    made = untrusted("<script>alert(1)</script>\n\u202eevil\x1b[31m")

    assert made.startswith('<bdi class="foreign">&lt;script&gt;')
    assert not set("\n\u202e\x1b") & set(made)


def test_long_text_is_cut_where_a_list_shows_it() -> None:
    assert len(untrusted("x" * 10_000, 280)) < 330


def test_amounts_have_separators_and_all_their_digits() -> None:
    assert amount("1234567.5") == "1,234,567.50"
    assert amount(Decimal("-2100.0000")) == "-2,100.00"
    assert amount("0.1234") == "0.1234"
    assert amount("-0.5") == "-0.50"


@pytest.mark.parametrize(
    "path",
    ["debtor.name", "debtor.email", "comments", "claimDescription", "debtor.newField", "anything", "claims[0].note"],
)
def test_what_may_be_personal_is_hidden(path: str) -> None:
    assert not is_harmless(path, "x")


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("currencyCode", "EUR"), ("debtor.countryAlpha2", "DE"), ("claims[12].amount", "1,250.50"), ("dueDate", None),
        ("dueDate", "2026-13-45"), ("date", "31.12.2026"), ("date", "2026-01-31T08:00:00Z"), ("isTest", True),
        ("amountToRecover", Decimal("1250.10")), ("amountToRecover", 1e20), ("debtor.type", "Company"),
        ("creditorReference", "INV 1"), ("dueDate", ""),
    ],
)  # fmt: skip
def test_what_everybody_may_see_is_shown(path: str, value: object) -> None:
    assert is_harmless(path, value)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("date", "Anna Andersson born 1970"), ("dueDate", "19700101-1234"), ("amountToRecover", "070 123 45 67"),
        ("debtor.type", "Anna Andersson"), ("debtor.countryAlpha2", "Kirkevej 3"), ("isTest", "Anna"),
        ("collectionPartnerId", "anna@example.com"), ("date", {"born": "1970"}),
    ],
)  # fmt: skip
def test_what_does_not_look_like_its_field_is_hidden_too(path: str, value: object) -> None:
    assert not is_harmless(path, value)


def test_a_case_is_shown_with_its_personal_data_left_out() -> None:
    case = {"currencyCode": "EUR", "isTest": True, "debtor": {"name": "Åse", "tags": []}}

    assert {s.path: s.value for s in shown_case(case, revealed=False)} == {
        "currencyCode": "EUR", "isTest": "true", "debtor.name": None, "debtor.tags": None,
    }  # fmt: skip
    assert {s.path: s.value for s in shown_case(case, revealed=True)}["debtor.name"] == "Åse"


def test_a_change_of_personal_data_says_only_that_it_changed() -> None:
    change = differences({"debtor": {"email": "old"}}, {"debtor": {"email": "new"}})[0]

    assert shown_change(change, revealed=False).hidden
    assert (shown_change(change, revealed=True).old, shown_change(change, revealed=True).new) == ("old", "new")


def test_a_whole_object_that_is_replaced_does_not_slip_through() -> None:
    change = differences({"debtor": {"email": "old"}}, {"debtor": "secret"})[0]

    assert shown_change(change, revealed=False).hidden


def test_a_chart_is_plain_svg_that_tells_itself_in_words() -> None:
    counts = (0, 3, 0, 100)

    drawing = chart.bars(counts, start=datetime(2026, 1, 1, tzinfo=UTC), width=timedelta(hours=1))

    root = ET.fromstring(drawing)
    heights = [int(bar.attrib["height"]) for bar in root if "class" not in bar.attrib]
    assert heights == [chart.LOWEST, chart.HEIGHT - 4], "few can be seen beside many"
    assert root.attrib["aria-label"] == "103 failures in 4 h; most, 100, in the 1 h from 2026-01-01 03:00 UTC"
    assert "style" not in drawing
    assert "1 failure in" in chart.bars((1, 0), start=datetime(2026, 1, 1, tzinfo=UTC), width=timedelta(hours=1))


def test_every_reason_has_a_headline() -> None:
    assert {title(reason) for reason in Reason if reason != Reason.BUSINESS_RULE} < set(TITLES.values())
    assert title("business_rule", "NeverHeardOf") == "Refused by a business rule"
