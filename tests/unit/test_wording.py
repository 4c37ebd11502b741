"""Values in words."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.case.fields import one_line
from worker.report.formatting import counted, describe_error, milliseconds, moment, money, number, span


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0.0 s"), (-3, "0.0 s"), (0.44, "0.4 s"), (1, "1 s"), (59.6, "1 min"), (61, "1 min 1 s"),
        (3600, "1 h"), (3661, "1 h 1 min"), (90_000, "1 d 1 h"), (86_400 * 400, "400 d"),
    ],
)  # fmt: skip
def test_a_duration_has_its_two_largest_units(seconds: float, words: str) -> None:
    assert span(seconds) == words


@pytest.mark.parametrize(
    ("duration", "words"), [(0, "0 ms"), (999, "999 ms"), (1000, "1.0 s"), (59_940, "59.9 s"), (61_000, "1 min 1 s")]
)
def test_milliseconds_are_told_in_words(duration: int, words: str) -> None:
    assert milliseconds(duration) == words


@pytest.mark.parametrize(
    ("amount", "words"),
    [
        ("1250.1000", "1250.10"), ("1250.1234", "1250.1234"), ("96000", "96000.00"), ("-2100.0", "-2100.00"),
        ("0", "0.00"), ("1E+3", "1000.00"), ("999999999999999.9999", "999999999999999.9999"),
    ],
)  # fmt: skip
def test_an_amount_has_two_decimals_or_more_and_loses_no_digit(amount: str, words: str) -> None:
    assert number(Decimal(amount)) == words


@given(st.decimals(allow_nan=False, allow_infinity=False, places=4, min_value=-(10**15), max_value=10**15))
def test_an_amount_keeps_its_value(amount: Decimal) -> None:
    assert Decimal(number(amount)) == amount


def test_money_names_its_currency_or_that_it_has_none() -> None:
    assert money(Decimal("5"), "DKK") == "5.00 DKK"
    assert money(Decimal("5"), None) == "5.00 ?"
    assert money(None, "DKK") == ""


def test_a_moment_is_in_utc_wherever_it_was_seen() -> None:
    tokyo = timezone(timedelta(hours=9))
    assert moment(datetime(2026, 3, 1, 8, 0, 5, tzinfo=tokyo)) == "2026-02-28 23:00:05 UTC"
    assert moment(datetime(2026, 2, 28, 23, 0, 5, tzinfo=UTC)) == "2026-02-28 23:00:05 UTC"


def test_one_job_and_more() -> None:
    assert [counted(n, "job") for n in (0, 1, 1200)] == ["0 jobs", "1 job", "1,200 jobs"]
    assert [counted(n, noun) for n, noun in ((1, "entry"), (2, "entry"), (2, "day"))] == [
        "1 entry",
        "2 entries",
        "2 days",
    ]


@pytest.mark.parametrize(
    ("foreign", "shown"),
    [
        ("  a\n\tb\r\nc ", "a b c"),
        ("\x1b[2Jgone", "\ufffd[2Jgone"),
        ("\x9b31m", "\ufffd31m"),
        ("\u202egnp.exe", "\ufffdgnp.exe"),
        ("佐藤 花子 Ærø", "佐藤 花子 Ærø"),
        ("\u0645\u06cc\u200c\u062e", "\u0645\u06cc\u200c\u062e"),
    ],
)
def test_foreign_text_becomes_one_line_that_commands_nothing(foreign: str, shown: str) -> None:
    assert one_line(foreign) == shown


@given(st.text())
def test_no_text_at_all_gets_a_control_character_through(text: str) -> None:
    assert not re.search(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\ud800-\udfff]", one_line(text))


def test_what_the_api_said_leaves_out_what_tells_nothing() -> None:
    assert describe_error("Type", "message") == "Type: message"
    assert describe_error(None, "message") == "message"
    assert describe_error("https://tools.ietf.org/html/rfc9110", "message") == "message"
    assert describe_error(None, None) == ""
