"""`migrate agentstate zero` drops our objects and nothing else, and refuses if that would lose state."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.migrations.live import LegacyApplication
from tests.migrations.test_adoption import DJANGO_TABLES, MIGRATIONS, OUR_TABLES

if TYPE_CHECKING:
    from tests.migrations.databases import Database

# Clocks in microseconds beside the project's own: its newest snapshot, and the legacy clock that this has taken in.
SNAPSHOT = """
INSERT INTO "AgentWorkflowRun" (id, workflow_id, project_id, status, result, started_at, snapshot_at, legacy_at)
SELECT gen_random_uuid(), 'test', id, 'succeeded', '{{"state": {{}}}}', now(),
       "stateUpdatedAt" + {snapshot} * interval '1 microsecond', "stateUpdatedAt" + {legacy} * interval '1 microsecond'
FROM "Project" WHERE id IN ({projects});
"""
IN_SYNC, LEGACY_AHEAD, AGENTKIT_AHEAD, FORKED = (0, 0), (-5, -5), (7, 0), (7, -5)


def save(database: Database, standing: tuple[int, int], *projects: str) -> None:
    """Store a snapshot for each project that gives it this standing."""
    snapshot, legacy = standing
    names = ", ".join(f"'{project}'" for project in projects)
    database.execute(SNAPSHOT.format(snapshot=snapshot, legacy=legacy, projects=names))


def fill(database: Database) -> None:
    """Store rows in each of our tables that may be dropped without losing state."""
    save(database, AGENTKIT_AHEAD, "p1")
    save(database, (9, 9), "p1")
    save(database, IN_SYNC, "p2", "p3")
    save(database, LEGACY_AHEAD, "p4")
    database.execute("""INSERT INTO "Project" ("id", "userId", "name") VALUES ('gone', 'u1', 'Gone')""")
    save(database, FORKED, "gone")
    database.execute(
        """
        DELETE FROM "Project" WHERE id = 'gone';
        INSERT INTO "AgentWorkflowRunEvent" SELECT id, id, 'test', '1', now() FROM "AgentWorkflowRun";
        INSERT INTO "AgentSession" SELECT id, id, NULL, NULL, '[1]', '{}', now(), now(), 3 FROM "Project";
        INSERT INTO "AgentSessionEntry" (session_id, number, entry)
        SELECT id, number, to_jsonb(number) FROM "AgentSession", generate_series(2, 3) number;
        UPDATE "AgentStateFlag" SET project_ids = '{p1}';
        INSERT INTO "AgentStateFlagChange" (flag, changed_at, changed_by) VALUES ('legacy_writes', now(), 'ada');
        INSERT INTO "AgentStateLeftAside"
            (project_id, direction, error_class, error, attempts, first_seen_at, last_seen_at)
            VALUES ('p1', 'forward', 'E', 'e', 1, now(), now());
        """
    )


def test_zero_restores_an_adopted_database(prisma: Database, adopted: Database) -> None:
    fill(adopted)
    columns, file = prisma.columns(), adopted.value("""SELECT pg_relation_filenode('"Project"')""")
    content = adopted.content(columns)

    with LegacyApplication(adopted) as application:
        adopted.migrate("agentstate", "zero")

    assert application.error is None
    assert adopted.applied() == []
    assert adopted.content(columns) == content
    assert adopted.value("""SELECT pg_relation_filenode('"Project"')""") == file
    assert not prisma.schema() - adopted.schema()
    left = {name for name in adopted.columns().keys() - columns.keys() if not DJANGO_TABLES.fullmatch(name)}
    assert left == set()
    assert not [line for line in adopted.schema() if "Agent" in line or "agentstate" in line or "stateUpd" in line]


def test_the_version_before_long_transcripts_has_them_whole(adopted: Database) -> None:
    fill(adopted)
    adopted.execute("""DELETE FROM "AgentSessionEntry" WHERE session_id = 'p2'""")
    adopted.migrate("agentstate", "0023")

    transcripts = dict(adopted.rows('SELECT id, transcript_json FROM "AgentSession"'))
    assert (transcripts["p1"], transcripts["p2"]) == ([1, 2, 3], [1])
    assert "AgentSessionEntry" not in adopted.columns()
    assert "further" not in adopted.columns()["AgentSession"]
    adopted.migrate()
    assert adopted.value("""SELECT further FROM "AgentSession" WHERE id = 'p1'""") == 0


def test_zero_keeps_a_legacy_table_that_we_made(empty: Database) -> None:
    empty.migrate("agentstate", "0001")
    empty.execute(
        """INSERT INTO "Project" ("id", "userId", "name", "factsJson") SELECT 'p' || i, 'u1', 'n', '1'
           FROM generate_series(1, 9) i"""
    )
    columns = {"Project": empty.columns()["Project"]}
    schema, content = {line for line in empty.schema() if '"Project"' in line}, empty.content(columns)
    empty.migrate()
    fill(empty)

    empty.migrate("agentstate", "zero")

    assert not [name for name in empty.columns() if name.startswith("Agent")]
    assert empty.columns()["Project"] == columns["Project"]
    assert {line for line in empty.schema() if '"Project"' in line} == schema
    assert empty.content(columns) == content


def drop(*tables: str) -> str:
    return "; ".join(f'DROP TABLE "{table}" CASCADE' for table in tables)


# What another tool dropped at once. No part refers to another one beside it: each is missing where all that it refers
# to, and all that refers to it, is left.
DAMAGE = [
    drop("AgentWorkflowRun", "AgentStateFlag", "AgentStatePass", "AgentStateApiToken"),
    drop("AgentWorkflowRunEvent", "AgentStateFlag_users", "AgentStatePassRange", "AgentStateVerification"),
    drop("AgentSession", "AgentStateFlag_groups", "AgentStateUnequalProject", "AgentStateReadCount"),
    drop("AgentSessionEntry", "AgentStateFlagChange", "AgentStateReadDifference", "AgentStateRolloutStep"),
    drop("AgentAttachment", "AgentDocument", "AgentIncomingFile", "AgentStateLeftAside", "AgentStateStepRequest"),
    """
    ALTER TABLE "Project" DROP COLUMN "stateUpdatedAt";
    ALTER TABLE "AgentStateLeftAside" DROP COLUMN decisions;
    DROP FUNCTION agentstate_keep_flag_changes, agentstate_lock_flag CASCADE
    """,
    """
    DROP TRIGGER zz_agentstate_state_clock ON "Project";
    ALTER TABLE "AgentWorkflowRun" DROP CONSTRAINT "AgentWorkflowRun_project_id_fkey";
    DROP TABLE "AgentStateFlag_users"
    """,
    "DROP FUNCTION agentstate_state_clock, agentstate_clock_without_columns CASCADE",
    drop(*sorted(OUR_TABLES)),
]


def test_each_table_is_dropped_beside_others() -> None:
    assert drop(*sorted(OUR_TABLES)).split("; ") == sorted("; ".join(DAMAGE[:5]).split("; "))


@pytest.mark.parametrize("damage", DAMAGE, ids=range(len(DAMAGE)))
def test_zero_works_where_another_tool_dropped_parts(adopted: Database, damage: str) -> None:
    adopted.execute(damage)

    with LegacyApplication(adopted) as application:
        leave(adopted)

    assert application.error is None
    assert adopted.applied() == []
    assert not [line for line in adopted.schema() if "Agent" in line or "agentstate" in line or "stateUpd" in line]
    adopted.migrate()


def test_zero_is_refused_where_our_runs_hold_the_only_copy_of_a_dropped_column(adopted: Database) -> None:
    assert adopted.manage("backfill_agentkit_state", "-v0").code == 0
    content = """SELECT id, "factsJson"::text FROM "Project" ORDER BY id"""
    before = adopted.rows(content)
    adopted.execute('ALTER TABLE "Project" DROP COLUMN "factsJson" CASCADE')

    refused = adopted.manage("migrate", "agentstate", "zero")
    error = refused.err[refused.err.index("UnsavedState:") :]
    statements = [line.strip() for line in error.splitlines() if line.startswith("  ")]
    for statement in statements:
        adopted.execute(statement)
    restored = adopted.rows(content)
    adopted.migrate("agentstate", "zero")

    assert refused.code == 1
    assert 'UnsavedState: agentstate was not removed: another tool dropped "factsJson" from "Project"' in refused.err
    assert len(statements) == 2
    assert restored == before


def test_zero_works_where_no_run_holds_what_was_dropped(adopted: Database) -> None:
    adopted.execute('ALTER TABLE "Project" DROP COLUMN "factsJson" CASCADE')

    leave(adopted)
    assert adopted.applied() == []


def leave(damaged: Database) -> None:
    """Remove agentstate from a database that another tool has changed. The checks may warn of that."""
    result = damaged.manage("migrate", "agentstate", "zero", "-v0")
    assert (result.code, result.out) == (0, ""), result.err
    assert "Traceback" not in result.err


def test_migrating_after_zero_adopts_the_table_again(adopted: Database) -> None:
    schema = adopted.schema()
    fill(adopted)

    adopted.migrate("agentstate", "zero")
    adopted.migrate()

    assert adopted.applied() == MIGRATIONS
    assert {line for line in adopted.schema() if not line.startswith("column")} == {
        line for line in schema if not line.startswith("column")
    }
    assert adopted.value('SELECT count(*) FROM "AgentWorkflowRun"') == 0
    assert adopted.value('SELECT count(*) FROM "AgentStateFlag"') == 4
    assert adopted.value('SELECT count(DISTINCT "stateUpdatedAt") FROM "Project"') == 1


@pytest.mark.parametrize("target", [("agentstate", "zero"), ("agentstate", "0001"), ("auth", "zero")])
def test_reversal_is_refused_while_only_our_tables_hold_state(adopted: Database, target: tuple[str, str]) -> None:
    fill(adopted)
    save(adopted, AGENTKIT_AHEAD, "nothing")
    save(adopted, FORKED, "numbers")
    columns = adopted.columns()
    schema, content = adopted.schema(), adopted.content(columns)

    result = adopted.manage("migrate", *target)

    assert result.code == 1
    # The warnings of the checks come first.
    error = result.err.splitlines()[-1]
    assert error.startswith("UnsavedState: agentstate was not removed: 2 project(s)")
    assert "nothing, numbers." in error
    assert "manage.py reverse_backfill_agentkit_state" in error
    assert "Unapplying" not in result.out
    assert adopted.applied() == MIGRATIONS
    assert (adopted.schema(), adopted.content(columns)) == (schema, content)


def test_a_refusal_names_ten_projects_and_counts_them_all(adopted: Database) -> None:
    save(adopted, AGENTKIT_AHEAD, *(f"p{n}" for n in range(100, 112)))

    result = adopted.manage("migrate", "agentstate", "zero")

    assert result.code == 1
    assert "12 project(s)" in result.err
    assert "p100, p101, p102, p103, p104, p105, p106, p107, p108, p109, …." in result.err


def test_reversal_works_after_a_reverse_pass(adopted: Database) -> None:
    save(adopted, AGENTKIT_AHEAD, "p1")
    refused = adopted.manage("migrate", "agentstate", "zero")

    brought = adopted.manage("reverse_backfill_agentkit_state", "-v0")
    adopted.migrate("agentstate", "zero")

    assert (refused.code, brought.code) == (1, 0)
