"""`python -m tests.check_schema`: migrations, models and the words in `worker.ledger.states` agree. In `make lint`.

One database is migrated to the newest version, a second is made from the models. Alembic compares them in its way,
which leaves out CHECK constraints, identity columns and storage settings; so both are also compared as PostgreSQL
itself writes them down.
"""

from __future__ import annotations

import re
import sys
import warnings
from collections.abc import Iterable, Iterator
from enum import StrEnum
from pprint import pformat

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.pool import NullPool

from examples.local_servers import LocalPostgres
from worker.ledger import migrate
from worker.ledger.alert_models import BEGINNINGS, TOLD, DeliveryState
from worker.ledger.models import Base
from worker.ledger.states import (
    FINAL_STATES,
    INVALID_LINK_REASONS,
    Api,
    AttemptOutcome,
    ItemOutcome,
    OperationState,
    Priority,
    Reason,
    Resolution,
    State,
    TokenSource,
    Trigger,
    Verb,
    WaitReason,
)
from worker.ledger.webhook_models import WebhookOutcome

#: Which words stand in which CHECK constraint: the two have to be changed together.
WORDS: dict[str, Iterable[StrEnum]] = {
    "ck_jobs_state": State,
    "ck_jobs_finalized_at_when_final": FINAL_STATES,
    "ck_jobs_next_trigger": Trigger,
    "ck_jobs_wait_reason": WaitReason,
    "ck_attempts_trigger": Trigger,
    "ck_attempts_token_source": TokenSource,
    "ck_pace_api": Api,
    "ck_api_use_api": Api,
    "ck_attempts_outcome": AttemptOutcome,
    "ck_dead_letters_reason": Reason,
    "ck_dead_letters_invalid_client_link": INVALID_LINK_REASONS,
    "ck_dead_letters_resolution": Resolution,
    "ck_finished_days_state": FINAL_STATES,
    "ck_operations_verb": Verb,
    "ck_operations_state": OperationState,
    "ck_operation_items_outcome": ItemOutcome,
    "ck_alerts_kind": TOLD,
    "ck_alert_conditions_kind": BEGINNINGS,
    "ck_alert_deliveries_state": DeliveryState,
    "ck_webhook_events_outcome": WebhookOutcome,
}

#: NOT NULL is not among the constraints here: it is compared with the columns.
_CONSTRAINTS = """
    SELECT c.conrelid::regclass || '.' || c.conname AS name, pg_get_constraintdef(c.oid) AS definition
    FROM pg_constraint c JOIN pg_namespace n ON n.oid = c.connamespace
    WHERE n.nspname = 'public' AND c.contype <> 'n' AND c.conrelid <> COALESCE(to_regclass('alembic_version'), 0)
"""
_COLUMNS = """
    SELECT a.attrelid::regclass || '.' || a.attname AS name,
           concat_ws(' ', format_type(a.atttypid, a.atttypmod), CASE WHEN a.attnotnull THEN 'NOT NULL' END,
                     CASE WHEN a.attidentity <> '' THEN 'IDENTITY ' || a.attidentity::text END,
                     'DEFAULT ' || pg_get_expr(d.adbin, d.adrelid)) AS definition
    FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
    LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
    WHERE n.nspname = 'public' AND c.relkind = 'r' AND a.attnum > 0 AND NOT a.attisdropped
      AND c.relname <> 'alembic_version'
"""
_STORAGE = """
    SELECT c.oid::regclass::text AS name,
           'storage: ' || array_to_string(ARRAY(SELECT unnest(c.reloptions) ORDER BY 1), ', ') AS definition
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = 'public' AND c.relkind IN ('r', 'i') AND c.relname NOT LIKE 'alembic%'
"""
_INDEXES = """
    SELECT indexname AS name, indexdef AS definition FROM pg_indexes
    WHERE schemaname = 'public' AND tablename <> 'alembic_version'
"""
_TRIGGERS = """
    SELECT tgrelid::regclass || '.' || tgname AS name, pg_get_triggerdef(oid) AS definition FROM pg_trigger
    WHERE NOT tgisinternal
"""
_FUNCTIONS = """
    SELECT proname || '()' AS name, pg_get_functiondef(oid) AS definition FROM pg_proc
    WHERE pronamespace = 'public'::regnamespace
"""


