"""Restoring: an earlier state comes back into both homes, after what the columns hold was kept."""

from __future__ import annotations

from datetime import datetime

from django.db.backends.utils import CursorWrapper

from agentstate.state.homes import CLOCK, COLUMNS_AS_STATE, NEWEST, PROJECTS, microseconds, next_clock, set_columns
from agentstate.state.legacy_snapshot import Written, events_written, free_clock, record, snapshot_events, take_in
from agentstate.state.replay import state_at
from agentstate.state.standing import STANDING

# The state to restore: the one at the moment that was asked for, or the newest snapshot.
EARLIER = state_at("coalesce(%(as_of)s::timestamptz, 'infinity')")

# Nothing to do where both homes are in sync and hold that state already: asked under the lock too, since another pass
# may have restored it meanwhile.
NEEDS_RESTORING = f"""NOT (({STANDING}) = 'in_sync' AND earlier.state = newest.result -> 'state'
                   AND earlier.state = ({COLUMNS_AS_STATE}))"""

# The present columns are kept at their clock or, where a snapshot stands at or after it, at a new one.
_RESTORED = f"""
    WITH target AS MATERIALIZED (
        SELECT p.id AS project_id, {CLOCK} AS clock, newest.snapshot_at AS newest_at,
            {COLUMNS_AS_STATE} AS legacy, earlier.state, earlier.run_id
        FROM {PROJECTS} p {NEWEST} CROSS JOIN LATERAL {EARLIER} earlier
        WHERE p.id = ANY (%(found)s) AND {NEEDS_RESTORING}
    ), keeping AS MATERIALIZED (
        SELECT *,
            EXISTS (SELECT FROM "AgentWorkflowRun" run WHERE run.project_id = target.project_id
                    AND run.snapshot_at = clock AND run.result -> 'state' = legacy) AS held,
            {free_clock("target.project_id", "clock", "newest_at")} AS kept_at
        FROM target
    ), restored AS MATERIALIZED (
        SELECT *, {next_clock("kept_at", "newest_at", "clock")} AS restored_at FROM keeping
    )"""
_RESTORE = record(
    "runs",
    "legacy_restore",
    "restored",
    run=f"'restore_' || project_id || '_' || {microseconds('restored_at')}",
    at="restored_at",
    legacy_at="restored_at",
    state="state",
    events="""(
        SELECT 1 AS ordinal, 'snapshot.restored' AS type, jsonb_build_object('from', run_id) AS payload
    )""",
)


def restore(cursor: CursorWrapper, locked: list[str], as_of: datetime | None = None) -> Written:
    """Restore the newest snapshot of locked projects, or their state at a moment, into the columns and as a snapshot.

    The present columns are kept first. The restored state is a run of workflow ``legacy_restore``, in sync.
    """
    cursor.execute(
        f"""
        {_RESTORED},
        {take_in("kept", "restored WHERE NOT held", at="kept_at", state="legacy")},
        {_RESTORE},
        filled AS (
            UPDATE "Project" p SET {set_columns("restored.state")}, "stateUpdatedAt" = restored.restored_at
            FROM restored WHERE p.id = restored.project_id RETURNING 1
        )
        SELECT (SELECT count(*) FROM filled), (SELECT count(*) FROM kept) + (SELECT count(*) FROM runs),
               (SELECT count(*) FROM kept_events) + (SELECT count(*) FROM runs_events)
        """,
        {"found": locked, "as_of": as_of},
    )
    return Written(*cursor.fetchone())


def preview_restoring(cursor: CursorWrapper, found: list[str], as_of: datetime | None) -> Written:
    """Count what restoring these projects would write."""
    cursor.execute(
        f"""
        {_RESTORED}
        SELECT count(*), count(*) + count(*) FILTER (WHERE NOT held),
            count(*) + coalesce(sum(kept.count) FILTER (WHERE NOT held), 0)::bigint,
            coalesce(sum(2 * pg_column_size(state)), 0)::bigint
                + coalesce(sum(pg_column_size(legacy) + kept.size) FILTER (WHERE NOT held), 0)::bigint
        FROM restored CROSS JOIN LATERAL {events_written(snapshot_events("restored.legacy"))} kept
        """,
        {"found": found, "as_of": as_of},
    )
    return Written(*cursor.fetchone())
