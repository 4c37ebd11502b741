"""`case-worker status` and `case-worker show`: the pipeline in numbers, and one job's story."""

from __future__ import annotations

from uuid import UUID

import click

from worker.cli.ledger import one_moment, open_ledger
from worker.ledger import queries
from worker.report import overview, story
from worker.report.export import as_json
from worker.report.terminal import Screen


@click.command(short_help="Show how many jobs are where, and what holds them.")
@click.option("--json", "json_wanted", is_flag=True, help="One JSON object, for programs.")
def status(*, json_wanted: bool) -> None:
    """Show how many jobs are where, what needs a person, and what holds the fleet."""
    settings, engine = open_ledger()
    with one_moment(engine) as connection:
        found = queries.counts(connection)
    if json_wanted:
        click.echo(as_json(overview.as_data(found, rate_limits=settings.rate_limits)))
    else:
        overview.show_overview(Screen(), found, rate_limits=settings.rate_limits)


@click.command(short_help="Tell one job's story.")
@click.argument("job_id", type=click.UUID)
@click.option("--json", "json_wanted", is_flag=True, help="One JSON object, for programs.")
def show(*, job_id: UUID, json_wanted: bool) -> None:
    """Tell one job's story: every attempt, what it meant, what people did, and what is to be done."""
    _, engine = open_ledger()
    with one_moment(engine) as connection:
        told = queries.story(connection, job_id)
    if json_wanted:
        click.echo(as_json(story.as_data(told)))
    else:
        story.show_story(Screen(), told)
