"""Databases that differ from ours: another collation, no lz4, a renamed schema."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.sql import nodes_of

if TYPE_CHECKING:
    from tests.migrations.databases import Database

COLLATE_C = 'DROP VIEW IF EXISTS "RecentProject"; ALTER TABLE "Project" ALTER COLUMN "id" TYPE {} COLLATE "C"'
# Each of our columns that holds an id which a query may compare with "Project"."id".
ID_COLUMNS = """
    SELECT relname || '.' || attname, attcollation::regcollation::text FROM pg_attribute
    JOIN pg_class ON pg_class.oid = attrelid
    WHERE relname LIKE 'Agent%' AND relkind = 'r' AND atttypid = 'text'::regtype
      AND attname IN ('id', 'project_id', 'run_id', 'agent_run_id')
"""
NEWEST = """
    SELECT p.id, newest.id FROM "Project" p LEFT JOIN LATERAL (
        SELECT run.id FROM "AgentWorkflowRun" run WHERE run.project_id = p.id AND run.snapshot_at IS NOT NULL
        ORDER BY run.snapshot_at DESC LIMIT 1
    ) newest ON true
"""
BY_ID = """SELECT run.id FROM "Project" p JOIN "AgentWorkflowRun" run ON run.id = 'legacy_' || p.id || '_1'"""
SESSIONS = """SELECT session.id FROM "Project" p JOIN "AgentSession" session ON session.id = 'legacy_' || p.id"""
ENTRIES = """
    SELECT entry.id FROM "Project" p JOIN "AgentStateLeftAside" entry
    ON md5(entry.project_id) = md5(p.id) AND entry.direction = 'forward'
"""
INDEXES = {
    NEWEST: "AgentWorkflowRun_project_snapshot_key",
    BY_ID: "AgentWorkflowRun_pkey",
    SESSIONS: "AgentSession_pkey",
    ENTRIES: "AgentStateLeftAside_project_key",
}


def indexes_used(database: Database, query: str) -> set[str]:
    """Return our indexes in which the plan looks rows up, with sequential scans disabled as on a large table."""
    with database.connect() as connection:
        connection.execute("SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off")
        [(plan,)] = connection.execute(f"EXPLAIN (FORMAT JSON) {query}").fetchall()
    return {node["Index Name"] for node in nodes_of(plan) if "Index Cond" in node}


@pytest.mark.parametrize("kind", ["text", "varchar(40)"])
@pytest.mark.parametrize("adopted_before", [None, "0015"])
def test_id_look_ups_use_indexes_for_any_collation_of_the_projects(
    prisma: Database, kind: str, adopted_before: str | None
) -> None:
    if adopted_before:
        prisma.migrate("agentstate", adopted_before)
    prisma.execute(COLLATE_C.format(kind))

    prisma.migrate()
    moved = prisma.manage("backfill_agentkit_state", "-v0")
    again = prisma.manage("backfill_agentkit_state", "-v0")

    assert (moved.code, moved.err, again.code, again.err) == (0, "", 0, "")
    assert set(dict(prisma.rows(ID_COLUMNS)).values()) == {'"C"'}
    for query, index in INDEXES.items():
        assert indexes_used(prisma, query) == {index}, query
    assert prisma.value("SELECT bool_and(convalidated) FROM pg_constraint") is True
    assert prisma.manage("verify_agentkit_state", "-v0").code == 0


def test_the_default_collation_changes_no_column(adopted: Database) -> None:
    assert set(dict(adopted.rows(ID_COLUMNS)).values()) == {'"default"'}


def test_columns_lose_their_own_compression(prisma: Database) -> None:
    prisma.migrate("agentstate", "0016")
    # What 0001 does with lz4, done with the other method so that it can be seen on any server.
    prisma.execute(
        """
        ALTER TABLE "AgentWorkflowRun" ALTER input SET COMPRESSION pglz, ALTER result SET COMPRESSION pglz;
        ALTER TABLE "AgentWorkflowRunEvent" ALTER payload SET COMPRESSION pglz;
        """
    )

    prisma.migrate()

    asking = (
        "SELECT count(*) FROM pg_attribute WHERE attcompression <> '' AND attrelid::regclass::text LIKE '\"Agent%'"
    )
    assert prisma.value(asking) == 0


def test_passes_compress_with_lz4_where_the_server_has_it(adopted: Database) -> None:
    has_lz4 = adopted.value("SELECT 'lz4' = ANY (enumvals) FROM pg_settings WHERE name = 'default_toast_compression'")
    adopted.execute(
        """UPDATE "Project" SET "factsJson" = to_jsonb(repeat('compressible ', 1000)) WHERE id = 'nothing'"""
    )

    moved = adopted.manage("backfill_agentkit_state", "-v0")

    assert (moved.code, moved.err) == (0, "")
    used = """SELECT pg_column_compression(result) FROM "AgentWorkflowRun" WHERE project_id = 'nothing'"""
    assert adopted.value(used) == ("lz4" if has_lz4 else "pglz")


def test_a_renamed_schema_keeps_working(prisma: Database) -> None:
    prisma.execute("ALTER SCHEMA public RENAME TO app; CREATE SCHEMA public")
    before = prisma.manage("migrate", "-v0", schema="app")
    prisma.execute('ALTER SCHEMA app RENAME TO "New app"')
    gate = ["waffle_flag", "agentkit_writes", "--everyone"]

    commands = (gate, ["migrate", "-v0"], ["backfill_agentkit_state", "-v0"], ["verify_agentkit_state", "-v0"])
    results = [prisma.manage(*command, schema="New app") for command in commands]
    prisma.execute(
        """
        UPDATE "New app"."Project" SET "factsJson" = '1';
        UPDATE "New app"."AgentStateFlag" SET percent = 20, everyone = NULL WHERE name = 'agentkit_writes';
        DELETE FROM "New app"."Project" WHERE id = 'nothing';
        """
    )
    zero = prisma.manage("migrate", "agentstate", "zero", "-v0", schema="New app")

    assert (before.code, before.err) == (0, "")
    assert [(result.code, result.err) for result in results] == [(0, "")] * len(commands)
    assert (zero.code, zero.err) == (0, "")


def test_changes_of_flags_are_recorded_in_a_renamed_schema(prisma: Database) -> None:
    prisma.execute("ALTER SCHEMA public RENAME TO app; CREATE SCHEMA public")
    prisma.manage("migrate", "-v0", schema="app")
    prisma.execute("ALTER SCHEMA app RENAME TO renamed")

    prisma.execute(
        """
        SET search_path = public;
        UPDATE renamed."AgentStateFlag" SET percent = 20 WHERE name = 'agentkit_writes';
        """
    )

    newest = """SELECT flag, after->'percent' FROM renamed."AgentStateFlagChange" ORDER BY id DESC LIMIT 1"""
    assert prisma.rows(newest) == [("agentkit_writes", 20.0)]
    frozen = "SELECT proname, proconfig::text FROM pg_proc WHERE proconfig::text ~ 'app|renamed'"
    assert prisma.rows(frozen) == []
