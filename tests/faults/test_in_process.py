"""One accept and one submit through a worker in this process, with pytest-celery's fixtures."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from typing import Any

import psycopg
import pytest
from celery import Celery
from celery.worker import WorkController
from local_servers import LocalPostgres, LocalValkey

from tests.support.faults.stage import TEMPLATE, a_case
from tests.support.until import until
from worker.dispatch.dispatcher import Dispatcher
from worker.ledger.database import get_engine
from worker.process.lifecycle import ThisProcess
from worker.queue.app import ACCEPT_TASK, CeleryPublisher, make_app
from worker.queue.tasks import register_tasks
from worker.sandbox.server import SandboxServer
from worker.settings import Settings


@pytest.fixture(scope="session")
def in_process_settings(breakable_postgres: LocalPostgres, sandbox_server: SandboxServer) -> Iterator[Settings]:
    name = "in_process"
    with psycopg.connect(breakable_postgres.url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {TEMPLATE}")
    with LocalValkey() as valkey:
        settings = Settings.from_environment(
            {
                "DATABASE_URL": f"{breakable_postgres.url.rsplit('/', 1)[0]}/{name}",
                "REDIS_URL": valkey.url,
                "DEBITURA_API_KEY": "sandbox-partner-key",
                "DEBITURA_REFERRAL_API_URL": sandbox_server.url,
                "DEBITURA_CUSTOMER_API_URL": sandbox_server.url,
            }
        )
        yield settings
        get_engine(settings.database_url).dispose()


@pytest.fixture(scope="session")
def celery_config(in_process_settings: Settings) -> dict[str, Any]:
    return {**make_app(in_process_settings).conf.changes, "broker_url": in_process_settings.broker_url}


@pytest.fixture(scope="session")
def celery_session_app(celery_session_app: Celery, in_process_settings: Settings) -> Celery:
    register_tasks(celery_session_app, in_process_settings, ThisProcess(in_process_settings))
    return celery_session_app


@pytest.fixture(scope="session")
def celery_worker_pool() -> str:
    return "threads"


@pytest.fixture(scope="session")
def celery_worker_parameters() -> Mapping[str, Any]:
    return {"perform_ping_check": False}


@pytest.fixture
def dispatcher(celery_session_app: Celery, in_process_settings: Settings) -> Iterator[Dispatcher]:
    dispatcher = Dispatcher(in_process_settings, CeleryPublisher(celery_session_app), name="in-process")
    thread = threading.Thread(target=dispatcher.run, kwargs={"stopped": lambda: False})
    thread.start()
    yield dispatcher
    dispatcher.stop()
    thread.join()


def test_given_a_worker_in_this_process_when_a_message_comes_then_its_case_is_submitted(
    celery_session_app: Celery,
    celery_session_worker: WorkController,
    dispatcher: Dispatcher,
    in_process_settings: Settings,
) -> None:
    arguments = {"external_tenant_id": "in-process", "case": a_case(1), "idempotency_key": "in-process-1"}
    celery_session_app.send_task(ACCEPT_TASK, kwargs=arguments)

    def case_id() -> str | None:
        with get_engine(in_process_settings.database_url).connect() as connection:
            found = connection.exec_driver_sql("SELECT case_id FROM jobs WHERE state = 'submitted'").scalar()
        return None if found is None else str(found)

    assert until("the case is submitted", case_id, within=20)
