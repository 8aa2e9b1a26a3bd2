"""Merging forks, and taking in columns that need a look under the project's lock.

Forked projects are merged by key. A legacy change that looks older than the newest snapshot, because the server's
clock was set back, gets a new clock value in both homes. With a preferred home, clashes, unequal and emptied projects
are settled too.
"""

from __future__ import annotations

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
)
from agentstate.state.keys import STATE_KEYS
from agentstate.state.legacy_snapshot import clock_to_keep, events_written, insert_runs, snapshot_events, take_in
from agentstate.state.replay import state_at
from agentstate.state.standing import DIFFERENT, EMPTIED, STANDING

# The columns of a legacy-ahead project can be taken in without a lock, at their clock.
_AT_THEIR_CLOCK = f"""({is_usable(CLOCK)} AND (newest.snapshot_at IS NULL OR {CLOCK} > newest.snapshot_at)
    AND NOT (%(prefer)s::text IS DISTINCT FROM 'legacy' AND {EMPTIED}))"""
CAN_TAKE_IN = f"(p.has_columns AND ({STANDING}) = 'legacy_ahead' AND {_AT_THEIR_CLOCK})"


def _needs_settling(standing: str) -> str:
    # Reading all documents to find unequal projects is only worth it if an operator named a home.
    return f"""(p.has_columns AND CASE {standing}
        WHEN 'forked' THEN true
        WHEN 'legacy_ahead' THEN NOT {_AT_THEIR_CLOCK}
        WHEN 'in_sync' THEN %(prefer)s::text IS NOT NULL AND {DIFFERENT}
        ELSE false
    END)"""


NEEDS_SETTLING = _needs_settling(STANDING)

_KEYS = ", ".join(f"('{key.name}', {ordinal})" for ordinal, key in enumerate(STATE_KEYS))

_STANDINGS = f"""
    SELECT p.id AS project_id, {STANDING} AS standing FROM {PROJECTS} p {NEWEST} WHERE p.id = ANY (%(projects)s)"""

# Each locked project with both homes' states and their common base. An emptied or an unequal project has no base to be
# merged by: there every key that differs is a clash. No clock can follow one that is not usable.
_HOMES = f"""
    SELECT p.id AS project_id, {CLOCK} AS clock, newest.snapshot_at AS newest_at, standing, {EMPTIED} AS emptied,
           {is_usable(CLOCK)} AND ({is_usable("newest.snapshot_at")}) IS NOT FALSE AS usable,
           newest.result -> 'state' AS agentkit, {COLUMNS_AS_STATE} AS legacy,
           CASE WHEN standing = 'forked' AND NOT {EMPTIED} THEN base.state END AS base
    FROM standings JOIN {PROJECTS} p ON p.id = standings.project_id {NEWEST}
    LEFT JOIN LATERAL {state_at("newest.legacy_at")} base ON base.at = newest.legacy_at
    WHERE {_needs_settling("standing")}"""

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


def _merge_id(at: str, project: str = "project_id") -> str:
    return f"'merge_' || {project} || '_' || {microseconds(at)}"


_MERGED_AT = free_clock(next_clock("kept_at", "newest_at"), lambda at: _merge_id(at, "kept.project_id"))


# The columns are kept at their clock, or at a new one if a snapshot is at or after theirs. If the columns win as they
# are, that is all; otherwise the merged state becomes a snapshot of its own, later than what it merged.
_SETTLED = f"""
    SELECT *, {_MERGED_AT} AS merged_at FROM (
        SELECT homes.*, merged, clashes, from_legacy,
            standing = 'forked'
                OR (coalesce(%(prefer)s::text = 'agentkit', false) AND (standing = 'in_sync' OR emptied)) AS merges,
            {clock_to_keep("homes.project_id", "clock", "newest_at")} AS kept_at
        FROM homes JOIN merged USING (project_id)
        WHERE usable
          AND (%(prefer)s::text IS NOT NULL OR (NOT emptied AND (standing <> 'forked' OR clashes = '[]')))
        OFFSET 0
    ) kept"""

_DECIDE = f"""
    WITH standings AS MATERIALIZED ({_STANDINGS}), homes AS MATERIALIZED ({_HOMES}), keyed AS ({_KEYED}),
    merged AS ({_MERGED}), settled AS MATERIALIZED ({_SETTLED})"""

# The projects that stay forked, the emptied ones without an operator's decision, and those with an unusable clock.
_LEFT = """
    (SELECT coalesce(array_agg(project_id), '{}') FROM homes
     WHERE usable AND standing = 'forked' AND project_id NOT IN (SELECT project_id FROM settled)),
    (SELECT coalesce(array_agg(project_id), '{}') FROM homes WHERE usable AND emptied AND %(prefer)s::text IS NULL),
    (SELECT coalesce(array_agg(project_id), '{}') FROM homes WHERE NOT usable)"""

