"""Take over runs, events and sessions from tables that Prisma made under our names.

The application may have carried out the first step of the plan itself: its database then has ``"AgentWorkflowRun"``,
``"AgentWorkflowRunEvent"`` and ``"AgentSession"`` with camelCase columns. With ``AGENTSTATE_ADOPT_PRISMA_RUNS`` set,
the first migration renames them (``…_prisma``, contents unchanged), and a later one copies their
rows into ours. Unapplied, the first migration renames them back.

What ours cannot hold stays in the renamed tables alone: the runs of the application's own backfill, since the forward
pass makes better ones; events without a run; sessions without a project.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core.management import CommandError
from django.db import connections

from agentstate.lock_timeout import StillLocked, with_lock_timeout
from agentstate.row_security import SHOW_EVERY_ROW

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper
    from django.db.backends.base.schema import BaseDatabaseSchemaEditor
    from django.db.migrations import Migration
    from django.db.migrations.state import StateApps

SETTING = "AGENTSTATE_ADOPT_PRISMA_RUNS"
SUFFIX = "_prisma"
LONGEST_NAME = 63

# The columns that are read, by table. Prisma's times are naive and hold UTC.
COLUMNS = {
    "AgentWorkflowRun": (
        *("id", "workflowId", "projectId", "status", "input", "result", "error"),
        *("startedAt", "completedAt"),
    ),
    "AgentWorkflowRunEvent": ("id", "runId", "type", "payload", "createdAt"),
    "AgentSession": ("id", "projectId", "agentRunId", "memoryId", "transcriptJson", "createdAt", "updatedAt"),
}
TIMES = ("startedAt", "completedAt", "createdAt", "updatedAt")


class PrismaRunsNotCopied(CommandError):
    """A copied row differs from the one that Prisma's table holds. Nothing was copied."""


def prisma_tables(connection: BaseDatabaseWrapper, suffix: str = "") -> list[str]:
    """Return the names of the tables that Prisma made: runs and events, and sessions if there are any. Else none."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT name, to_regclass(quote_ident(name || %(suffix)s)) IS NOT NULL,
                ARRAY(SELECT attname::text FROM pg_attribute
                      WHERE attrelid = to_regclass(quote_ident(name || %(suffix)s)) AND attnum > 0
                        AND NOT attisdropped
                        AND (attname <> ALL (%(times)s) OR atttypid = 'timestamp'::regtype))
            FROM unnest(%(names)s::text[]) name
            """,
            {"suffix": suffix, "times": list(TIMES), "names": list(COLUMNS)},
        )
        tables = {name: set(columns) for name, is_there, columns in cursor.fetchall() if is_there}
    fits = all(tables[name].issuperset(COLUMNS[name]) for name in tables)
    return list(tables) if fits and {"AgentWorkflowRun", "AgentWorkflowRunEvent"} <= tables.keys() else []


def is_wanted() -> bool:
    """Return whether the operator asked for the takeover."""
    return bool(getattr(settings, SETTING, False))


def problems_of_prisma_tables(connection: BaseDatabaseWrapper, tables: list[str]) -> list[str]:
    """Return what keeps these tables from being taken over, a sentence each."""
    names = ", ".join(f'"{name}"' for name in tables)
    if not is_wanted():
        way_out = f"set {SETTING}=1, and migrate renames these tables (…{SUFFIX}) and copies their rows into its own"
        return [f"- Prisma made {names} for the application: {way_out}. Stop what writes to them first."]
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT name, to_regclass(quote_ident(name || %s)) IS NOT NULL,
                pg_has_role(relowner, 'USAGE'), current_user::text
            FROM unnest(%s::text[]) name JOIN pg_class ON pg_class.oid = to_regclass(quote_ident(name))
            """,
            [SUFFIX, tables],
        )
        rows = cursor.fetchall()
    return [
        f'- Both "{name}" and "{name}{SUFFIX}" exist: rename or drop "{name}{SUFFIX}".'
        for name, is_taken, _, _ in rows
        if is_taken
    ] + [
        f'- "{name}" belongs to another role than {role}: migrate as its owner, or as a member of it.'
        for name, _, is_owner, role in rows
        if not is_owner
    ]


# -- the tables


def set_aside(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Rename Prisma's tables, and what of theirs has a name that ours take."""
    connection = schema_editor.connection
    tables = prisma_tables(connection) if is_wanted() else []
    _rename(connection, [(name, name + SUFFIX) for name in tables])


