"""Which runs may be pruned, in SQL.

A run that carries state may go only if no moment that stays needs it. These moments stay, the earliest is a project's
*horizon*:

- the cutoff, and everything since;
- while the legacy columns exist, the time at which the first project got ``agentkit_writes``: the rollout counts the
  writes that bypassed agentstate since then;
- the newest snapshot's ``legacy_at`` where it is not in sync: the base of a fork;
- the first save of the first run that carries state and does not go.

The newest snapshot until the horizon is the *anchor*: replay of every later moment begins there or later. Runs that
carry state go if they saved nothing since the anchor. So the history that is left has no gap.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from agentstate.gates import AGENTKIT_WRITES
from agentstate.retention.options import PruneOptions
from agentstate.rollout.flag_history import FlagHistory
from agentstate.state.columns import legacy_columns_are_there

# Old enough, finished, and not among those to keep. A run of a deleted project is not counted by --keep-last.
_SELECTED = """(
    run.status IN ('succeeded', 'failed', 'canceled') AND run.completed_at < %(before)s
    AND (%(workflow)s::text IS NULL OR run.workflow_id = %(workflow)s)
    AND (%(keep_last)s = 0 OR run.project_id IS NULL OR (
        SELECT count(*) FROM (
            SELECT FROM "AgentWorkflowRun" newer
            WHERE newer.project_id = run.project_id AND newer.workflow_id = run.workflow_id
              AND (newer.started_at, newer.id) > (run.started_at, run.id)
            LIMIT %(keep_last)s
        ) newest
    ) >= %(keep_last)s))"""

_FIRST_SAVE = """least(run.snapshot_at, (
    SELECT min(created_at) FROM "AgentWorkflowRunEvent" WHERE run_id = run.id AND type = 'state.changed'))"""

# One row for each project of the given runs. OFFSET 0 is an optimization fence.
_ANCHORS = f"""
    SELECT project.id AS project_id, coalesce((
        SELECT max(snapshot_at) FROM "AgentWorkflowRun" run WHERE run.project_id = project.id
          AND run.snapshot_at <= least(
            %(before)s, %(counted_since)s::timestamptz,
            CASE WHEN newest.legacy_at <> newest.snapshot_at THEN newest.legacy_at END,
            (SELECT min({_FIRST_SAVE}) FROM "AgentWorkflowRun" run
             WHERE run.project_id = project.id AND run.snapshot_at IS NOT NULL AND NOT {_SELECTED})
          )
    ), '-infinity') AS at
    FROM (
        SELECT DISTINCT project_id AS id FROM "AgentWorkflowRun"
        WHERE id = ANY (%(runs)s::text[]) AND project_id IS NOT NULL OFFSET 0
    ) project
    LEFT JOIN LATERAL (
        SELECT snapshot_at, legacy_at FROM "AgentWorkflowRun" run
        WHERE run.project_id = project.id AND snapshot_at IS NOT NULL ORDER BY snapshot_at DESC LIMIT 1
    ) newest ON true"""

# Runs of the given ids that may go. Without a project nothing can need them.
PRUNABLE = f"""
    SELECT run.id FROM "AgentWorkflowRun" run LEFT JOIN ({_ANCHORS}) anchor ON anchor.project_id = run.project_id
    WHERE run.id = ANY (%(runs)s::text[]) AND {_SELECTED} AND (
        run.project_id IS NULL
        OR coalesce(run.snapshot_at < anchor.at, true) AND NOT EXISTS (
            SELECT FROM "AgentWorkflowRunEvent" event
            WHERE event.run_id = run.id AND event.type = 'state.changed' AND event.created_at >= anchor.at)
    )"""

# In place of the events that went from a run that stays: ``{"events": how many}``.
MARKER = "run.pruned"

# The events of a run that go while the run stays. Replay needs state.changed, and verification compares the events of
# a legacy snapshot with its content.
PRUNABLE_EVENTS = f"event.type NOT IN ('state.changed', '{MARKER}')"
WITH_PRUNABLE_EVENTS = f"""
    SELECT run.id FROM "AgentWorkflowRun" run
    WHERE run.id = ANY (%(runs)s::text[]) AND {_SELECTED} AND run.workflow_id <> 'legacy_snapshot'
      AND EXISTS (SELECT FROM "AgentWorkflowRunEvent" event WHERE event.run_id = run.id AND {PRUNABLE_EVENTS})"""

# The oldest first: an interrupted pruning leaves the newest part of the history whole.
CANDIDATES = """
    SELECT id FROM "AgentWorkflowRun"
    WHERE status IN ('succeeded', 'failed', 'canceled') AND completed_at < %(before)s
      AND (%(workflow)s::text IS NULL OR workflow_id = %(workflow)s)
    ORDER BY completed_at, id"""


def parameters_of(options: PruneOptions) -> dict[str, Any]:
    """Return the parameters of this module's queries but for ``runs``."""
    return {
        "before": options.before,
        "workflow": options.workflow,
        "keep_last": options.keep_last,
        "counted_since": _counted_since(),
    }


def _counted_since() -> datetime | None:
    """Return since when the rollout counts bypassing writes, None where it counts none."""
    if not legacy_columns_are_there():
        return None
    return FlagHistory.load().reached(AGENTKIT_WRITES).earliest
