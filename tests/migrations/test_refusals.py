"""A database that does not fit is refused by name, before anything in it was changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.migrations.test_adoption import OUR_TABLES

if TYPE_CHECKING:
    from tests.migrations.databases import Database, Result

DROP_KEY = 'ALTER TABLE "Project" DROP CONSTRAINT "Project_pkey" CASCADE;'
UNSUITABLE = {
    "a state column is missing": (
        'DROP VIEW "RecentProject"; ALTER TABLE "Project" DROP "coverageJson"',
        ['"Project" has no column "coverageJson" (jsonb)'],
    ),
    "state columns have another type": (
        """
        DROP VIEW "RecentProject";
        DROP INDEX "Project_factsJson_idx";
        ALTER TABLE "Project" ALTER "factsJson" TYPE text, ALTER "eligibilityJson" TYPE json;
        """,
        [
            '"Project"."factsJson" is text, and must be jsonb',
            '"Project"."eligibilityJson" is json, and must be jsonb',
        ],
    ),
    "columns are missing that are not state": (
        'DROP VIEW "RecentProject"; ALTER TABLE "Project" DROP "meta", DROP "createdAt", DROP "userId"',
        [
            '"Project" has no column "userId" (text)',
            '"Project" has no column "createdAt" (timestamp without time zone)',
            '"Project" has no column "meta" (jsonb)',
        ],
    ),
    "times have a zone": (
        'DROP VIEW "RecentProject"; ALTER TABLE "Project" ALTER "createdAt" TYPE timestamptz',
        ['"Project"."createdAt" is timestamp with time zone, and must be timestamp without time zone'],
    ),
    "the id has no unique key": (DROP_KEY, ['"Project"."id"']),
    "the id is unique together with another column only": (
        f'{DROP_KEY} ALTER TABLE "Project" ADD PRIMARY KEY ("id", "userId")',
        ['"Project"."id"'],
    ),
    "the id is unique in some rows only": (
        f"""{DROP_KEY} CREATE UNIQUE INDEX ON "Project" ("id") WHERE "status" = 'draft'""",
        ['"Project"."id"'],
    ),
    "the id's key is deferrable": (
        f'{DROP_KEY} ALTER TABLE "Project" ADD PRIMARY KEY ("id") DEFERRABLE',
        ['"Project"."id"'],
    ),
    "the table is a view": (
        'ALTER TABLE "Project" RENAME TO "AllProjects"; CREATE VIEW "Project" AS SELECT * FROM "AllProjects"',
        ['"Project" is not a table'],
    ),
    "a clock is there that is not ours": (
        'ALTER TABLE "Project" ADD "stateUpdatedAt" timestamp(3)',
        ['"Project" has a column "stateUpdatedAt" that is not ours'],
    ),
    "runs are there that are not ours": (
        'CREATE TABLE "AgentWorkflowRun" (id uuid PRIMARY KEY)',
        ['A table "AgentWorkflowRun" is there that is not ours'],
    ),
    "a view has a name of ours": (
        'CREATE VIEW "AgentSession" AS SELECT 1 AS id',
        ['A table "AgentSession" is there that is not ours'],
    ),
    "every name of ours is taken": (
        ";".join(f'CREATE TABLE "{table}" (id int)' for table in OUR_TABLES),
        [f'A table "{table}" is there that is not ours' for table in OUR_TABLES],
    ),
    "much is wrong at once": (
        f"""
        {DROP_KEY}
        DROP VIEW "RecentProject";
        ALTER TABLE "Project" DROP "meta", ADD "stateUpdatedAt" text, ALTER "rfpNormJson" TYPE json;
        CREATE TABLE "AgentSession" ();
        CREATE TABLE "AgentWorkflowRun" ();
        """,
        [
            '"Project" has no column "meta" (jsonb)',
            '"Project"."rfpNormJson" is json, and must be jsonb',
            '"Project" has a column "stateUpdatedAt" that is not ours',
            '"Project"."id"',
            'A table "AgentWorkflowRun" is there that is not ours',
            'A table "AgentSession" is there that is not ours',
        ],
    ),
}


@pytest.mark.parametrize(("damage", "named"), UNSUITABLE.values(), ids=UNSUITABLE.keys())
def test_an_unsuitable_database_is_refused(prisma: Database, damage: str, named: list[str]) -> None:
    prisma.execute(damage)
    schema, content = prisma.schema(), prisma.content(prisma.columns())

    result = prisma.manage("migrate")

    assert_refused(result, named)
    assert prisma.schema() == schema
    assert prisma.content(prisma.columns()) == content


def test_a_role_that_does_not_own_the_table_is_refused(prisma: Database, other_role: str) -> None:
    schema = prisma.schema()

    result = prisma.manage("migrate", options=f"-c role={other_role}")

    assert_refused(result, [f'"Project" belongs to another role than {other_role}'])
    assert prisma.schema() == schema


def test_a_member_of_the_role_that_owns_the_table_may_migrate(prisma: Database, other_role: str) -> None:
    owner = f"{other_role}_owner"
    prisma.execute(
        f"CREATE ROLE {owner}; GRANT {owner} TO {other_role}; GRANT CREATE ON SCHEMA public TO {owner}; "
        f'ALTER TABLE "Project" OWNER TO {owner}'
    )
    try:
        result = prisma.manage("migrate", "-v0", options=f"-c role={other_role}")
    finally:
        prisma.execute(f"REASSIGN OWNED BY {owner} TO CURRENT_USER; DROP OWNED BY {owner}; DROP ROLE {owner}")

    assert (result.code, result.err) == (0, "")


def test_a_part_of_our_migrations_is_refused_too(prisma: Database) -> None:
    prisma.execute('CREATE TABLE "AgentWorkflowRun" ()')
    schema = prisma.schema()

    result = prisma.manage("migrate", "agentstate", "0001")

    assert_refused(result, ['A table "AgentWorkflowRun" is there that is not ours'])
    assert prisma.schema() == schema


def assert_refused(result: Result, named: list[str]) -> None:
    """Check that there is one text that names just this, a line for each, and nothing else."""
    assert result.code == 1
    assert "Applying" not in result.out
    head, *problems = result.err.strip().splitlines()
    assert head == "UnsuitableDatabase: Nothing was changed, since this database does not fit:"
    assert all(problem.startswith("- ") and problem.endswith(".") for problem in problems)
    assert len(problems) == len(named)
    assert all(any(text in problem for problem in problems) for text in named), problems
