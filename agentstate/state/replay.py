"""A project's state as it was: the newest snapshot until then, and what changed since it."""

from __future__ import annotations


def state_at(moment: str) -> str:
    """Return a subquery of project ``p``'s state at a moment: ``(run_id, state, at)``, no row where there is none.

    ``at`` is when that state was saved, by the run ``run_id``. A run that has saved again carries its later snapshot
    only; the documents that it saved before stand in its ``state.changed`` events, each at its save's clock value, and
    those that it took away are listed there as ``absent``. Where columns with such an earlier state were kept again at
    its clock value, the run that saved it is told. An event that somebody damaged tells nothing where it is no object,
    and takes nothing away where ``absent`` is no array.
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
