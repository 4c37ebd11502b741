"""`case-worker alerts`: trying the way to those who are told."""

from __future__ import annotations

import os

import click

from worker.alerts.delivery import Answer, send_test
from worker.alerts.settings import URLS, AlertSettings
from worker.case.printable import one_line
from worker.cli.group import DONE, WITH_FAILURES
from worker.errors import SettingsError


@click.group("alerts", short_help="Try the webhooks that alerts go to.")
def alerts() -> None:
    """What is told to whom is set by ALERT_WEBHOOK_URLS; workers do the telling."""


@alerts.command("test", short_help="Send a test alert, and say what came back.")
def test() -> int:
    """Send a test alert to every receiver of ALERT_WEBHOOK_URLS, and say what came back from each."""
    settings = AlertSettings.from_environment(os.environ)
    if not settings.targets:
        raise SettingsError(f"{URLS} is not set; it should name the webhooks that alerts go to")
    answers = []
    for host, answer in send_test(settings):
        answers.append(answer)
        click.echo(f"{one_line(host)}: {_in_words(answer)}")
    return DONE if all(_arrived(answer) for answer in answers) else WITH_FAILURES


def _arrived(answer: Answer) -> bool:
    return answer.status is not None and 200 <= answer.status < 300


def _in_words(answer: Answer) -> str:
    if answer.status is None:
        return f"FAILED, {answer.said}"
    said = one_line(answer.said)[:200]
    return f"{'ok' if _arrived(answer) else 'FAILED'}, HTTP {answer.status}{f': {said}' if said else ''}"
