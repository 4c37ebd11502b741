"""`case-worker status` and `case-worker show`: counts of the pipeline, and one job's history."""

from __future__ import annotations

import os
from uuid import UUID

import click
from sqlalchemy import Connection

from worker.case.fields import one_line
from worker.cli.ledger import open_ledger, snapshot
from worker.cli.options import Words
from worker.errors import JobNotFound
from worker.ledger import queries
from worker.ledger.queries.alerts import receivers
from worker.ledger.queries.failures import find_jobs
from worker.ledger.queries.links import webhook_status
from worker.ledger.queries.restores import look_up_until
from worker.ledger.queries.waiting import fleet_waits, turn
from worker.ledger.writer.days import close_days_if_allowed
from worker.policy.rate_limit import Pace
from worker.report import notification_status, overview, story
from worker.report.export import as_json
from worker.report.formatting import moment
from worker.report.terminal import Screen
from worker.report.waiting import describe_job
from worker.settings import Settings
from worker.telemetry.logging import digest_with, tenant_key


@click.command(short_help="Show jobs by state, and what they wait for.")
@click.option("--json", "json_wanted", is_flag=True, help="One JSON object, for programs.")
def status(*, json_wanted: bool) -> None:
    """Show how many jobs are in each state, what needs a person, and what the fleet waits for."""
    settings, engine = open_ledger()
    close_days_if_allowed(engine)
    with snapshot(engine) as connection:
        found = queries.counts(connection)
        waits = fleet_waits(connection, Pace.parse(settings.rate_limits))
        undelivered, webhooks = receivers(connection), webhook_status(connection)
        restored = look_up_until(connection)
    if json_wanted:
        more = notification_status.as_data(undelivered, webhooks) | {"look_up_first_until": restored}
        click.echo(as_json(overview.as_data(found, waits) | more))
    else:
        screen = Screen()
        overview.show_overview(screen, found, waits)
        screen.facts(notification_status.describe(undelivered, webhooks), indent=0)
        if restored:
            screen.line(f"The ledger was restored: until {moment(restored)}, new jobs are looked up first.")


@click.command(short_help="Show one job's history.")
@click.argument("job_id", type=click.UUID, required=False)
@click.option("--reference", type=Words(1000), metavar="REF", help="Instead of an id: its creditorReference.")
@click.option("--tenant", type=Words(255), metavar="TENANT", help="With --reference: this externalTenantId.")
@click.option("--json", "json_wanted", is_flag=True, help="One JSON object, for programs.")
def show(*, job_id: UUID | None, reference: str | None, tenant: str | None, json_wanted: bool) -> None:
    """Show one job's history: every attempt and its meaning, what people did, and what to do next."""
    if (job_id is None) == (reference is None):
        raise click.UsageError("give a job's id, or --reference (and --tenant)")
    settings, engine = open_ledger()
    with snapshot(engine) as connection:
        job_id = job_id or _the_one(connection, reference or "", tenant)
        found_story = queries.story(connection, job_id)
        waits = fleet_waits(connection, Pace.parse(settings.rate_limits))
        why = describe_job(found_story.job, turn(connection, job_id), waits, tenant_cap=settings.tenant_concurrency)
    if json_wanted:
        click.echo(as_json(story.as_data(found_story) | {"waits_for": why}))
    else:
        story.show_story(Screen(), found_story, why)


def _the_one(connection: Connection, reference: str, tenant: str | None) -> UUID:
    """The job with that reference. Raises JobNotFound, or UsageError if there are several."""
    found = [job for job in find_jobs(connection, reference, tenant=tenant) if job.creditor_reference == reference]
    if not found:
        raise JobNotFound(f"there is no job with the reference {one_line(reference)} in this database")
    if len(found) > 1:
        listed = "".join(f"\n  {job.id}  {job.state}, of {one_line(job.external_tenant_id)}" for job in found)
        raise click.UsageError(f"several jobs have this reference: give --tenant, or one of these ids{listed}")
    return found[0].id


@click.command("tenant-digest", short_help="Print a tenant's name in logs and traces.")
@click.argument("tenant", type=Words(255))
def tenant_digest_of(*, tenant: str) -> None:
    """Print the keyed digest that logs and traces show in place of a tenant's id.

    Needs the same key as the workers: LOG_TENANT_KEY, or their DATABASE_URL.
    """
    Settings.from_environment(needs=("DATABASE_URL",))
    click.echo(digest_with(tenant_key(os.environ), tenant))
