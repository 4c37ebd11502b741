"""The doctor's checks of the servers: database, broker, cache, and the two APIs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import kombu
import redis
from sqlalchemy import Engine, text
from sqlalchemy.exc import SQLAlchemyError

from worker.cli.check_settings import Finding, Verdict
from worker.cli.ledger import engine_of
from worker.cli.server_errors import describe
from worker.debitura.apis import check_partner_key
from worker.debitura.http import HttpClient
from worker.errors import ApiError, MaybeArrived, NotSent, PartnerKeyRejected, SchemaMismatch, SettingsError
from worker.ledger import queries
from worker.ledger.migrate import code_schema, require_suitable
from worker.ledger.queries.cases import PLAIN, keys_waited_for
from worker.report.formatting import counted
from worker.settings import Settings

#: Seconds to wait for each server.
CHECK_TIMEOUT = 3.0
#: The oldest supported PostgreSQL version.
OLDEST_POSTGRES = 15


def check_database(settings: Settings) -> Iterator[Finding]:
    """Check that it is reachable, writable, crash-safe, at the right schema version, and that a worker uses it."""
    try:
        engine = engine_of(settings)
        with engine.connect() as connection:
            version = int(connection.execute(text("SHOW server_version_num")).scalar_one()) // 10_000
            replica = bool(connection.execute(text("SELECT pg_is_in_recovery()")).scalar_one())
            fsync = str(connection.execute(text("SHOW fsync")).scalar_one())
    except SettingsError as error:
        yield Finding("database", Verdict.FAILED, "its URL is invalid", f"{error}.")
        return
    except SQLAlchemyError as error:
        cause = getattr(error, "orig", None) or error
        yield Finding(
            "database",
            Verdict.FAILED,
            describe(cause),
            "Fix DATABASE_URL, the network path to the server, or its permissions.",
        )
        return
    if version < OLDEST_POSTGRES:
        fix = f"Use PostgreSQL {OLDEST_POSTGRES} or newer."
        yield Finding("database", Verdict.FAILED, f"PostgreSQL {version} is too old", fix)
    elif replica:
        yield Finding("database", Verdict.FAILED, "it is a read-only replica", "Give the primary in DATABASE_URL.")
    elif fsync != "on":
        fix = "Turn fsync on: the ledger is the only record of what was submitted."
        yield Finding("database", Verdict.WARNING, f"PostgreSQL {version}, but a power cut may lose commits", fix)
    else:
        yield Finding("database", Verdict.OK, f"PostgreSQL {version} responds")
    yield from _check_ledger(settings)


def _check_ledger(settings: Settings) -> Iterator[Finding]:
    engine = engine_of(settings)
    try:
        schema = require_suitable(engine)
        with engine.connect() as connection:
            counts = queries.counts(connection)
    except SchemaMismatch as error:
        yield Finding("schema", Verdict.FAILED, "it is not compatible with this code", f"{error}.")
        return
    except SQLAlchemyError as error:
        cause = getattr(error, "orig", None) or error
        yield Finding("schema", Verdict.FAILED, describe(cause), "Give this user permission to read and write it.")
        return
    newer = "" if schema.version == code_schema().newest else " (newer than this code, and compatible)"
    yield Finding("schema", Verdict.OK, f"version {schema.version}{newer}")
    yield from check_case_keys(settings, engine)
    if counts.leader:
        yield Finding("worker", Verdict.OK, f"the dispatcher of {counts.leader} is the leader")
    else:
        fix = "Start one: celery -A worker worker"
        yield Finding("worker", Verdict.WARNING, "none is running, so nothing is submitted", fix)


def check_broker(settings: Settings) -> Iterator[Finding]:
    """Check that it is reachable the way Celery connects; for Redis and Valkey, also that it does not lose messages."""
    try:
        with kombu.Connection(
            settings.broker_url,
            connect_timeout=CHECK_TIMEOUT,
            transport_options={"socket_connect_timeout": CHECK_TIMEOUT, "socket_timeout": CHECK_TIMEOUT},
        ) as connection:
            connection.ensure_connection(max_retries=1, timeout=CHECK_TIMEOUT, interval_start=0)
            transport = connection.transport_cls
    except Exception as error:  # noqa: BLE001 - each transport raises its own exceptions, and a bad URL raises others
        fix = "Fix CELERY_BROKER_URL (or REDIS_URL, if that is the broker), or the network path to the server."
        yield Finding("broker", Verdict.FAILED, describe(error), fix)
        return
    yield Finding("broker", Verdict.OK, f"{transport} responds")
    if settings.broker_url.startswith(("redis", "rediss")):
        yield from _check_durability(settings.broker_url)


def _check_durability(url: str) -> Iterator[Finding]:
    """Check eviction and persistence: jobs are safe in the ledger, but cases on their way to it are not."""
    try:
        with _redis(url) as client:
            memory, persistence = _facts(client, "memory"), _facts(client, "persistence")
            saves = _saves(client)
    except redis.RedisError as error:
        yield Finding("broker settings", Verdict.WARNING, f"cannot be read: {describe(error)}", "Allow INFO, or check "
                      "by hand: maxmemory-policy noeviction, and persistence.")  # fmt: skip
        return
    policy = str(memory.get("maxmemory_policy", "noeviction"))
    if policy != "noeviction":
        fix = "Set maxmemory-policy noeviction: otherwise it drops messages of cases.intake when its memory is full."
        yield Finding("broker settings", Verdict.WARNING, f"maxmemory-policy is {policy}", fix)
    if not persistence.get("aof_enabled") and saves == "":
        fix = (
            "Set appendonly yes if apps send cases over the queue: a restart loses messages of cases.intake that no"
            " worker has taken yet. (Jobs in the ledger are safe.)"
        )
        yield Finding("broker settings", Verdict.WARNING, "it keeps nothing on disk", fix)


def _saves(client: redis.Redis) -> str | None:
    """The `save` setting; None if the server does not allow CONFIG, as many hosted ones don't."""
    try:
        response: Any = client.config_get("save")
    except redis.ResponseError:
        return None
    return str(response.get("save", "")).strip() if isinstance(response, dict) else None


