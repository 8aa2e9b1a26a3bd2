"""Merging: a project whose homes both moved is looked at under its lock, and so are columns that look wrong.

Forked projects are merged by key. A legacy change that looks older than the newest snapshot, because the server's
clock was set back, gets a new clock value in both homes. With a preferred home, clashes, unequal and emptied projects
are settled too.
"""

from __future__ import annotations

from typing import NamedTuple

from django.db.backends.utils import CursorWrapper

from agentstate.state.homes import CLOCK, COLUMNS_AS_STATE, NEWEST, PROJECTS, microseconds, next_clock
from agentstate.state.keys import STATE_KEYS
from agentstate.state.legacy_snapshot import events_written, free_clock, record, snapshot_events, take_in
from agentstate.state.replay import state_at
from agentstate.state.standing import DIFFERENT, EMPTIED, STANDING

# A legacy-ahead project whose columns can be taken in as they are, at their clock. What is legacy ahead otherwise,
# emptied or older than the newest snapshot, needs a look under a lock.
CAN_TAKE_IN = f"""(p.has_columns AND ({STANDING}) = 'legacy_ahead'
    AND (newest.snapshot_at IS NULL OR {CLOCK} > newest.snapshot_at)
    AND NOT (%(prefer)s::text IS DISTINCT FROM 'legacy' AND {EMPTIED}))"""

# Reading all documents to find unequal projects is only worth it where a person named a home.
NEEDS_SETTLING = f"""(p.has_columns AND CASE {STANDING}
        WHEN 'forked' THEN true
        WHEN 'legacy_ahead' THEN NOT {CAN_TAKE_IN}
        WHEN 'in_sync' THEN %(prefer)s::text IS NOT NULL AND {DIFFERENT}
        ELSE false
    END)"""

_KEYS = ", ".join(f"('{key.name}', {ordinal})" for ordinal, key in enumerate(STATE_KEYS))

# Each locked project with both homes' states and their common base. There is no base to merge an emptied or an unequal
# project by: there every key that differs is a clash.
_HOMES = f"""
    SELECT p.id AS project_id, {CLOCK} AS clock, newest.snapshot_at AS newest_at, {STANDING} AS standing,
           {EMPTIED} AS emptied, newest.result -> 'state' AS agentkit, {COLUMNS_AS_STATE} AS legacy,
           CASE WHEN ({STANDING}) = 'forked' AND NOT {EMPTIED} THEN base.state END AS base
    FROM {PROJECTS} p {NEWEST}
    LEFT JOIN LATERAL {state_at("newest.legacy_at")} base ON base.at = newest.legacy_at
    WHERE p.id = ANY (%(found)s) AND {NEEDS_SETTLING}"""

# A key that only one home changed since the base is taken from that home; one that both changed differently clashes.
_KEYED = f"""
    SELECT project_id, key, position, legacy -> key AS legacy, agentkit -> key AS agentkit,
        legacy -> key IS DISTINCT FROM agentkit -> key
            AND (base IS NULL OR (legacy -> key IS DISTINCT FROM base -> key
                                  AND agentkit -> key IS DISTINCT FROM base -> key)) AS clashes,
        base IS NOT NULL AND legacy -> key IS DISTINCT FROM base -> key AS legacy_changed
    FROM homes CROSS JOIN (VALUES {_KEYS}) keys (key, position)"""

_MERGED = """
    SELECT project_id,
        coalesce(jsonb_object_agg(key, document) FILTER (WHERE document IS NOT NULL), '{}') AS merged,
        coalesce(jsonb_agg(key ORDER BY position) FILTER (WHERE clashes), '[]') AS clashes,
        coalesce(jsonb_agg(key ORDER BY position) FILTER (WHERE legacy_changed AND NOT clashes), '[]') AS from_legacy
    FROM (
        SELECT *, CASE WHEN CASE WHEN clashes THEN %(prefer)s = 'legacy' ELSE legacy_changed END
                       THEN legacy ELSE agentkit END AS document
        FROM keyed
    ) chosen
    GROUP BY project_id"""

