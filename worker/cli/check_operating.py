"""The doctor's checks of the report page, alerts, webhooks, logs and traces."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial

from sqlalchemy.exc import SQLAlchemyError

from worker.alerts.settings import SECRET, URLS, AlertSettings
from worker.cli.check_settings import ADDRESSES, HEADER, LOG, REPORT, ROLES, Finding, Verdict
from worker.cli.ledger import engine_of
from worker.errors import SettingsError
from worker.ledger.queries.alerts import receivers
from worker.ledger.queries.links import webhook_status
from worker.report.formatting import counted
from worker.report.notification_status import describe_receiver
from worker.report.web.configuration import WebSettings
from worker.report.web.people import Role
from worker.report.webhooks.inbox import WEBHOOK_SECRET, webhook_secrets
from worker.settings import Settings
from worker.telemetry.logging import tenant_key
from worker.telemetry.tracing import is_installed, is_requested

#: What it means if a setting is not set.
_UNSET = {
    "REPORT_USERS": "not set: the page serves this machine only, unless a proxy names its users",
    "REPORT_SECRET_KEY": "not set: the key of sessions is derived from REPORT_USERS and DATABASE_URL",
    ADDRESSES: "not set: no proxy's headers are trusted",
    HEADER: "not set: no user is signed in by a proxy",
    ROLES: "not set: users named by a proxy are viewers",
    LOG: "not set: the key of tenants' digests in logs is derived from DATABASE_URL",
}


def check_operating(environ: Mapping[str, str]) -> Iterator[Finding]:
    """One finding for each setting of the page and the log, and one for traces if any OTEL_… setting is set."""
    shared = Settings.from_environment(_only(environ, "DATABASE_URL") if _fits(environ) else {})
    for name in REPORT:
        # The header has no effect without the addresses, so the two are read together.
        together = _only(environ, name, *((ADDRESSES,) if name == HEADER else ()))
        yield _check(environ, name, partial(WebSettings.from_environment, together, shared))
    if _given(environ, ROLES) and not _given(environ, HEADER):
        fix = f"Set {HEADER}, or remove it."
        yield Finding(f"{ROLES} alone", Verdict.WARNING, f"has no effect without {HEADER}", fix)
    yield _check(environ, LOG, lambda: tenant_key(environ))
    if any(name.startswith("OTEL_") for name in environ):
        yield _traces(environ)


def check_alert_settings(environ: Mapping[str, str]) -> Iterator[Finding]:
    """One finding for all alert settings, since they only work together."""
    try:
        settings = AlertSettings.from_environment(environ)
    except SettingsError as error:
        name = str(error).partition(" ")[0].removesuffix("_FILE")
        yield Finding(name, Verdict.FAILED, "is wrong", f"{error}.")
        return
    if not settings.targets:
        yield Finding(URLS, Verdict.OK, "not set, so no alerts are sent")
        return
    hosts = ", ".join(receiver.host for receiver in settings.receivers)
    yield Finding(URLS, Verdict.OK, f"alerts go to {hosts} (case-worker alerts test sends one)")
    if not settings.secrets and not all(target.slack for target in settings.targets):
        fix = "Set it, and have the receivers check the signature; otherwise anyone can send them fake alerts."
        yield Finding(SECRET, Verdict.WARNING, "not set, so alerts are not signed", fix)


def check_webhook_secret(environ: Mapping[str, str]) -> Iterator[Finding]:
    """Whether Debitura's webhooks are accepted."""
    try:
        secrets = webhook_secrets(environ)
    except SettingsError as error:
        yield Finding(WEBHOOK_SECRET, Verdict.FAILED, "is wrong", f"{error}.")
        return
    message = f"{counted(len(secrets), 'secret')}" if secrets else "not set, so case-worker web accepts no webhooks"
    yield Finding(WEBHOOK_SECRET, Verdict.OK, message)


def check_notifications(settings: Settings) -> Iterator[Finding]:
    """Whether alerts reach their receivers and webhooks are processed. Nothing if the database is unavailable: other
    checks report that."""
    try:
        with engine_of(settings).connect() as connection:
            undelivered, webhooks = receivers(connection), webhook_status(connection)
    except (SQLAlchemyError, SettingsError):
        return
    for receiver in undelivered:
        if receiver.last_error:
            fix = "Fix that receiver, or correct ALERT_WEBHOOK_URLS; case-worker alerts test sends a test alert."
            yield Finding("alerts", Verdict.WARNING, describe_receiver(receiver), fix)
    if webhooks.unworked:
        fix = "Start case-worker web: it processes them, and accepts none while it is down."
        message = f"{counted(webhooks.unworked, 'event')} from Debitura not processed yet"
        yield Finding("webhooks", Verdict.WARNING, message, fix)


def _check(environ: Mapping[str, str], name: str, read: Callable[[], object]) -> Finding:
    try:
        found = read()
    except SettingsError as error:
        return Finding(name, Verdict.FAILED, "is wrong", f"{error}.")
    if not _given(environ, name):
        return Finding(name, Verdict.OK, _UNSET[name])
    if name == "REPORT_USERS" and isinstance(found, WebSettings):
        operators = sum(user.role is Role.OPERATOR for user in found.users.values())
        if not operators:
            fix = (
                "Give at least one user the operator role; otherwise no one can replay, correct or discard jobs there."
            )
            return Finding(name, Verdict.WARNING, f"{counted(len(found.users), 'user')}, no operator", fix)
        return Finding(name, Verdict.OK, f"{counted(len(found.users), 'user')}, {counted(operators, 'operator')}")
    return Finding(name, Verdict.OK, "set")


def _traces(environ: Mapping[str, str]) -> Finding:
    try:
        wanted = is_requested(environ)
    except SettingsError as error:
        return Finding("traces", Verdict.FAILED, "an OTEL_… setting is wrong", f"{error}.")
    if not wanted:
        return Finding("traces", Verdict.OK, "off: no OTEL_… setting says where to send them")
    if not is_installed():
        fix = "Install case-worker[otel], or remove the OTEL_… settings."
        return Finding("traces", Verdict.WARNING, "configured, but OpenTelemetry is not installed", fix)
    return Finding("traces", Verdict.OK, "on")


def _given(environ: Mapping[str, str], name: str) -> bool:
    return any(environ.get(variable, "").strip() for variable in (name, f"{name}_FILE"))


def _only(environ: Mapping[str, str], *names: str) -> dict[str, str]:
    wanted = {variable for name in names for variable in (name, f"{name}_FILE")}
    return {variable: value for variable, value in environ.items() if variable in wanted}


def _fits(environ: Mapping[str, str]) -> bool:
    try:
        Settings.from_environment(_only(environ, "DATABASE_URL"))
    except SettingsError:
        return False  # another check reports it
    return True
