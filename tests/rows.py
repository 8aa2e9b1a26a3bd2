"""Rows made and read by SQL, so that each jsonb value is exactly what a test says it is."""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import psycopg
from django.db import connection

from agentstate.backfill import Outcome, PassOptions, run_pass
from agentstate.models.passes import Direction
from agentstate.samples import make_projects
from tests.factories import COLUMNS

if TYPE_CHECKING:
    from collections.abc import Iterator

MOVED = ("AgentWorkflowRun", "AgentWorkflowRunEvent", "AgentSession")
LEDGER = ("AgentStatePass", "AgentStateLeftAside")
EVERYTHING = ("Project", *MOVED, *LEDGER)


def sql(query: str, *parameters: object) -> list[tuple[Any, ...]]:
    """Run a query, and return its rows if it has any."""
    with connection.cursor() as cursor:
        cursor.execute(query, parameters or None)
        return cursor.fetchall() if cursor.description else []


def one(query: str, *parameters: object) -> Any:
    """Return the one value that a query finds."""
    ((value,),) = sql(query, *parameters)
    return value


def count(table: str, where: str = "true") -> int:
    return int(one(f'SELECT count(*) FROM "{table}" WHERE {where}'))


def dump(*tables: str) -> dict[str, tuple[int, str]]:
    """Return each table's number of rows, and a digest of all that they hold."""
    return {
        table: sql(f"SELECT count(*), coalesce(md5(string_agg(t::text, ' ' ORDER BY t.id)), '') FROM \"{table}\" t")[0]
        for table in tables
    }


def seed(number: int) -> None:
    """Fill the legacy table with samples."""
    make_projects(number, 7)


def make_project(project: str, **state: object) -> None:
    """Make a project; a state key that is not given is SQL NULL, None is JSON null, ``chat`` goes into ``meta``."""
    meta = json.dumps({"chat": state.pop("chat")}) if "chat" in state else None
    names = "".join(f', "{COLUMNS[key]}"' for key in state)
    sql(
        f'INSERT INTO "Project" (id, "userId", name, meta{names}) VALUES (%s, %s, %s, %s{", %s" * len(state)})',
        project,
        "user",
        "A project",
        meta,
        *map(json.dumps, state.values()),
    )


def change_columns(project: str, **state: object) -> None:
    """Write columns, as the legacy application does."""
    changes = ", ".join(f'"{COLUMNS[key]}" = %s' for key in state)
    sql(f'UPDATE "Project" SET {changes} WHERE id = %s', *map(json.dumps, state.values()), project)


def empty_columns(where: str = "true") -> None:
    """Set all five columns to SQL NULL."""
    sql(f'UPDATE "Project" SET {", ".join(f""""{column}" = NULL""" for column in COLUMNS.values())} WHERE {where}')


def save_in_agentkit(where: str = "true", **state: object) -> None:
    """Give projects with a snapshot another one a second later, in which some documents are new."""
    sql(
        f"""
        INSERT INTO "AgentWorkflowRun"
            (id, workflow_id, project_id, status, result, started_at, completed_at, snapshot_at, legacy_at)
        SELECT 'live_' || id, 'intake', project_id, 'succeeded',
               jsonb_build_object('state', result -> 'state' || %s::jsonb),
               snapshot_at, snapshot_at + interval '1 s', snapshot_at + interval '1 s', legacy_at
        FROM (
            SELECT DISTINCT ON (project_id) * FROM "AgentWorkflowRun"
            WHERE project_id IS NOT NULL AND snapshot_at IS NOT NULL ORDER BY project_id, snapshot_at DESC
        ) newest WHERE {where}
        """,
        json.dumps(state),
    )


def make_fork(project: str, legacy: dict[str, object], agentkit: dict[str, object]) -> None:
    """Save in AgentKit, then write other columns of a project that is in sync."""
    save_in_agentkit(f"project_id = '{project}'", **agentkit)
    change_columns(project, **legacy)


def forward(**options: Any) -> Outcome:
    return run_pass(PassOptions(Direction.FORWARD, **options))


def reverse(**options: Any) -> Outcome:
    return run_pass(PassOptions(Direction.REVERSE, **options))


@contextmanager
def second_connection(**options: str) -> Iterator[psycopg.Connection]:
    """Connect to the same database once more, outside Django."""
    parameters = connection.get_connection_params()
    wanted = {"host", "port", "dbname", "user", "password"}
    settings = " ".join(f"-c {name}={value}" for name, value in options.items())
    with psycopg.connect(
        **{name: value for name, value in parameters.items() if name in wanted}, options=settings, autocommit=True
    ) as other:
        yield other
