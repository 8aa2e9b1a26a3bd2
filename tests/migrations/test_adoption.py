"""`migrate` on an empty database, and on a legacy one that is in use."""

from __future__ import annotations

import re
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from django.core.management import call_command
from django.db import connection

from agentstate import migrations
from tests.faults.processes import wait_until
from tests.migrations.databases import Result
from tests.migrations.live import LegacyApplication, held
from tests.sql import WAITING_FOR_LOCKS

if TYPE_CHECKING:
    from tests.migrations.databases import Database

OUR_TABLES = {
    "AgentAttachment",
    "AgentDocument",
    "AgentIncomingFile",
    "AgentSession",
    "AgentSessionEntry",
    "AgentStateApiToken",
    "AgentStateFlag",
    "AgentStateFlagChange",
    "AgentStateFlag_groups",
    "AgentStateFlag_users",
    "AgentStateLeftAside",
    "AgentStatePass",
    "AgentStatePassRange",
    "AgentStateReadCount",
    "AgentStateReadDifference",
    "AgentStateRolloutStep",
    "AgentStateStepRequest",
    "AgentStateUnequalProject",
    "AgentStateVerification",
    "AgentWorkflowRun",
    "AgentWorkflowRunEvent",
}
MIGRATIONS = sorted(path.name[:4] for path in Path(str(migrations.__file__)).parent.glob("[0-9]*.py"))
DJANGO_TABLES = re.compile(r"(auth|django|waffle)_\w+")
VALIDATED = """
    SELECT conname, convalidated FROM pg_constraint WHERE confrelid = '"Project"'::regclass AND conname LIKE 'Agent%'
"""


def test_an_empty_database_gets_the_legacy_table_and_ours(empty: Database) -> None:
    empty.migrate()

    assert empty.applied() == MIGRATIONS
    tables = {table for table in empty.columns() if not DJANGO_TABLES.fullmatch(table)}
    assert tables == {"Project", *OUR_TABLES}


def test_a_database_in_use_is_adopted_and_nothing_else_in_it_changes(prisma: Database) -> None:
    columns, file = prisma.columns(), prisma.value("""SELECT pg_relation_filenode('"Project"')""")
    schema, content = prisma.schema(), prisma.content(columns)

    with LegacyApplication(prisma) as application:
        with held(prisma, "ACCESS SHARE"):  # which lets the writer work, and keeps the migration from its end
            process = prisma.start("migrate", "-v0")
            wait_until(lambda: prisma.rows(WAITING_FOR_LOCKS))
            before = application.rounds
            wait_until(lambda: application.error or application.rounds > before + 10)
        migrated = Result.of(process)

    assert (migrated.code, migrated.out, migrated.err) == (0, "", "")
    assert application.error is None
    assert prisma.content(columns) == content
    assert prisma.value("""SELECT "factsJson" FROM "Project" WHERE id = 'live'""") == application.rounds
    assert prisma.value("""SELECT pg_relation_filenode('"Project"')""") == file, "the table was rewritten"
    assert not schema - prisma.schema()
    added_to_legacy = {
        line
        for line in prisma.schema() - schema
        if not re.search(r'"?public"?\."?(Agent|auth_|django_|waffle_)', line)
    }
    assert {line.split()[0] for line in added_to_legacy} <= {"column", "constraint", "trigger", "function", "type"}
    assert len([line for line in added_to_legacy if line.startswith("column")]) == 1
    ours = re.compile("stateUpdatedAt|agentstate_(state_clock|keep_flag_changes|lock_flag)|^type")
    assert all(ours.search(line) for line in added_to_legacy)


def test_migrate_says_which_table_it_adopts_and_how_many_rows_that_has(prisma: Database) -> None:
    result = prisma.manage("migrate")

    assert (result.code, result.err) == (0, "")
    assert 'Adopting "public"."Project", 306 rows.' in result.out


