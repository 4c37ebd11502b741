"""Configuration from the environment: read once, checked at startup, never printed with its secrets."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

import limits

from worker.case.protection import Protection, protection_from, read_protection
from worker.environment import Environment
from worker.errors import SettingsError

#: Base URLs by environment: (Referral Partner API, Customer API). Source: referral-partners/going-live-checklist.
API_HOSTS = {
    "production": ("https://referral-api.debitura.com", "https://customer-api.debitura.com"),
    "test": ("https://testreferral-api.debitura.com", "https://testcustomer-api.debitura.com"),
}
DEFAULT_RATE_LIMITS = "2000/minute;20000/hour;100000/day"
#: Seconds of the longest window of a rate limit; requests are counted for about as long.
LONGEST_WINDOW = 86_400


@dataclass(frozen=True, slots=True)
class Settings:
    """One process's configuration. Durations are in seconds."""

    database_url: str = field(repr=False)
    redis_url: str = field(repr=False)
    broker_url: str = field(repr=False)
    api_key: str = field(repr=False)
    environment: str
    referral_api_url: str
    customer_api_url: str
    rate_limits: str
    request_timeout: float
    lease: float
    requeue: float
    batch: int
    threads: int
    tenant_concurrency: int
    max_attempts: int
    retry_base: float
    retry_max: float
    encryption_keys: tuple[bytes, ...] = field(default=(), repr=False)
    """Keys that encrypt cases, the newest first; none: cases are stored unencrypted."""
    readable: tuple[str, ...] = ()
    """Fields of an encrypted case that stay readable in columns of their own."""
    purge_after: float | None = None
    """How long a final job's case is kept; None: for ever."""
    brake_jobs: int = 20
    """Jobs that must get the same verdict before the fleet stops (`worker.policy.brake`); 0: it never does."""
    brake_tenants: int = 5
    """Different tenants that these jobs must belong to."""
    idempotency: float = 86_400.0
    """Seconds for which the API remembers an Idempotency-Key."""
    trace_to_api: bool = False
    """Whether requests to the APIs carry a traceparent header: the APIs have no need of our trace ids."""

    @property
    def protection(self) -> Protection:
        """How cases are stored."""
        return protection_from(self.encryption_keys, self.readable)

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] | None = None, *, needs: tuple[str, ...] = ()) -> Settings:
        """Read the settings.

        `needs` names the variables that this process requires; the others may be missing and are then empty. Raises
        SettingsError, one line, naming the variable and what it should be.
        """
        env = Environment(os.environ if environ is None else environ)
        keys, readable = read_protection(env.variables)
        environment = env.one_of("DEBITURA_ENVIRONMENT", ("production", "test"), "test")
        referral, customer = API_HOSTS[environment]
        redis_url = env.url("REDIS_URL", ("redis", "rediss"), "redis://HOST:6379/0")
        settings = cls(
            database_url=_with_driver(
                env.url(
                    "DATABASE_URL",
                    ("postgresql", "postgres", "postgresql+psycopg"),
                    "postgresql://USER:PASSWORD@HOST/NAME",
                )
            ),
            redis_url=redis_url,
            broker_url=env.url(
                "CELERY_BROKER_URL",
                ("redis", "rediss", "amqp", "amqps"),
                "redis://HOST:6379/0 or amqp://HOST",
            )
            or redis_url,
            api_key=env.header("DEBITURA_API_KEY"),
            environment=environment,
            referral_api_url=env.api_url("DEBITURA_REFERRAL_API_URL", referral),
            customer_api_url=env.api_url("DEBITURA_CUSTOMER_API_URL", customer),
            rate_limits=_rate_limits(env, "WORKER_RATE_LIMITS", DEFAULT_RATE_LIMITS),
            request_timeout=env.seconds("WORKER_REQUEST_TIMEOUT_SECONDS", 30, at_most=600),
            lease=env.seconds("WORKER_LEASE_SECONDS", 120, at_most=86_400),
            requeue=env.seconds("WORKER_REQUEUE_SECONDS", 60, at_most=86_400),
            batch=env.count("WORKER_BATCH", 20, at_most=1000),
            threads=env.count("WORKER_THREADS", 16, at_most=1000),
            tenant_concurrency=env.count("WORKER_TENANT_CONCURRENCY", 4, at_most=100_000),
            max_attempts=env.count("WORKER_MAX_ATTEMPTS", 12, at_most=1000),
            retry_base=env.seconds("WORKER_RETRY_BASE_SECONDS", 2, at_most=86_400),
            retry_max=env.seconds("WORKER_RETRY_MAX_SECONDS", 3600, at_most=604_800),
            encryption_keys=keys,
            readable=readable,
            purge_after=env.age("PURGE_AFTER", at_least=86_400),
            brake_jobs=env.count("WORKER_BRAKE_JOBS", 20, at_least=0, at_most=1000),
            brake_tenants=env.count("WORKER_BRAKE_TENANTS", 5, at_most=1000),
            idempotency=env.seconds("DEBITURA_IDEMPOTENCY_SECONDS", 86_400, at_most=31_536_000),
            trace_to_api=env.one_of("WORKER_TRACE_TO_API", ("no", "yes"), "no") == "yes",
        )
        for name in needs:
            if not env.text(name):
                raise SettingsError(f"{name} is not set; it should be {_MEANING[name]}")
        if settings.retry_max < settings.retry_base:
            raise SettingsError("WORKER_RETRY_MAX_SECONDS should be at least WORKER_RETRY_BASE_SECONDS")
        return settings


_MEANING = {
    "DATABASE_URL": "the ledger's database, e.g. postgresql://USER:PASSWORD@HOST/NAME",
    "REDIS_URL": "the Redis or Valkey for broker and token cache, e.g. redis://HOST:6379/0",
    "DEBITURA_API_KEY": "the partner's key for the Referral Partner API (or name a file in DEBITURA_API_KEY_FILE)",
}


def _with_driver(url: str) -> str:
    """SQLAlchemy needs the driver in the URL; hosting platforms give `postgres://` or `postgresql://`."""
    scheme, separator, rest = url.partition("://")
    return f"postgresql+psycopg{separator}{rest}" if separator and scheme != "postgresql+psycopg" else url


def _rate_limits(env: Environment, name: str, default: str) -> str:
    value = env.text(name) or default
    try:
        windows = limits.parse_many(value)
    except ValueError:
        raise SettingsError(f"{name} should look like {DEFAULT_RATE_LIMITS}, not {value!r}") from None
    if any(window.amount < 1 or not 1 <= window.get_expiry() <= LONGEST_WINDOW for window in windows):
        raise SettingsError(f"{name} should have amounts above 0, and windows of at most a day, not {value!r}")
    return value
