"""Ages, texts and settings as they come from a command line."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path

import click
import pytest
from sqlalchemy.exc import OperationalError

from worker import settings
from worker.case import protection
from worker.cli.check_settings import Verdict, check_settings, setting_names, without
from worker.cli.options import Words
from worker.cli.server_errors import describe, describe_database_error
from worker.fleet import settings as fleet_settings
from worker.report.formatting import parse_age


@pytest.mark.parametrize(
    ("text", "age"),
    [
        ("30m", timedelta(minutes=30)),
        ("12h", timedelta(hours=12)),
        ("7d", timedelta(days=7)),
        ("2w", timedelta(weeks=2)),
        (" 7D ", timedelta(days=7)),
    ],
)
def test_an_age_is_read_with_its_unit(text: str, age: timedelta) -> None:
    assert parse_age(text) == age


@pytest.mark.parametrize("text", ["", "7", "d", "-7d", "0d", "1.5h", "7 d", "7days", "\u0667d", "9999999d", "1h30m"])
def test_what_is_no_age_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="30m, 12h, 7d or 2w"):
        parse_age(text)


def test_an_age_that_no_calendar_reaches_is_refused() -> None:
    with pytest.raises(ValueError, match="at most a hundred years"):
        parse_age("999999w")


@pytest.mark.parametrize("text", ["", "  ", "a\x00b", "\udcff", "x" * 11])
def test_texts_that_the_ledger_cannot_keep_are_refused(text: str) -> None:
    with pytest.raises(click.BadParameter):
        Words(10).convert(text, None, None)
    assert Words(10).convert(" Åse ", None, None) == "Åse"


def test_the_doctor_knows_every_setting_that_the_settings_read() -> None:
    source = "".join(Path(module.__file__).read_text(encoding="utf-8") for module in (settings, protection))
    read = set(re.findall(r'(?:env\.\w+\(|_rate_limits\(env,|setting_text\(environ,)\s*"([A-Z_]+)"', source))

    source = Path(fleet_settings.__file__).read_text(encoding="utf-8")
    of_the_fleet = set(re.findall(r'(?:env\.get\(|\(env, )"([A-Z_]+)"', source)) - {"WORKER_LIVENESS_FILE"}

    assert len(read) > 10
    assert len(of_the_fleet) > 5
    assert set(setting_names()) == read | of_the_fleet


def test_each_setting_is_judged_by_itself() -> None:
    environ = {"WORKER_BATCH": "x", "WORKER_THREADS": "y", "WORKER_LEASE_SECONDS": "5", "DEBITURA_ENVIRONMENT": "test"}

    found = {finding.name: finding for finding in check_settings(environ)}

    assert {name for name, finding in found.items() if finding.verdict is Verdict.FAILED} == {
        "WORKER_BATCH", "WORKER_THREADS", "DATABASE_URL", "REDIS_URL", "DEBITURA_API_KEY",
    }  # fmt: skip
    assert found["DATABASE_URL"].message == "is missing"
    assert found["WORKER_BATCH"].message == "is wrong"
    assert found["WORKER_LEASE_SECONDS"].message == "5"


def test_a_secret_in_a_file_counts_and_is_not_shown(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("geheim")

    found = {finding.name: finding for finding in check_settings({"DEBITURA_API_KEY_FILE": str(file)})}
    both = {
        finding.name: finding
        for finding in check_settings({"DEBITURA_API_KEY_FILE": str(file), "DEBITURA_API_KEY": "geheim"})
    }

    assert (found["DEBITURA_API_KEY"].verdict, found["DEBITURA_API_KEY"].message) == (Verdict.OK, "set")
    assert both["DEBITURA_API_KEY"].verdict is Verdict.WARNING
    assert "geheim" not in repr(found) + repr(both)


def test_bad_settings_are_left_out_with_their_files() -> None:
    environ = {"WORKER_BATCH": "x", "REDIS_URL_FILE": "f", "WORKER_RETRY_BASE_SECONDS": "9", "PATH": "p"}

    assert without(environ, {"WORKER_BATCH", "REDIS_URL", "WORKER_RETRY_MAX_SECONDS"}) == {"PATH": "p"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("connection to server at 1.2.3.4, port 1 failed: Connection refused", "refused"),
        ("failed to resolve host 'im@host'", "host name"),
        ('FATAL:  password authentication failed for user "im"', "password was rejected"),
        ('FATAL:  database "x" does not exist', "no such database"),
        ('FATAL:  role "x" does not exist', "no such user"),
        ("timeout expired", "did not respond"),
        ("something new with im in it", "it raised ValueError"),
    ],
)
def test_trouble_is_told_in_our_words_only(text: str, words: str) -> None:
    said = describe(ValueError(text))

    assert words in said
    assert "im@host" not in said


def test_trouble_in_the_middle_is_not_called_unreachable() -> None:
    class Locked(Exception):
        sqlstate = "55P03"

    assert "another session holds a lock" in describe_database_error(OperationalError("SELECT 1", {}, Locked()))
