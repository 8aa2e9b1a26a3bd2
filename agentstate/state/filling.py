"""Seeding: the columns are written again from the newest snapshot."""

from __future__ import annotations

from django.db.backends.utils import CursorWrapper

from agentstate.state.homes import CLOCK, COLUMNS_AS_STATE, NEWEST, NO_COLUMNS, PROJECTS, set_columns
from agentstate.state.legacy_snapshot import Written, events_written, run_id, snapshot_events, take_in
from agentstate.state.replay import state_at
from agentstate.state.restoring import restore
from agentstate.state.standing import STANDING

# What the columns hold must be kept before it is overwritten; nothing needs no keeping, be it that somebody emptied
# them behind the trigger's back or that they were dropped. It is kept, if a run holds just that for that clock; it can
# be, if nothing else stands at that clock, in a run or in the events of one that has saved again. Where other content
# does, or the clocks run backwards, somebody went behind the trigger's back: restoring.py keeps and restores under new
# clock values.
CONTENT_IS_KEPT = f"""{NO_COLUMNS} OR EXISTS (
        SELECT FROM "AgentWorkflowRun" run
        WHERE run.project_id = p.id AND run.snapshot_at = {CLOCK} AND run.result -> 'state' = {COLUMNS_AS_STATE})"""
_TAKEN = f"""EXISTS (SELECT FROM "AgentWorkflowRun" run WHERE run.id = {run_id("p.id", CLOCK)})
        OR EXISTS (SELECT FROM {state_at(CLOCK)} past WHERE past.at = {CLOCK} AND past.state <> {COLUMNS_AS_STATE})"""

_AHEAD = f"""
    WITH ahead AS MATERIALIZED (
        SELECT *, newest_at > clock AND (held OR NOT taken) AS fills FROM (
            SELECT p.id AS project_id, {CLOCK} AS clock, newest.id AS run_id, newest.snapshot_at AS newest_at,
                   newest.result -> 'state' AS state, {COLUMNS_AS_STATE} AS legacy, content.held,
                   CASE WHEN NOT content.held THEN {_TAKEN} END AS taken
            FROM {PROJECTS} p {NEWEST} CROSS JOIN LATERAL (SELECT {CONTENT_IS_KEPT} AS held OFFSET 0) content
            WHERE p.id = ANY (%(found)s) AND ({STANDING}) = 'agentkit_ahead'
        ) looked_at
    )"""


def fill_columns(cursor: CursorWrapper, locked: list[str]) -> Written:
    """Seed the columns of those of the locked projects that are AgentKit ahead; their three clocks end equal."""
    cursor.execute(
        f"""
        {_AHEAD},
        {take_in("kept", "ahead WHERE fills AND NOT held", at="clock", state="legacy")},
        filled AS (
            UPDATE "Project" p SET {set_columns("ahead.state")}, "stateUpdatedAt" = ahead.newest_at
            FROM ahead WHERE p.id = ahead.project_id AND {CLOCK} = ahead.clock AND ahead.fills
            RETURNING ahead.run_id
        ), in_sync AS (
            UPDATE "AgentWorkflowRun" run SET legacy_at = snapshot_at FROM filled WHERE run.id = filled.run_id
            RETURNING 1
        )
        SELECT (SELECT count(*) FROM in_sync), (SELECT count(*) FROM kept), (SELECT count(*) FROM kept_events),
               (SELECT coalesce(array_agg(project_id), '{{}}') FROM ahead WHERE NOT fills)
        """,
        {"found": locked},
    )
    written, runs, events, damaged = cursor.fetchone()
    if damaged:
        restored = restore(cursor, damaged)
        written, runs, events = written + restored.projects, runs + restored.runs, events + restored.events
    return Written(written, runs, events)


def preview_filling(cursor: CursorWrapper, found: list[str]) -> Written:
    """Count what filling the columns of these projects would write."""
    cursor.execute(
        f"""
        {_AHEAD}
        SELECT count(*),
            count(*) FILTER (WHERE NOT held) + count(*) FILTER (WHERE NOT fills),
            coalesce(sum(kept.count) FILTER (WHERE NOT held), 0)::bigint + count(*) FILTER (WHERE NOT fills),
            coalesce(sum(pg_column_size(state)), 0)::bigint
                + coalesce(sum(pg_column_size(legacy) + kept.size) FILTER (WHERE NOT held), 0)::bigint
        FROM ahead CROSS JOIN LATERAL {events_written(snapshot_events("ahead.legacy"))} kept
        """,
        {"found": found},
    )
    return Written(*cursor.fetchone())
