"""`case-worker status` and `case-worker show`: the pipeline in numbers, and one job's story."""

from __future__ import annotations

from uuid import UUID

import click
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from worker.cli.ledger import one_moment, open_ledger
from worker.ledger import queries
from worker.ledger.database import transaction
from worker.ledger.queries.restores import look_up_until
from worker.ledger.queries.waiting import fleet_waits, turn
from worker.ledger.writer.days import close_days
from worker.pace import Pace
from worker.report import overview, story
from worker.report.export import as_json
from worker.report.terminal import Screen
from worker.report.waiting import job_in_words
from worker.report.wording import moment


@click.command(short_help="Show how many jobs are where, and what holds them.")
@click.option("--json", "json_wanted", is_flag=True, help="One JSON object, for programs.")
def status(*, json_wanted: bool) -> None:
    """Show how many jobs are where, what needs a person, and what holds the fleet."""
    settings, engine = open_ledger()
    _close_days(engine)
    with one_moment(engine) as connection:
        found = queries.counts(connection)
        waits = fleet_waits(connection, Pace.parse(settings.rate_limits))
        restored = look_up_until(connection)
    if json_wanted:
        click.echo(as_json(overview.as_data(found, waits) | {"look_up_first_until": restored}))
    else:
        screen = Screen()
        overview.show_overview(screen, found, waits)
        if restored:
            screen.line(f"The ledger was restored: until {moment(restored)}, jobs that arrive are looked up first.")


def _close_days(engine: Engine) -> None:
    """Count the days that are over, once; a reader that may not write counts them anew each time."""
    try:
        with transaction(engine) as connection:
            close_days(connection)
    except DBAPIError as error:
        if getattr(error.orig, "sqlstate", None) not in {"42501", "25006"}:  # no right to write; a read-only replica
            raise


@click.command(short_help="Tell one job's story.")
@click.argument("job_id", type=click.UUID)
@click.option("--json", "json_wanted", is_flag=True, help="One JSON object, for programs.")
def show(*, job_id: UUID, json_wanted: bool) -> None:
    """Tell one job's story: every attempt, what it meant, what people did, and what is to be done."""
    settings, engine = open_ledger()
    with one_moment(engine) as connection:
        told = queries.story(connection, job_id)
        waits = fleet_waits(connection, Pace.parse(settings.rate_limits))
        why = job_in_words(told.job, turn(connection, job_id), waits, tenant_cap=settings.tenant_concurrency)
    if json_wanted:
        click.echo(as_json(story.as_data(told) | {"waits_for": why}))
    else:
        story.show_story(Screen(), told, why)
