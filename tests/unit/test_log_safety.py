"""No exception puts values into a log line: not ours, a library's or Celery's."""

from __future__ import annotations

import io
import json
import logging
import re
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import structlog

from worker.errors import InvalidCase
from worker.telemetry.logging import configure_logs, log_uncaught

DATA = "Debitor Jensen, jensen@example.com"


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """What is logged, by the project's own set-up."""
    output = io.StringIO()
    monkeypatch.setattr("sys.stderr", output)
    root = logging.getLogger()
    before, level, configuration = root.handlers[:], root.level, structlog.get_config()
    configure_logs()
    yield output
    root.handlers[:] = before
    root.setLevel(level)
    structlog.configure(**configuration)


def failure() -> Exception:
    try:
        try:
            secret = DATA
            raise psycopg.errors.CheckViolation(f"Failing row contains ({secret})")
        except psycopg.Error as error:
            raise InvalidCase(DATA, where="case") from error
    except InvalidCase as error:
        return error


def lines(written: io.StringIO) -> list[dict[str, str]]:
    return [json.loads(line) for line in written.getvalue().splitlines()]


def test_our_own_traceback_has_places_and_types_and_no_values(written: io.StringIO) -> None:
    structlog.get_logger("worker.test").error("page_failed", exc_info=failure())

    (line,) = lines(written)
    assert "test_log_safety.py" in line["exception"]
    assert "InvalidCase" in line["exception"]
    assert "CheckViolation (SQLSTATE 23514)" in line["exception"]
    assert "Jensen" not in written.getvalue()


def test_log_exception_in_a_handler_is_the_same(written: io.StringIO) -> None:
    try:
        raise failure()
    except InvalidCase:
        structlog.get_logger("worker.test").exception("dispatcher_failed", error="InvalidCase")

    assert "InvalidCase" in lines(written)[0]["exception"]
    assert "Jensen" not in written.getvalue()


def test_celerys_line_about_a_task_that_raised_names_the_type_only(written: io.StringIO) -> None:
    error = failure()
    context = {"name": "cases.accept", "id": "1", "exc": repr(error), "traceback": str(error), "description": "raised"}

    logging.getLogger("celery.app.trace").error(
        "Task %(name)s[%(id)s] %(description)s: %(exc)s", context, exc_info=(type(error), error, error.__traceback__)
    )

    assert lines(written)[0]["event"] == "Task cases.accept[1] raised: InvalidCase"
    assert "Jensen" not in written.getvalue()


def test_an_exception_among_the_arguments_of_any_library_is_named_only(written: io.StringIO) -> None:
    logging.getLogger("any.library").warning("it went wrong: %r, %s", failure(), OSError(111, "Connection refused"))

    assert lines(written)[0]["event"] == "it went wrong: 'InvalidCase', ConnectionRefusedError: Connection refused"


def test_what_nobody_catches_is_a_line_of_ours_too(written: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.excepthook", sys.excepthook)
    monkeypatch.setattr("threading.excepthook", threading.excepthook)
    log_uncaught()

    def fails() -> None:
        raise failure()

    thread = threading.Thread(target=fails, name="dispatcher")
    thread.start()
    thread.join()
    error = failure()
    sys.excepthook(type(error), error, error.__traceback__)

    assert [line["event"] for line in lines(written)] == ["thread_failed", "process_failed"]
    assert lines(written)[0]["thread"] == "dispatcher"
    assert "Jensen" not in written.getvalue()


def test_the_documentation_names_every_event_and_no_other() -> None:
    project = Path(__file__).parents[2]
    table = (project / "docs" / "logs-and-traces.md").read_text().partition("| event | means |")[2].partition("\n\n")[0]
    events = [row.split("|")[1] for row in table.splitlines() if row.startswith("| `")]
    named = {name for event in events for name in re.findall(r"`([a-z]+_[a-z_]+)`", event)}
    code = "".join(path.read_text() for path in (project / "worker").rglob("*.py"))

    assert len(named) > 30
    states = {"job_submitted", "job_waiting", "job_dead", "job_held"}  # made of a job's state
    assert [name for name in sorted(named - states) if f'"{name}"' not in code] == []
    logged = set(re.findall(r'(?:\blog\.[a-z]+\(|\bfailed = |\bevent = )\s*"([a-z_]+)"', code))
    assert sorted(logged - named) == []


def test_an_event_in_a_terminal_is_readable(monkeypatch: pytest.MonkeyPatch, written: io.StringIO) -> None:
    monkeypatch.setattr(written, "isatty", lambda: True)
    monkeypatch.setattr("sys.stderr", written)  # pytest has put its own there since the set-up
    configure_logs()

    structlog.get_logger("worker.test").error("page_failed", path="/x", exc_info=failure())

    assert "page_failed" in written.getvalue()
    assert not written.getvalue().startswith("{")
    assert "InvalidCase" in written.getvalue()
    assert "Jensen" not in written.getvalue()
