"""A whole deployment on this machine, made to be broken: workers, ledger, broker and cache, each behind a proxy, and
the sandbox as the witness."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from typing import Any, Self
from uuid import UUID, uuid4

import psycopg
import redis
from celery import Celery
from kombu.exceptions import OperationalError
from local_servers import LocalPostgres, LocalValkey
from pytest_celery import CeleryBrokerCluster, CeleryTestBroker, CeleryTestWorker, CeleryWorkerCluster
from sqlalchemy import Engine, create_engine
from sqlalchemy.exc import DBAPIError

from tests.support.faults.brokers import BrokerNode
from tests.support.faults.invariant import differences
from tests.support.faults.ledger_rows import all_jobs
from tests.support.faults.proxy import Proxy
from tests.support.faults.rabbitmq import LocalRabbitMQ, queue_depth
from tests.support.faults.stops import Stops
from tests.support.faults.witness import Witness
from tests.support.faults.worker_node import STOPPABLE_APP, WorkerNode
from tests.support.until import until
from worker.case.protection import Protection
from worker.intake.enqueue import admit, insert
from worker.ledger import migrate
from worker.queue.app import ACCEPT_TASK, INTAKE, SUBMIT, SUBMIT_TASK, make_app
from worker.settings import Settings

API_KEY = "sandbox-partner-key"
#: The migrated, empty database that each stage copies.
TEMPLATE = "ledger_template"
#: Production's waits, scaled down so that a fault and its repair fit into seconds.
QUICK = {
    "WORKER_LEASE_SECONDS": "3",
    "WORKER_REQUEUE_SECONDS": "3",
    "WORKER_RETRY_BASE_SECONDS": "0.1",
    "WORKER_RETRY_MAX_SECONDS": "1",
    "WORKER_REQUEST_TIMEOUT_SECONDS": "1",
    "WORKER_MAX_ATTEMPTS": "500",
    "WORKER_RATE_LIMITS": "100000/second",
    "FAULTS_API_KEY_HOLD": "1.5",
    "FAULTS_VISIBILITY": "3",
}
#: Seconds that any job may take to settle in the end, on a busy machine.
PATIENCE = 60.0
_numbers = count(1)


class Stage:
    """Everything that a scenario needs; enter it to start it."""

    def __init__(
        self,
        folder: Path,
        *,
        postgres: LocalPostgres,
        valkey: LocalValkey,
        rabbitmq: LocalRabbitMQ | None = None,
        pools: Sequence[str] = ("prefork", "prefork"),
        app: str = STOPPABLE_APP,
        settings: Mapping[str, str] | None = None,
        skews: Mapping[int, float] | None = None,
        make_worker: Callable[..., WorkerNode] = WorkerNode,
    ) -> None:
        """`skews` says by how many seconds which worker's wall clock is wrong."""
        self.folder = folder
        self.postgres, self.valkey, self.rabbitmq = postgres, valkey, rabbitmq
        self.stops = Stops(folder / "stops")
        self.witness = Witness(folder)
        self.expected: set[tuple[str, str]] = set()
        """Every job that was enqueued, as (tenant, idempotency key)."""
        self.sent: dict[str, int] = {}
        """What went through the broker: idempotency key and serial number."""
        self._database = f"stage_{uuid4().hex[:12]}"
        self._pools, self._app, self._skews, self._make_worker = pools, app, skews or {}, make_worker
        self._settings = QUICK | dict(settings or {})
        self._protection = Protection.from_environment(self._settings)
        self._guard = threading.Lock()
        self._connection: psycopg.Connection[Any] | None = None
        self._ends = ExitStack()

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self._ends.close()
            raise
        return self

    def __exit__(self, *_error: object) -> None:
        self._ends.close()

    def _start(self) -> None:
        self._create_database()
        broker = self.rabbitmq or self.valkey
        self.ledger_proxy = self._ends.enter_context(Proxy(self.postgres.port))
        self.cache_proxy = self._ends.enter_context(Proxy(self.valkey.port))
        self.broker_proxy = self._ends.enter_context(Proxy(broker.port)) if self.rabbitmq else self.cache_proxy
        self._ends.callback(self.witness.teardown)
        self.witness.start()
        direct = create_engine(self.database_url.replace("postgresql://", "postgresql+psycopg://"))
        self._ends.callback(direct.dispose)
        self._ends.callback(self._hang_up)
        self.engine: Engine = direct
        self.client: Celery = make_app(Settings.from_environment(self.environment | {"REDIS_URL": self.valkey.url}))
        self._ends.callback(self.client.close)
        self.broker = CeleryTestBroker(BrokerNode(broker))
        self.brokers = CeleryBrokerCluster(self.broker)
        self.nodes = [self._worker(number, pool) for number, pool in enumerate(self._pools)]
        for node in self.nodes:
            self._ends.callback(node.teardown)
            node.start()
        self.workers = CeleryWorkerCluster(*(CeleryTestWorker(node, self.client) for node in self.nodes))
        self.workers.ready()

    def _create_database(self) -> None:
        with psycopg.connect(self.postgres.url, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {self._database} TEMPLATE {TEMPLATE}")

        def drop() -> None:
            with psycopg.connect(self.postgres.url, autocommit=True) as connection:
                connection.execute(f"DROP DATABASE {self._database} WITH (FORCE)")

        self._ends.callback(drop)

    def _worker(self, number: int, pool: str) -> WorkerNode:
        skew = {"FAULTS_CLOCK_SKEW": str(self._skews[number])} if number in self._skews else {}
        return self._make_worker(f"worker{number}", self.folder, self.environment | skew, pool=pool, app=self._app)

    def another_worker(self) -> WorkerNode:
        """Start one more, without waiting until it is ready."""
        node = self._worker(len(self.nodes), self._pools[0])
        self.nodes.append(node)
        self._ends.callback(node.teardown)
        node.start()
        return node

    @property
    def database_url(self) -> str:
        """Past the proxy."""
        return f"{self.postgres.url.rsplit('/', 1)[0]}/{self._database}"

    @property
    def lease(self) -> float:
        """Seconds for which a claim holds here."""
        return float(self._settings["WORKER_LEASE_SECONDS"])

    @property
    def environment(self) -> dict[str, str]:
        """A worker's."""
        through = f"postgresql://postgres@127.0.0.1:{self.ledger_proxy.port}/{self._database}"
        broker = {"CELERY_BROKER_URL": f"amqp://guest:guest@127.0.0.1:{self.broker_proxy.port}//"}
        return {
            "DATABASE_URL": through,
            "REDIS_URL": f"redis://127.0.0.1:{self.cache_proxy.port}/0",
            "DEBITURA_API_KEY": API_KEY,
            "DEBITURA_REFERRAL_API_URL": self.witness.url,
            "DEBITURA_CUSTOMER_API_URL": self.witness.url,
            "FAULTS_STOPS": str(self.stops.folder),
            **self._settings,
            **(broker if self.rabbitmq else {}),
        }

    # ---- work

    def enqueue(self, number: int, *, tenants: int = 4, prefix: str = "tenant", **fields: Any) -> list[UUID]:
        """Enqueue that many different cases, as a web app does: again until the commit is certain."""
        ids: list[UUID] = []
        for _ in range(number):
            serial = next(_numbers)
            tenant, case = f"{prefix}-{serial % tenants}", a_case(serial, **fields)
            job = admit(tenant, case)
            ids.append(self._insist(lambda connection, job=job: insert(connection, job, self._protection).id))
            self.expected.add((tenant, job.idempotency_key))
        return ids

    def send(self, number: int) -> None:
        """Send that many `cases.accept` messages, as an app without access to our SQL does: again until the broker has
        taken each."""
        for _ in range(number):
            serial = next(_numbers)
            self._send(serial)
            self.sent[f"sent-{serial}"] = serial
            self.expected.add(("sender", f"sent-{serial}"))

    def send_lost_again(self) -> None:
        """Send again what did not arrive, as a sender does after its broker lost data."""
        arrived = {key for (key,) in self.rows("SELECT idempotency_key FROM jobs WHERE external_tenant_id = 'sender'")}
        for key in self.sent.keys() - arrived:
            self._send(self.sent[key])

    def _send(self, serial: int) -> None:
        arguments = {"external_tenant_id": "sender", "case": a_case(serial), "idempotency_key": f"sent-{serial}"}

        def sent() -> bool:
            try:
                self.client.send_task(ACCEPT_TASK, kwargs=arguments)
            except (OperationalError, redis.RedisError, OSError):
                return False
            return True

        until("the broker takes a message", sent, within=3 * PATIENCE)

    def publish_ids(self, ids: Iterable[UUID]) -> None:
        """Put a `cases.submit` message on the queue, as only the dispatcher does otherwise."""
        self.client.send_task(SUBMIT_TASK, kwargs={"job_ids": [str(job_id) for job_id in ids]})

    # ---- what became of it

    def rows(self, statement: str, *parameters: object) -> list[tuple[Any, ...]]:
        """Query the ledger, bypassing the proxy; retried while it can't be reached."""
        deadline = time.monotonic() + 2 * PATIENCE
        while True:
            try:
                with self._guard:
                    return self._ask(statement, parameters)
            except psycopg.OperationalError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)

    def _ask(self, statement: str, parameters: tuple[object, ...]) -> list[tuple[Any, ...]]:
        if self._connection is None or self._connection.closed:
            self._connection = psycopg.connect(self.database_url, autocommit=True)
        cursor = self._connection.execute(statement, parameters or None)
        return cursor.fetchall() if cursor.description else []

    def states(self) -> dict[str, int]:
        """The number of jobs in each state."""
        return dict(self.rows("SELECT state, count(*) FROM jobs GROUP BY state"))

    def settle(self, *, within: float = PATIENCE, broker_forgot: bool = False) -> float:
        """Wait until no job is under way, and return how many seconds that took.

        With `broker_forgot`, senders send again what the broker has lost.
        """
        began = time.monotonic()
        resend_at = began + 1.0

        def settled() -> bool:
            nonlocal resend_at
            states = self.states()
            if broker_forgot and time.monotonic() > resend_at:
                self.send_lost_again()
                resend_at = time.monotonic() + 5.0
            return not set(states) - {"submitted", "dead", "held"} and sum(states.values()) >= len(self.expected)

        until("every job is settled", settled, within=within, but=self.trouble)
        return time.monotonic() - began

    def require_invariant(self) -> None:
        """Check the invariant. Raises AssertionError with everything that is lost, doubled, stuck or guessed."""
        with self.engine.connect() as connection:
            jobs = all_jobs(connection)
        found = differences(jobs, self.expected, self.witness.cases(), self.witness.posts(), self.witness.mints())
        assert not found, f"{len(found)} differences:\n" + "\n".join(found[:40])

    def require_all_submitted(self) -> None:
        """Raises AssertionError when a job did not end well although nothing was wrong with its case."""
        others = self.rows("SELECT id, state, last_error FROM jobs WHERE state <> 'submitted' LIMIT 5")
        assert not others, f"not submitted: {others}"

    def trouble(self) -> str:
        """Diagnostics for jobs that don't finish."""
        stuck = self.rows(
            "SELECT id, state, attempt_count, lease_owner, lease_until - now(), now() - queued_at, last_error FROM jobs"
            " WHERE state NOT IN ('submitted', 'dead', 'held') LIMIT 5"
        )
        logs = "\n".join(f"--- {node.name} ({node.status})\n{node.said()[-1500:]}" for node in self.nodes)
        holds = self.rows("SELECT name, until - now(), detail FROM holds")
        there = {(tenant, key) for tenant, key in self.rows("SELECT external_tenant_id, idempotency_key FROM jobs")}
        return (
            f"states {self.states()}, {len(self.expected)} expected; holds {holds}; stuck: {stuck};"
            f" missing: {sorted(self.expected - there)[:5]}; broker: {self._on_the_broker()}\n{logs}"
        )

    def _on_the_broker(self) -> dict[str, int]:
        if self.rabbitmq:
            return {queue: queue_depth(self.rabbitmq, queue) for queue in (INTAKE, SUBMIT)}
        client = self.valkey.client()
        try:
            return {name: client.llen(name) for name in (INTAKE, SUBMIT)} | {"unacked": client.hlen("unacked")}
        finally:
            client.close()

    def wait_for_a_death(self) -> None:
        """Wait until a worker has died; a stop point reports the kill a moment before it happens."""
        until("a worker has died", lambda: any(node.status != "running" for node in self.nodes), within=PATIENCE)

    def revive(self) -> None:
        """Start the workers that have ended, as a process manager would, and wait until all are ready."""
        for node in self.nodes:
            if node.status != "running":
                node.teardown()
                node.start()
        for node in self.nodes:
            node.ready()

    def _hang_up(self) -> None:
        if self._connection is not None:
            self._connection.close()

    def _insist(self, work: Callable[[Any], UUID]) -> UUID:
        while True:
            try:
                with self.engine.begin() as connection:
                    return work(connection)
            except DBAPIError:
                time.sleep(0.1)


def prepare_ledger(server: LocalPostgres) -> None:
    """Make the migrated, empty database that each stage copies."""
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {TEMPLATE}")
    server_url = server.url.rsplit("/", 1)[0].replace("postgresql://", "postgresql+psycopg://")
    migrate.upgrade(f"{server_url}/{TEMPLATE}")


def a_case(serial: int, **fields: Any) -> dict[str, Any]:
    """A unique valid case; fields that are None are left out."""
    case = {
        "creditorReference": f"INV-{serial:06d}",
        "currencyCode": "EUR",
        "amountToRecover": 100 + serial,
        "date": "2026-01-31",
        "dueDate": "2026-02-28",
        "debtor": {
            "type": "Company", "name": f"Debtor {serial}", "email": f"debtor{serial}@example.com",
            "address": "Hauptstraße 1", "city": "Berlin", "zipCode": "10115", "countryAlpha2": "DE",
        },
        **fields,
    }  # fmt: skip
    return {name: value for name, value in case.items() if value is not None}
