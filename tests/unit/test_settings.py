"""Settings: errors in one line that names the variable, secrets never printed."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from worker.errors import SettingsError
from worker.settings import API_HOSTS, DEFAULT_RATE_LIMITS, Settings

read = Settings.from_environment


def test_nothing_set_gives_the_documented_defaults() -> None:
    assert asdict(read({})) == {
        "database_url": "",
        "redis_url": "",
        "broker_url": "",
        "api_key": "",
        "environment": "test",
        "referral_api_url": "https://testreferral-api.debitura.com",
        "customer_api_url": "https://testcustomer-api.debitura.com",
        "rate_limits": "2000/minute;20000/hour;100000/day",
        "request_timeout": 30,
        "lease": 120,
        "requeue": 60,
        "batch": 20,
        "threads": 16,
        "tenant_concurrency": 4,
        "max_attempts": 12,
        "retry_base": 2,
        "retry_max": 3600,
        "encryption_keys": (),
        "readable": (),
        "purge_after": None,
        "brake_jobs": 20,
        "brake_tenants": 5,
        "idempotency": 86_400,
        "trace_to_api": False,
    }


@pytest.mark.parametrize(
    ("name", "value", "field", "expected"),
    [
        ("DATABASE_URL", "postgres://u:p@h/n", "database_url", "postgresql+psycopg://u:p@h/n"),
        ("DATABASE_URL", "postgresql://h/n", "database_url", "postgresql+psycopg://h/n"),
        ("DATABASE_URL", "postgresql+psycopg://h/n", "database_url", "postgresql+psycopg://h/n"),
        ("REDIS_URL", "rediss://h:1/2", "redis_url", "rediss://h:1/2"),
        ("REDIS_URL", "redis://h", "broker_url", "redis://h"),
        ("CELERY_BROKER_URL", "amqp://h", "broker_url", "amqp://h"),
        ("DEBITURA_API_KEY", "  key\n", "api_key", "key"),
        ("DEBITURA_ENVIRONMENT", "production", "customer_api_url", API_HOSTS["production"][1]),
        ("DEBITURA_ENVIRONMENT", "production", "referral_api_url", API_HOSTS["production"][0]),
        ("DEBITURA_REFERRAL_API_URL", "https://x/base/", "referral_api_url", "https://x/base"),
        ("DEBITURA_CUSTOMER_API_URL", "http://127.0.0.1:8000", "customer_api_url", "http://127.0.0.1:8000"),
        ("DEBITURA_CUSTOMER_API_URL", "http://[::1]:8000", "customer_api_url", "http://[::1]:8000"),
        ("DEBITURA_CUSTOMER_API_URL", "http://localhost", "customer_api_url", "http://localhost"),
        ("WORKER_RATE_LIMITS", "5/minute", "rate_limits", "5/minute"),
        ("WORKER_RATE_LIMITS", "", "rate_limits", DEFAULT_RATE_LIMITS),
        ("WORKER_REQUEST_TIMEOUT_SECONDS", "0.5", "request_timeout", 0.5),
        ("WORKER_LEASE_SECONDS", "86400", "lease", 86400),
        ("WORKER_REQUEUE_SECONDS", "1e1", "requeue", 10),
        ("WORKER_BATCH", "1", "batch", 1),
        ("WORKER_THREADS", "1000", "threads", 1000),
        ("WORKER_TENANT_CONCURRENCY", "7", "tenant_concurrency", 7),
        ("WORKER_MAX_ATTEMPTS", "3", "max_attempts", 3),
        ("WORKER_RETRY_BASE_SECONDS", "0.01", "retry_base", 0.01),
        ("WORKER_RETRY_MAX_SECONDS", "5", "retry_max", 5),
        ("CASE_ENCRYPTION_KEYS", "00" * 32, "encryption_keys", (bytes(32),)),
        ("CASE_PLAINTEXT_FIELDS", "amount, reference", "readable", ("amount", "reference")),
        ("PURGE_AFTER", "90d", "purge_after", 90 * 86_400),
        ("PURGE_AFTER", "48h", "purge_after", 2 * 86_400),
    ],
)
def test_each_variable_is_read(name: str, value: str, field: str, expected: Any) -> None:
    assert getattr(read({name: value}), field) == expected


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DATABASE_URL", "mysql://h/n"),
        ("DATABASE_URL", "h/n"),
        ("DATABASE_URL", "postgresql:h"),
        ("REDIS_URL", "http://h"),
        ("CELERY_BROKER_URL", "sqs://"),
        ("DEBITURA_ENVIRONMENT", "prod"),
        ("DEBITURA_API_KEY", "sleutel-ключ"),
        ("DEBITURA_API_KEY", "two\nlines"),
        ("DEBITURA_REFERRAL_API_URL", "http://referral-api.debitura.com"),
        ("DEBITURA_CUSTOMER_API_URL", "http://localhost.evil.example"),
        ("DEBITURA_CUSTOMER_API_URL", "http://127.0.0.1@evil.example"),
        ("DEBITURA_CUSTOMER_API_URL", "ftp://h"),
        ("DEBITURA_CUSTOMER_API_URL", "customer-api.debitura.com"),
        ("DEBITURA_CUSTOMER_API_URL", "https://"),
        ("DEBITURA_CUSTOMER_API_URL", "https://[::1"),
        ("DEBITURA_CUSTOMER_API_URL", "https://h:port"),
        ("DEBITURA_CUSTOMER_API_URL", "https://h:99999"),
        ("DEBITURA_CUSTOMER_API_URL", "https://two words"),
        ("DEBITURA_CUSTOMER_API_URL", "https://h/?key=1"),
        ("WORKER_RATE_LIMITS", "many"),
        ("CASE_ENCRYPTION_KEYS", "short"),
        ("CASE_ENCRYPTION_KEYS", "00" * 32 + " " + "00" * 31),
        ("CASE_PLAINTEXT_FIELDS", "amount, debtor"),
        ("PURGE_AFTER", "soon"),
        ("PURGE_AFTER", "3h"),
        ("PURGE_AFTER", "0d"),
        ("WORKER_RATE_LIMITS", "-1/minute"),
        *[
            (f"WORKER_{name}_SECONDS", value)
            for name in ("REQUEST_TIMEOUT", "LEASE", "REQUEUE", "RETRY_BASE", "RETRY_MAX")
            for value in ("0", "-1", "soon", "nan", "inf", "1e9")
        ],
        *[
            (f"WORKER_{name}", value)
            for name in ("BATCH", "THREADS", "MAX_ATTEMPTS")
            for value in ("0", "-1", "1.5", "many", "1001", "٣", "1" * 5000)
        ],
    ],
    ids=lambda text: text[:40].encode("unicode_escape").decode(),
)
def test_a_bad_value_is_refused_in_one_line_that_names_the_variable(name: str, value: str) -> None:
    with pytest.raises(SettingsError) as refused:
        read({name: value})

    assert str(refused.value).startswith(name)
    assert "should" in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DATABASE_URL", "mysql://u:hunter2@h/n"),
        ("REDIS_URL", "http://:hunter2@h"),
        ("CELERY_BROKER_URL", "x://u:hunter2@h"),
        ("DEBITURA_API_KEY", "hunter2 é"),
        ("CASE_ENCRYPTION_KEYS", "hunter2"),
        ("DEBITURA_API_KEY", "hunter2\nhunter2"),
    ],
)
def test_a_refused_secret_is_not_repeated(name: str, value: str) -> None:
    with pytest.raises(SettingsError) as refused:
        read({name: value})

    assert "hunter2" not in str(refused.value)


def test_secrets_are_not_in_the_representation() -> None:
    settings = read(
        {
            "DATABASE_URL": "postgresql://u:hunter2@h/n",
            "REDIS_URL": "redis://:hunter2@h",
            "CELERY_BROKER_URL": "amqp://u:hunter2@h",
            "DEBITURA_API_KEY": "hunter2",
            "CASE_ENCRYPTION_KEYS": b"hunter2 hunter2 hunter2 hunter2!".hex(),
        }
    )

    assert "hunter2" not in repr(settings)
    assert "hunter2" not in f"{settings}"


@pytest.mark.parametrize("name", ["DATABASE_URL", "REDIS_URL", "DEBITURA_API_KEY"])
@pytest.mark.parametrize("value", [None, "", "   "])
def test_what_is_needed_and_missing_is_named_with_what_it_should_be(name: str, value: str | None) -> None:
    with pytest.raises(SettingsError, match=rf"^{name} is not set; it should be .+"):
        read({} if value is None else {name: value}, needs=(name,))


@pytest.mark.parametrize(
    ("name", "value", "field"),
    [
        ("DEBITURA_API_KEY", "from-file", "api_key"),
        ("DATABASE_URL", "postgresql+psycopg://h/n", "database_url"),
        ("REDIS_URL", "redis://h", "redis_url"),
        ("CELERY_BROKER_URL", "amqp://h", "broker_url"),
    ],
)
def test_a_secret_may_come_from_a_file(tmp_path: Path, name: str, value: str, field: str) -> None:
    secret = tmp_path / "secret"
    secret.write_text(f"{value}\n", encoding="utf-8")

    settings = read({f"{name}_FILE": str(secret)}, needs=(name,) if name != "CELERY_BROKER_URL" else ())

    assert getattr(settings, field) == value


def test_the_value_itself_beats_the_file(tmp_path: Path) -> None:
    assert read({"DEBITURA_API_KEY": "here", "DEBITURA_API_KEY_FILE": str(tmp_path / "absent")}).api_key == "here"


@pytest.mark.parametrize("make", ["absent", "folder", "binary"])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, make: str) -> None:
    path = tmp_path / "secret"
    if make == "folder":
        path.mkdir()
    if make == "binary":
        path.write_bytes(b"\xff\xfe\x00")

    with pytest.raises(SettingsError, match=r"^DEBITURA_API_KEY_FILE should name a readable text file") as refused:
        read({"DEBITURA_API_KEY_FILE": str(path)})

    assert "\n" not in str(refused.value)


def test_an_empty_file_is_a_missing_value(tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("\n")
    with pytest.raises(SettingsError, match="DEBITURA_API_KEY is not set"):
        read({"DEBITURA_API_KEY_FILE": str(tmp_path / "empty")}, needs=("DEBITURA_API_KEY",))


def test_the_longest_wait_is_not_below_the_first() -> None:
    with pytest.raises(SettingsError, match="WORKER_RETRY_MAX_SECONDS"):
        read({"WORKER_RETRY_BASE_SECONDS": "10", "WORKER_RETRY_MAX_SECONDS": "5"})


def test_without_an_argument_the_process_s_environment_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKER_BATCH", "7")
    assert read().batch == 7
