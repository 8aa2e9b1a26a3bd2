"""A database that does not fit is refused before anything in it is changed, with every problem named."""

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
    "a clock exists that is not ours": (
        'ALTER TABLE "Project" ADD "stateUpdatedAt" timestamp(3)',
        ['"Project" has a column "stateUpdatedAt" that is not ours'],
    ),
    "runs are there that are not ours": (
        'CREATE TABLE "AgentWorkflowRun" (id uuid PRIMARY KEY)',
        ['A table "AgentWorkflowRun" exists that is not ours'],
    ),
    "a view has a name of ours": (
        'CREATE VIEW "AgentSession" AS SELECT 1 AS id',
        ['A table "AgentSession" exists that is not ours'],
    ),
    "every name of ours is taken": (
        ";".join(f'CREATE TABLE "{table}" (id int)' for table in OUR_TABLES),
        [f'A table "{table}" exists that is not ours' for table in OUR_TABLES],
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
            'A table "AgentWorkflowRun" exists that is not ours',
            'A table "AgentSession" exists that is not ours',
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


RIGHTS = {
    "no right to make tables": (
        'REVOKE CREATE ON SCHEMA public FROM {role}, PUBLIC; ALTER TABLE "Project" OWNER TO {role}',
        'GRANT CREATE ON SCHEMA "public" TO "{role}"',
    ),
    "no right to refer to the table": (
        'ALTER TABLE "Project" OWNER TO {role}; REVOKE REFERENCES, TRIGGER ON "Project" FROM {role}',
        'GRANT REFERENCES, TRIGGER ON "public"."Project" TO "{role}"',
    ),
    "no right to use the schema": ("REVOKE USAGE ON SCHEMA public FROM {role}, PUBLIC", "grant USAGE on it"),
}


@pytest.mark.parametrize(("damage", "named"), RIGHTS.values(), ids=RIGHTS.keys())
@pytest.mark.parametrize("adopted_before", [None, "0012"])
def test_missing_rights_are_reported_before_anything_is_changed(
    prisma: Database, other_role: str, damage: str, named: str, adopted_before: str | None
) -> None:
    if adopted_before:
        prisma.migrate("agentstate", adopted_before)
    prisma.execute(f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {other_role}")
    prisma.execute(damage.format(role=other_role))
    schema = prisma.schema()
    try:
        result = prisma.manage("migrate", options=f"-c role={other_role}")

        # Without USAGE the table of applied migrations is invisible too, so the plan begins with the first one.
        misplaced = ['the schema "public" has one'] if "USAGE" in damage else []
        assert_refused(result, [*misplaced, named.format(role=other_role)])
        assert prisma.schema() == schema
    finally:
        prisma.execute(f"REASSIGN OWNED BY {other_role} TO CURRENT_USER")


@pytest.mark.parametrize("adopted_before", [None, "0012"])
def test_a_policy_that_hides_rows_is_reported_with_the_way_out(
    prisma: Database, other_role: str, adopted_before: str | None
) -> None:
    if adopted_before:
        prisma.migrate("agentstate", adopted_before)
    prisma.execute(
        f"""
        GRANT ALL ON ALL TABLES IN SCHEMA public TO {other_role};
        ALTER TABLE "Project" OWNER TO {other_role};
        ALTER TABLE "Project" ENABLE ROW LEVEL SECURITY;
        ALTER TABLE "Project" FORCE ROW LEVEL SECURITY;
        CREATE POLICY tenants ON "Project" USING (false);
        """
    )
    schema = prisma.schema()
    try:
        checked = prisma.manage("migrate", options=f"-c role={other_role}")
        refused = prisma.manage("migrate", "--skip-checks", options=f"-c role={other_role}")
        unchanged = prisma.schema() == schema
    finally:
        prisma.execute(f"REASSIGN OWNED BY {other_role} TO CURRENT_USER")

    assert checked.code == 1
    assert_refused(refused, ["(policies: tenants)"])
    for result in (checked, refused):
        assert 'ALTER TABLE "Project" NO FORCE ROW LEVEL SECURITY' in result.err
    assert unchanged


def test_a_policy_that_does_not_apply_to_the_owner_is_ignored(prisma: Database) -> None:
    prisma.execute('ALTER TABLE "Project" ENABLE ROW LEVEL SECURITY; CREATE POLICY tenants ON "Project" USING (false)')

    prisma.migrate()


def test_reversal_is_refused_while_a_policy_hides_runs(adopted: Database, other_role: str) -> None:
    adopted.execute(
        f"""
        GRANT ALL ON ALL TABLES IN SCHEMA public TO {other_role};
        ALTER TABLE "AgentWorkflowRun" OWNER TO {other_role};
        ALTER TABLE "AgentWorkflowRun" ENABLE ROW LEVEL SECURITY;
        ALTER TABLE "AgentWorkflowRun" FORCE ROW LEVEL SECURITY;
        """
    )
    try:
        result = adopted.manage("migrate", "agentstate", "zero", "--skip-checks", options=f"-c role={other_role}")
    finally:
        adopted.execute(f"REASSIGN OWNED BY {other_role} TO CURRENT_USER; DROP OWNED BY {other_role}")

    assert result.code == 1
    assert result.err.splitlines()[-1].startswith("UnsavedState: agentstate was not removed: Row-level security of")


def test_a_legacy_table_outside_the_search_path_is_reported(prisma: Database) -> None:
    prisma.execute('ALTER SCHEMA public RENAME TO "Legacy data"; CREATE SCHEMA public')
    schema = prisma.schema()

    refused = prisma.manage("migrate")
    unchanged = prisma.schema() == schema
    accepted = prisma.manage("migrate", settings={"AGENTSTATE_NEW_PROJECT_TABLE": "1"})

    assert_refused(refused, ['the schema "Legacy data" has one: add ?schema=Legacy data to DATABASE_URL'])
    assert "AGENTSTATE_NEW_PROJECT_TABLE=1" in refused.err
    assert unchanged
    assert accepted.code == 0
    assert 'has no table "Project": making an empty "public"."Project".' in accepted.out


def test_a_project_table_of_another_shape_elsewhere_is_ignored(prisma: Database) -> None:
    prisma.execute(
        """
        ALTER SCHEMA public RENAME TO elsewhere; CREATE SCHEMA public;
        DROP VIEW elsewhere."RecentProject"; ALTER TABLE elsewhere."Project" DROP "eligibilityJson"
        """
    )

    result = prisma.manage("migrate", "-v0")

    assert (result.code, result.err) == (0, "")


def test_leftovers_of_an_earlier_installation_are_reported_with_statements_that_remove_them(adopted: Database) -> None:
    tables = ", ".join(f'"{table}"' for table in OUR_TABLES)
    adopted.execute(f"DROP TABLE {tables}, django_migrations CASCADE")
    statements = [
        'DROP TRIGGER zz_agentstate_state_clock ON "Project"',
        'ALTER TABLE "Project" DROP COLUMN "stateUpdatedAt"',
    ]

    refused = adopted.manage("migrate")
    for statement in statements:
        assert statement in refused.err
        adopted.execute(statement)

    assert_refused(refused, ['has the column "stateUpdatedAt" of an agentstate whose other tables are gone'])
    django = adopted.rows("SELECT tablename FROM pg_tables WHERE tablename ~ '^(auth|django|waffle)_'")
    adopted.execute(f"DROP TABLE {', '.join(name for (name,) in django)} CASCADE")
    adopted.migrate()


def test_migrating_to_a_single_migration_is_refused_too(prisma: Database) -> None:
    prisma.execute('CREATE TABLE "AgentWorkflowRun" ()')
    schema = prisma.schema()

    result = prisma.manage("migrate", "agentstate", "0001")

    assert_refused(result, ['A table "AgentWorkflowRun" exists that is not ours'])
    assert prisma.schema() == schema


def assert_refused(result: Result, named: list[str]) -> None:
    """Check that the output is the refusal with exactly these problems, one a line."""
    assert result.code == 1
    assert "Applying" not in result.out
    head, *problems = result.err.strip().splitlines()
    assert head == "UnsuitableDatabase: Nothing was changed, since this database does not fit:"
    assert all(problem.startswith("- ") and problem.endswith(".") for problem in problems)
    assert len(problems) == len(named)
    assert all(any(text in problem for problem in problems) for text in named), problems
