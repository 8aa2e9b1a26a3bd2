"""The disk that each of our tables takes, and from a sample what the runs of each workflow take of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from django.apps import apps
from django.db import connection

from agentstate.admin.shared.time_limit import TookTooLong, time_limit
from agentstate.models import AgentWorkflowRun, AgentWorkflowRunEvent
from agentstate.models.expressions import WORKFLOW_LETTERS

if TYPE_CHECKING:
    from collections.abc import Sequence

# The pages of a table that are looked at, 8 kB each, and how long that may take.
PAGES, SECONDS = 1_000, 3.0

# Reads the catalog and asks the file system; no row is read. -1 rows: never analyzed.
_TABLES = """
    SELECT name, pg_table_size(class.oid), pg_indexes_size(class.oid), class.reltuples::bigint
    FROM unnest(%s::text[]) name JOIN pg_class class ON class.oid = to_regclass(quote_ident(name))
    ORDER BY pg_total_relation_size(class.oid) DESC"""
# Columns one by one: the size of a whole row would be that of its values read and uncompressed.
_RUN = " + ".join(f"coalesce(pg_column_size(run.{name}), 0)" for name in ("input", "result", "error", "usage"))
_RUNS = f"""
    SELECT left(workflow_id, {WORKFLOW_LETTERS}), count(*), sum(200 + {_RUN})
    FROM "AgentWorkflowRun" run TABLESAMPLE SYSTEM (%s) GROUP BY 1"""
_EVENTS = f"""
    SELECT left(run.workflow_id, {WORKFLOW_LETTERS}), count(*), sum(150 + pg_column_size(event.payload))
    FROM "AgentWorkflowRunEvent" event TABLESAMPLE SYSTEM (%s) JOIN "AgentWorkflowRun" run ON run.id = event.run_id
    GROUP BY 1"""


class Table(NamedTuple):
    """The bytes of a table with its out-of-line values, and of its indexes; ``rows`` is the planner's estimate."""

    name: str
    data: int
    indexes: int
    rows: int | None

    @property
    def total(self) -> int:
        return self.data + self.indexes


class OfWorkflow(NamedTuple):
    """About how many rows a workflow has, and how many bytes of both tables with their indexes."""

    workflow: str
    runs: int
    events: int
    size: int


class Sample(NamedTuple):
    """The workflows, the largest first, and how many rows this was estimated from."""

    workflows: list[OfWorkflow]
    runs: int
    events: int
    is_whole: bool


class _Shares(NamedTuple):
    """Of each workflow, the rows of a sample and their share of its bytes."""

    rows: dict[str, int]
    share: dict[str, float]
    percent: float

    @property
    def total(self) -> int:
        return sum(self.rows.values())


def tables() -> list[Table]:
    """Return our tables and the legacy one, the largest first."""
    models = apps.get_app_config("agentstate").get_models(include_auto_created=True)
    names = sorted({model._meta.db_table for model in models})
    with connection.cursor() as cursor:
        cursor.execute(_TABLES, [names])
        return [Table(name, data, indexes, rows if rows >= 0 else None) for name, data, indexes, rows in cursor]


def sample(of: Sequence[Table]) -> Sample | None:
    """Estimate the shares of the workflows from some pages of both tables; None if even that took too long."""
    sizes = {table.name: table.total for table in of}
    run_table, event_table = AgentWorkflowRun._meta.db_table, AgentWorkflowRunEvent._meta.db_table
    try:
        runs, events = _shares(_RUNS, run_table), _shares(_EVENTS, event_table)
    except TookTooLong:
        return None
    workflows = [
        OfWorkflow(
            name,
            round(runs.rows.get(name, 0) * 100 / runs.percent),
            round(events.rows.get(name, 0) * 100 / events.percent),
            round(
                runs.share.get(name, 0) * sizes.get(run_table, 0)
                + events.share.get(name, 0) * sizes.get(event_table, 0)
            ),
        )
        for name in {*runs.rows, *events.rows}
    ]
    workflows.sort(key=lambda each: (-each.size, each.workflow))
    return Sample(workflows, runs.total, events.total, runs.percent == events.percent == 100)


def _shares(statement: str, table: str) -> _Shares:
    with time_limit(SECONDS) as cursor:
        cursor.execute(
            "SELECT pg_relation_size(to_regclass(quote_ident(%s))) / current_setting('block_size')::int", [table]
        )
        percent = min(100.0, 100 * PAGES / max(1, cursor.fetchone()[0]))
        cursor.execute(statement, [percent])
        rows = cursor.fetchall()
    whole = float(sum(size for _, _, size in rows)) or 1.0
    return _Shares(
        {name: count for name, count, _ in rows}, {name: float(size) / whole for name, _, size in rows}, percent
    )
