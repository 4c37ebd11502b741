"""One trace from enqueue to API call, even an hour later, without personal data."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from sqlalchemy.orm import Session

from tests.support.command_line import line, run
from tests.support.databases import Database
from tests.support.pipeline import Pipeline, a_case
from tests.support.sandbox_witness import Witness
from worker import enqueue_case
from worker.telemetry.logging import tenant_digest

SECRET = {"name": "Debitor Jensen", "type": "Company", "countryAlpha2": "DK", "email": "jensen@example.com"}


@pytest.fixture
def exporter(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemorySpanExporter]:
    """What a web app with OpenTelemetry has set up for itself, and a worker with OTEL_… settings."""
    finished = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(finished))
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)
    yield finished
    provider.shutdown()


def by_name(exporter: InMemorySpanExporter) -> dict[str, list[ReadableSpan]]:
    found: dict[str, list[ReadableSpan]] = {}
    for span in exporter.get_finished_spans():
        found.setdefault(span.name, []).append(span)
    return found


def parent_of(span: ReadableSpan) -> int | None:
    return span.parent.span_id if span.parent else None


def id_of(span: ReadableSpan) -> int:
    assert span.context is not None
    return span.context.span_id


def test_every_attempt_joins_the_trace_of_whoever_enqueued(
    pipeline: Pipeline, ledger: Database, sandbox: Witness, exporter: InMemorySpanExporter
) -> None:
    # Given a web app that enqueues in a request of its own, and an API that fails once
    case = a_case(creditorReference="INV-1", debtor=SECRET)
    with (
        trace.get_tracer("web app").start_as_current_span("POST /invoices") as request,
        Session(ledger.engine) as session,
        session.begin(),
    ):
        enqueue_case(external_tenant_id="secret-tenant", case=case, session=session)
    sandbox.fault("cases", "status", status=500, times=1)

    # When it is tried, and an hour later once more
    pipeline.run()
    pipeline.again()

    # Then all of it is one trace: both attempts below the enqueue, requests below their attempts
    spans = by_name(exporter)
    assert {span.context.trace_id for span in exporter.get_finished_spans() if span.context} == {
        request.get_span_context().trace_id
    }
    (enqueued,) = spans["enqueue"]
    first, second = spans["attempt"]
    assert parent_of(enqueued) == request.get_span_context().span_id
    assert [parent_of(first), parent_of(second)] == [id_of(enqueued)] * 2
    assert [parent_of(post) for post in spans["POST /cases"]] == [id_of(first), id_of(second)]
    assert [post.attributes["http.response.status_code"] for post in spans["POST /cases"] if post.attributes] == [
        500,
        200,
    ]
    assert [parent_of(mint) for mint in spans["mint"]] == [id_of(first)]
    assert [attempt.attributes["case_worker.outcome"] for attempt in (first, second) if attempt.attributes] == [
        "waiting", "submitted",
    ]  # fmt: skip
    assert second.attributes is not None
    assert second.attributes["case_worker.tenant"] == tenant_digest("secret-tenant")


def test_a_replay_joins_the_trace_of_whoever_enqueued(
    pipeline: Pipeline, sandbox: Witness, exporter: InMemorySpanExporter
) -> None:
    sandbox.link("acme", "invalid")
    job = pipeline.submit("acme")
    sandbox.link("acme", "ok")

    pipeline.replay(job)
    pipeline.run()

    spans = by_name(exporter)
    (enqueued,) = spans["enqueue"]
    assert pipeline.job(job)["state"] == "submitted"
    assert {parent_of(attempt) for attempt in spans["attempt"]} == {id_of(enqueued)}
    assert len(spans["attempt"]) == 2


def test_nothing_personal_and_no_secret_is_in_a_span(
    pipeline: Pipeline, sandbox: Witness, exporter: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given all kinds of answers, and a bug whose exception repeats the case
    sandbox.fault("cases", "reset-after", times=3)
    pipeline.submit("secret-tenant", creditorReference="INV-777", debtor=SECRET)
    pipeline.again()
    pipeline.again()
    sandbox.faults()
    pipeline.submit("secret-tenant", currencyCode="?", debtor=SECRET)

    def bug(*_: Any) -> Any:
        raise ValueError(f"{SECRET}")

    monkeypatch.setattr("worker.submission.send.judge", bug)
    pipeline.submit("secret-tenant", debtor=SECRET)

    told = "\n".join(span.to_json() for span in exporter.get_finished_spans())
    assert '"GET /cases/by-creditor-reference/{creditorReference}"' in told
    assert '"error.type": "ValueError"' in told
    for word in ("Jensen", "jensen@", "INV-777", "secret-tenant", "eyJ", pipeline.settings.api_key):
        assert word not in told


def test_the_api_gets_no_trace_ids_unless_that_is_configured(
    new_pipeline: Any, pipeline: Pipeline, exporter: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[dict[str, str]] = []
    from worker.debitura.http import HttpClient

    original = HttpClient.request

    def look(self: HttpClient, method: str, path: str, headers: Any, body: bytes | None = None) -> Any:
        sent.append({"path": path, **headers})
        return original(self, method, path, headers, body)

    monkeypatch.setattr(HttpClient, "request", look)
    pipeline.submit()
    assert not [request for request in sent if "traceparent" in request]
    new_pipeline(WORKER_TRACE_TO_API="yes").submit("other")

    (post,) = [request for request in sent if "traceparent" in request]
    assert post["path"] == "/cases"
    assert post["traceparent"].split("-")[2] == f"{id_of(by_name(exporter)['POST /cases'][-1]):016x}"


def test_log_lines_name_the_trace(pipeline: Pipeline, exporter: InMemorySpanExporter, capsys: Any) -> None:
    job = pipeline.submit("acme")

    trace_id = str(pipeline.job(job)["trace_context"]).split("-")[1]
    said = [text for text in capsys.readouterr().out.splitlines() if "job_submitted" in text]
    assert f"trace_id={trace_id}" in said[0]
    assert f"tenant={tenant_digest('acme')}" in said[0]


def test_without_a_trace_nothing_is_kept_and_all_goes_well(pipeline: Pipeline) -> None:
    job = pipeline.submit()

    assert (pipeline.job(job)["state"], pipeline.job(job)["trace_context"]) == ("submitted", None)


def test_the_command_says_what_a_tenant_is_called(variables: dict[str, str]) -> None:
    key = {"LOG_TENANT_KEY": "k" * 20}

    said = run(variables | key, "tenant-digest", "acme")

    assert (said.exit_code, len(said.stdout.strip())) == (0, 12)
    assert run(variables | {"LOG_TENANT_KEY": "short"}, "tenant-digest", "acme").exit_code == 2
    assert line({}) != said.stdout
