"""Databases from which others took something: every command reports it, with statements that undo it."""

from __future__ import annotations

import json
import uuid
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from psycopg.errors import ObjectNotInPrerequisiteState

from tests.migrations.databases import new_database

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.migrations.databases import Database

pytestmark = pytest.mark.django_db

CONTRACT = {"AGENTSTATE_CONTRACT": "1"}
FIVE = ("rfpNormJson", "factsJson", "coverageJson", "conflictLogJson", "eligibilityJson")
LEGACY_UPDATE = """UPDATE "Project" SET name = name || '!'"""


@pytest.fixture(scope="module")
def backfilled_template() -> Iterator[Database]:
    with new_database() as database:
        for command in (
            ["migrate", "-v0"],
            ["seed_legacy_projects", "--count", "20", "--seed", "5"],
            ["backfill_agentkit_state"],
        ):
            ended = database.manage(*command)
            assert ended.code == 0, ended.err
        yield database


@pytest.fixture
def database(backfilled_template: Database) -> Iterator[Database]:
    with new_database(backfilled_template.name) as database:
        yield database


def documents(database: Database) -> list[object]:
    columns = ", ".join(f'"{column}"' for column in FIVE)
    return database.rows(f'SELECT id, {columns} FROM "Project" ORDER BY id')


@pytest.mark.parametrize(
    ("dropped", "fact"),
    [
        (FIVE, 'Another tool dropped "rfpNormJson", "factsJson"'),
        (("factsJson",), 'Another tool dropped "factsJson" from "Project".'),
        (("stateUpdatedAt",), 'Another tool dropped "stateUpdatedAt" from "Project"'),
    ],
)
def test_a_dropped_part_is_an_error_everywhere_and_can_be_repaired(
    database: Database, dropped: tuple[str, ...], fact: str
) -> None:
    before = documents(database)
    database.execute("; ".join(f'ALTER TABLE "Project" DROP COLUMN "{column}"' for column in dropped))
    database.execute(LEGACY_UPDATE)  # the legacy application goes on

    check = database.manage("check", "--database", "default", "--fail-level", "WARNING")
    verification = database.manage("verify_agentkit_state")
    backfill = database.manage("backfill_agentkit_state")
    status = database.manage("agentkit_rollout")
    as_json = database.manage("agentkit_rollout", "--format", "json")
    advance = database.manage("agentkit_rollout", "advance")
    drop = database.manage("migrate", "agentstate_contract", "-v0", settings=CONTRACT)
    bring_back = database.manage("migrate", "agentstate_contract", "zero", "-v0", settings=CONTRACT)

    found = json.loads(as_json.out)
    assert (found["stage"], found["open"]) == ("legacy", False)
    statements = found["foreign_changes"]["statements"]
    for result, code in ((check, 1), (verification, 1), (backfill, 1), (status, 3), (advance, 3), (drop, 1)):
        output = result.out + result.err
        assert result.code == code, output
        assert fact in output
        assert statements[0] in output
        assert "Traceback" not in output
        assert "manage.py migrate" not in output, "it has nothing to do"
    assert bring_back.code == 0, bring_back.err

    for statement in statements:
        database.execute(statement)
    assert documents(database) == before
    database.execute(LEGACY_UPDATE)
    assert database.manage("backfill_agentkit_state").code == 0
    verification = database.manage("verify_agentkit_state")
    assert (verification.code, "Clean." in verification.out) == (0, True), verification.out + verification.err


@pytest.mark.parametrize("action", ["status", "advance", "retreat"])
def test_no_step_is_taken_where_tables_of_ours_are_missing(database: Database, action: str) -> None:
    for flag in ("agentkit_writes", "agentkit_shadow_reads"):
        assert database.manage("waffle_flag", flag, "--everyone").code == 0
    database.execute('DROP TABLE "AgentWorkflowRun" CASCADE')

    result = database.manage("agentkit_rollout", action)

    assert result.code == (1 if action == "status" else 3)
    assert 'This database lacks "AgentWorkflowRun". Nothing was changed.' in result.err
    assert "Traceback" not in result.err
    everyone = database.value("""SELECT everyone FROM "AgentStateFlag" WHERE name = 'agentkit_shadow_reads'""")
    assert everyone is True


@pytest.mark.parametrize("level", ["repeatable read", "serializable"])
def test_steps_are_taken_under_any_default_isolation(database: Database, level: str) -> None:
    database.execute(f"ALTER DATABASE {database.name} SET default_transaction_isolation = '{level}'")

    for action in ("advance", "advance", "retreat", "retreat"):
        result = database.manage("agentkit_rollout", action)
        assert result.code == 0, result.err


@contextmanager
def hidden_from_the_owner(database: Database) -> Iterator[str]:
    """Make a role the owner of every table, and hide all projects from it."""
    role = f"agentstate_{uuid.uuid4().hex[:12]}"
    database.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'p'")
    for (table,) in database.rows("SELECT quote_ident(tablename) FROM pg_tables WHERE schemaname = 'public'"):
        database.execute(f"ALTER TABLE {table} OWNER TO {role}")
    database.execute(
        'ALTER TABLE "Project" ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY; '
        'CREATE POLICY tenants ON "Project" USING (false)'
    )
    try:
        yield role
    finally:
        database.execute(f"DROP OWNED BY {role} CASCADE; DROP ROLE {role}")


def test_no_step_is_taken_where_a_policy_hides_projects(database: Database) -> None:
    with hidden_from_the_owner(database) as role:
        results = [
            database.manage("agentkit_rollout", user=role, password="p"),
            database.manage("agentkit_rollout", "advance", user=role, password="p"),
            database.manage("agentkit_rollout", "retreat", user=role, password="p"),
            database.manage("migrate", "agentstate_contract", "-v0", settings=CONTRACT, user=role, password="p"),
            database.manage(
                *("migrate", "agentstate_contract", "-v0", "--skip-checks"),
                settings=CONTRACT,
                user=role,
                password="p",
            ),
        ]

    for result in results:
        assert result.code == 1
        assert 'Row-level security of "Project" applies to the role' in result.err
        assert "(policies: tenants)" in result.err
        assert 'Run ALTER TABLE "Project" NO FORCE ROW LEVEL SECURITY' in result.err
        assert "Traceback" not in result.err


def test_a_missing_flag_table_is_reported_in_one_sentence(database: Database) -> None:
    database.execute('DROP TABLE "AgentStateFlag" CASCADE')

    result = database.manage("waffle_flag", "agentkit_writes", "--everyone")

    assert result.code == 1
    assert "This database lacks a table or column of agentstate" in result.err
    assert "Traceback" not in result.err


def test_a_subscriber_can_copy_a_frozen_table_as_the_runbook_says(database: Database) -> None:
    frozen = database.manage("shell", "-v0", "-c", "from agentstate.rollout.freeze import freeze; freeze()")
    assert frozen.code == 0, frozen.err
    # What the subscription's first copy does: as a replica, row by row.
    copy = """
        SET session_replication_role = replica;
        INSERT INTO "Project" (id, name, "userId", "factsJson") SELECT 'copied', name, "userId", '{"a": 1}'
        FROM "Project" LIMIT 1"""
    with pytest.raises(ObjectNotInPrerequisiteState):
        database.execute(copy)

    database.execute('ALTER TABLE "Project" DISABLE TRIGGER agentstate_freeze_insert')
    database.execute(copy)
    database.execute('ALTER TABLE "Project" ENABLE ALWAYS TRIGGER agentstate_freeze_insert')

    with pytest.raises(ObjectNotInPrerequisiteState):
        database.execute(copy.replace("'copied'", "'another'"))
