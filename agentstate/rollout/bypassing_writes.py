"""Bypassing writes: writes of the columns that bypass agentstate after ``agentkit_writes`` has reached the project.

From then on, every save by agentstate writes the AgentKit home too. Columns with a later clock than that home were
written by another program, or by an application process that had not yet seen the toggle. Such a write is *open* until
the next forward pass or save takes it in. The run of that pass or save shows the bypassing write afterwards.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from django.db import DEFAULT_DB_ALIAS, connections

from agentstate.gates import AGENTKIT_WRITES, BUCKET_IN_SQL, BUCKETS
from agentstate.rollout.flag_history import FlagHistory
from agentstate.state.acceptance import COLUMNS_ARE_GIVEN_UP
from agentstate.state.homes import CLOCK, NEWEST, PROJECTS
from agentstate.state.standing import STANDING, Standing

if TYPE_CHECKING:
    from datetime import datetime

    from agentstate.rollout.flag_history import Reached

LISTED = 100

# When agentkit_writes reached a row p of projects; NULL where it is off.
_REACHED = f"""
    CASE WHEN p.id = ANY (%(named)s::text[])
        THEN (SELECT reached.at FROM unnest(%(named)s::text[], %(named_at)s::timestamptz[]) reached (id, at)
              WHERE reached.id = p.id)
        ELSE (SELECT reached.at FROM unnest(%(firsts)s::int[], %(lasts)s::int[], %(ats)s::timestamptz[])
                  reached (first, last, at) WHERE {BUCKET_IN_SQL} BETWEEN first AND last)
    END"""
_REACHED_AT_ONCE = "%(earliest)s::timestamptz"

_OPEN = f"""
    SELECT p.id, {CLOCK} AS at, {STANDING} AS kind, NOT {COLUMNS_ARE_GIVEN_UP} AS is_open FROM {PROJECTS} p {NEWEST}
    WHERE {CLOCK} > %(earliest)s AND ({STANDING}) IN ('{Standing.LEGACY_AHEAD}', '{Standing.FORKED}')"""

# The runs that took columns in: the legacy snapshot at the columns' clock, or the merge of a fork. A merge follows the
# legacy snapshot at once, and the reverse pass changes its legacy_at, so the snapshot's clock is read. For both,
# started_at equals snapshot_at. Uses the index of the workflows.
_KEPT = """
    SELECT project_id AS id, workflow_id AS kind, result,
        CASE workflow_id WHEN 'legacy_merge' THEN (
            SELECT max(kept.snapshot_at) FROM "AgentWorkflowRun" kept
            WHERE kept.project_id = run.project_id AND kept.snapshot_at < run.snapshot_at
        ) ELSE snapshot_at END AS at
    FROM "AgentWorkflowRun" run
    WHERE left(workflow_id, 100) IN ('legacy_snapshot', 'legacy_merge') AND status = 'succeeded'
      AND num_nulls(snapshot_at) = 0 AND started_at > %(earliest)s AND project_id IS NOT NULL"""

# Columns that agentstate wrote itself are no bypassing write: the run that saved them has an event at their clock (see
# state/history.py). Empty columns that a project began with are none either. OFFSET 0 is an optimization fence: events
# are read for the few kept columns only.
_SAVED = """EXISTS (
    SELECT FROM (
        SELECT id FROM "AgentWorkflowRun" WHERE project_id = p.id AND snapshot_at >= p.at OFFSET 0
    ) run CROSS JOIN LATERAL (
        SELECT FROM "AgentWorkflowRunEvent"
        WHERE run_id = run.id AND created_at = p.at AND type = 'state.changed' OFFSET 0
    ) event)"""
_BEGAN = """
    CASE WHEN p.kind <> 'legacy_snapshot' OR EXISTS (
        SELECT FROM "AgentWorkflowRun" run WHERE run.project_id = p.id AND run.snapshot_at < p.at
    ) THEN false ELSE p.result -> 'state' = '{}' END"""


class BypassingWrite(NamedTuple):
    """A write that bypassed agentstate: its project, the columns' clock, and its kind.

    ``kind`` is ``legacy_ahead`` or ``forked`` while the write waits for a backfill. Afterwards it is the workflow of
    the run that took it in: ``legacy_snapshot`` or ``legacy_merge``.
    """

    project: str
    at: datetime
    kind: str


@dataclass(frozen=True)
class BypassingWriteCounts:
    """How many writes bypassed agentstate, how many still wait for a backfill, and when the newest was.

    Writes that the operator accepted as lost (see state/acceptance.py) are counted, but not open.
    """

    count: int = 0
    open: int = 0
    newest: datetime | None = None


def count_bypassing_writes(history: FlagHistory | None = None, using: str = DEFAULT_DB_ALIAS) -> BypassingWriteCounts:
    """Count the bypassing writes since ``agentkit_writes`` reached each project."""
    query, parameters = _query((history or FlagHistory.load()).reached(AGENTKIT_WRITES))
    if not query:
        return BypassingWriteCounts()
    with connections[using].cursor() as cursor:
        cursor.execute(
            f"""
            SELECT count(*), count(*) FILTER (WHERE is_open), max(at)
            FROM ({query}) bypassing
            """,
            parameters,
        )
        return BypassingWriteCounts(*cursor.fetchone())


def newest_bypassing_writes(
    limit: int = LISTED, history: FlagHistory | None = None, using: str = DEFAULT_DB_ALIAS
) -> list[BypassingWrite]:
    """Return the newest bypassing writes, the newest first."""
    query, parameters = _query((history or FlagHistory.load()).reached(AGENTKIT_WRITES))
    if not query:
        return []
    with connections[using].cursor() as cursor:
        cursor.execute(
            f"SELECT id, at, kind FROM ({query}) bypassing ORDER BY at DESC, id LIMIT %(limit)s",
            {**parameters, "limit": limit},
        )
        return [BypassingWrite(*row) for row in cursor.fetchall()]


def _query(reached: Reached) -> tuple[str, dict[str, Any]]:
    """Return the query of all bypassing writes with its parameters; empty where the gate has reached no project."""
    if reached.earliest is None:
        return "", {}
    at_once = not reached.named and [len(buckets) for buckets, _ in reached.ranges] == [BUCKETS]
    moment = _REACHED_AT_ONCE if at_once else _REACHED
    query = f"""
        SELECT p.id, p.at, p.kind, p.is_open FROM ({_OPEN} OFFSET 0) p WHERE p.at > {moment}
        UNION ALL
        SELECT *, false FROM (
            SELECT DISTINCT ON (p.id, p.at) p.id, p.at, p.kind FROM ({_KEPT} OFFSET 0) p
            WHERE p.at > {moment} AND NOT {_SAVED} AND NOT {_BEGAN}
            ORDER BY p.id, p.at, p.kind
        ) kept"""
    return query, {
        "earliest": reached.earliest,
        "named": list(reached.named),
        "named_at": list(reached.named.values()),
        "firsts": [buckets.start for buckets, _ in reached.ranges],
        "lasts": [buckets.stop - 1 for buckets, _ in reached.ranges],
        "ats": [moment for _, moment in reached.ranges],
    }
