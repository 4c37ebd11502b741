"""Amounts as people type them are read exactly or refused."""

from __future__ import annotations

from decimal import Decimal

import pytest

from worker.report.formatting import parse_amount


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("1250", "1250"), (" 1250.50 ", "1250.50"), ("1,250.50", "1250.50"), ("1 000 000", "1000000"),
        ("-2100.0", "-2100.0"), ("0.1234", "0.1234"), ("12,345,678", "12345678"),
    ],
)  # fmt: skip
def test_plain_and_grouped_numbers_are_read_to_the_digit(text: str, amount: str) -> None:
    assert str(parse_amount(text)) == str(Decimal(amount))


@pytest.mark.parametrize(
    "text",
    ["1250,50", "1.250,50", "1,25", "12,50.00", "1,2345", ",5", "1e5", "NaN", "1_000", "٣", "", "a lot", "9" * 200],
)
def test_what_could_mean_another_amount_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"1250\.50"):
        parse_amount(text)


def test_a_comma_before_the_decimals_is_explained() -> None:
    with pytest.raises(ValueError, match="with a point, not a comma"):
        parse_amount("1250,50")
