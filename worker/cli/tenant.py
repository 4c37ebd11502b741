"""`case-worker tenant-digest`: what a tenant is called in logs and traces."""

from __future__ import annotations

import os

import click

from worker.cli.options import Words
from worker.settings import Settings
from worker.telemetry.tenant_digest import digest_with, tenant_key


@click.command("tenant-digest", short_help="Say what a tenant is called in logs and traces.")
@click.argument("tenant", type=Words(255))
def tenant_digest_of(*, tenant: str) -> None:
    """Say what a tenant is called in logs and traces, which carry a keyed digest in place of its id.

    It needs the key that the workers have: LOG_TENANT_KEY, or their DATABASE_URL.
    """
    Settings.from_environment(needs=("DATABASE_URL",))
    click.echo(digest_with(tenant_key(os.environ), tenant))
