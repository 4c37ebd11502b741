"""Export as CSV without formulas and as exact JSON."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.ledger.queries import Failure, FailureFilter, Group
from worker.report.export import CSV_COLUMNS, cell, plain, write_csv, write_json

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
JOB = UUID("01a20bd1-a8f1-7fbf-95f4-cc657a01ae2c")
FAILURE = Failure(
    7, JOB, "acme", "R-1", Decimal("1250.1000"), "DKK", "business_rule", False, 422,
    "MissingKycVerification", "Verify first", "https://x.example/", True, 3, NOW,
)  # fmt: skip
STARTS = "=+-@\uff1d\uff0b\uff0d\uff20"


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("=1+1", "'=1+1"),
        ("+45 70 10", "'+45 70 10"),
        ("-1", "'-1"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\uff1d1", "'\uff1d1"),
        ("  =1", "'  =1"),
        ("\t=1", "' =1"),
        ("a;=1", "a;'=1"),
        ("a\r\n=1", "a =1"),
        ("a=b", "a=b"),
        ("R-1", "R-1"),
        ("", ""),
        (None, ""),
        (Decimal("-2100.0000"), "-2100.00"),
        (True, "True"),
        (422, "422"),
        (NOW, "2026-03-01T12:00:00+00:00"),
        (JOB, str(JOB)),
    ],
)
def test_a_cell_is_no_formula_and_one_line(text: object, written: str) -> None:
    assert cell(text) == written


@given(st.text(alphabet=st.sampled_from("=+-@\uff1d ;,\"'\n\r\ta1")))
def test_no_text_becomes_a_formula_in_either_kind_of_spreadsheet(text: str) -> None:
    """Whether a line is split at commas or, in another locale, at semicolons."""
    out = io.StringIO()
    csv.writer(out, quoting=csv.QUOTE_ALL).writerow(["x", cell(text)])

    for separator in ",;":
        for row in csv.reader(io.StringIO(out.getvalue()), delimiter=separator):
            assert not any(value.lstrip().startswith(tuple(STARTS)) for value in row)


def test_the_columns_are_all_that_a_failure_has() -> None:
    assert set(CSV_COLUMNS) == {field.name for field in fields(Failure)} | {"what_to_do"}


def test_csv_reads_back_as_it_was() -> None:
    out = io.StringIO()

    write_csv(out, [FAILURE])

    [row] = csv.DictReader(io.StringIO(out.getvalue()))
    assert row["job_id"] == str(JOB)
    assert row["amount"] == "1250.10"
    assert row["what_to_do"].startswith("The client's identity")
    assert out.getvalue().count("\n") == 2


@pytest.mark.parametrize("count", [0, 1, 3])
def test_json_is_one_object_however_many_there_are(count: int) -> None:
    out = io.StringIO()
    cause = Group("validation", False, None, "m", 1, 1, {"DKK": "10.0000"}, 0, NOW, NOW, None, 0)
    wanted = FailureFilter(tenant="Æ", since=timedelta(days=7))

    write_json(out, now=NOW, wanted=wanted, groups=[cause] * count, failures=[FAILURE] * count)

    report = json.loads(out.getvalue())
    assert list(report) == ["generated_at", "filter", "groups", "failures"]
    assert report["filter"] == {"tenant": "Æ", "reason": None, "invalid_links": False, "since_seconds": 604800.0}
    assert len(report["groups"]) == len(report["failures"]) == count
    if count:
        assert report["groups"][0]["amounts"] == {"DKK": "10.00"}
        assert report["failures"][0]["amount"] == "1250.10"
        assert report["failures"][0]["created_at"] == "2026-03-01T12:00:00+00:00"


def test_nested_values_of_the_ledger_become_plain() -> None:
    assert plain({"a": [Decimal("1"), {"b": JOB}], "c": None}) == {"a": ["1.00", {"b": str(JOB)}], "c": None}
