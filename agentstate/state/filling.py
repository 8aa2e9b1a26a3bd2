"""Filling the columns: they are written from the newest snapshot."""

from __future__ import annotations

from django.db.backends.utils import CursorWrapper

from agentstate.state.effects import is_written
from agentstate.state.homes import CLOCK, COLUMNS_AS_STATE, NEWEST, NO_COLUMNS, PROJECTS, is_usable, set_columns
from agentstate.state.legacy_snapshot import Written, events_written, run_id, snapshot_events, take_in
from agentstate.state.replay import state_at
from agentstate.state.restoring import restore
from agentstate.state.standing import STANDING

# Back up what the columns hold before overwriting it. Empty or dropped columns need no backup, nor does content that a
# run holds for that clock. It can be kept at its clock if no other content is there, in a run or in the events of one
# that has saved again. If other content is there, or the clocks run backwards, a write bypassed the trigger:
# restoring.py keeps and restores under new clock values.
CONTENT_IS_KEPT = f"""{NO_COLUMNS} OR EXISTS (
        SELECT FROM "AgentWorkflowRun" run
        WHERE run.project_id = p.id AND run.snapshot_at = {CLOCK} AND run.result -> 'state' = {COLUMNS_AS_STATE}
        OFFSET 0)"""
_IS_TAKEN = f"""EXISTS (SELECT FROM "AgentWorkflowRun" run WHERE run.id = {run_id("p.id", CLOCK)} OFFSET 0)
        OR EXISTS (SELECT FROM {state_at(CLOCK)} past WHERE past.at = {CLOCK} AND past.state <> {COLUMNS_AS_STATE})"""

_AHEAD = f"""
    WITH ahead AS MATERIALIZED (
        SELECT *, usable AND newest_at > clock AND (is_kept OR NOT is_taken) AS fills FROM (
            SELECT p.id AS project_id, {CLOCK} AS clock, newest.id AS run_id, newest.snapshot_at AS newest_at,
                   {is_usable(CLOCK)} AND {is_usable("newest.snapshot_at")} AS usable,
                   newest.result -> 'state' AS state, {COLUMNS_AS_STATE} AS legacy, content.is_kept,
                   CASE WHEN NOT content.is_kept THEN {_IS_TAKEN} END AS is_taken
            FROM {PROJECTS} p {NEWEST} CROSS JOIN LATERAL (SELECT {CONTENT_IS_KEPT} AS is_kept OFFSET 0) content
            WHERE p.id = ANY (%(projects)s) AND ({STANDING}) = 'agentkit_ahead'
        ) judged
    )"""

FILL = f"""
    {_AHEAD},
    {take_in("kept", "ahead WHERE fills AND NOT is_kept", at="clock", state="legacy")},
    filled AS (
        UPDATE "Project" p SET {set_columns("ahead.state")}, "stateUpdatedAt" = ahead.newest_at
        FROM ahead WHERE p.id = ahead.project_id AND {CLOCK} = ahead.clock AND ahead.fills
        RETURNING ahead.run_id, {is_written("ahead.newest_at", "ahead.state")} AS is_written
    ), in_sync AS (
        UPDATE "AgentWorkflowRun" run SET legacy_at = snapshot_at FROM filled
        WHERE run.id = filled.run_id AND filled.is_written RETURNING run.id
    )
    SELECT (SELECT count(*) FROM in_sync), (SELECT count(*) FROM kept), (SELECT count(*) FROM kept_events),
           (SELECT coalesce(array_agg(project_id), '{{}}') FROM ahead WHERE usable AND NOT fills),
           (SELECT coalesce(array_agg(project_id), '{{}}') FROM ahead WHERE NOT usable),
           (SELECT coalesce(array_agg(project_id), '{{}}') FROM ahead
            WHERE fills AND run_id NOT IN (SELECT id FROM in_sync))"""


def fill_columns(cursor: CursorWrapper, locked: list[str]) -> Written:
    """Fill the columns of those of the locked projects that are AgentKit ahead; their three clocks end equal."""
    cursor.execute(FILL, {"projects": locked})
    projects, runs, events, damaged, unusable, refused = cursor.fetchone()
    written = Written(projects, runs, events, unusable=unusable, refused=refused)
    return written + restore(cursor, damaged) if damaged else written


def preview_filling(cursor: CursorWrapper, projects: list[str]) -> Written:
    """Count what filling the columns of these projects would write."""
    cursor.execute(
        f"""
        {_AHEAD}
        SELECT count(*),
            count(*) FILTER (WHERE NOT is_kept) + count(*) FILTER (WHERE NOT fills),
            coalesce(sum(kept.count) FILTER (WHERE NOT is_kept), 0)::bigint + count(*) FILTER (WHERE NOT fills),
            coalesce(sum(pg_column_size(state)), 0)::bigint
                + coalesce(sum(pg_column_size(legacy) + kept.size) FILTER (WHERE NOT is_kept), 0)::bigint,
            (SELECT coalesce(array_agg(project_id), '{{}}') FROM ahead WHERE NOT usable)
        FROM ahead CROSS JOIN LATERAL {events_written(snapshot_events("ahead.legacy"))} kept WHERE usable
        """,
        {"projects": projects},
    )
    return Written(*cursor.fetchone())