# What the merged run says of itself: which keys were merged, and which an operator's choice of a home settled.
_MERGE_EVENTS = """(
    SELECT 1 AS ordinal, 'fork.merged' AS type, jsonb_build_object('keys', from_legacy, 'from', 'legacy') AS payload
    WHERE standing = 'forked'
    UNION ALL
    SELECT CASE standing WHEN 'forked' THEN 2 ELSE 1 END, 'fork.settled',
        jsonb_build_object('keys', clashes, 'from', %(prefer)s::text)
    WHERE clashes <> '[]'
)"""

_INSERT_MERGES = insert_runs(
    "merges",
    "legacy_merge",
    "settled WHERE merges",
    run=_merge_id("merged_at"),
    at="merged_at",
    legacy_at="kept_at",
    state="merged",
    events=_MERGE_EVENTS,
)

SETTLE = f"""
    {_DECIDE},
    {take_in("kept", "settled", at="kept_at", state="legacy")},
    {_INSERT_MERGES},
    clocks AS (
        UPDATE "Project" p SET "stateUpdatedAt" = settled.kept_at FROM settled
        WHERE p.id = settled.project_id AND settled.kept_at <> settled.clock
        RETURNING settled.project_id,
            {is_written("settled.kept_at", "settled.legacy", (), untouched=ALL_KEYS)} AS is_written
    )
    SELECT (SELECT count(*) FROM kept), (SELECT count(*) FROM merges),
           (SELECT count(*) FROM kept_events) + (SELECT count(*) FROM merges_events), 0, {_LEFT},
           (SELECT coalesce(array_agg(project_id), '{{}}') FROM settled
            WHERE kept_at <> clock AND project_id NOT IN (SELECT project_id FROM clocks WHERE is_written))"""


class Settled(NamedTuple):
    """What settling wrote, or would write.

    Attributes:
        kept: how many legacy snapshots, one for each project that was settled.
        merges: how many merged runs among them.
        size: the bytes of jsonb before compression, in previews only.
        forked: the projects that stay forked.
        emptied: those whose columns all became SQL NULL without an operator's decision.
        unusable: those with a clock that no other can follow, see :func:`homes.is_usable`.
        refused: those whose row in "Project" is not as it was written. The transaction must be rolled back.
    """

    kept: int
    merges: int
    events: int
    size: int
    forked: list[str]
    emptied: list[str]
    unusable: list[str]
    refused: list[str]


def settle(cursor: CursorWrapper, locked: list[str], prefer: str | None) -> Settled:
    """Settle those of the locked projects that need it and can be settled.

    Args:
        prefer: the home, ``legacy`` or ``agentkit``, that wins a clash; None leaves clashes forked.
    """
    cursor.execute(SETTLE, {"projects": locked, "prefer": prefer})
    return Settled(*cursor.fetchone())


def preview_settling(cursor: CursorWrapper, projects: list[str], prefer: str | None) -> Settled:
    """Count what settling these projects would write."""
    cursor.execute(
        f"""
        {_DECIDE}
        SELECT count(*), count(*) FILTER (WHERE merges),
            coalesce(sum(kept.count), 0)::bigint
                + coalesce(sum((SELECT count(*) FROM {_MERGE_EVENTS} event)) FILTER (WHERE merges), 0)::bigint,
            coalesce(sum(pg_column_size(legacy) + kept.size), 0)::bigint
                + coalesce(sum(pg_column_size(merged)) FILTER (WHERE merges), 0)::bigint,
            {_LEFT}, ARRAY[]::text[]
        FROM settled CROSS JOIN LATERAL {events_written(snapshot_events("settled.legacy"))} kept
        """,
        {"projects": projects, "prefer": prefer},
    )
    return Settled(*cursor.fetchone())


# As if an operator preferred a home: unequal and emptied projects are looked at, too.
_DIFFERING = f"""
    WITH standings AS MATERIALIZED ({_STANDINGS}), homes AS MATERIALIZED ({_HOMES}), keyed AS MATERIALIZED ({_KEYED})
    SELECT key, clashes, legacy_changed, octet_length(legacy::text), octet_length(agentkit::text)
    FROM keyed WHERE legacy IS DISTINCT FROM agentkit ORDER BY position"""


class DifferingKey(NamedTuple):
    """A state key whose documents differ between the homes of a project to settle.

    Attributes:
        clashes: both homes changed it, or there is no base that tells which did.
        legacy_changed: the columns changed it since the base.
        legacy_size, agentkit_size: the bytes of each home's JSON, None where it has no document.
    """

    key: str
    clashes: bool
    legacy_changed: bool
    legacy_size: int | None
    agentkit_size: int | None


def differing_keys(cursor: CursorWrapper, project: str) -> list[DifferingKey]:
    """Return where the homes of a forked, unequal or emptied project differ; nothing for any other project."""
    cursor.execute(_DIFFERING, {"projects": [project], "prefer": "agentkit"})
    return [DifferingKey(*row) for row in cursor.fetchall()]