def differences(postgres: LocalPostgres) -> list[str]:
    """Everything in which the migrated schema, the models and the words differ, one sentence each."""
    migrated, modelled = (_database(postgres, name) for name in ("migrated", "modelled"))
    migrate.upgrade(migrated)
    with (
        create_engine(migrated, poolclass=NullPool).connect() as by_migrations,
        create_engine(modelled, poolclass=NullPool).begin() as by_models,
    ):
        Base.metadata.create_all(by_models)
        found = [*_by_alembic(by_migrations)]
        for what in (_COLUMNS, _CONSTRAINTS, _INDEXES, _STORAGE, _TRIGGERS, _FUNCTIONS):
            found += _by_definition(_named(by_migrations, what), _named(by_models, what))
        found += _by_words(_named(by_migrations, _CONSTRAINTS))
    return found


def _database(postgres: LocalPostgres, name: str) -> str:
    root = postgres.url.replace("postgresql://", "postgresql+psycopg://")
    with create_engine(root, poolclass=NullPool, isolation_level="AUTOCOMMIT").connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    return f"{root.rsplit('/', 1)[0]}/{name}"


def _named(connection: Connection, statement: str) -> dict[str, str]:
    return {row.name: re.sub(r"\s+", " ", row.definition) for row in connection.execute(text(statement))}


def _by_alembic(connection: Connection) -> Iterator[str]:
    context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
    with warnings.catch_warnings():
        # Of computed columns alembic can only say that their text looks different; `_COLUMNS` compares what they are.
        warnings.filterwarnings("ignore", message="Computed default on .* cannot be modified")
        found = compare_metadata(context, Base.metadata)
    for difference in found:
        yield f"alembic: to become what the models say, the migrated schema would need {pformat(difference)}"


def _by_definition(migrated: dict[str, str], modelled: dict[str, str]) -> Iterator[str]:
    for name in sorted(migrated.keys() | modelled.keys()):
        ours, theirs = migrated.get(name, "nothing"), modelled.get(name, "nothing")
        if ours != theirs:
            yield f"{name}: the migrations make\n    {ours}\n  but the models make\n    {theirs}"


def _by_words(constraints: dict[str, str]) -> Iterator[str]:
    by_name = {name.partition(".")[2]: definition for name, definition in constraints.items()}
    for name, words in WORDS.items():
        expected = {str(word) for word in words}
        # PostgreSQL writes `IN ('a', 'b')` as `= ANY (ARRAY['a'::text, 'b'::text])`.
        found = set(re.findall(r"'(\w+)'::text", by_name.get(name, "")))
        if found != expected:
            yield (
                f"{name}: only in the database: {sorted(found - expected)};"
                f" only in worker.ledger.states: {sorted(expected - found)}"
            )
    lists = {name for name, definition in by_name.items() if "ARRAY[" in definition}
    for name in sorted(lists - WORDS.keys()):
        yield f"{name} lists words that nothing compares: name their source in tests/check_schema.py"
    priorities = [int(number) for number in re.findall(r"[<>]= (\d+)", by_name.get("ck_jobs_priority", ""))]
    if priorities != [min(Priority), max(Priority)]:
        yield f"ck_jobs_priority: the database allows {priorities}, worker.ledger.states has {list(Priority)}"


def main() -> int:
    """Print the differences. Returns the exit code."""
    with LocalPostgres(durable=False) as postgres:
        found = differences(postgres)
    for difference in found:
        sys.stdout.write(f"- {difference}\n")
    if found:
        sys.stdout.write(
            f"{len(found)} differences between migrations, models and words. Add a migration (alembic revision), or"
            " fix worker/ledger/models.py or worker/ledger/states.py.\n"
        )
        return 1
    sys.stdout.write("migrations, models and words agree\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