def give_back(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Rename Prisma's tables back."""
    connection = schema_editor.connection
    _rename(connection, [(name + SUFFIX, name) for name in prisma_tables(connection, SUFFIX)])


_RENAMES = """
    SELECT format(statement, new_name) FROM (
        SELECT format('ALTER INDEX %%s.%%I RENAME TO %%%%I', relnamespace::regnamespace, relname), relname
        FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid
        WHERE indrelid = to_regclass(quote_ident(%(name)s))
        UNION ALL
        SELECT format('ALTER TABLE %%s RENAME CONSTRAINT %%I TO %%%%I', conrelid::regclass, conname), conname
        FROM pg_constraint WHERE conrelid = to_regclass(quote_ident(%(name)s)) AND contype IN ('c', 'n')
    ) named (statement, name)
    CROSS JOIN LATERAL (
        SELECT CASE WHEN %(adds)s THEN name || %(suffix)s ELSE left(name, -length(%(suffix)s)) END
        WHERE CASE WHEN %(adds)s THEN octet_length(name || %(suffix)s) <= %(longest)s
              ELSE right(name, length(%(suffix)s)) = %(suffix)s END
    ) renamed (new_name)"""


def _rename(connection: BaseDatabaseWrapper, tables: list[tuple[str, str]]) -> None:
    """Rename tables, and add the suffix to the names of their indexes and constraints or remove it.

    A name that is too long for the suffix stays: ours are shorter, so they cannot collide. Foreign keys keep their
    names too.
    """

    def rename() -> None:
        with connection.cursor() as cursor:
            for name, new in tables:
                cursor.execute(
                    _RENAMES, {"name": name, "adds": new.endswith(SUFFIX), "suffix": SUFFIX, "longest": LONGEST_NAME}
                )
                statements = [statement for (statement,) in cursor.fetchall()]
                for statement in [*statements, f'ALTER TABLE "{name}" RENAME TO "{new}"']:
                    cursor.execute(statement)

    try:
        with_lock_timeout(rename, connection.alias)
    except StillLocked as error:
        raise CommandError(
            "Others kept the tables that Prisma made locked. This migration changed nothing. Stop what uses them, and "
            "run manage.py migrate again."
        ) from error


# -- the rows

_AT = """to_char(session."createdAt", 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')"""


def _others(row: str, columns: tuple[str, ...]) -> str:
    """Return the object of a row's other columns, those that are NULL left out; NULL if there is none."""
    known = ", ".join(f"'{name}'" for name in columns)
    return (
        f"(SELECT jsonb_object_agg(key, value) FROM jsonb_each(to_jsonb({row}) - ARRAY[{known}]) "
        "WHERE jsonb_typeof(value) <> 'null')"
    )


# A run of the application's own backfill.
_IS_BACKFILLED = """(starts_with(run.id, 'legacy_') AND run."startedAt" < '1970-01-02')"""

# Each query gives our columns of the rows that are to be copied. The explicit collation is for a "Project"."id" whose
# collation is another one than theirs.
QUERIES = {
    "AgentWorkflowRun": f"""
        SELECT run.id, run."workflowId" AS workflow_id, project.id AS project_id,
            CASE WHEN known.status THEN run.status::text
                 WHEN run.status::text = 'succeeded_fallback' THEN 'succeeded' ELSE 'failed' END AS status,
            run.input, nullif(
                CASE WHEN run.result IS NULL THEN '{{}}' ELSE jsonb_build_object('output', run.result) END
                || CASE WHEN original.facts = '{{}}' THEN '{{}}'
                        ELSE jsonb_build_object('prisma', original.facts) END,
                '{{}}') AS result,
            nullif(concat_ws(E'\\n', to_jsonb(run.error) #>> '{{}}',
                CASE WHEN NOT known.status AND run.status::text <> 'succeeded_fallback'
                     THEN format('Copied from Prisma with the unknown status %L, and marked as failed.', run.status)
                END), '') AS error,
            run."startedAt" AT TIME ZONE 'UTC' AS started_at, run."completedAt" AT TIME ZONE 'UTC' AS completed_at
        FROM "AgentWorkflowRun{SUFFIX}" run
        LEFT JOIN "Project" project ON project.id COLLATE "C" = run."projectId"
        CROSS JOIN LATERAL (
            SELECT run.status::text IN ('pending', 'running', 'succeeded', 'failed', 'canceled'),
                run."projectId" IS NULL OR project.id IS NOT NULL
        ) known (status, project)
        CROSS JOIN LATERAL (
            SELECT coalesce({_others("run", COLUMNS["AgentWorkflowRun"])}, '{{}}')
                || CASE WHEN known.status THEN '{{}}' ELSE jsonb_build_object('status', run.status) END
                || CASE WHEN known.project THEN '{{}}' ELSE jsonb_build_object('projectId', run."projectId") END
        ) original (facts)
        WHERE NOT {_IS_BACKFILLED}""",
    # No two events of a run may share a time: each is a microsecond later than the one before it, at least.
    "AgentWorkflowRunEvent": f"""
        SELECT id, run_id, type, payload,
            max(at - ordinal * interval '1 microsecond') OVER (PARTITION BY run_id ORDER BY ordinal)
                + ordinal * interval '1 microsecond' AS created_at
        FROM (
            SELECT event.id, run.id AS run_id,
                CASE event.type WHEN 'state.changed' THEN 'prisma.state.changed' ELSE event.type END AS type,
                coalesce(event.payload, '{{}}') AS payload, event."createdAt" AT TIME ZONE 'UTC' AS at,
                row_number() OVER (PARTITION BY run.id ORDER BY event."createdAt", event.id COLLATE "C") AS ordinal
            FROM "AgentWorkflowRunEvent{SUFFIX}" event
            JOIN "AgentWorkflowRun{SUFFIX}" run ON run.id COLLATE "C" = event."runId" AND NOT {_IS_BACKFILLED}
        ) ordered""",
    # What is no entry of a transcript is kept as its JSON text, as the sessions pass does with the legacy chat.
    "AgentSession": f"""
        SELECT session.id, project.id AS project_id, run.id AS agent_run_id, session."memoryId" AS memory_id,
            CASE WHEN session."transcriptJson" IS NULL THEN '[]' ELSE (
                SELECT coalesce(jsonb_agg(
                    CASE WHEN jsonb_typeof(entry -> 'role') IS DISTINCT FROM 'string' OR NOT entry ? 'content'
                         THEN jsonb_build_object('role', 'unknown', 'content', entry::text, 'at', {_AT})
                         WHEN coalesce(jsonb_typeof(entry -> 'at'), 'null') = 'null'
                         THEN entry || jsonb_build_object('at', {_AT})
                         ELSE entry
                    END ORDER BY ordinal), '[]')
                FROM jsonb_array_elements(
                    CASE jsonb_typeof(session."transcriptJson") WHEN 'array' THEN session."transcriptJson"
                    ELSE jsonb_build_array(session."transcriptJson") END
                ) WITH ORDINALITY entries (entry, ordinal)
            ) END AS transcript_json,
            jsonb_build_object('source', 'AgentSession{SUFFIX}')
                || coalesce({_others("session", COLUMNS["AgentSession"])}, '{{}}') AS metadata,
            session."createdAt" AT TIME ZONE 'UTC' AS created_at, session."updatedAt" AT TIME ZONE 'UTC' AS updated_at
        FROM "AgentSession{SUFFIX}" session
        JOIN "Project" project ON project.id COLLATE "C" = session."projectId"
        LEFT JOIN "AgentWorkflowRun{SUFFIX}" run
            ON run.id COLLATE "C" = session."agentRunId" AND NOT {_IS_BACKFILLED}
        WHERE session.id COLLATE "C" <> concat('legacy_', session."projectId")""",
}


def copy_rows(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Copy the rows of Prisma's tables that ours do not have, and compare each with its source.

    Raises:
        PrismaRunsNotCopied: a row differs, as a trigger on our table can make it.
    """
    connection = schema_editor.connection
    with connection.cursor() as cursor:
        cursor.execute(SHOW_EVERY_ROW)
        for name in prisma_tables(connection, SUFFIX):
            if name == "AgentWorkflowRun":
                # The foreign keys would lock these rows too, but only after they were read.
                cursor.execute(
                    f"""
                    SELECT count(*) FROM (
                        SELECT FROM "Project" WHERE id COLLATE "C" IN (SELECT "projectId" FROM "{name}{SUFFIX}")
                        FOR KEY SHARE
                    ) locked"""
                )
            cursor.execute(f"CREATE TEMPORARY TABLE prisma_rows ON COMMIT DROP AS {QUERIES[name]}")
            cursor.execute(
                f"""
                DELETE FROM prisma_rows WHERE EXISTS (
                    SELECT FROM "{name}" ours WHERE ours.id COLLATE "C" = prisma_rows.id)"""
            )
            cursor.execute("SELECT * FROM prisma_rows LIMIT 0")
            names = [column.name for column in cursor.description]
            columns = ", ".join(names)

            def as_text(table: str, names: list[str] = names) -> str:
                return ", ".join(f'{table}.{column}::text COLLATE "C"' for column in names)

            cursor.execute(f'INSERT INTO "{name}" ({columns}) SELECT {columns} FROM prisma_rows')
            cursor.execute(
                f"""
                SELECT count(*), min(id) FROM prisma_rows WHERE NOT EXISTS (
                    SELECT FROM "{name}" ours WHERE ours.id COLLATE "C" = prisma_rows.id
                        AND ({as_text("ours")}) IS NOT DISTINCT FROM ({as_text("prisma_rows")}))"""
            )
            differing, first = cursor.fetchone()
            cursor.execute("DROP TABLE prisma_rows")
            if differing:
                raise PrismaRunsNotCopied(
                    f'{differing} rows of "{name}{SUFFIX}" are not in "{name}" as they should be, the first is '
                    f'{first!r}. Nothing was copied. Look for a trigger or a rule on "{name}".'
                )


def report_copied_rows(
    *, using: str, plan: list[tuple[Migration, bool]], verbosity: int = 1, stdout: Any = None, **kwargs: Any
) -> None:
    """Report after a migration how many of Prisma's rows were copied."""
    copies = any(
        migration.app_label == "agentstate" and migration.name.endswith("_prisma_runs") and not backwards
        for migration, backwards in plan
    )
    if not copies or verbosity < 1 or stdout is None:
        return
    with connections[using].cursor() as cursor:
        for name in prisma_tables(connections[using], SUFFIX):
            cursor.execute(
                f"""
                SELECT count(ours.id), count(*) FROM "{name}{SUFFIX}" theirs
                LEFT JOIN "{name}" ours ON ours.id COLLATE "C" = theirs.id
                """
            )
            copied, total = cursor.fetchone()
            stdout.write(f'  Copied {copied:,} of {total:,} rows of "{name}{SUFFIX}".')
