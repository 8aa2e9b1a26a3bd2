"""What must hold before our migrations touch a database: found out first, refused with a sentence."""

from __future__ import annotations

from typing import Any

from django.core.management import CommandError
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations import Migration

from agentstate.state.columns import legacy_columns_are_there

# What a "Project" table must look like to be adopted: the columns that this application reads.
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
    "AgentStateFlag",
    "AgentStateFlag_groups",
    "AgentStateFlag_users",
    "AgentStateFlagChange",
    "AgentStatePass",
    "AgentStateLeftAside",
    "AgentStateReadCount",
    "AgentStateReadDifference",
    "AgentStateRolloutStep",
)
CLOCK = "stateUpdatedAt"
NAMED = 10


class UnsuitableDatabase(CommandError):
    """The database holds something that our migrations must not touch."""


class UnsavedState(CommandError):
    """Taking our tables away would lose state that the legacy columns don't hold."""


def check_before_migrating(*, using: str, plan: list[tuple[Migration, bool]], **kwargs: Any) -> None:
    """Refuse a plan before its first migration runs, where one of ours would refuse in the middle of it.

    Raises:
        UnsuitableDatabase: a table or column is missing, of another type, or not ours.
        UnsavedState: unapplying would lose state.
    """
    ours = [(migration.name, backwards) for migration, backwards in plan if migration.app_label == "agentstate"]
    if any(backwards for _, backwards in ours):
        refuse_to_lose_state(connections[using])
    elif any(name.startswith("0001_") for name, _ in ours):
        refuse_unsuitable_database(connections[using])


def refuse_unsuitable_database(connection: BaseDatabaseWrapper) -> None:
    """Check that ``"Project"`` is absent or can be adopted, and that no table has a name of ours.

    Raises:
        UnsuitableDatabase: with everything that is wrong, one sentence a line.
    """
    if connection.vendor != "postgresql":
        raise UnsuitableDatabase(
            f"agentstate needs PostgreSQL 14 or later, and this database is {connection.vendor}: set DATABASE_URL."
        )
    problems = [*_legacy_problems(connection), *_foreign_tables(connection)]
    if problems:
        raise UnsuitableDatabase("\n".join(["Nothing was changed, since this database does not fit:", *problems]))


def _legacy_problems(connection: BaseDatabaseWrapper) -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT relkind IN ('r', 'p'), pg_has_role(relowner, 'USAGE'), current_user,
                   EXISTS (SELECT FROM pg_index JOIN pg_attribute ON attrelid = indrelid AND attnum = indkey[0]
                           WHERE indrelid = pg_class.oid AND indisunique AND indisvalid AND indimmediate
                             AND indnkeyatts = 1 AND indpred IS NULL AND attname = 'id')
            FROM pg_class WHERE oid = to_regclass('"Project"')
            """
        )
        found = cursor.fetchone()
        if found is None:
            return []
        is_table, is_ours_to_alter, role, has_key = found
        if not is_table:
            return ['- "Project" is not a table: agentstate adopts the table that Prisma made, not a view of it.']
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
    if CLOCK in types:
        problems.append(f'- "Project" has a column "{CLOCK}" that is not ours: rename it first.')
    if not has_key:
        problems.append(
            '- "Project"."id" is not unique, or not at once: make it a primary key that is not deferrable.'
        )
    if not is_ours_to_alter:
        problems.append(
            f'- "Project" belongs to another role than {role}: migrate as its owner, or as a member of it.'
        )
    return problems


def _foreign_tables(connection: BaseDatabaseWrapper) -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT name FROM unnest(%s::text[]) name WHERE to_regclass(quote_ident(name)) IS NOT NULL",
            [list(OUR_TABLES)],
        )
        return [
            f'- A table "{name}" is there that is not ours: rename it, or let DATABASE_URL name another schema.'
            for (name,) in cursor.fetchall()
        ]


def refuse_to_lose_state(connection: BaseDatabaseWrapper) -> None:
    """Check that the legacy columns hold all state, so that our tables can go.

    Raises:
        UnsavedState: naming projects whose AgentKit home has moved, and the commands that bring it home.
    """
    with connection.cursor() as cursor:
        cursor.execute("""SELECT to_regclass('"AgentWorkflowRun"') IS NOT NULL""")
        if not cursor.fetchone()[0]:
            return
        if not legacy_columns_are_there(connection.alias):
            raise UnsavedState(
                "agentstate stays: the legacy columns have been dropped, and the AgentKit tables alone hold the "
                "state. Run AGENTSTATE_CONTRACT=1 manage.py migrate agentstate_contract zero first."
            )
        cursor.execute(
            """
            SELECT project_id, count(*) OVER () FROM (
                SELECT DISTINCT ON (project_id) project_id, snapshot_at, legacy_at FROM "AgentWorkflowRun"
                WHERE project_id IS NOT NULL AND snapshot_at IS NOT NULL
                ORDER BY project_id, snapshot_at DESC
            ) newest
            WHERE snapshot_at <> legacy_at ORDER BY project_id LIMIT %s
            """,
            [NAMED],
        )
        ahead = cursor.fetchall()
    if ahead:
        count, names = ahead[0][1], ", ".join(project_id for project_id, _ in ahead)
        raise UnsavedState(
            f"agentstate stays: {count} project(s) have state in the AgentKit tables that the legacy columns "
            f"don't hold, {names}{', …' if count > len(ahead) else ''}. "
            "Run manage.py reverse_backfill_agentkit_state first; a forked project needs --prefer legacy or "
            "--prefer agentkit as well."
        )
