"""The audit log is append-only, and each entry is chained to the one before it.

Revision: 0014, after 0013
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

# As worker/ledger/functions.py had them then.
TEXT = """
CREATE FUNCTION audit_text(entry audit_log) RETURNS text LANGUAGE sql STABLE AS $$
    SELECT CAST(jsonb_build_array(entry.id, CAST(extract(epoch FROM entry.at) * 1000000 AS bigint), entry.actor,
                                  entry.action, entry.job_id, entry.detail, entry.note) AS text)
$$
"""
CHAIN = """
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
REFUSE = """
CREATE FUNCTION audit_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION USING MESSAGE = TG_TABLE_NAME || ' is append-only: ' || TG_OP || ' is refused',
        ERRCODE = 'insufficient_privilege';
END
$$
"""
TRIGGERS = (
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
# What is there already, in the order of its ids.
BACKFILL = """
DO $$
DECLARE
    entry audit_log;
    place bigint := 0;
    link bytea := decode(repeat('00', 32), 'hex');
BEGIN
    FOR entry IN SELECT * FROM audit_log ORDER BY id LOOP
        place := place + 1;
        link := sha256(link || convert_to(audit_text(entry), 'UTF8'));
        INSERT INTO audit_chain (position, entry_id, hash) VALUES (place, entry.id, link);
    END LOOP;
    INSERT INTO audit_head (id, entries, hash) VALUES (1, place, link);
END
$$
"""


def upgrade() -> None:
    """Chain what is there, and from now on every entry at its commit.

    Workers write no audit entries, so they go on. What people do waits while the old entries are chained (about
    20 seconds for a million), or is refused by its lock timeout and can be done again.
    """
    op.create_table(
        "audit_chain",
        sa.Column("position", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("entry_id", sa.BigInteger(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("position", name=op.f("pk_audit_chain")),
    )
    op.create_index("uq_audit_chain_entry", "audit_chain", ["entry_id"], unique=True)
    op.create_table(
        "audit_head",
        sa.Column("id", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("entries", sa.BigInteger(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.CheckConstraint("id = 1", name=op.f("ck_audit_head_one_row")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_head")),
    )
    op.execute("LOCK TABLE audit_log IN SHARE ROW EXCLUSIVE MODE")
    for statement in (TEXT, CHAIN, REFUSE, BACKFILL, *TRIGGERS):
        op.get_bind().exec_driver_sql(statement)


def downgrade() -> None:
    """Let the entries be and drop the chain. A later upgrade makes another one: heads kept elsewhere fit no more."""
    op.execute("DROP TRIGGER audit_log_chained ON audit_log")
    op.execute("DROP TRIGGER audit_log_append_only ON audit_log")
    op.drop_table("audit_head")
    op.drop_table("audit_chain")
    for name in ("audit_chain_entry()", "audit_refuse()", "audit_text(audit_log)"):
        op.execute(f"DROP FUNCTION {name}")
