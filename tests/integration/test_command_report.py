"""`case-worker report`: groups by cause, then rows, as text, CSV and JSON."""

from __future__ import annotations

import csv
import io
import json
import stat
from pathlib import Path

import pytest

from tests.support.command_line import run
from tests.support.databases import Database
from tests.support.pipeline import Pipeline
from tests.support.rows import ago, change_dead_letters, insert_unreadable_message, set_hold
from worker.ledger.states import Reason
from worker.ledger.writer.holds import HoldName
from worker.report.export import CSV_COLUMNS


def test_failures_with_one_cause_are_one_group(pipeline: Pipeline, variables: dict[str, str]) -> None:
    # Given the same mistake of two tenants, in two currencies, and another one
    for tenant, reference, amount, currency in (("a", "1", 10.25, "DKK"), ("a", "2", 5, "DKK"), ("b", "3", 1, "EUR")):
        pipeline.submit(
            tenant, creditorReference=reference, amountToRecover=amount, currencyCode=currency,
            tag="sandbox:business=MissingKycVerification",
        )  # fmt: skip
    pipeline.submit("missing-x", amountToRecover=3)

    # When
    report = json.loads(run(variables, "report", "--format", "json").stdout)

    # Then
    kyc, link = report["groups"]
    assert (kyc["reason"], kyc["error_type"], kyc["failures"], kyc["tenants"]) == (
        "business_rule", "MissingKycVerification", 3, 2,
    )  # fmt: skip
    assert kyc["amounts"] == {"DKK": "15.25", "EUR": "1.00"}
    assert kyc["first_seen"] < kyc["last_seen"]
    assert "identity" in kyc["what_to_do"]
    assert (kyc["solution_url"], kyc["solution_urls"]) == (None, 2)  # each tenant has a page of its own
    assert (link["reason"], link["invalid_client_link"]) == ("client_link_not_found", True)
    assert [row["external_tenant_id"] for row in report["failures"]] == ["a", "a", "b", "missing-x"]
    assert report["failures"][0]["amount"] == "10.25"
    assert report["failures"][0]["solution_url"].startswith("https://")
    assert report["generated_at"] > report["failures"][-1]["created_at"]


def test_the_table_in_a_pipe_is_plain_and_uncut(pipeline: Pipeline, variables: dict[str, str]) -> None:
    long = "sandbox:business=" + "VeryLongRule" * 6
    job = pipeline.submit(creditorReference="R1", amountToRecover=99.5, tag=long)

    text = run(variables, "report").stdout

    assert text.startswith("1 job of 1 tenant needs a person, for 1 cause\n")
    row = next(line for line in text.splitlines() if line.startswith(str(job)))
    assert "VeryLongRule" * 6 in row
    assert "99.50 DKK" in row
    assert "https://" in row
    assert not set(text) & set("\x1b│┃━─╭")


@pytest.mark.parametrize(
    ("options", "tenants"),
    [
        ([], ["a", "missing-b", "invalid-c", "a"]),
        (["--tenant", "a"], ["a", "a"]),
        (["--reason", "validation"], ["a"]),
        (["--invalid-links"], ["missing-b", "invalid-c"]),
        (["--invalid-links", "--tenant", "a"], []),
        (["--since", "1h"], ["missing-b", "invalid-c", "a"]),
    ],
)
def test_options_narrow_the_report(
    pipeline: Pipeline, variables: dict[str, str], options: list[str], tenants: list[str]
) -> None:
    old = pipeline.submit("a", currencyCode="?")
    pipeline.submit("missing-b")
    pipeline.submit("invalid-c")
    pipeline.submit("a", tag="sandbox:status=403")
    change_dead_letters(pipeline.ledger, old, created_at=ago("61 minutes"))

    report = json.loads(run(variables, "report", "--format", "json", *options).stdout)

    assert [row["external_tenant_id"] for row in report["failures"]] == tenants
    assert sum(group["failures"] for group in report["groups"]) == len(tenants)


def test_csv_has_a_row_for_each_failure_and_no_formulas(pipeline: Pipeline, variables: dict[str, str]) -> None:
    pipeline.submit("=cmd|' /C calc'!A0", creditorReference="+1", amountToRecover=-7, claimDescription="x")

    rows = list(csv.DictReader(io.StringIO(run(variables, "report", "--format", "csv").stdout)))

    assert len(rows) == 1
    assert tuple(rows[0]) == CSV_COLUMNS
    assert rows[0]["external_tenant_id"] == "'=cmd|' /C calc'!A0"
    assert rows[0]["creditor_reference"] == "'+1"
    assert rows[0]["amount"] == "-7.00"  # a number of ours is no formula
    assert rows[0]["invalid_client_link"] == "False"


def test_an_unreadable_message_is_reported_without_what_it_held(ledger: Database, variables: dict[str, str]) -> None:
    insert_unreadable_message(ledger)

    table, data = run(variables, "report").stdout, run(variables, "report", "--format", "json").stdout

    assert "1 unreadable message needs a person" in table
    assert "malformed_message: its body is torn" in table
    assert json.loads(data)["failures"][0]["job_id"] is None
    assert "secret" not in table + data


def test_resolved_failures_are_gone(pipeline: Pipeline, variables: dict[str, str]) -> None:
    job = pipeline.submit(currencyCode="?")
    pipeline.replay(job)

    assert run(variables, "report").stdout == "No open failures.\n"
    assert run(variables, "report", "--tenant", "x").stdout == "No open failure matches these options.\n"


def test_output_goes_to_a_private_file_that_appears_whole(
    pipeline: Pipeline, variables: dict[str, str], tmp_path: Path
) -> None:
    pipeline.submit(currencyCode="?")
    file = tmp_path / "report.json"

    result = run(variables, "report", "--format", "json", "--output", file)

    assert (result.exit_code, result.output) == (0, "")
    assert len(json.loads(file.read_text())["failures"]) == 1
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [file]


def test_a_report_that_fails_half_way_leaves_the_last_one_alone(
    pipeline: Pipeline, variables: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline.submit(currencyCode="?")
    file = tmp_path / "report.csv"
    file.write_text("yesterday's")
    monkeypatch.setattr("worker.cli.report.write_csv", _full_disk)

    result = run(variables, "report", "--format", "csv", "--output", file)

    assert (result.exit_code, result.stderr) == (2, "case-worker: No space left on device\n")
    assert file.read_text() == "yesterday's"
    assert list(tmp_path.iterdir()) == [file]


def _full_disk(out: io.TextIOBase, _failures: object) -> None:
    out.write("half")
    raise OSError(28, "No space left on device")


def test_an_unknown_reason_is_wrong_use_and_the_right_ones_are_named(variables: dict[str, str]) -> None:
    result = run(variables, "report", "--reason", "bad_luck")

    assert result.exit_code == 2
    assert len(result.stderr.splitlines()) == 1
    assert all(reason in result.stderr for reason in Reason)


def test_the_report_says_what_holds_the_fleet(ledger: Database, variables: dict[str, str]) -> None:
    set_hold(ledger, HoldName.API_KEY)

    text = run(variables, "report").stdout

    assert text.startswith("ALARM: the partner API key is rejected.")
