"""Where alerts go. URLs are never shown, since the path of a webhook URL is often its secret."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import SplitResult

from worker.environment import parse_seconds, setting_text, web_address
from worker.errors import SettingsError
from worker.ledger.writer.alerts import Receiver

NAMES = URLS, SECRET, OLDEST, REPORT = (
    "ALERT_WEBHOOK_URLS", "ALERT_WEBHOOK_SECRET", "ALERT_OLDEST_PENDING_SECONDS", "REPORT_URL"
)  # fmt: skip
#: The prefix that marks a Slack webhook.
SLACK = "slack+"
#: The minimum length of a secret, and the maximum number of URLs (each has its own thread).
SHORTEST_SECRET, MOST_URLS = 16, 10
DEFAULT_OLDEST = 900.0


@dataclass(frozen=True, slots=True)
class Target:
    """One receiver."""

    base_url: str = field(repr=False)
    """Scheme, host and port."""
    path: str = field(repr=False)
    """Path and query; may be secret."""
    slack: bool
    receiver: Receiver


@dataclass(frozen=True, slots=True)
class AlertSettings:
    """What is sent where. Without targets, nothing is sent."""

    targets: tuple[Target, ...]
    secrets: tuple[str, ...] = field(repr=False)
    """Sign messages to receivers other than Slack. Several during a rotation."""
    oldest_pending: float
    """Seconds."""
    report_url: str
    environment: str
    """`production` or `test`, for receivers that get alerts from both."""

    @property
    def receivers(self) -> tuple[Receiver, ...]:
        """The targets as the ledger knows them."""
        return tuple(target.receiver for target in self.targets)

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> AlertSettings:
        """Read the ALERT_ variables and REPORT_URL. Raises SettingsError, one line that names the variable."""
        urls = setting_text(environ, URLS).split()
        if len(urls) > MOST_URLS:
            raise SettingsError(f"{URLS} should name {MOST_URLS} addresses at most, not {len(urls)}")
        secrets = setting_text(environ, SECRET).split()
        if any(len(secret) < SHORTEST_SECRET for secret in secrets):
            raise SettingsError(
                f"{SECRET} should have at least {SHORTEST_SECRET} characters, chosen at random, and no white space:"
                " that separates an old one from the next"
            )
        return cls(
            targets=tuple({target.receiver.target: target for target in map(_target, urls)}.values()),
            secrets=tuple(secrets),
            oldest_pending=parse_seconds(OLDEST, setting_text(environ, OLDEST), DEFAULT_OLDEST, at_most=2_592_000),
            report_url=_report_url(setting_text(environ, REPORT)),
            environment=setting_text(environ, "DEBITURA_ENVIRONMENT") or "test",
        )


def _target(url: str) -> Target:
    slack = url.lower().startswith(SLACK)
    parts = _web_address(url[len(SLACK) :] if slack else url)
    if parts is None:
        # The URL is a secret, so it is not repeated.
        raise SettingsError(
            f"{URLS} should be https:// or slack+https:// addresses (http:// only on loopback) without a user name,"
            " separated by white space"
        )
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    digest = hashlib.sha256(url.encode()).hexdigest()[:24]
    return Target(f"{parts.scheme}://{parts.netloc}", path, slack, Receiver(digest, parts.netloc))


def _report_url(text: str) -> str:
    parts = _web_address(text) if text else None
    if text and (parts is None or parts.query):
        raise SettingsError(
            f"{REPORT} should be the https:// address of `case-worker web` (http:// only on loopback), not {text!r}"
        )
    return text.rstrip("/")


def _web_address(url: str) -> SplitResult | None:
    """The parts of an acceptable address, or None."""
    parts = web_address(url)
    return None if parts is None or parts.fragment or "@" in parts.netloc else parts
