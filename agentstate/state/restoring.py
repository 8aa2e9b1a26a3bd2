"""Restoring: an earlier state is written into both homes, after what the columns hold was kept."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from django.db.backends.utils import CursorWrapper

from agentstate.state.effects import is_written
from agentstate.state.homes import (
    ALL_KEYS,
    CLOCK,
    COLUMNS_AS_STATE,
    NEWEST,
    PROJECTS,
    free_clock,
    is_usable,
    microseconds,
    next_clock,
    set_columns,
)
from agentstate.state.legacy_snapshot import (
    Written,
    clock_to_keep,
    events_written,
    insert_runs,
    snapshot_events,
    take_in,
)
from agentstate.state.replay import state_at
from agentstate.state.standing import STANDING

# The state to restore: the one at the given moment, or the newest snapshot.
EARLIER = state_at("coalesce(%(as_of)s::timestamptz, 'infinity')")

# Nothing to do if both homes are in sync and hold that state already. Asked again under the lock, since another pass
# may have restored it meanwhile.
NEEDS_RESTORING = f"""NOT (({STANDING}) = 'in_sync' AND earlier.state = newest.result -> 'state'
                   AND earlier.state = ({COLUMNS_AS_STATE}))"""


def _restore_id(at: str, project: str = "project_id") -> str:
    return f"'restore_' || {project} || '_' || {microseconds(at)}"


_RESTORED_AT = free_clock(
    next_clock("kept_at", "newest_at", "clock"), lambda at: _restore_id(at, "keeping.project_id")
)

# The present columns are kept at their clock or, if a snapshot is at or after it, at a new one.
_RESTORED = f"""
    WITH target AS MATERIALIZED (
        SELECT p.id AS project_id, {CLOCK} AS clock, newest.snapshot_at AS newest_at,
            {is_usable(CLOCK)} AND {is_usable("newest.snapshot_at")} AS usable,
            {COLUMNS_AS_STATE} AS legacy, earlier.state, earlier.run_id
        FROM {PROJECTS} p {NEWEST} CROSS JOIN LATERAL {EARLIER} earlier
        WHERE p.id = ANY (%(projects)s) AND {NEEDS_RESTORING}
    ), keeping AS MATERIALIZED (
        SELECT *,
            EXISTS (SELECT FROM "AgentWorkflowRun" run WHERE run.project_id = target.project_id
                    AND run.snapshot_at = clock AND run.result -> 'state' = legacy OFFSET 0) AS is_kept,
            {clock_to_keep("target.project_id", "clock", "newest_at")} AS kept_at
        FROM target WHERE usable
    ), restored AS MATERIALIZED (
        SELECT *, {_RESTORED_AT} AS restored_at FROM keeping
    )"""

_UNUSABLE = "(SELECT coalesce(array_agg(project_id), '{}') FROM target WHERE NOT usable)"

_INSERT_RUNS = insert_runs(
    "runs",
    "legacy_restore",
    "restored",
    run=_restore_id("restored_at"),
    at="restored_at",
    legacy_at="restored_at",
    state="state",
    events="""(
        SELECT 1 AS ordinal, 'snapshot.restored' AS type, jsonb_build_object('from', run_id) AS payload
    )""",
)

RESTORE = f"""
    {_RESTORED},
    {take_in("kept", "restored WHERE NOT is_kept", at="kept_at", state="legacy")},
    {_INSERT_RUNS},
    filled AS (
        UPDATE "Project" p SET {set_columns("restored.state")}, "stateUpdatedAt" = restored.restored_at
        FROM restored WHERE p.id = restored.project_id
        RETURNING restored.project_id, {is_written("restored.restored_at", "restored.state")} AS is_written
    )
    SELECT (SELECT count(*) FROM filled), (SELECT count(*) FROM kept) + (SELECT count(*) FROM runs),
           (SELECT count(*) FROM kept_events) + (SELECT count(*) FROM runs_events), 0, {_UNUSABLE},
           (SELECT coalesce(array_agg(project_id), '{{}}') FROM restored
            WHERE project_id NOT IN (SELECT project_id FROM filled WHERE is_written))"""


def restore(cursor: CursorWrapper, locked: list[str], as_of: datetime | None = None) -> Written:
    """Restore the newest snapshot of locked projects, or their state at a moment, into the columns and as a snapshot.

    The present columns are kept first. The restored state is a run of workflow ``legacy_restore``, in sync.
    """
    cursor.execute(RESTORE, {"projects": locked, "as_of": as_of})
    return Written(*cursor.fetchone())


def preview_restoring(cursor: CursorWrapper, projects: list[str], as_of: datetime | None) -> Written:
    """Count what restoring these projects would write."""
    cursor.execute(
        f"""
        {_RESTORED}
        SELECT count(*), count(*) + count(*) FILTER (WHERE NOT is_kept),
            count(*) + coalesce(sum(kept.count) FILTER (WHERE NOT is_kept), 0)::bigint,
            coalesce(sum(2 * pg_column_size(state)), 0)::bigint
                + coalesce(sum(pg_column_size(legacy) + kept.size) FILTER (WHERE NOT is_kept), 0)::bigint,
            {_UNUSABLE}
        FROM restored CROSS JOIN LATERAL {events_written(snapshot_events("restored.legacy"))} kept
        """,
        {"projects": projects, "as_of": as_of},
    )
    return Written(*cursor.fetchone())


class ReplacedKey(NamedTuple):
    """A document that a restored state replaces, with the bytes of JSON of each home and of it; None is absent."""

    key: str
    columns: int | None
    snapshot: int | None
    restored: int | None


_REPLACED = f"""
    SELECT name, octet_length(columns::text), octet_length(snapshot::text), octet_length(restored::text)
    FROM (
        SELECT name, position, legacy -> name AS columns, agentkit -> name AS snapshot, earlier -> name AS restored
        FROM (
            SELECT {COLUMNS_AS_STATE} AS legacy, newest.result -> 'state' AS agentkit, earlier.state AS earlier
            FROM {PROJECTS} p {NEWEST} CROSS JOIN LATERAL {EARLIER} earlier WHERE p.id = %(project)s OFFSET 0
        ) states CROSS JOIN unnest(%(keys)s::text[]) WITH ORDINALITY keys (name, position)
    ) documents
    WHERE columns IS DISTINCT FROM restored OR snapshot IS DISTINCT FROM restored ORDER BY position"""


def replaced_keys(cursor: CursorWrapper, project: str, as_of: datetime | None) -> list[ReplacedKey]:
    """Return the documents that restoring a project's state would replace in either home."""
    cursor.execute(_REPLACED, {"project": project, "as_of": as_of, "keys": list(ALL_KEYS)})
    return [ReplacedKey(*row) for row in cursor.fetchall()]
