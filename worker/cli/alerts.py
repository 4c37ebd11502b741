"""`case-worker alerts`: test the alert webhooks."""

from __future__ import annotations

import os

import click

from worker.alerts.delivery import Answer, send_test
from worker.alerts.settings import URLS, AlertSettings
from worker.case.fields import one_line
from worker.cli.group import DONE, WITH_FAILURES
from worker.errors import SettingsError


@click.group("alerts", short_help="Test the alert webhooks.")
def alerts() -> None:
    """Test the webhooks of ALERT_WEBHOOK_URLS. Workers send the alerts themselves."""


@alerts.command("test", short_help="Send a test alert and show the responses.")
def test() -> int:
    """Send a test alert to every receiver in ALERT_WEBHOOK_URLS, and show each response."""
    settings = AlertSettings.from_environment(os.environ)
    if not settings.targets:
        raise SettingsError(f"{URLS} is not set; it should name the webhooks that alerts go to")
    answers = []
    for host, answer in send_test(settings):
        answers.append(answer)
        click.echo(f"{one_line(host)}: {_describe(answer)}")
    return DONE if all(_arrived(answer) for answer in answers) else WITH_FAILURES


def _arrived(answer: Answer) -> bool:
    return answer.status is not None and 200 <= answer.status < 300


def _describe(answer: Answer) -> str:
    if answer.status is None:
        return f"FAILED, {answer.said}"
    body = one_line(answer.said)[:200]
    return f"{'ok' if _arrived(answer) else 'FAILED'}, HTTP {answer.status}{f': {body}' if body else ''}"