def _facts(client: redis.Redis, section: str) -> dict[str, Any]:
    response: Any = client.info(section)
    return response if isinstance(response, dict) else {}


def check_cache(settings: Settings) -> Iterator[Finding]:
    """Check that it is reachable and accepts an entry."""
    try:
        with _redis(settings.redis_url) as client:
            client.set(f"case-worker:doctor:{uuid4()}", "1", px=1000)
    except (redis.RedisError, ValueError) as error:
        fix = (
            "Fix REDIS_URL, or the network path to the server. (Without it, every process mints its own tokens;"
            " submission continues.)"
        )
        yield Finding("cache", Verdict.FAILED, describe(error), fix)
        return
    yield Finding("cache", Verdict.OK, "it responds and accepts entries")


def check_apis(settings: Settings) -> Iterator[Finding]:
    """Check the partner API key with a read-only request, and whether anything answers at the Customer API."""
    yield _check_key(f"Referral Partner API ({settings.environment})", settings)
    customer = HttpClient(settings.customer_api_url, timeout=CHECK_TIMEOUT, connections=1)
    name = f"Customer API ({settings.environment})"
    try:
        status = customer.request("GET", "/", {}).status
    except (NotSent, MaybeArrived) as error:
        fix = f"Check the network path to {settings.customer_api_url}: firewall, proxy, DEBITURA_CUSTOMER_API_URL."
        yield Finding(name, Verdict.FAILED, str(error), fix)
    else:
        yield Finding(name, Verdict.OK, f"it responds (HTTP {status})")


def _check_key(name: str, settings: Settings) -> Finding:
    referral = HttpClient(settings.referral_api_url, timeout=CHECK_TIMEOUT, connections=1)
    try:
        check_partner_key(referral, api_key=settings.api_key)
    except PartnerKeyRejected as error:
        fix = "Set DEBITURA_API_KEY to the key of this environment (the one in DEBITURA_ENVIRONMENT)."
        return Finding(name, Verdict.FAILED, str(error), fix)
    except ApiError as error:
        fix = f"Check the network path to {settings.referral_api_url}: firewall, proxy, DEBITURA_REFERRAL_API_URL."
        return Finding(name, Verdict.FAILED, str(error), fix)
    return Finding(name, Verdict.OK, "the key is accepted")


def _redis(url: str) -> redis.Redis:
    # Without redis-py's own retries: the doctor reports the current state.
    return redis.Redis.from_url(url, socket_timeout=CHECK_TIMEOUT, socket_connect_timeout=CHECK_TIMEOUT, retry=None)


def check_case_keys(settings: Settings, engine: Engine) -> Iterator[Finding]:
    """One finding for each missing key that a waiting job's case is encrypted with; a single one if none is missing."""
    keyring = settings.protection.keyring
    known = {PLAIN, *(keyring.fingerprints if keyring else ())}
    with engine.connect() as connection:
        waited_for = keys_waited_for(connection)
    missing = {key: jobs for key, jobs in waited_for.items() if key not in known}
    for key, jobs in sorted(missing.items()):
        message = f"{counted(jobs, 'waiting job')} encrypted with key {key}, which is not in CASE_ENCRYPTION_KEYS"
        yield Finding("case keys", Verdict.FAILED, message, "Add that key again after the newest one, and restart.")
    if keyring and not missing:
        yield Finding("case keys", Verdict.OK, f"the newest is {keyring.newest}; no job waits for a missing one")
