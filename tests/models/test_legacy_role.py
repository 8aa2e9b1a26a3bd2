"""The legacy application keeps working with a role that has no rights on our tables."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import NotSupportedError, ProgrammingError, connection, transaction

from agentstate.models import (
    AgentSession,
    AgentSessionEntry,
    AgentWorkflowRun,
    AgentWorkflowRunEvent,
    BackfillPass,
    Flag,
    FlagChange,
    LeftAside,
    Project,
)

pytestmark = pytest.mark.django_db

MOMENT = datetime(2024, 5, 1, tzinfo=UTC)
# Each foreign key from or to a table of ours, with its delete rule.
FOREIGN_KEYS = """
SELECT conrelid::regclass::text, confrelid::regclass::text, confdeltype FROM pg_constraint
WHERE contype = 'f' AND (conrelid::regclass::text ~ '"Agent' OR confrelid::regclass::text ~ '"Agent')
"""


@pytest.fixture
def legacy_role() -> str:
    """The role of the legacy application, with its tables and two projects. The rollback removes them."""
    role = f"legacy_{uuid.uuid4().hex[:12]}"
    execute(
        f"""
        CREATE TABLE "User" (id text PRIMARY KEY);
        INSERT INTO "User" VALUES ('u1'), ('u2');
        INSERT INTO "Project" (id, "userId", name) VALUES ('p1', 'u1', 'One'), ('p2', 'u2', 'Two');
        ALTER TABLE "Project" ADD FOREIGN KEY ("userId") REFERENCES "User" ON DELETE CASCADE ON UPDATE CASCADE;
        CREATE ROLE {role};
        GRANT SELECT, INSERT, UPDATE, DELETE ON "User", "Project" TO {role};
        """
    )
    return role


def execute(statements: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statements)


def rows(query: str) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(query)
        return cursor.fetchall()


def execute_as(role: str, statements: str) -> None:
    """Execute statements as this role, with all constraint checks immediate."""
    execute(f"SET LOCAL ROLE {role}; {statements}; SET CONSTRAINTS ALL IMMEDIATE; RESET ROLE")


def store_everything(project: str) -> None:
    """Store a row of each kind that can name a project."""
    for ordinal, status in enumerate(AgentWorkflowRun.Status.values):
        at = MOMENT + timedelta(seconds=ordinal)
        run = AgentWorkflowRun.objects.create(
            id=f"{project}_{status}",
            workflow_id="test",
            project_id=project,
            status=status,
            result={"state": {"facts": [project]}},
            started_at=at,
            snapshot_at=at,
            legacy_at=at,
        )
        AgentWorkflowRunEvent.objects.create(run=run, type="test", payload={"project": project}, created_at=at)
        AgentSession.objects.create(project_id=project, agent_run=run, created_at=at, updated_at=at)
    session = AgentSession.objects.create(project_id=project, created_at=MOMENT, updated_at=MOMENT, further=1)
    AgentSessionEntry.objects.create(session=session, number=1, entry={"role": "user", "content": "x", "at": "then"})
    LeftAside.objects.create(
        project_id=project, direction="forward", error_class="E", error="e", first_seen_at=MOMENT, last_seen_at=MOMENT
    )
    flag, _ = Flag.objects.get_or_create(name="agentkit_reads")
    flag.project_ids.append(project)
    flag.save()
    FlagChange.objects.create(flag=flag.name, after={"project_ids": [project]}, changed_at=MOMENT, changed_by="ada")
    BackfillPass.objects.create(
        direction="forward", options={"project": [project]}, requested_by="ada", started_at=MOMENT, seen_at=MOMENT
    )


def test_it_has_no_rights_on_our_tables(legacy_role: str) -> None:
    for table in ("AgentWorkflowRun", "AgentWorkflowRunEvent", "AgentSession", "AgentStateFlag"):
        with pytest.raises(ProgrammingError, match="permission denied"), transaction.atomic():
            execute_as(legacy_role, f'SELECT * FROM "{table}"')


def test_it_reads_adds_and_changes_projects_and_moves_their_clock(legacy_role: str) -> None:
    store_everything("p1")
    before = Project.objects.get(id="p1").state_updated_at

    execute_as(
        legacy_role,
        """
        SELECT * FROM "Project";
        INSERT INTO "Project" (id, "userId", name, "factsJson") VALUES ('p3', 'u2', 'Three', '[]');
        UPDATE "Project" SET "factsJson" = '{"a": 1}' WHERE id = 'p1';
        UPDATE "Project" SET name = 'Other' WHERE id = 'p2'
        """,
    )

    assert Project.objects.get(id="p1").state_updated_at > before
    assert Project.objects.get(id="p2").state_updated_at == before
    assert Project.objects.get(id="p3").state_updated_at >= before


@pytest.mark.parametrize(
    "delete", ["""DELETE FROM "Project" WHERE id = 'p1'""", """DELETE FROM "User" WHERE id = 'u1'"""]
)
def test_it_deletes_projects_and_users_with_any_rows_of_ours(legacy_role: str, delete: str) -> None:
    store_everything("p1")
    store_everything("p2")

    execute_as(legacy_role, delete)

    assert list(Project.objects.values_list("id", flat=True)) == ["p2"]
    runs = AgentWorkflowRun.objects.values_list("id", "project_id", "result", "events__payload")
    assert set(runs.filter(id__startswith="p1").values_list("project_id", flat=True)) == {None}
    assert [result["state"] for _, _, result, _ in runs.filter(id__startswith="p1")] == [{"facts": ["p1"]}] * 5
    assert AgentWorkflowRunEvent.objects.count() == 10
    assert set(AgentSession.objects.values_list("project_id", flat=True)) == {"p2"}
    assert AgentSessionEntry.objects.get().session.project_id == "p2"
    assert LeftAside.objects.filter(project_id="p1").exists()
    assert Flag.objects.get(name="agentkit_reads").project_ids == ["p1", "p2"]


@pytest.mark.parametrize(
    "change",
    [
        """UPDATE "Project" SET id = 'p9' WHERE id = 'p1'""",
        """
        INSERT INTO "Project" (id, "userId", name) VALUES ('p1', 'u1', 'One')
        ON CONFLICT (id) DO UPDATE SET id = 'p9'
        """,
        """
        MERGE INTO "Project" p USING (VALUES ('p1', 'p9')) ids (before, after) ON p.id = ids.before
        WHEN MATCHED THEN UPDATE SET id = ids.after
        """,
    ],
    ids=["UPDATE", "upsert", "MERGE"],
)
def test_it_changes_the_id_of_a_project_and_our_rows_follow(legacy_role: str, change: str) -> None:
    if change.strip().startswith("MERGE") and connection.pg_version < 150000:
        pytest.skip("PostgreSQL 14 has no MERGE")
    store_everything("p1")
    before = Project.objects.get(id="p1").state_updated_at

    execute_as(legacy_role, change)

    assert Project.objects.get(id="p9").state_updated_at == before
    assert AgentWorkflowRun.objects.filter(project_id="p9").count() == len(AgentWorkflowRun.Status)
    assert AgentSession.objects.filter(project_id="p9").count() == len(AgentWorkflowRun.Status) + 1
    assert not AgentWorkflowRun.objects.filter(project_id="p1").exists()


def test_copy_adds_projects_with_a_clock_of_their_own(legacy_role: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"SET LOCAL ROLE {legacy_role}")
        with cursor.copy('COPY "Project" (id, "userId", name, "factsJson") FROM STDIN') as copy:
            copy.write_row(("p3", "u1", "Three", "[]"))
        cursor.execute("RESET ROLE")

    assert Project.objects.get(id="p3").state_updated_at.year > 2000


def test_truncate_needs_cascade_which_empties_our_tables_too(
    legacy_role: str,
) -> None:
    store_everything("p1")

    with pytest.raises(NotSupportedError, match="referenced in a foreign key"), transaction.atomic():
        execute('TRUNCATE "Project"')
    with pytest.raises(ProgrammingError, match="permission denied"), transaction.atomic():
        execute_as(legacy_role, 'TRUNCATE "Project" CASCADE')
    assert AgentWorkflowRun.objects.exists()
    execute('SET CONSTRAINTS ALL IMMEDIATE; TRUNCATE "Project" CASCADE')

    assert not AgentWorkflowRun.objects.exists()
    assert not AgentSession.objects.exists()


def test_no_foreign_key_makes_a_legacy_delete_fail() -> None:
    found = rows(FOREIGN_KEYS)

    to_theirs = [key for key in found if key[1] in ('"Project"', '"User"')]
    assert {(table, rule) for table, _, rule in to_theirs} == {
        ('"AgentWorkflowRun"', "n"),
        ('"AgentSession"', "c"),
        ('"AgentDocument"', "c"),
        ('"AgentAttachment"', "n"),
    }
    # What a cascade reaches must not stop there. The flags' links are Django's, and no cascade reaches flags.
    beyond = [key for key in found if not key[0].startswith('"AgentStateFlag')]
    assert {rule for _, _, rule in beyond} == {"n", "c"}


def test_our_tables_refer_only_to_known_tables() -> None:
    targets = {target for table, target, _ in rows(FOREIGN_KEYS) if '"Agent' in table}

    ours = {'"Project"', '"AgentWorkflowRun"', '"AgentSession"', '"AgentStateFlag"'}
    assert targets == {*ours, "auth_user", "auth_group"}
