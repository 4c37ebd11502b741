"""No exception carries values into a log line: not ours, not a library's, not through Celery's words."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import psycopg
import pytest
import structlog

from worker.errors import InvalidCase
from worker.logs import configure_logs

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


def test_an_event_in_a_terminal_is_readable(monkeypatch: pytest.MonkeyPatch, written: io.StringIO) -> None:
    monkeypatch.setattr(written, "isatty", lambda: True)
    monkeypatch.setattr("sys.stderr", written)  # pytest has put its own there since the set-up
    configure_logs()

    structlog.get_logger("worker.test").error("page_failed", path="/x", exc_info=failure())

    assert "page_failed" in written.getvalue()
    assert not written.getvalue().startswith("{")
    assert "InvalidCase" in written.getvalue()
    assert "Jensen" not in written.getvalue()