# The columns are kept at their clock, or at a new one where a snapshot stands at or after theirs. Where the columns
# win as they are, that is all; otherwise the merged state becomes a snapshot of its own, later than what it merged.
_SETTLED = f"""
    SELECT *, {next_clock("kept_at", "newest_at")} AS merged_at FROM (
        SELECT homes.*, merged, clashes, from_legacy,
            standing = 'forked'
                OR (coalesce(%(prefer)s::text = 'agentkit', false) AND (standing = 'in_sync' OR emptied)) AS merges,
            {free_clock("homes.project_id", "clock", "newest_at")} AS kept_at
        FROM homes JOIN merged USING (project_id)
        WHERE %(prefer)s::text IS NOT NULL OR (NOT emptied AND (standing <> 'forked' OR clashes = '[]'))
    ) kept"""

_DECIDE = f"""
    WITH homes AS MATERIALIZED ({_HOMES}), keyed AS ({_KEYED}), merged AS ({_MERGED}),
    settled AS MATERIALIZED ({_SETTLED})"""

# The projects that stay forked, and the emptied ones that nobody decided about.
_LEFT = """
    (SELECT coalesce(array_agg(project_id), '{}') FROM homes
     WHERE standing = 'forked' AND project_id NOT IN (SELECT project_id FROM settled)),
    (SELECT coalesce(array_agg(project_id), '{}') FROM homes WHERE emptied AND %(prefer)s::text IS NULL)"""

# What the merged run says of itself: which keys were merged, and which a person's choice of a home settled.
_MERGE_EVENTS = """(
    SELECT 1 AS ordinal, 'fork.merged' AS type, jsonb_build_object('keys', from_legacy, 'from', 'legacy') AS payload
    WHERE standing = 'forked'
    UNION ALL
    SELECT CASE standing WHEN 'forked' THEN 2 ELSE 1 END, 'fork.settled',
        jsonb_build_object('keys', clashes, 'from', %(prefer)s::text)
    WHERE clashes <> '[]'
)"""
_MERGE = record(
    "merges",
    "legacy_merge",
    "settled WHERE merges",
    run=f"'merge_' || project_id || '_' || {microseconds('merged_at')}",
    at="merged_at",
    legacy_at="kept_at",
    state="merged",
    events=_MERGE_EVENTS,
)


class Settled(NamedTuple):
    """What settling wrote, or would write.

    ``kept`` counts legacy snapshots, one for each project that was settled, ``merges`` the merged runs among them,
    ``size`` the bytes of jsonb before compression (previews only). ``forked`` names projects that stay forked,
    ``emptied`` those whose columns all became SQL NULL and that nobody decided about.
    """

    kept: int
    merges: int
    events: int
    size: int
    forked: list[str]
    emptied: list[str]


def settle(cursor: CursorWrapper, locked: list[str], prefer: str | None) -> Settled:
    """Settle those of the locked projects that need it and can be.

    Args:
        prefer: the home, ``legacy`` or ``agentkit``, that a clash is settled with; None leaves clashes forked.
    """
    cursor.execute(
        f"""
        {_DECIDE},
        {take_in("kept", "settled", at="kept_at", state="legacy")},
        {_MERGE},
        clocks AS (
            UPDATE "Project" p SET "stateUpdatedAt" = settled.kept_at FROM settled
            WHERE p.id = settled.project_id AND settled.kept_at <> settled.clock
        )
        SELECT (SELECT count(*) FROM kept), (SELECT count(*) FROM merges),
               (SELECT count(*) FROM kept_events) + (SELECT count(*) FROM merges_events), 0, {_LEFT}
        """,
        {"found": locked, "prefer": prefer},
    )
    return Settled(*cursor.fetchone())


def preview_settling(cursor: CursorWrapper, found: list[str], prefer: str | None) -> Settled:
    """Count what settling these projects would write."""
    cursor.execute(
        f"""
        {_DECIDE}
        SELECT count(*), count(*) FILTER (WHERE merges),
            coalesce(sum(kept.count), 0)::bigint
                + coalesce(sum((SELECT count(*) FROM {_MERGE_EVENTS} event)) FILTER (WHERE merges), 0)::bigint,
            coalesce(sum(pg_column_size(legacy) + kept.size), 0)::bigint
                + coalesce(sum(pg_column_size(merged)) FILTER (WHERE merges), 0)::bigint,
            {_LEFT}
        FROM settled CROSS JOIN LATERAL {events_written(snapshot_events("settled.legacy"))} kept
        """,
        {"found": found, "prefer": prefer},
    )
    return Settled(*cursor.fetchone())
