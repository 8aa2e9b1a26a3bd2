"""Replay: rebuild a project's state at a moment."""

from __future__ import annotations


def state_at(moment: str) -> str:
    """Return a subquery of project ``p``'s state at a moment: ``(run_id, state, at)``, no row without a state.

    ``at`` is when the run ``run_id`` saved that state. The subquery takes the newest snapshot until the moment and
    applies the ``state.changed`` events since. They are needed because a run that saves again keeps only its last
    snapshot: its earlier saves are in its events, each at the clock value of the save. ``absent`` lists the
    documents that the save removed. If columns with such an earlier state were also kept at its clock value, the run
    that saved it is returned.

    Tolerates damaged events: one that is not an object is ignored, and so is ``absent`` if it is not an array.
    """
    return f"""(
        SELECT coalesce(changed.run_id, anchor.id) AS run_id,
               (anchor.result -> 'state') - coalesce(changed.keys, '{{}}') || coalesce(changed.documents, '{{}}')
                   AS state,
               greatest(anchor.snapshot_at, changed.at) AS at
        FROM (
            SELECT run.id, run.result, run.snapshot_at FROM "AgentWorkflowRun" run
            WHERE run.project_id = p.id AND run.snapshot_at <= {moment}
            ORDER BY run.snapshot_at DESC LIMIT 1
        ) anchor
        CROSS JOIN LATERAL (
            SELECT array_agg(key) AS keys, max(created_at) AS at,
                   (array_agg(run_id ORDER BY created_at DESC))[1] AS run_id,
                   jsonb_object_agg(key, document) FILTER (WHERE document IS NOT NULL) AS documents
            FROM (
                SELECT DISTINCT ON (document.key)
                    document.key, document.value AS document, event.created_at, event.run_id
                FROM "AgentWorkflowRun" run
                JOIN "AgentWorkflowRunEvent" event ON event.run_id = run.id
                CROSS JOIN LATERAL (
                    SELECT key, value FROM jsonb_each(
                        CASE jsonb_typeof(event.payload) WHEN 'object' THEN event.payload - 'absent' ELSE '{{}}' END)
                    UNION ALL
                    SELECT key, NULL FROM jsonb_array_elements_text(
                        CASE jsonb_typeof(event.payload -> 'absent') WHEN 'array' THEN event.payload -> 'absent'
                             ELSE '[]' END) key
                ) document
                WHERE run.project_id = p.id AND event.type = 'state.changed'
                  AND event.created_at >= anchor.snapshot_at AND event.created_at <= {moment}
                ORDER BY document.key, event.created_at DESC
            ) newest_documents
        ) changed
    )"""
