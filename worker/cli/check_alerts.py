"""The doctor's look at the telling: settings of alerts and webhooks, and whether alerts reach their receivers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from sqlalchemy.exc import SQLAlchemyError

from worker.alerts.settings import SECRET, URLS, AlertSettings
from worker.cli.finding import Finding, Verdict
from worker.cli.ledger import engine_of
from worker.errors import SettingsError
from worker.ledger.queries.alerts import receivers
from worker.ledger.queries.webhooks import webhook_standing
from worker.report.formatting import counted
from worker.report.notification_status import describe_receiver
from worker.report.webhooks.signature import WEBHOOK_SECRET, webhook_secrets
from worker.settings import Settings


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


def check_telling(settings: Settings) -> Iterator[Finding]:
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
