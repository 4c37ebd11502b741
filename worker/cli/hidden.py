"""Saying that a filter cannot see what is sealed, before its result is taken for the whole truth."""

from __future__ import annotations

import click

from worker.ledger.queries import FailureFilter
from worker.settings import Settings


def tell_what_is_hidden(settings: Settings, wanted: FailureFilter) -> None:
    """One line on stderr for a filter by something that these settings keep sealed."""
    protection = settings.protection
    names = ["--reference"] if wanted.reference is not None and protection.hides_reference else []
    amounts = (wanted.min_amount, wanted.max_amount, wanted.currency)
    if protection.hides_amount and any(part is not None for part in amounts):
        names.append("--min-amount, --max-amount or --currency")
    if names:
        click.echo(
            f"case-worker: sealed cases are not found by {' and '.join(names)} "
            "(CASE_PLAINTEXT_FIELDS would keep it readable)",
            err=True,
        )
