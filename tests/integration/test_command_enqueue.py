"""`case-worker enqueue` stores good lines once and reports bad ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.command_line import line, program, run
from tests.support.databases import Database
from tests.support.pipeline import a_case


def test_a_file_makes_one_job_for_each_line_however_often_it_is_enqueued(
    ledger: Database, variables: dict[str, str], tmp_path: Path
) -> None:
    # Given a file with two cases of two tenants
    file = tmp_path / "cases.ndjson"
    file.write_text(f"{line(a_case(creditorReference='R1'))}\n{line(a_case(creditorReference='R1'), 'other')}\n")

    # When it is enqueued twice
    first, second = run(variables, "enqueue", file), run(variables, "enqueue", file)

    # Then each case is one job
    assert (first.exit_code, first.stdout) == (0, "2 enqueued, 0 already there, 0 bad\n")
    assert (second.exit_code, second.stdout) == (0, "0 enqueued, 2 already there, 0 bad\n")
    assert ledger.rows("SELECT external_tenant_id FROM jobs ORDER BY 1") == [("acme",), ("other",)]


def test_a_line_decides_key_and_priority_and_keeps_its_numbers_to_the_digit(
    ledger: Database, variables: dict[str, str]
) -> None:
    text = (
        '{"externalTenantId": "acme", "priority": "high", "idempotencyKey": "K-1",'
        ' "case": {"debtor": {}, "amountToRecover": 1250.10, "big": 12345678901234567890.123456789}}'
    )

    assert run(variables, "enqueue", "-", stdin=text).exit_code == 0

    assert ledger.rows("SELECT idempotency_key, priority, case_body FROM jobs") == [
        ("K-1", 0, '{"debtor":{},"amountToRecover":1250.10,"big":12345678901234567890.123456789}')
    ]


def test_a_byte_order_mark_blank_lines_and_windows_line_ends_are_fine(
    ledger: Database, variables: dict[str, str]
) -> None:
    good = [line(a_case(creditorReference=f"R{n}")) for n in range(2)]
    raw = f"\ufeff{good[0]}\r\n\r\n   \n{good[1]}\r\n".encode()

    result = run(variables, "enqueue", "-", stdin=raw)

    assert result.stdout == "2 enqueued, 0 already there, 0 bad\n"
    assert ledger.value("SELECT count(*) FROM jobs") == 2


def test_bad_lines_are_listed_with_number_and_reason_and_do_not_stop_the_rest(
    ledger: Database, variables: dict[str, str]
) -> None:
    lines = [
        line(a_case(creditorReference="first")),
        "{",
        "",
        line({"debtor": "Mette Hemmelig"}),
        line(a_case(creditorReference="first", amountToRecover=7)),
        line(a_case(creditorReference="last")),
    ]

    result = run(variables, "enqueue", "-", stdin="\n".join(lines))

    assert result.exit_code == 1
    assert result.stdout == "2 enqueued, 0 already there, 3 bad\n"
    listed = result.stderr.splitlines()
    assert [entry.split(":")[0] for entry in listed] == ["line 2", "line 4", "line 5"]
    assert "not valid JSON" in listed[0]
    assert "case.debtor: is text" in listed[1]
    assert str(ledger.value("SELECT id FROM jobs WHERE creditor_reference = 'first'")) in listed[2]
    assert "Hemmelig" not in result.output
    assert ledger.value("SELECT count(*) FROM jobs") == 2


def test_a_database_error_says_which_lines_are_in_and_enqueueing_again_brings_the_rest(
    database: Database, environment: dict[str, str]
) -> None:
    # Given a ledger that fails at line 250 of 450, so in the second chunk
    database.rows(
        "CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE EXCEPTION 'shut down' USING ERRCODE = '57P01'; END $$"
    )
    database.rows(
        "CREATE TRIGGER fail BEFORE INSERT ON jobs FOR EACH ROW"
        " WHEN (NEW.creditor_reference = 'R250') EXECUTE FUNCTION fail()"
    )
    text = "\n".join(line(a_case(creditorReference=f"R{n}")) for n in range(1, 451))

    # When the file is enqueued
    result = run(environment, "enqueue", "-", stdin=text)

    # Then the first chunk is in, the second is not, and the message says so
    assert result.exit_code == 1
    assert result.stdout == "200 enqueued, 0 already there, 0 bad\n"
    assert "up to line 200 are enqueued. Lines 201 to 400 may or may not be enqueued." in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert database.value("SELECT count(*) FROM jobs") == 200

    # And when the trouble is over, the same file brings the rest
    database.rows("DROP TRIGGER fail ON jobs")
    assert run(environment, "enqueue", "-", stdin=text).stdout == "250 enqueued, 200 already there, 0 bad\n"


@pytest.mark.parametrize("missing", ["no-such-file.ndjson", "."])
def test_a_file_that_cannot_be_read_is_wrong_use(variables: dict[str, str], missing: str) -> None:
    result = run(variables, "enqueue", missing)

    assert result.exit_code == 2
    assert result.stderr.startswith("case-worker: ")
    assert len(result.stderr.splitlines()) == 1


def test_as_a_process_it_reads_a_pipe_and_writes_nothing_but_the_summary(
    ledger: Database, variables: dict[str, str]
) -> None:
    done = program(variables, "enqueue", "-", stdin=line(a_case(creditorReference="R1")))

    assert (done.returncode, done.stdout, done.stderr) == (0, "1 enqueued, 0 already there, 0 bad\n", "")
