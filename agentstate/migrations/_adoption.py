"""What must hold before our migrations change a database. Everything is checked first and refused in one message."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from django.conf import settings
from django.core.management import CommandError
from django.db import OperationalError, connections, transaction

from agentstate.migrations._departure import refuse_to_lose_state
from agentstate.migrations._prisma_runs import prisma_tables, problems_of_prisma_tables
from agentstate.row_security import tables_that_hide

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper
    from django.db.migrations import Migration

# The columns that this application reads, with the types that it can read.
LEGACY_COLUMNS = {
    "id": ("text", "character varying"),
    "userId": ("text", "character varying"),
    "name": ("text", "character varying"),
    "createdAt": ("timestamp without time zone",),
    "rfpNormJson": ("jsonb",),
    "factsJson": ("jsonb",),
    "coverageJson": ("jsonb",),
    "conflictLogJson": ("jsonb",),
    "eligibilityJson": ("jsonb",),
    "meta": ("jsonb",),
}
OUR_TABLES = (
    "AgentWorkflowRun",
    "AgentWorkflowRunEvent",
    "AgentSession",
    "AgentDocument",
    "AgentIncomingFile",
    "AgentSessionEntry",
    "AgentSessionTranscript",
    "AgentAttachment",
    "AgentStateApiToken",
    "AgentStateFlag",
    "AgentStateFlag_groups",
    "AgentStateFlag_users",
    "AgentStateFlagChange",
    "AgentStatePass",
    "AgentStatePassRange",
    "AgentStateLeftAside",
    "AgentStateReadCount",
    "AgentStateReadDifference",
    "AgentStateRolloutStep",
    "AgentStateStepRequest",
    "AgentStateUnequalProject",
    "AgentStateVerification",
)
CLOCK = "stateUpdatedAt"
# The setting that makes a new "Project" although another schema has one.
NEW_TABLE = "AGENTSTATE_NEW_PROJECT_TABLE"
COUNT_TIMEOUT = "500ms"


class UnsuitableDatabase(CommandError):
    """The database holds something that our migrations must not touch, or withholds a right that they need."""


class LegacyTable(NamedTuple):
    """The table ``"Project"`` that the search path finds."""

    schema: str
    is_table: bool
    has_key: bool
    role: str
    is_owner: bool
    missing_rights: list[str]
    has_our_trigger: bool

    @property
    def name(self) -> str:
        return f'"{self.schema}"."Project"'


def check_before_migrating(
    *, using: str, plan: list[tuple[Migration, bool]], verbosity: int = 1, stdout: Any = None, **kwargs: Any
) -> None:
    """Refuse a plan before its first migration runs, where one of ours would refuse or fail midway.

    Says which table is adopted, or that one is made.

    Raises:
        UnsuitableDatabase: a table or column is missing, of another type, or not ours, or a right is missing.
        UnsavedState: unapplying would lose state.
    """
    connection = connections[using]
    ours = [(migration.name, backwards) for migration, backwards in plan if migration.app_label == "agentstate"]
    if any(backwards for _, backwards in ours):
        refuse_to_lose_state(connection)
    elif any(name.startswith("0001_") for name, _ in ours):
        refuse_unsuitable_database(connection)
        if verbosity >= 1 and stdout is not None:
            stdout.write(f"  {describe_legacy_table(connection)}")
    elif ours:
        _refuse(_missing_rights(connection, _legacy_table(connection)))


def refuse_unsuitable_database(connection: BaseDatabaseWrapper) -> None:
    """Check that ``"Project"`` is absent or can be adopted, that no table has a name of ours, and our rights.

    Raises:
        UnsuitableDatabase: with every problem, one sentence a line.
    """
    if connection.vendor != "postgresql":
        raise UnsuitableDatabase(
            f"agentstate needs PostgreSQL 14 or later, and this database is {connection.vendor}: set DATABASE_URL."
        )
    table = _legacy_table(connection)
    legacy = _misplaced_tables(connection) if table is None else _unsuitable_table(connection, table)
    _refuse([*legacy, *_missing_rights(connection, table), *_tables_with_our_names(connection)])


def describe_legacy_table(connection: BaseDatabaseWrapper) -> str:
    """Say which table is adopted, with its number of rows, or that one is made, and where."""
    table = _legacy_table(connection)
    with connection.cursor() as cursor:
        if table is None:
            cursor.execute("SELECT current_database(), current_schema()")
            database, schema = cursor.fetchone()
            return f'The database {database} has no table "Project": making an empty "{schema}"."Project".'
    # A lock that others hold is no reason to wait: nothing else here needs the number.
    with suppress(OperationalError), transaction.atomic(connection.alias), connection.cursor() as cursor:
        cursor.execute(f"SET LOCAL lock_timeout = '{COUNT_TIMEOUT}'; SET LOCAL row_security = off")
        cursor.execute('SELECT count(*) FROM "Project"')
        return f"Adopting {table.name}, {cursor.fetchone()[0]:,} rows."
    return f"Adopting {table.name}, which is locked at the moment: rows not counted."


def _refuse(problems: list[str]) -> None:
    if problems:
        raise UnsuitableDatabase("\n".join(["Nothing was changed, since this database does not fit:", *problems]))


def _legacy_table(connection: BaseDatabaseWrapper) -> LegacyTable | None:
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT relnamespace::regnamespace::text, relkind IN ('r', 'p'),
                EXISTS (SELECT FROM pg_index JOIN pg_attribute ON attrelid = indrelid AND attnum = indkey[0]
                        WHERE indrelid = pg_class.oid AND indisunique AND indisvalid AND indimmediate
                          AND indnkeyatts = 1 AND indpred IS NULL AND attname = 'id'),
                current_user::text, pg_has_role(relowner, 'USAGE'),
                ARRAY(SELECT name FROM unnest('{SELECT,UPDATE,REFERENCES,TRIGGER}'::text[]) name
                      WHERE NOT has_table_privilege(pg_class.oid, name)),
                EXISTS (SELECT FROM pg_trigger WHERE tgrelid = pg_class.oid AND tgname = 'zz_agentstate_state_clock')
            FROM pg_class WHERE oid = to_regclass('"Project"')
            """
        )
        row = cursor.fetchone()
    return LegacyTable(row[0].strip('"'), *row[1:]) if row else None


