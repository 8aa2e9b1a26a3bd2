"""The contract as an operator runs it: real processes on separate databases."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.faults.processes import wait_until
from tests.migrations.databases import new_database
from tests.migrations.live import LegacyApplication
from tests.migrations.test_changes_by_others import legacy_home
from tests.sql import WAITING_FOR_LOCKS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.forked import Forked
    from tests.migrations.databases import Database, Result

pytestmark = pytest.mark.django_db

CONTRACT = {"AGENTSTATE_CONTRACT": "1"}
COLUMNS = {"rfpNormJson", "factsJson", "coverageJson", "conflictLogJson", "eligibilityJson"}
# The flags and the freeze as the stage frozen has them.
FREEZE = """
from agentstate.models import Flag
from agentstate.rollout.freeze import freeze, with_lock_timeout
for name, is_on in dict(agentkit_writes=True, agentkit_reads=True, legacy_writes=False).items():
    flag = Flag.objects.get(name=name)
    flag.everyone = is_on
    flag.save()
with_lock_timeout(freeze)
"""
STANDINGS = """
    SELECT count(*) FILTER (WHERE newest.snapshot_at <> newest.legacy_at),
        count(*) FILTER (WHERE "stateUpdatedAt" <> newest.legacy_at), count(*)
    FROM "Project" p CROSS JOIN LATERAL (
        SELECT * FROM "AgentWorkflowRun" run WHERE run.project_id = p.id AND snapshot_at IS NOT NULL
        ORDER BY snapshot_at DESC LIMIT 1
    ) newest"""


@pytest.fixture(scope="module")
def frozen_template() -> Iterator[Database]:
    with new_database() as database:
        for command in (
            ["migrate", "-v0"],
            ["seed_legacy_projects", "--count", "400", "--seed", "5"],
            ["backfill_agentkit_state"],
            ["shell", "-v0", "-c", FREEZE],
        ):
            ended = database.manage(*command)
            assert ended.code == 0, ended.err
        yield database


@pytest.fixture
def frozen(frozen_template: Database) -> Iterator[Database]:
    """A database of sample projects at the end of its rollout."""
    with new_database(frozen_template.name) as database:
        yield database


def contract(database: Database, *target: str) -> Result:
    return database.manage("migrate", "agentstate_contract", *target, "-v0", settings=CONTRACT)


def columns(database: Database) -> set[str]:
    return COLUMNS & set(database.columns()["Project"])


def documents(database: Database) -> list[tuple[object, ...]]:
    names = ", ".join(f'"{name}"::text' for name in sorted(COLUMNS))
    return database.rows(f'SELECT id, {names}, "stateUpdatedAt" FROM "Project" ORDER BY id')


def schema(database: Database) -> set[str]:
    """Return the schema without the positions of columns and without the time of the freeze."""
    return {
        re.sub(r"'\d{4}-[^']*'", "'…'", re.sub(r'^(column \S+"Project") \d+', r"\1", line))
        for line in database.schema()
    }


def test_dropping_the_columns_and_bringing_them_back_changes_nothing(frozen: Database) -> None:
    before, there = documents(frozen), schema(frozen)

    with LegacyApplication(frozen, "UPDATE \"Project\" SET name = 'live ' || %(n)s WHERE id = 'live'") as application:
        assert contract(frozen).code == 0
        assert columns(frozen) == set()
        home = legacy_home(frozen)
        assert (home["is_contracted"], home["dropped_by_others"], home["is_as_we_left_it"]) == (True, [], True)
        assert frozen.manage("verify_agentkit_state").code == 0
        assert frozen.manage("check", "--database", "default", settings=CONTRACT).code == 0
        assert frozen.manage("makemigrations", "--check", "--dry-run", settings=CONTRACT).code == 0
        back = contract(frozen, "zero")
    assert (back.code, back.err) == (0, "")
    assert application.error is None
    assert application.rounds > 10

    frozen.execute("""DELETE FROM "Project" WHERE id = 'live'""")
    assert documents(frozen) == before
    assert schema(frozen) == there
    assert frozen.manage("verify_agentkit_state").code == 0


def test_a_contract_by_an_earlier_version_is_recognized(prisma: Database) -> None:
    prisma.migrate("agentstate", "0012")
    prisma.execute(
        f"""
        CREATE FUNCTION agentstate_clock_without_columns() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN NEW."stateUpdatedAt" := OLD."stateUpdatedAt"; RETURN NEW; END $$;
        CREATE OR REPLACE TRIGGER zz_agentstate_state_clock BEFORE UPDATE ON "Project"
            FOR EACH ROW EXECUTE FUNCTION agentstate_clock_without_columns();
        DROP VIEW "RecentProject";
        ALTER TABLE "Project" {", ".join(f'DROP COLUMN "{column}"' for column in sorted(COLUMNS))}
        """
    )

    migrated = prisma.manage("migrate", "-v0")
    prisma.execute("""UPDATE "Project" SET name = 'other' WHERE id = 'nothing'""")

    assert migrated.code == 0, migrated.err
    home = legacy_home(prisma)
    assert (home["is_contracted"], home["is_as_we_left_it"]) == (True, True)


def test_columns_that_another_tool_adds_after_the_contract_are_reported(frozen: Database) -> None:
    assert contract(frozen).code == 0
    frozen.execute('ALTER TABLE "Project" ADD COLUMN "factsJson" jsonb')

    home = legacy_home(frozen)

    assert (home["is_contracted"], home["added_by_others"], home["is_as_we_left_it"]) == (True, ["factsJson"], False)


def test_the_legacy_application_keeps_writing_when_the_clock_is_dropped_after_the_contract(frozen: Database) -> None:
    assert contract(frozen).code == 0
    frozen.execute("""
        ALTER TABLE "Project" DROP COLUMN "stateUpdatedAt";
        INSERT INTO "Project" (id, "userId", name) VALUES ('new', 'u', 'n');
        UPDATE "Project" SET name = 'other' WHERE id = 'new'
    """)


def test_any_other_stage_is_refused_before_anything_is_changed(adopted: Database) -> None:
    before, content = adopted.schema(), adopted.content(adopted.columns())

    ended = contract(adopted)

    assert (ended.code, ended.out) == (1, "")
    assert "The legacy columns stay, and nothing was changed. Not met:" in ended.err
    assert "- the stage is legacy, and must be frozen: see manage.py agentkit_rollout." in ended.err
    assert "legacy_ahead: see manage.py verify_agentkit_state." in ended.err
    assert "Traceback" not in ended.err
    assert (adopted.schema(), adopted.content(adopted.columns())) == (before, content)


def test_a_database_without_our_tables_is_refused_before_anything_is_changed(prisma: Database) -> None:
    before = prisma.schema()

    ended = prisma.manage("migrate", settings=CONTRACT)

    assert ended.code == 1
    assert "agentstate is not migrated. Migrate it first, without" in ended.err
    assert prisma.schema() == before


def test_the_app_is_not_installed_by_default(adopted: Database) -> None:
    ended = adopted.manage("migrate", "agentstate_contract")

    assert ended.code == 1
    assert "No installed app with label 'agentstate_contract'" in ended.err


def test_it_resumes_after_being_killed_before_the_columns_are_back(frozen: Database) -> None:
    before = documents(frozen)
    assert contract(frozen).code == 0

    with frozen.connect(autocommit=False) as holder:
        holder.execute('SELECT FROM "Project" WHERE id = (SELECT max(project_id) FROM "AgentWorkflowRun") FOR UPDATE')
        process = frozen.start("migrate", "agentstate_contract", "zero", settings=CONTRACT)
        wait_until(lambda: frozen.rows(WAITING_FOR_LOCKS))
        kill(process)
    assert columns(frozen) == set()
    assert frozen.rows(STANDINGS)[0][1] == 0, "no project's columns may look newer than they are"

    assert contract(frozen, "zero").code == 0
    assert documents(frozen) == before


def test_it_resumes_after_being_killed_before_the_content_is_back(frozen: Database) -> None:
    before = documents(frozen)
    assert contract(frozen).code == 0

    process = frozen.start("migrate", "agentstate_contract", "zero", settings=CONTRACT)
    wait_until(lambda: columns(frozen))
    kill(process)
    _, legacy_moved, projects = frozen.rows(STANDINGS)[0]
    assert (legacy_moved, projects > 300) == (0, True)
    assert frozen.manage("verify_agentkit_state").code == 0, "a project is either seeded and equal, or AgentKit ahead"

    assert contract(frozen, "zero").code == 0
    assert documents(frozen) == before


def kill(process: Forked) -> None:
    process.kill()
    process.communicate()
