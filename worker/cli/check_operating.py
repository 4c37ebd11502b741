"""The doctor's look at the settings of the report page, the log and the traces, one at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial

from sqlalchemy.exc import SQLAlchemyError

from worker.alerts.settings import SECRET, URLS, AlertSettings
from worker.cli.check_settings import ADDRESSES, HEADER, LOG, REPORT, ROLES, Finding, Verdict
from worker.cli.ledger import engine_of
from worker.errors import SettingsError
from worker.ledger.queries.alerts import receivers
from worker.ledger.queries.webhooks import webhook_standing
from worker.report.formatting import counted
from worker.report.notification_status import describe_receiver
from worker.report.web.configuration import WebSettings
from worker.report.web.people import Role
from worker.report.webhooks.signature import WEBHOOK_SECRET, webhook_secrets
from worker.settings import Settings
from worker.telemetry.tenant_digest import tenant_key
from worker.telemetry.tracing import is_installed, is_wanted

#: What it means that one is not set.
_UNSET = {
    "REPORT_USERS": "not set: the page serves this machine only, unless a proxy names its users",
    "REPORT_SECRET_KEY": "not set: the key of sessions is derived from REPORT_USERS and DATABASE_URL",
    ADDRESSES: "not set: no proxy's headers are believed",
    HEADER: "not set: nobody is let in by a proxy's word",
    ROLES: "not set: whom a proxy names is a viewer",
    LOG: "not set: the key of tenants' digests in logs is derived from DATABASE_URL",
}


def check_operating(environ: Mapping[str, str]) -> Iterator[Finding]:
    """One finding for each setting of the page and the log, and one for traces where OTEL_… settings are there."""
    shared = Settings.from_environment(_only(environ, "DATABASE_URL") if _fits(environ) else {})
    for name in REPORT:
        # The header is of no use without the addresses, so these two are read together.
        together = _only(environ, name, *((ADDRESSES,) if name == HEADER else ()))
        yield _check(environ, name, partial(WebSettings.from_environment, together, shared))
    if _given(environ, ROLES) and not _given(environ, HEADER):
        fix = f"Set {HEADER}, or remove it."
        yield Finding(f"{ROLES} alone", Verdict.WARNING, f"has no effect without {HEADER}", fix)
    yield _check(environ, LOG, lambda: tenant_key(environ))
    if any(name.startswith("OTEL_") for name in environ):
        yield _traces(environ)


def check_alert_settings(environ: Mapping[str, str]) -> Iterator[Finding]:
    """One finding for all settings of alerts: they are of no use without each other."""
    try:
        settings = AlertSettings.from_environment(environ)
    except SettingsError as error:
        name = str(error).partition(" ")[0].removesuffix("_FILE")
        yield Finding(name, Verdict.FAILED, "is wrong", f"{error}.")
        return
    if not settings.targets:
        yield Finding(URLS, Verdict.OK, "not set, nobody is told of trouble")
        return
    hosts = ", ".join(receiver.host for receiver in settings.receivers)
    yield Finding(URLS, Verdict.OK, f"tells {hosts} (case-worker alerts test tries it)")
    if not settings.secrets and not all(target.slack for target in settings.targets):
        fix = "Set it, and have the receivers check the signature: else anybody could tell them anything."
        yield Finding(SECRET, Verdict.WARNING, "not set, so alerts are not signed", fix)


def check_webhook_secret(environ: Mapping[str, str]) -> Iterator[Finding]:
    """Whether Debitura's webhooks are taken."""
    try:
        secrets = webhook_secrets(environ)
    except SettingsError as error:
        yield Finding(WEBHOOK_SECRET, Verdict.FAILED, "is wrong", f"{error}.")
        return
    said = f"{counted(len(secrets), 'secret')}" if secrets else "not set, case-worker web takes no webhooks"
    yield Finding(WEBHOOK_SECRET, Verdict.OK, said)


def check_notifications(settings: Settings) -> Iterator[Finding]:
    """Whether alerts have reached their receivers, and webhooks are worked on. Nothing if the ledger cannot be asked:
    other checks say so."""
    try:
        with engine_of(settings).connect() as connection:
            untold, webhooks = receivers(connection), webhook_standing(connection)
    except (SQLAlchemyError, SettingsError):
        return
    for receiver in untold:
        if receiver.last_error:
            fix = "See to that receiver, or correct ALERT_WEBHOOK_URLS; case-worker alerts test tries it."
            yield Finding("alerts", Verdict.WARNING, describe_receiver(receiver), fix)
    if webhooks.unworked:
        fix = "Start case-worker web: it works on them, and takes none while it is away."
        said = f"{counted(webhooks.unworked, 'event')} of Debitura not worked on yet"
        yield Finding("webhooks", Verdict.WARNING, said, fix)


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
            fix = "Give somebody the role operator, or nobody can replay, correct or discard there."
            return Finding(name, Verdict.WARNING, f"{counted(len(found.users), 'user')}, no operator", fix)
        return Finding(name, Verdict.OK, f"{counted(len(found.users), 'user')}, {counted(operators, 'operator')}")
    return Finding(name, Verdict.OK, "set")


def _traces(environ: Mapping[str, str]) -> Finding:
    try:
        wanted = is_wanted(environ)
    except SettingsError as error:
        return Finding("traces", Verdict.FAILED, "an OTEL_… setting is wrong", f"{error}.")
    if not wanted:
        return Finding("traces", Verdict.OK, "off: no OTEL_… setting says where to send them")
    if not is_installed():
        fix = "Install case-worker[otel], or remove the OTEL_… settings."
        return Finding("traces", Verdict.WARNING, "asked for, but OpenTelemetry is not installed", fix)
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
        return False  # said elsewhere
    return True