def test_migrate_says_that_it_makes_the_table(empty: Database) -> None:
    result = empty.manage("migrate")

    assert (result.code, result.err) == (0, "")
    assert f'The database {empty.name} has no table "Project": making an empty "public"."Project".' in result.out


def test_a_locked_table_is_not_counted(prisma: Database) -> None:
    with held(prisma, "ACCESS EXCLUSIVE"):
        result = prisma.manage("migrate", "agentstate", "0001")

    assert (result.code, result.err) == (0, "")
    assert 'Adopting "public"."Project", which is locked at the moment: rows not counted.' in result.out


def test_only_our_tables_and_djangos_are_new(prisma: Database, adopted: Database) -> None:
    new = adopted.columns().keys() - prisma.columns().keys()

    assert {table for table in new if not DJANGO_TABLES.fullmatch(table)} == OUR_TABLES


def test_after_adoption_a_change_moves_the_clock_and_other_triggers_still_fire(adopted: Database) -> None:
    before = adopted.value("""SELECT "stateUpdatedAt" FROM "Project" WHERE id = 'nothing'""")

    adopted.execute("""UPDATE "Project" SET "factsJson" = '1' WHERE id = 'nothing'""")

    [(clock, touched)] = adopted.rows("""SELECT "stateUpdatedAt", "touchedAt" FROM "Project" WHERE id = 'nothing'""")
    assert clock > before
    assert touched is not None


def test_foreign_keys_are_validated_by_a_separate_migration(prisma: Database) -> None:
    prisma.migrate("agentstate", "0003")
    made = dict(prisma.rows(VALIDATED))
    prisma.migrate()

    assert made == {"AgentSession_project_id_fkey": False, "AgentWorkflowRun_project_id_fkey": False}
    assert dict(prisma.rows(VALIDATED)) == dict.fromkeys(
        [*made, "AgentDocument_project_id_fkey", "AgentAttachment_project_id_fkey"], True
    )
    assert prisma.value("SELECT count(*) FROM pg_constraint WHERE NOT convalidated") == 0


def test_migrating_twice_changes_nothing(adopted: Database) -> None:
    columns = adopted.columns()
    schema, content = adopted.schema(), adopted.content(columns)

    adopted.migrate()

    assert (adopted.schema(), adopted.content(columns)) == (schema, content)


def test_the_table_on_the_search_path_is_adopted(prisma: Database) -> None:
    prisma.execute("CREATE SCHEMA app")

    result = prisma.manage("migrate", "-v0", options="-c search_path=app,public")

    assert (result.code, result.err) == (0, "")
    assert prisma.rows("""SELECT relnamespace::regnamespace::text FROM pg_class WHERE relname = 'Project'""") == [
        ("public",)
    ]
    assert "stateUpdatedAt" in prisma.columns()["Project"]


def test_a_schema_named_by_prismas_parameter_is_adopted(prisma: Database) -> None:
    prisma.execute('ALTER SCHEMA public RENAME TO "Legacy data"; CREATE SCHEMA public')

    result = prisma.manage("migrate", "-v0", schema="Legacy data")

    assert (result.code, result.err) == (0, "")
    assert prisma.columns() == {}
    assert prisma.value("""SELECT count(*) FROM "Legacy data"."Project" WHERE "stateUpdatedAt" IS NOT NULL""") == 306


def test_a_key_of_type_varchar_is_adopted(prisma: Database) -> None:
    prisma.execute('DROP VIEW "RecentProject"; ALTER TABLE "Project" ALTER "id" TYPE varchar(30)')

    prisma.migrate()

    assert prisma.value("SELECT bool_and(convalidated) FROM pg_constraint") is True


@pytest.mark.django_db
@pytest.mark.parametrize("migration", MIGRATIONS)
def test_sqlmigrate_prints_each_migration_without_running_it(migration: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET TRANSACTION READ ONLY")

    forwards = call_command("sqlmigrate", "agentstate", migration, stdout=StringIO())
    backwards = call_command("sqlmigrate", "agentstate", migration, backwards=True, stdout=StringIO())

    assert forwards
    assert backwards
