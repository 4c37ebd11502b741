"""What all tables share: constraint names, column types, and the database's own functions and triggers.

The functions and triggers bind every writer, whatever program it uses. `make lint` compares them with what the
migrations create, which keep their own copies.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import MetaData, Text
from sqlalchemy.dialects.postgresql import JSONB, TIMESTAMP
from sqlalchemy.dialects.postgresql import UUID as PG_UUID
from sqlalchemy.orm import DeclarativeBase

#: One convention for all constraint names, so that a migration can name what it drops.
NAMES = {
    "pk": "pk_%(table_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s",
    "uq": "uq_%(table_name)s_%(column_0_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
}


def one_of(column: str, words: type[StrEnum] | tuple[StrEnum, ...]) -> str:
    """The SQL condition that a column holds one of these words."""
    return f"{column} IN ({', '.join(repr(word.value) for word in words)})"


class Base(DeclarativeBase):
    """What all tables share: constraint names, and timestamps with a time zone."""

    metadata = MetaData(naming_convention=NAMES)
    type_annotation_map = {  # noqa: RUF012 - SQLAlchemy reads it from the class
        str: Text,
        datetime: TIMESTAMP(timezone=True),
        UUID: PG_UUID(as_uuid=True),
        dict[str, Any]: JSONB,
    }


# A tenant's idempotency key and its hidden form have the same digest (see `worker.case.protection.key_digest`), so a
# unique index on the digest accepts only one of them. Backslashes are doubled: the cast reads bytea's escape format.
JOB_KEY = r"""
CREATE FUNCTION job_key(tenant text, key text) RETURNS bytea LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN key ~ '^hidden[:]sha256[:][0-9a-f]{64}$' THEN decode(right(key, 64), 'hex')
           ELSE sha256(CAST(replace(CAST(length(tenant) AS text) || ':' || tenant || key, '\', '\\') AS bytea)) END
$$
"""
# `worker.ledger.queries.audit` builds the same text to verify it.
AUDIT_TEXT = """
CREATE FUNCTION audit_text(entry audit_log) RETURNS text LANGUAGE sql STABLE AS $$
    SELECT CAST(jsonb_build_array(entry.id, CAST(extract(epoch FROM entry.at) * 1000000 AS bigint), entry.actor,
                                  entry.action, entry.job_id, entry.detail, entry.note) AS text)
$$
"""
# Runs at commit, one transaction at a time: each waits for the one before, which holds the head until its commit is
# done. The head is the last lock that a transaction takes, so this can't deadlock.
AUDIT_CHAIN = """
CREATE FUNCTION audit_chain_entry() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    made record;
BEGIN
    UPDATE audit_head SET entries = entries + 1, hash = sha256(hash || convert_to(audit_text(NEW), 'UTF8'))
    WHERE id = 1 RETURNING entries, hash INTO STRICT made;
    INSERT INTO audit_chain (position, entry_id, hash) VALUES (made.entries, NEW.id, made.hash);
    RETURN NULL;
END
$$
"""
AUDIT_REFUSE = """
CREATE FUNCTION audit_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION USING MESSAGE = TG_TABLE_NAME || ' is append-only: ' || TG_OP || ' is refused',
        ERRCODE = 'insufficient_privilege';
END
$$
"""
AUDIT_TRIGGERS = (
    "CREATE CONSTRAINT TRIGGER audit_log_chained AFTER INSERT ON audit_log DEFERRABLE INITIALLY DEFERRED"
    " FOR EACH ROW EXECUTE FUNCTION audit_chain_entry()",
    "CREATE TRIGGER audit_log_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_log"
    " FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse()",
    "CREATE TRIGGER audit_chain_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_chain"
    " FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse()",
    "CREATE TRIGGER audit_chain_by_trigger BEFORE INSERT ON audit_chain"
    " FOR EACH STATEMENT WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION audit_refuse()",
    "CREATE TRIGGER audit_head_by_trigger BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON audit_head"
    " FOR EACH STATEMENT WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION audit_refuse()",
)
#: The head of an empty chain.
AUDIT_HEAD = "INSERT INTO audit_head (id, entries, hash) VALUES (1, 0, decode(repeat('00', 32), 'hex'))"