def _unsuitable_table(connection: BaseDatabaseWrapper, table: LegacyTable) -> list[str]:
    if not table.is_table:
        return ['- "Project" is not a table: agentstate adopts the table that Prisma made, not a view of it.']
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT attname, btrim(format_type(atttypid, NULL), '"') FROM pg_attribute
            WHERE attrelid = to_regclass('"Project"') AND attnum > 0 AND NOT attisdropped
            """
        )
        types = dict(cursor.fetchall())
    problems = []
    for column, accepted in LEGACY_COLUMNS.items():
        if column not in types:
            problems.append(
                f'- "Project" has no column "{column}" ({accepted[0]}): add it, or point at another database.'
            )
        elif types[column] not in accepted:
            problems.append(f'- "Project"."{column}" is {types[column]}, and must be {accepted[0]}: convert it first.')
    if CLOCK in types and table.has_our_trigger:
        problems.append(
            f'- "Project" has the column "{CLOCK}" of an agentstate whose other tables are gone: run '
            f'DROP TRIGGER zz_agentstate_state_clock ON "Project" and ALTER TABLE "Project" DROP COLUMN "{CLOCK}".'
        )
    elif CLOCK in types:
        problems.append(f'- "Project" has a column "{CLOCK}" that is not ours: rename it first.')
    if not table.has_key:
        problems.append(
            '- "Project"."id" has no unique key that is checked at once: make it a primary key that is not deferrable.'
        )
    return problems


def _missing_rights(connection: BaseDatabaseWrapper, table: LegacyTable | None) -> list[str]:
    """Say which rights our migrations need and this role does not have, or what hides rows from it."""
    problems = []
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT current_schema()::text, current_user::text, current_setting('search_path'),
                   has_schema_privilege(current_schema(), 'CREATE')
            """
        )
        schema, role, path, may_create = cursor.fetchone()
    if schema is None:
        problems.append(
            f"- The search path, {path}, has no schema that the role {role} can use: create it, grant USAGE on it, "
            "or correct ?schema= in DATABASE_URL."
        )
    elif not may_create:
        problems.append(
            f'- The role {role} may not make tables in the schema "{schema}": '
            f'run GRANT CREATE ON SCHEMA "{schema}" TO "{role}".'
        )
    if table is None or not table.is_table:
        return problems
    if not table.is_owner:
        problems.append(
            f'- "Project" belongs to another role than {table.role}: migrate as its owner, or as a member of it.'
        )
    elif table.missing_rights:
        rights = ", ".join(table.missing_rights)
        problems.append(
            f"- The role {table.role} has no right to {rights} on {table.name}: "
            f'run GRANT {rights} ON {table.name} TO "{table.role}".'
        )
    if table.is_owner:
        hiding = tables_that_hide(connection.alias, ("Project",))
        problems.extend(f"- {each.fact} {each.way_out}" for each in hiding)
    return problems


def _misplaced_tables(connection: BaseDatabaseWrapper) -> list[str]:
    """Name the legacy tables of other schemas, where the search path has none and would get an empty one."""
    if getattr(settings, NEW_TABLE, False):
        return []
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT nspname::text, current_setting('search_path'), has_schema_privilege(relnamespace, 'USAGE')
            FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
            WHERE relname = 'Project' AND relkind IN ('r', 'p') AND NOT pg_is_other_temp_schema(relnamespace)
              AND %s::text[] <@ ARRAY(SELECT attname::text FROM pg_attribute
                                      WHERE attrelid = pg_class.oid AND NOT attisdropped)
            ORDER BY nspname
            """,
            [list(LEGACY_COLUMNS)],
        )
        return [
            f'- The search path, {path}, has no "Project", and the schema "{schema}" has one: add ?schema={schema} to '
            f"DATABASE_URL{'' if is_usable else ', and grant USAGE on the schema'}, or set {NEW_TABLE}=1 to make an "
            "empty one."
            for schema, path, is_usable in cursor.fetchall()
        ]


def _tables_with_our_names(connection: BaseDatabaseWrapper) -> list[str]:
    made_by_prisma = prisma_tables(connection)
    problems = problems_of_prisma_tables(connection, made_by_prisma) if made_by_prisma else []
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT name FROM unnest(%s::text[]) name WHERE to_regclass(quote_ident(name)) IS NOT NULL",
            [[name for name in OUR_TABLES if name not in made_by_prisma]],
        )
        return problems + [
            f'- A table "{name}" exists that is not ours: rename it, or let DATABASE_URL name another schema.'
            for (name,) in cursor.fetchall()
        ]
