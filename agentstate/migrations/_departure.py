"""What must hold before our tables are dropped: the legacy columns hold all state."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.core.management import CommandError

from agentstate.row_security import RowsHidden, every_row
from agentstate.state.columns import LegacyHome, read_legacy_home
from agentstate.state.keys import STATE_KEYS

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

NAMED = 10

_NEWEST = """
    SELECT DISTINCT ON (project_id) project_id, snapshot_at, legacy_at, result FROM "AgentWorkflowRun"
    WHERE project_id IS NOT NULL AND snapshot_at IS NOT NULL
    ORDER BY project_id, snapshot_at DESC"""


class UnsavedState(CommandError):
    """Dropping our tables would lose state that the legacy columns do not hold."""


def refuse_to_lose_state(connection: BaseDatabaseWrapper) -> None:
    """Check that the legacy columns hold all state, so that our tables can be dropped.

    Works with parts of ours missing, whoever dropped them.

    Raises:
        UnsavedState: naming projects whose state only our tables hold, and the commands that bring it home.
    """
    with connection.cursor() as cursor:
        cursor.execute("""SELECT to_regclass('"AgentWorkflowRun"') IS NOT NULL""")
        if not cursor.fetchone()[0]:
            return
    home = read_legacy_home(connection.alias)
    if home.is_contracted:
        raise UnsavedState(
            "agentstate was not removed: the legacy columns have been dropped, and the AgentKit tables alone hold the "
            "state. Run AGENTSTATE_CONTRACT=1 manage.py migrate agentstate_contract zero first."
        )
    try:
        with every_row(connection.alias):
            _refuse_while_ahead(connection)
            _refuse_while_columns_are_missing(connection, home)
    except RowsHidden as error:
        raise UnsavedState(f"agentstate was not removed: {error}") from error


def _refuse_while_ahead(connection: BaseDatabaseWrapper) -> None:
    count, names = _projects(connection, "snapshot_at <> legacy_at", [])
    if count:
        raise UnsavedState(
            f"agentstate was not removed: {count} project(s) have state in the AgentKit tables that the legacy "
            f"columns don't hold, {names}. Run manage.py reverse_backfill_agentkit_state first; a forked project "
            "needs --prefer legacy or --prefer agentkit as well."
        )


def _refuse_while_columns_are_missing(connection: BaseDatabaseWrapper, home: LegacyHome) -> None:
    keys = [key.name for key in STATE_KEYS if key.column in home.dropped_by_others]
    count, names = _projects(connection, "result -> 'state' ?| %s::text[]", [keys])
    if count:
        columns = ", ".join(f'"{column}"' for column in home.dropped_by_others)
        statements = "".join(f"\n  {statement}" for statement in home.repairs())
        raise UnsavedState(
            f'agentstate was not removed: another tool dropped {columns} from "Project", and the AgentKit tables hold '
            f"the only copy of what was there for {count} project(s), {names}. Bring it back first:{statements}"
        )


def _projects(connection: BaseDatabaseWrapper, condition: str, parameters: list[list[str]]) -> tuple[int, str]:
    """Return how many projects have a newest snapshot of which this is true, and the names of the first ones."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            SELECT project_id, count(*) OVER () FROM ({_NEWEST}) newest
            WHERE {condition} ORDER BY project_id LIMIT {NAMED}
            """,
            parameters,
        )
        rows = cursor.fetchall()
    count = rows[0][1] if rows else 0
    return count, f"{', '.join(name for name, _ in rows)}{', …' if count > len(rows) else ''}"
