"""A project's state as it was: the newest snapshot until then, and what changed since it."""

from __future__ import annotations


def state_at(moment: str) -> str:
    """Return a subquery of project ``p``'s state at a moment: ``(run_id, state, at)``, no row where there is none.

    ``at`` is when that state was saved. A run that has saved again carries its later snapshot only; the documents that
    it saved before stand in its ``state.changed`` events, each at its save's clock value.
    """
    return f"""(
        SELECT anchor.id AS run_id, anchor.result -> 'state' || coalesce(changed.documents, '{{}}') AS state,
               greatest(anchor.snapshot_at, changed.at) AS at
        FROM (
            SELECT run.id, run.result, run.snapshot_at FROM "AgentWorkflowRun" run
            WHERE run.project_id = p.id AND run.snapshot_at <= {moment}
            ORDER BY run.snapshot_at DESC LIMIT 1
        ) anchor
        CROSS JOIN LATERAL (
            SELECT jsonb_object_agg(key, document) AS documents, max(created_at) AS at FROM (
                SELECT DISTINCT ON (document.key) document.key, document.value AS document, event.created_at
                FROM "AgentWorkflowRun" run
                JOIN "AgentWorkflowRunEvent" event ON event.run_id = run.id
                CROSS JOIN LATERAL jsonb_each(event.payload) document
                WHERE run.project_id = p.id AND event.type = 'state.changed'
                  AND event.created_at > anchor.snapshot_at AND event.created_at <= {moment}
                ORDER BY document.key, event.created_at DESC
            ) newest_documents
        ) changed
    )"""
