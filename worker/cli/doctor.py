"""`case-worker doctor`: check everything that a worker needs, and say how to fix it."""

from __future__ import annotations

import os
from collections.abc import Iterator

import click

from worker.cli.check_operating import check_alert_settings, check_notifications, check_operating, check_webhook_secret
from worker.cli.check_servers import check_apis, check_broker, check_cache, check_database
from worker.cli.check_settings import Finding, Verdict, check_settings, without
from worker.cli.group import DONE, WITH_FAILURES
from worker.report.formatting import counted
from worker.report.terminal import Screen
from worker.settings import Settings

_STYLES = {Verdict.OK: "green", Verdict.WARNING: "yellow", Verdict.FAILED: "bold red"}


@click.command(short_help="Check settings, servers and key, and how to fix them.")
def doctor() -> int:
    """Check settings, database and schema version, broker, cache and API key; say what is wrong and how to fix it."""
    screen = Screen()
    found = []
    for finding in _findings():
        found.append(finding)
        _show(screen, finding)
    failed = sum(finding.verdict is Verdict.FAILED for finding in found)
    warnings = sum(finding.verdict is Verdict.WARNING for finding in found)
    screen.line()
    screen.line(f"{counted(len(found), 'check')}: {failed} failed, {counted(warnings, 'warning')}")
    return WITH_FAILURES if failed else DONE


def _findings() -> Iterator[Finding]:
    wrong = set()
    for finding in check_settings(os.environ):
        yield finding
        if finding.verdict is Verdict.FAILED:
            wrong.add(finding.name)
    yield from check_alert_settings(os.environ)
    yield from check_webhook_secret(os.environ)
    yield from check_operating(os.environ)
    settings = Settings.from_environment(without(os.environ, wrong))
    if settings.database_url:
        yield from check_database(settings)
        yield from check_notifications(settings)
    if settings.broker_url and "CELERY_BROKER_URL" not in wrong:
        yield from check_broker(settings)
    if settings.redis_url:
        yield from check_cache(settings)
    if settings.api_key and not any(name.startswith("DEBITURA_") for name in wrong):
        yield from check_apis(settings)


def _show(screen: Screen, finding: Finding) -> None:
    screen.styled((f"{finding.verdict:<8} ", _STYLES[finding.verdict]), (f"{finding.name}: {finding.message}", ""))
    if finding.fix:
        screen.line(f"{'':<9}{finding.fix}", style="dim")
