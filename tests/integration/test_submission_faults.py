"""Every network and API fault that the sandbox can produce: each case still exists exactly once."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.pipeline import Pipeline
from tests.support.sandbox_witness import Witness

FAULTS: dict[str, dict[str, Any]] = {
    "reset before": {"kind": "reset-before"},
    "reset after": {"kind": "reset-after"},
    "silence": {"kind": "hang"},
    "late headers": {"kind": "slow-headers", "delayMs": 900},
    "dripping body": {"kind": "slow-body", "delayMs": 2500},
    "empty": {"kind": "empty"},
    "truncated": {"kind": "truncated"},
    "huge": {"kind": "huge"},
    "web page": {"kind": "html"},
    "502 page": {"kind": "status", "status": 502},
    "503": {"kind": "status", "status": 503},
    "conflict": {"kind": "conflict"},
    "429": {"kind": "retry-after", "retryAfter": 3},
    "redirected mint": {"kind": "status", "status": 302, "endpoint": "token"},
    "silent mint": {"kind": "hang", "endpoint": "token"},
    "garbled mint": {"kind": "html", "endpoint": "token"},
    "empty mint": {"kind": "empty", "endpoint": "token"},
    "huge mint": {"kind": "huge", "endpoint": "token"},
    "truncated mint": {"kind": "truncated", "endpoint": "token"},
}


@pytest.mark.parametrize("reference", ["INV-1", None], ids=["reference", "no reference"])
@pytest.mark.parametrize("fault", sorted(FAULTS))
def test_after_one_fault_the_case_is_submitted_once(
    new_pipeline: Callable[..., Pipeline], sandbox: Witness, fault: str, reference: str | None
) -> None:
    pipeline = new_pipeline(WORKER_REQUEST_TIMEOUT_SECONDS="0.5", WORKER_MAX_ATTEMPTS="6")
    sandbox.faults({"endpoint": "cases", "times": 1, **FAULTS[fault]})
    job_id = pipeline.submit(creditorReference=reference)
    for _ in range(3):
        while sandbox.look("stats")["keys_in_flight"]:
            time.sleep(0.02)
        pipeline.again()

    job = pipeline.job(job_id)
    (case,) = sandbox.cases()
    assert (job["state"], job["case_id"], job["outcome_unknown"]) == ("submitted", case["id"], False)
    assert len({(r["idempotencyKey"], r["bodySha256"]) for r in sandbox.posts()}) == 1
    assert all(a["outcome"] for a in pipeline.attempts(job_id))


@pytest.mark.parametrize("kind", ["hang", "slow-headers"])
def test_a_silent_api_is_given_up_after_the_read_timeout(
    new_pipeline: Callable[..., Pipeline], sandbox: Witness, kind: str
) -> None:
    pipeline = new_pipeline(WORKER_REQUEST_TIMEOUT_SECONDS="0.3")
    sandbox.fault("cases", kind, delayMs=20_000)
    job_id = pipeline.submit()

    (attempt,) = pipeline.attempts(job_id)
    assert (attempt["outcome"], attempt["error_message"]) == ("unknown", "no response before the timeout")
    assert 250 < attempt["duration_ms"] < 5000
    assert pipeline.job(job_id)["outcome_unknown"] is True


def test_an_api_that_is_not_there_burns_attempts_but_leaves_nothing_unknown(
    new_pipeline: Callable[..., Pipeline], sandbox: Witness
) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        nowhere = f"http://127.0.0.1:{probe.getsockname()[1]}"
    pipeline = new_pipeline(DEBITURA_CUSTOMER_API_URL=nowhere)
    job_id = pipeline.submit(creditorReference="INV-1")
    pipeline.again()
    pipeline.again()

    assert [a["outcome"] for a in pipeline.attempts(job_id)] == ["not_sent"] * 3
    assert pipeline.job(job_id)["outcome_unknown"] is False
    assert pipeline.letters(job_id)[0]["reason"] == "retries_exhausted"


def test_without_redis_cases_are_submitted_all_the_same(
    new_pipeline: Callable[..., Pipeline], sandbox: Witness
) -> None:
    pipeline = new_pipeline(REDIS_URL="redis://127.0.0.1:1/0")
    jobs = [pipeline.enqueue(f"tenant-{n % 2}") for n in range(20)]
    pipeline.run()

    assert {pipeline.job(job)["state"] for job in jobs} == {"submitted"}
    assert sandbox.mints() == 2


def test_jobs_of_a_batch_do_not_know_of_each_other(pipeline: Pipeline, sandbox: Witness) -> None:
    fates = {
        "submitted": [pipeline.enqueue(), pipeline.enqueue("other")],
        "dead": [
            pipeline.enqueue(tag="sandbox:status=403"),
            pipeline.enqueue("invalid-acme"),
            pipeline.enqueue("missing-acme"),
            pipeline.enqueue(currencyCode="x"),
        ],
        "waiting": [
            pipeline.enqueue(tag="sandbox:status=500"),
            pipeline.enqueue(tag="sandbox:drop-after"),
            pipeline.enqueue(tag="sandbox:409-once"),
        ],
    }
    pipeline.run()

    assert {s: {pipeline.job(job)["state"] for job in jobs} for s, jobs in fates.items()} == {s: {s} for s in fates}


def test_an_answer_with_text_that_postgresql_cannot_keep_is_kept_cleaned(pipeline: Pipeline, sandbox: Witness) -> None:
    body = (
        '{"businessErrors": [{"type": "T\\u0000", "message": "\\ud800x\\u0000", "solutionUrl": "https://x/\\u0000"}]}'
    )
    sandbox.fault("cases", "status", status=422, body=body)
    job_id = pipeline.submit()

    (letter,) = pipeline.letters(job_id)
    assert letter["detail"]["type"] == "T\N{REPLACEMENT CHARACTER}"
    assert letter["solution_url"] == "https://x/\N{REPLACEMENT CHARACTER}"


def test_nothing_secret_reaches_the_ledger_or_the_log(
    pipeline: Pipeline, sandbox: Witness, valkey: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    sandbox.faults({"endpoint": "cases", "kind": "reset-before", "times": 1})
    pipeline.submit(tag="sandbox:401-once")
    pipeline.again()
    pipeline.submit("invalid-acme")
    tables = ("jobs", "attempts", "dead_letters", "audit_log", "holds")
    kept = "".join(str(pipeline.ledger.rows(f"SELECT {table}::text FROM {table}")) for table in tables)
    kept += "".join(capsys.readouterr())

    assert "job_submitted" in kept
    assert "sandbox-partner-key" not in kept
    assert "eyJ" not in kept, "a JWT begins so"
    assert "Ærøskøbing" not in kept.replace(str(pipeline.ledger.rows("SELECT jobs::text FROM jobs")), "")
