"""Configuration from the environment: read once, checked at the start, never printed with its secrets."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

import limits

from worker.errors import SettingsError
from worker.sealing import parse_keys

#: Base URLs by environment: (Referral Partner API, Customer API). Source: referral-partners/going-live-checklist.
API_HOSTS = {
    "production": ("https://referral-api.debitura.com", "https://customer-api.debitura.com"),
    "test": ("https://testreferral-api.debitura.com", "https://testcustomer-api.debitura.com"),
}
DEFAULT_RATE_LIMITS = "2000/minute;20000/hour;100000/day"
#: Seconds of the longest window of a rate limit; requests are counted for about as long.
LONGEST_WINDOW = 86_400
#: What CASE_READABLE may name.
READABLE = ("amount", "reference")
#: Seconds of the units of an age such as `90d`.
_UNITS = {"h": 3600, "d": 86_400, "w": 604_800}
LOOPBACK = {"localhost", "127.0.0.1", "::1"}


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
    """What cases are sealed with, the newest first; none: they are stored as they are."""
    readable: tuple[str, ...] = ()
    """What of a sealed case stays readable in columns of its own."""
    purge_after: float | None = None
    """How long a final job's case is kept; None: for ever."""
    trace_to_api: bool = False
    """Whether requests to the APIs carry a traceparent header: ids of traces are nobody's business but ours."""

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] | None = None, *, needs: tuple[str, ...] = ()) -> Settings:
        """Read the settings.

        `needs` names the variables that this process cannot work without; the others may be missing and are then
        empty. Raises SettingsError, one line, naming the variable and what it should be.
        """
        env = _Environment(os.environ if environ is None else environ)
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
            rate_limits=env.rate_limits("WORKER_RATE_LIMITS", DEFAULT_RATE_LIMITS),
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


def setting_text(environ: Mapping[str, str], name: str) -> str:
    """The value of `NAME`, else what is in the file that `NAME_FILE` names; empty without either. Raises SettingsError.

    A line break or white space at either end does not belong to the value.
    """
    value = environ.get(name, "").strip()
    path = environ.get(f"{name}_FILE", "").strip()
    if value or not path:
        return value
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{name}_FILE should name a readable text file: {error}") from None


def read_protection(environ: Mapping[str, str]) -> tuple[tuple[bytes, ...], tuple[str, ...]]:
    """CASE_ENCRYPTION_KEYS and CASE_READABLE: the keys, the newest first, and what stays readable.

    Raises SettingsError. Apart from the others, since a web app that enqueues needs these two only.
    """
    try:
        keys = parse_keys(setting_text(environ, "CASE_ENCRYPTION_KEYS"))
    except ValueError as error:
        raise SettingsError(
            "CASE_ENCRYPTION_KEYS should be keys of 32 random bytes in base64 or hex, the newest first"
            f" (`case-worker make-key` makes one): {error}"
        ) from None
    text = setting_text(environ, "CASE_READABLE")
    readable = tuple(dict.fromkeys(part for part in re.split(r"[\s,]+", text) if part))
    if not set(readable) <= set(READABLE):
        raise SettingsError(f"CASE_READABLE should be a list of {' and '.join(READABLE)}, or empty, not {text!r}")
    return keys, readable


def parse_whole(name: str, text: str, default: int, *, at_least: int, at_most: int) -> int:
    """The whole number that a variable's text says; the default for an empty one. Raises SettingsError, which names
    it."""
    readable = text.isascii() and text.isdecimal() and len(text) < 10
    value = int(text) if readable else default if not text else at_least - 1
    if not at_least <= value <= at_most:
        raise SettingsError(f"{name} should be a whole number from {at_least} to {at_most}, not {text!r}")
    return value


def parse_seconds(name: str, text: str, default: float, *, at_most: float) -> float:
    """The seconds that a variable's text says; the default for an empty one. Raises SettingsError, which names it."""
    try:
        value = float(text) if text else default
    except ValueError:
        value = -1.0
    if not 0 < value <= at_most:
        raise SettingsError(f"{name} should be a number of seconds above 0 and at most {at_most:.15g}, not {text!r}")
    return value


def web_address(url: str) -> SplitResult | None:
    """The parts of an address that a secret may be sent to: https, or http on loopback. None for any other."""
    try:
        parts = urlsplit(url)
        named = parts.port is None or parts.port > 0
    except ValueError:  # an unclosed IPv6 address, a port that is no number
        return None
    plain = url.isascii() and url.isprintable() and " " not in url
    safe = parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in LOOPBACK)
    return parts if named and plain and safe and parts.hostname else None


class _Environment:
    """Typed look-ups that fail with one line. `NAME_FILE` may hold the value of `NAME` (secrets as files)."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self.variables = environ

    def text(self, name: str) -> str:
        return setting_text(self.variables, name)

    def header(self, name: str) -> str:
        value = self.text(name)
        # It goes into an HTTP header as it is. It is a secret, so it is not repeated in the message.
        if not (value.isascii() and value.isprintable()):
            raise SettingsError(f"{name} should be one line of plain ASCII characters")
        return value

    def one_of(self, name: str, choices: tuple[str, ...], default: str) -> str:
        value = self.text(name) or default
        if value not in choices:
            raise SettingsError(f"{name} should be {' or '.join(choices)}, not {value!r}")
        return value

    def url(self, name: str, schemes: tuple[str, ...], example: str) -> str:
        value = self.text(name)
        # The value may hold a password, so it is not repeated in the message.
        if value and (value.partition("://")[0] not in schemes or "://" not in value):
            raise SettingsError(
                f"{name} should start with one of {', '.join(f'{s}://' for s in schemes)}, e.g. {example}"
            )
        return value

    def api_url(self, name: str, default: str) -> str:
        value = (self.text(name) or default).rstrip("/")
        if web_address(value) is None or set(value) & set("?#@"):
            raise SettingsError(f"{name} should be an https:// address (http:// only on loopback), not {value!r}")
        return value

    def rate_limits(self, name: str, default: str) -> str:
        value = self.text(name) or default
        try:
            windows = limits.parse_many(value)
        except ValueError:
            raise SettingsError(f"{name} should look like {DEFAULT_RATE_LIMITS}, not {value!r}") from None
        if any(window.amount < 1 or not 1 <= window.get_expiry() <= LONGEST_WINDOW for window in windows):
            raise SettingsError(f"{name} should have amounts above 0, and windows of at most a day, not {value!r}")
        return value

    def seconds(self, name: str, default: float, *, at_most: float) -> float:
        return parse_seconds(name, self.text(name), default, at_most=at_most)

    def age(self, name: str, *, at_least: float) -> float | None:
        text = self.text(name)
        if not text:
            return None
        match = re.fullmatch(r"([0-9]{1,5})([hdw])", text)
        value = int(match[1]) * _UNITS[match[2]] if match else 0
        if value < at_least:
            raise SettingsError(f"{name} should look like 90d or 12w, and be at least a day, not {text!r}")
        return value

    def count(self, name: str, default: int, *, at_most: int) -> int:
        return parse_whole(name, self.text(name), default, at_least=1, at_most=at_most)
