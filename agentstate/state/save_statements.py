"""The statements of a save. In the usual case two rounds send them all: lock and look, then write."""

from __future__ import annotations

from functools import cache

from agentstate.rounds import Statement
from agentstate.state.effects import is_written
from agentstate.state.homes import ALL_KEYS, CLOCK, COLUMNS_AS_STATE, NEWEST, PROJECTS, is_usable, next_clock
from agentstate.state.keys import STATE_KEYS
from agentstate.state.legacy_snapshot import clock_to_keep, take_in
from agentstate.state.live_events import LIVE_EVENTS, NEW_ID
from agentstate.state.standing import STANDING

_COLUMNS = {key.name: key.column for key in STATE_KEYS}

LOCK_PROJECT = Statement('SELECT FROM "Project" WHERE id = %(project)s FOR NO KEY UPDATE')
LOCK_RUN = Statement("""
    SELECT project_id::text, status::text FROM "AgentWorkflowRun" WHERE id = %(run)s FOR NO KEY UPDATE""")


def _look(state: str) -> Statement:
    return Statement(f"""
    SELECT standing, has_columns, usable,
        (SELECT array_agg(key) FROM unnest(%(keys)s::text[]) key WHERE state -> key IS DISTINCT FROM documents -> key),
        newest_run, {next_clock("clock", "newest_at", "last_event_at")}
    FROM (
        SELECT {STANDING} AS standing, p.has_columns,
            {is_usable(CLOCK)} AND ({is_usable("newest.snapshot_at")}) IS NOT FALSE AS usable,
            {CLOCK} AS clock, newest.id::text AS newest_run, newest.snapshot_at AS newest_at, {state} AS state,
            (SELECT max(created_at) FROM "AgentWorkflowRunEvent" WHERE run_id = %(run)s) AS last_event_at
        FROM {PROJECTS} p {NEWEST} WHERE p.id = %(project)s OFFSET 0
    ) present
    CROSS JOIN (SELECT %(given)s::jsonb AS documents OFFSET 0) given""")


# The project's standing, which of the given keys have other documents than the home that is written, and the clock
# value of the save. With both homes written, the snapshot is compared.
LOOK_AT_SNAPSHOT = _look("newest.result -> 'state'")
LOOK_AT_COLUMNS = _look(COLUMNS_AS_STATE)

READ_STANDING = f"SELECT {STANDING} FROM {PROJECTS} p {NEWEST} WHERE p.id = %s"

# A forward pass, which locks no project, may write just this snapshot at the same time.
TAKE_IN_COLUMNS = f"""
    WITH columns AS MATERIALIZED (
        SELECT project_id, clock, state, {clock_to_keep("judged.project_id", "clock", "newest_at")} AS at FROM (
            SELECT p.id AS project_id, {CLOCK} AS clock, {COLUMNS_AS_STATE} AS state, newest.snapshot_at AS newest_at
            FROM {PROJECTS} p {NEWEST} WHERE p.id = %s AND ({STANDING}) IN ('empty', 'legacy_ahead')
        ) judged
    ), {take_in("kept", "columns", may_exist=True)},
    clock AS (
        UPDATE "Project" p SET "stateUpdatedAt" = columns.at FROM columns
        WHERE p.id = columns.project_id AND columns.at <> columns.clock
        RETURNING {is_written("columns.at", "columns.state", (), untouched=ALL_KEYS)} AS is_written
    )
    SELECT EXISTS (SELECT FROM kept),
           coalesce((SELECT at = clock FROM columns), true) OR coalesce((SELECT is_written FROM clock), false)"""

_STATE = "jsonb_build_object('state', newest.state - %(keys)s::text[] || given.state)"
_LEGACY_AT = "CASE WHEN %(in_sync)s::boolean THEN %(at)s::timestamptz ELSE newest.legacy_at END"
_INSERT_RUN = f"""
        INSERT INTO "AgentWorkflowRun" (id, workflow_id, project_id, status, input, result, started_at, completed_at,
                                        snapshot_at, legacy_at)
        SELECT %(run)s, 'direct_write', %(project)s, 'succeeded', '{{"source": "direct_write"}}', {_STATE},
               %(at)s::timestamptz, %(at)s::timestamptz, %(at)s::timestamptz, {_LEGACY_AT}
        FROM newest CROSS JOIN given RETURNING 1"""
_UPDATE_RUN = f"""
        UPDATE "AgentWorkflowRun" run SET snapshot_at = %(at)s::timestamptz, legacy_at = {_LEGACY_AT},
            result = CASE jsonb_typeof(run.result) WHEN 'object' THEN run.result ELSE '{{}}' END || {_STATE}
        FROM newest CROSS JOIN given WHERE run.id = %(run)s RETURNING 1"""


def _write_snapshot(run: str) -> Statement:
    """Return the statement that writes the newest snapshot's state with the changes, and the events of the save.

    Its parts see the rows as they were before it, also where the run's snapshot is the newest one.
    """
    return Statement(f"""
    WITH given AS MATERIALIZED (SELECT %(given)s::jsonb AS state),
    newest AS MATERIALIZED (
        SELECT legacy_at, result -> 'state' AS state FROM "AgentWorkflowRun" WHERE id = %(newest)s
    ), changed AS MATERIALIZED (
        SELECT key, given.state -> key AS after, newest.state -> key AS before
        FROM unnest(%(keys)s::text[]) key CROSS JOIN given CROSS JOIN newest
    ), events AS ({LIVE_EVENTS}
    ), snapshot AS ({run}
    ), written AS (
        INSERT INTO "AgentWorkflowRunEvent" (id, run_id, type, payload, created_at, parent_id)
        SELECT {NEW_ID}, %(run)s, type, payload, %(at)s::timestamptz
               + (row_number() OVER (ORDER BY part, position) - 1) * interval '1 microsecond', %(parent)s
        FROM events RETURNING 1
    )
    SELECT EXISTS (SELECT FROM snapshot) AND EXISTS (SELECT FROM written)""")


WRITE_NEW_RUN = _write_snapshot(_INSERT_RUN)
WRITE_GIVEN_RUN = _write_snapshot(_UPDATE_RUN)


@cache
def update_columns(keys: tuple[str, ...], *, in_sync: bool) -> Statement:
    """Return the statement that writes documents and the clock into the columns, and whether they are there then.

    Where the snapshot was written too, the other columns must be as it says.
    """
    columns = ", ".join(f"\"{_COLUMNS[key]}\" = given.state -> '{key}'" for key in keys)
    snapshot = """(SELECT result -> 'state' FROM "AgentWorkflowRun" WHERE id = %(run)s)"""
    others = tuple(key for key in ALL_KEYS if key not in keys)
    written = (
        is_written("%(at)s", snapshot, keys, untouched=others)
        if in_sync
        else is_written("%(at)s", "given.state", keys)
    )
    return Statement(f"""
    UPDATE "Project" p SET {columns}, "stateUpdatedAt" = %(at)s
    FROM (SELECT %(given)s::jsonb AS state OFFSET 0) given WHERE p.id = %(project)s
    RETURNING {written}""")
