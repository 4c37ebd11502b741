"""API messages are stored without the case's personal data."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.debitura.http import Reply
from worker.debitura.judge import DUPLICATE_REFERENCE, Meaning, Verdict, judge
from worker.submission.redact import SHORTEST, hidden_values, scrub, scrubbed

CASE = {
    "creditorReference": "INV-2026-001",
    "currencyCode": "EUR",
    "amountToRecover": 1250.10,
    "date": "Anna Andersson born 1970",
    "dueDate": "2026-04-01",
    "claimDescription": 'Sofa & "table"',
    "debtor": {"type": "Private", "name": "Åse Møller", "zipCode": 5970, "city": "Ry", "email": "aase@example.com"},
    "claims": [{"amount": "12", "note": "kitchen"}],
}
BODY = json.dumps(CASE)
HIDDEN = hidden_values(BODY)


def test_values_that_the_page_hides_are_found_with_the_names_of_their_fields() -> None:
    assert dict(HIDDEN) == {
        "anna andersson born 1970": "date",
        "aase@example.com": "debtor.email",
        'sofa & "table"': "claimDescription",
        "åse møller": "debtor.name",
        "kitchen": "claims[].note",
        "5970": "debtor.zipCode",
    }


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("The value 'Anna Andersson born 1970' is not an ISO 8601 date", "The value '‹date›' is not an ISO 8601 date"),
        ("ÅSE MØLLER (AASE@example.com)", "‹debtor.name› (‹debtor.email›)"),
        ("zip code 5970 is not in DE", "zip code ‹debtor.zipCode› is not in DE"),
        ("<p>Sofa &amp; &quot;table&quot;</p>", "<p>‹claimDescription›</p>"),
        ('{"d": "Sofa & \\"table\\""}', '{"d": "‹claimDescription›"}'),
        ("/debtors/%C3%A5se%20m%C3%B8ller", "/debtors/‹debtor.name›"),
        ("INV-2026-001 of 2026-04-01 over 1250.1 EUR: Ry", "INV-2026-001 of 2026-04-01 over 1250.1 EUR: Ry"),
    ],
)  # fmt: skip
def test_a_hidden_value_gives_way_to_the_name_of_its_field(said: str, kept: str) -> None:
    assert scrub(said, HIDDEN) == kept


def test_a_text_that_was_cut_within_a_value_loses_its_beginning_too() -> None:
    assert scrub("… debtor Åse Møl", HIDDEN, cut=True) == "… debtor ‹debtor.name›"
    assert scrub("… debtor Åse Møl", HIDDEN) == "… debtor Åse Møl"


def test_everything_that_an_answer_says_is_cleared() -> None:
    name = "Åse Møller"
    body = {
        "businessErrors": [{"type": "NoPartner", "message": f"none for {name}", "solutionUrl": "https://a.example/1"}],
        "errors": {"debtor.name": [f"{name} is taken"], f"a field for {name}": ["odd"]},
    }
    verdict = scrubbed(judge(Reply(400, json.dumps(body).encode())), BODY)
    page = scrubbed(judge(Reply(403, f"<html>{name} may not, and Åse Mø".encode())), BODY)

    assert name not in repr(verdict) + repr(page)
    assert page.excerpt == "<html>‹debtor.name› may not, and ‹debtor.name›"
    assert verdict.fields == {"debtor.name": ["‹debtor.name› is taken"], "a field for ‹debtor.name›": ["odd"]}
    assert (verdict.error_type, verdict.message) == ("NoPartner", "none for ‹debtor.name›")
    assert verdict.solution_url == "https://a.example/1"


def test_a_type_that_decides_what_comes_next_is_never_touched() -> None:
    verdict = Verdict(Meaning.REFUSED, 422, error_type=DUPLICATE_REFERENCE, message="used by Duplicate Ltd")

    cleared = scrubbed(verdict, json.dumps({"debtor": {"name": "Duplicate"}}))

    assert cleared == replace(verdict, message="used by ‹debtor.name› Ltd")


def test_a_field_whose_name_gives_a_value_away_is_not_named() -> None:
    hidden = hidden_values(json.dumps({"debtor": {"name": "debtor", "note": "hidden"}}))

    assert scrub("the debtor is hidden", hidden) == "the ‹…› is ‹…›"


def lower(text: str) -> str:
    """Each character by itself."""
    return "".join(c.lower()[0] for c in text)


pieces = st.text(alphabet="abAÅåßİΣς ‹›.&\"'<0189", max_size=12)
cases = st.dictionaries(
    st.sampled_from(["comments", "date", "a", "hidden", "ab.ab"]), pieces | st.integers(0, 10**9), max_size=5
)


@given(cases, st.lists(pieces, max_size=6), st.randoms(use_true_random=False))
def test_no_hidden_value_remains(case: dict[str, str | int], around: list[str], random: object) -> None:
    values = [str(value) for value in case.values()]
    said = "".join(part for pair in zip(around, [*values, *[""] * 6], strict=False) for part in pair)
    hidden = hidden_values(json.dumps(case))

    for text in (said, said.lower(), said.swapcase()):
        kept = scrub(text, hidden, cut=True)
        assert all(len(value) >= SHORTEST for value in hidden)
        assert not [value for value in hidden if value in lower(kept)]


@given(cases, st.text(max_size=200))
def test_a_text_without_them_stays_as_it_is(case: dict[str, str | int], text: str) -> None:
    hidden = hidden_values(json.dumps(case))
    if not any(value[:SHORTEST] in lower(text) for value in hidden):
        assert scrub(text, hidden) == text
