"""`case-worker doctor` finds and names each problem, says how to fix it, and shows no secret."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from local_servers import LocalValkey

from tests.support.command_line import run
from tests.support.databases import Database
from tests.support.pipeline import Pipeline
from tests.support.rows import set_leader
from tests.support.sandbox_witness import Witness
from worker.cli.check_settings import check_settings
from worker.report.web.passwords import hash_password

PROJECT = Path(__file__).parents[2]
SECRETS = {
    "DATABASE_URL": "postgresql://u:geheim@127.0.0.1:1/x",
    "REDIS_URL": "redis://:geheim@127.0.0.1:1/0",
    "CELERY_BROKER_URL": "amqp://u:geheim@127.0.0.1:1//",
    "DEBITURA_API_KEY": "geheim-key",
}


def verdicts(text: str) -> dict[str, str]:
    """The verdict on each name (`ok`, `warning`, `FAILED`)."""
    lines = [line.split(None, 1) for line in text.splitlines() if line[:1].strip() and line[:8].strip()]
    return {rest.split(":")[0]: verdict for verdict, rest in lines if verdict in ("ok", "warning", "FAILED")}


def test_all_is_well_when_a_worker_leads(ledger: Database, variables: dict[str, str]) -> None:
    set_leader(ledger, "host-7:99")

    result = run(variables, "doctor")

    found = verdicts(result.stdout)
    assert result.exit_code == 0, result.stdout
    assert "FAILED" not in found.values()
    servers = ("schema", "worker", "broker", "cache", "Referral Partner API (test)", "Customer API (test)")
    assert {found[name] for name in servers} == {"ok"}
    # The tests' servers are quick rather than safe, and that is found.
    assert "a power cut may lose commits" in result.stdout
    assert "it keeps nothing on disk" in result.stdout


def test_no_worker_is_a_warning(ledger: Database, variables: dict[str, str]) -> None:
    result = run(variables, "doctor")

    assert (result.exit_code, verdicts(result.stdout)["worker"]) == (0, "warning")


@pytest.mark.parametrize(
    ("name", "value", "failed"),
    [
        ("DATABASE_URL", SECRETS["DATABASE_URL"], "database"),
        ("REDIS_URL", SECRETS["REDIS_URL"], "cache"),
        ("REDIS_URL", "redis://:gehe/im@127.0.0.1:1/0", "cache"),
        ("CELERY_BROKER_URL", SECRETS["CELERY_BROKER_URL"], "broker"),
        ("DEBITURA_API_KEY", SECRETS["DEBITURA_API_KEY"], "Referral Partner API (test)"),
        ("DEBITURA_API_KEY", "", "DEBITURA_API_KEY"),
        ("DEBITURA_CUSTOMER_API_URL", "http://127.0.0.1:1", "Customer API (test)"),
        ("DEBITURA_REFERRAL_API_URL", "http://127.0.0.1:1", "Referral Partner API (test)"),
        ("DEBITURA_ENVIRONMENT", "staging", "DEBITURA_ENVIRONMENT"),
        ("WORKER_BATCH", "many", "WORKER_BATCH"),
        ("WORKER_RETRY_BASE_SECONDS", "4000", "WORKER_RETRY_MAX_SECONDS"),
    ],
)
def test_one_fault_is_found_beside_what_is_well(
    ledger: Database, variables: dict[str, str], name: str, value: str, failed: str
) -> None:
    result = run({**variables, "WORKER_RETRY_MAX_SECONDS": "", name: value}, "doctor")

    found = verdicts(result.stdout)
    assert result.exit_code == 1
    assert found[failed] == "FAILED"
    others = {other for other, verdict in found.items() if verdict == "FAILED"} - {failed}
    assert others <= ({"broker"} if name == "REDIS_URL" else set())
    assert len(found) > 15
    assert "gehe" not in result.stdout


def test_everything_wrong_at_once_is_all_listed(variables: dict[str, str]) -> None:
    result = run({**variables, **SECRETS, "WORKER_THREADS": "0", "WORKER_LEASE_SECONDS": "-1"}, "doctor")

    failed = {name for name, verdict in verdicts(result.stdout).items() if verdict == "FAILED"}
    assert failed == {
        "WORKER_THREADS",
        "WORKER_LEASE_SECONDS",
        "database",
        "broker",
        "cache",
        "Referral Partner API (test)",
    }
    assert "geheim" not in result.stdout


PROXY = {"REPORT_PROXY_USER_HEADER": "X-User", "REPORT_PROXY_ADDRESSES": "10.0.0.5"}
USER = f"ada:operator:{hash_password('correct horse')}"


@pytest.mark.parametrize(
    ("settings", "name", "verdict", "said"),
    [
        ({}, "REPORT_USERS", "ok", "the page serves this machine only"),
        ({"REPORT_USERS": USER}, "REPORT_USERS", "ok", "1 user, 1 operator"),
        ({"REPORT_USERS": USER.replace("operator", "viewer")}, "REPORT_USERS", "warning", "Give at least one user"),
        ({"REPORT_USERS": "ada:operator:geheim"}, "REPORT_USERS", "FAILED", "entry 1 should be name:role"),
        ({"REPORT_SECRET_KEY": "geheim"}, "REPORT_SECRET_KEY", "FAILED", "at least 32 characters"),
        ({"REPORT_SECRET_KEY": "geheim" * 6}, "REPORT_SECRET_KEY", "ok", "set"),
        ({"REPORT_PROXY_USER_HEADER": "X-User"}, "REPORT_PROXY_USER_HEADER", "FAILED", "REPORT_PROXY_ADDRESSES should"),
        (PROXY, "REPORT_PROXY_USER_HEADER", "ok", "set"),
        ({"REPORT_PROXY_ADDRESSES": "here"}, "REPORT_PROXY_ADDRESSES", "FAILED", "addresses or networks"),
        ({"REPORT_PROXY_ROLES": "ada:boss"}, "REPORT_PROXY_ROLES", "FAILED", "name:viewer or name:operator"),
        ({"REPORT_PROXY_ROLES": "ada:viewer"}, "REPORT_PROXY_ROLES alone", "warning", "has no effect without"),
        ({"REPORT_USER": "x"}, "REPORT_USER", "warning", "did you mean REPORT_USERS?"),
        ({"ALERT_WEBHOOK_URL": "x"}, "ALERT_WEBHOOK_URL", "warning", "did you mean ALERT_WEBHOOK_URLS?"),
        ({"LOG_TENANT_KEY": "geheim"}, "LOG_TENANT_KEY", "FAILED", "at least 16 characters"),
        ({"OTEL_TRACES_EXPORTER": "jaeger"}, "traces", "FAILED", "should be otlp or console or none"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318"}, "traces", "ok", "on"),
        ({"OTEL_SERVICE_NAME": "x"}, "traces", "ok", "off"),
    ],
)
def test_the_settings_of_page_log_and_traces_are_looked_at(
    settings: dict[str, str], name: str, verdict: str, said: str
) -> None:
    # Without servers in the settings, nothing else is asked.
    result = run({"DATABASE_URL": "", "REDIS_URL": "", "DEBITURA_API_KEY": "", **settings}, "doctor")

    assert verdicts(result.stdout)[name] == verdict
    assert said in " ".join(result.stdout.split())
    assert "geheim" not in result.stdout


def test_every_documented_setting_exists() -> None:
    documented = (PROJECT / "docs" / "configuration.md").read_text()
    rows = [row for row in documented.splitlines() if row.startswith("| `")]
    names = {name for row in rows for name in re.findall(r"`([A-Z]+(?:_[A-Z]+)+)`", row.split("|")[1])}
    assert len(names) > 40

    found = {
        finding.name for finding in check_settings(dict.fromkeys(names, "x")) if "is not a setting" in finding.message
    }

    assert found == set()


def test_a_name_that_is_no_setting_is_warned_of(ledger: Database, variables: dict[str, str]) -> None:
    result = run({**variables, "WORKER_BATCHES": "5"}, "doctor")

    assert verdicts(result.stdout)["WORKER_BATCHES"] == "warning"
    assert "did you mean WORKER_BATCH?" in result.stdout


def test_a_broker_that_may_drop_messages_is_warned_of(
    ledger: Database, variables: dict[str, str], valkey: LocalValkey
) -> None:
    client = valkey.client()
    client.config_set("maxmemory-policy", "allkeys-lru")
    try:
        result = run(variables, "doctor")
    finally:
        client.config_set("maxmemory-policy", "noeviction")
        client.close()

    assert "warning  broker settings: maxmemory-policy is allkeys-lru" in result.stdout


def test_an_old_schema_is_found(ledger: Database, variables: dict[str, str]) -> None:
    version = ledger.value("SELECT version_num FROM alembic_version")
    ledger.rows("DELETE FROM alembic_version")
    try:
        result = run(variables, "doctor")
    finally:
        ledger.rows("INSERT INTO alembic_version VALUES (%s)", version)

    assert (result.exit_code, verdicts(result.stdout)["schema"]) == (1, "FAILED")
    assert "case-worker migrate" in result.stdout


def test_the_question_about_the_key_names_no_tenant_and_mints_nothing(
    pipeline: Pipeline, variables: dict[str, str], sandbox: Witness
) -> None:
    run(variables, "doctor")

    assert sandbox.look("stats")["mints"] == 0
    asked = [request for request in sandbox.look("requests") if request["path"].startswith("/clients/")]
    assert len(asked) == 1
    assert asked[0]["path"].startswith("/clients/case-worker-check-")
