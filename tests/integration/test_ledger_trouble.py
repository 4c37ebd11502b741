"""A failing database operation is retried, and the log names the error."""

from __future__ import annotations

import pytest
from sqlalchemy import Connection

from tests.support.databases import Database
from worker.ledger.database import run_with_retry


@pytest.mark.parametrize(
    ("sqlstate", "event", "name"),
    [
        ("40P01", "database_not_writable", "DeadlockDetected"),
        ("53100", "database_not_writable", "DiskFull"),
        ("25006", "database_not_writable", "ReadOnlySqlTransaction"),
        ("57P01", "ledger_unreachable", "AdminShutdown"),
    ],
)
def test_trouble_that_passes_is_named_in_the_log_and_tried_again(
    ledger: Database, capsys: pytest.CaptureFixture[str], sqlstate: str, event: str, name: str
) -> None:
    tries = 0

    def work(connection: Connection) -> str:
        nonlocal tries
        tries += 1
        if tries == 1:
            connection.exec_driver_sql(f"DO $$ BEGIN RAISE SQLSTATE '{sqlstate}'; END $$")
        return "done"

    assert run_with_retry(ledger.engine, work, until=lambda: False) == "done"
    said = capsys.readouterr().out
    assert event in said
    assert name in said
    assert sqlstate in said
