"""`case-worker make-key` and `case-worker rekey`: the keys that encrypt cases."""

from __future__ import annotations

from collections import Counter

import click

from worker.case.encryption import Keyring
from worker.case.encryption import make_key as new_key
from worker.cli.group import DONE, WITH_FAILURES
from worker.cli.ledger import open_ledger, page_by_page
from worker.cli.options import as_actor, os_user, progress
from worker.errors import SettingsError
from worker.ledger.database import transaction
from worker.ledger.queries.cases import PLAIN, keys_in_use
from worker.ledger.states import AuditAction
from worker.ledger.writer.audit import audit
from worker.ledger.writer.resolve import Actor
from worker.privacy.rekey import Resealed
from worker.privacy.rekey import rekey as encrypt_again
from worker.report.formatting import counted


@click.command("make-key", short_help="Make a key for CASE_ENCRYPTION_KEYS.")
def make_key() -> None:
    """Make a key for CASE_ENCRYPTION_KEYS and print it. It is not stored: if you lose it, its data is lost too."""
    click.echo(new_key())


@click.command(short_help="Encrypt all cases with the newest key.")
@click.option("--dry-run", is_flag=True, help="Only count what is encrypted with each key.")
@as_actor
def rekey(*, dry_run: bool, actor: str | None) -> int:
    """Encrypt all cases with the newest key, including those under older keys and those stored unencrypted.

    Works in small steps while workers run. If interrupted, run it again. Shows which old keys you can drop.
    """
    settings, engine = open_ledger()
    protection = settings.protection
    if protection.keyring is None:
        raise SettingsError("CASE_ENCRYPTION_KEYS is not set; its first key encrypts")
    done = Resealed()
    if not dry_run:
        with progress("encrypting", None) as tell:
            done = encrypt_again(engine, protection, lambda so_far: tell(so_far.texts, counted(so_far.texts, "text")))
        with transaction(engine) as connection:
            detail = {"door": "command line", "key": protection.keyring.newest, "texts": done.texts}
            audit(connection, AuditAction.REKEY, Actor(actor or os_user()), detail)
        click.echo(f"{counted(done.texts, 'text')} encrypted with key {protection.keyring.newest}")
    found: Counter[str] = Counter()
    with page_by_page(engine) as connection, progress("counting", None) as tell:
        for part in keys_in_use(connection):
            found += part
            tell(found.total(), counted(found.total(), "text"))
    return _print_keys(protection.keyring, found, dry_run=dry_run)


def _print_keys(keyring: Keyring, found: Counter[str], *, dry_run: bool) -> int:
    """Print what each key encrypts, and what to do. Texts that a real run left unchanged count as failures."""
    for key, texts in sorted(found.items(), key=lambda item: -item[1]):
        named = "not encrypted" if key == PLAIN else f"encrypted with key {key}"
        where = "" if key in (*keyring.fingerprints, PLAIN) else ", which is not in CASE_ENCRYPTION_KEYS"
        newest = ", the newest" if key == keyring.newest else ""
        click.echo(f"{counted(texts, 'text')} {named}{newest}{where}")
    left = found.total() - found[keyring.newest]
    idle = [key for key in keyring.fingerprints[1:] if not found[key]]
    if idle:
        click.echo(
            f"No text needs {', '.join(idle)} anymore: remove {'it' if len(idle) == 1 else 'them'} once every worker,"
            f" web page and app has {keyring.newest} as its first key."
        )
    if left and not dry_run:
        click.echo(
            f"case-worker: {counted(left, 'text')} left unchanged: their jobs are queued or in progress (run it again"
            " in a moment), or their key is missing (add it after the newest one).",
            err=True,
        )
        return WITH_FAILURES
    return DONE
