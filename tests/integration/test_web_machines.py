"""The page's endpoints for machines (liveness, readiness, metrics), and the command that starts it."""

from __future__ import annotations

import os
import subprocess

import requests
from local_servers import free_port

from tests.support.command_line import PROGRAM
from tests.support.databases import Database
from tests.support.pipeline import Pipeline
from tests.support.web_visitor import USERS, Visitor, report
from worker.ledger.database import get_engine
from worker.report.web.application import create_application
from worker.settings import Settings

Vars = dict[str, str]


def test_probes_and_figures_need_nobody_to_sign_in(pipeline: Pipeline, ledger: Database, variables: Vars) -> None:
    pipeline.submit(currencyCode="?")
    pipeline.submit()
    visitor = Visitor(report(ledger, variables, REPORT_USERS=USERS))

    assert visitor.get("/healthz").text == "ok\n"
    assert visitor.get("/readyz").text == "ready\n"
    metrics = visitor.get("/metrics").text
    assert 'case_worker_jobs{state="dead"} 1.0\n' in metrics
    assert 'case_worker_jobs{state="submitted"} 1.0\n' in metrics
    assert 'case_worker_open_dead_letters{reason="validation"} 1.0\n' in metrics


def test_the_page_is_alive_but_not_ready_without_a_database(variables: Vars) -> None:
    away = {**variables, "DATABASE_URL": f"postgresql://postgres@127.0.0.1:{free_port()}/x"}
    settings = Settings.from_environment(away)
    visitor = Visitor(create_application(settings, get_engine(settings.database_url), away))

    assert visitor.get("/healthz").status_code == 200
    assert visitor.get("/readyz").status_code == 503
    page = visitor.get("/")
    assert page.status_code == 503
    assert "The database does not respond" in page.text
    assert "5432" not in page.text


def test_the_page_is_not_ready_on_an_older_schema(database: Database, variables: Vars) -> None:
    database.rows("DELETE FROM alembic_version")
    here = {**variables, "DATABASE_URL": database.url}
    visitor = Visitor(create_application(Settings.from_environment(here), database.engine, here))

    assert visitor.get("/readyz").status_code == 503


def test_the_command_says_where_it_is_once_it_can_be_asked(variables: Vars) -> None:
    with subprocess.Popen(
        [PROGRAM, "web", "--port", "0"], env={**os.environ, **variables}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    ) as process:  # fmt: skip
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            address = line.split()[4]
            answer = requests.get(f"{address}readyz", timeout=10)
        finally:
            process.terminate()
        process.wait(20)

    assert line.startswith("The report is at http://127.0.0.1:")
    assert "for all users of this machine" in line
    assert answer.text == "ready\n"


def test_on_sigterm_what_goes_on_is_left_to_another_process(
    pipeline: Pipeline, ledger: Database, variables: Vars
) -> None:
    """The page's process carries out operations; an unfinished one must survive it."""
    pipeline.submit(currencyCode="?")
    pipeline.submit(currencyCode="?")
    visitor = Visitor(report(ledger, variables))
    with visitor.http:
        visitor.get("/act?verb=replay&scope=filter")
        place = visitor.post("/act", token=visitor.hidden("token"), canary="yes").headers["location"]
        while visitor.get(f"{place}/progress.json").json()["done"] == 0:
            pass

    assert ledger.value("SELECT state FROM operations") == "running"
    assert ledger.value("SELECT lease_token FROM operations") is None
