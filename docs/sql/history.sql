-- Rebuild the state at a moment
SELECT past.state::text, CASE WHEN past.at > '9999-01-01 00:00+00'::timestamptz THEN '9999-01-01 00:00+00'::timestamptz
    WHEN past.at < '0002-01-01 00:00+00'::timestamptz THEN '0002-01-01 00:00+00'::timestamptz ELSE past.at END,
    past.run_id FROM "Project" p
LEFT JOIN LATERAL (
    SELECT coalesce(changed.run_id, anchor.id) AS run_id,
    (anchor.result -> 'state') - coalesce(changed.keys, '{}') || coalesce(changed.documents, '{}')
    AS state,
    greatest(anchor.snapshot_at, changed.at) AS at
    FROM (
        SELECT run.id, run.result, run.snapshot_at FROM "AgentWorkflowRun" run
        WHERE run.project_id = p.id AND run.snapshot_at <= %(moment)s::timestamptz
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
                    CASE jsonb_typeof(event.payload) WHEN 'object' THEN event.payload - 'absent' ELSE '{}' END)
                UNION ALL
                SELECT key, NULL FROM jsonb_array_elements_text(
                    CASE jsonb_typeof(event.payload -> 'absent') WHEN 'array' THEN event.payload -> 'absent'
                        ELSE '[]' END) key
            ) document
            WHERE run.project_id = p.id AND event.type = 'state.changed'
            AND event.created_at >= anchor.snapshot_at AND event.created_at <= %(moment)s::timestamptz
            ORDER BY document.key, event.created_at DESC
        ) newest_documents
    ) changed
) past ON true WHERE p.id = %(project)s;

-- List the moments
SELECT DISTINCT ON (at) at, run_id, workflow_id FROM (
    SELECT CASE WHEN event.created_at > '9999-01-01 00:00+00'::timestamptz THEN '9999-01-01 00:00+00'::timestamptz WHEN
        event.created_at < '0002-01-01 00:00+00'::timestamptz THEN '0002-01-01 00:00+00'::timestamptz ELSE
        event.created_at END AS at, run.id AS run_id, run.workflow_id, event.id AS event_id, 1 AS place
    FROM "AgentWorkflowRun" run JOIN "AgentWorkflowRunEvent" event ON event.run_id = run.id
    WHERE run.project_id = %(project)s AND event.type = 'state.changed'
    UNION ALL
    SELECT CASE WHEN snapshot_at > '9999-01-01 00:00+00'::timestamptz THEN '9999-01-01 00:00+00'::timestamptz WHEN
        snapshot_at < '0002-01-01 00:00+00'::timestamptz THEN '0002-01-01 00:00+00'::timestamptz ELSE snapshot_at END,
        id, workflow_id, NULL, 2 FROM "AgentWorkflowRun"
    WHERE project_id = %(project)s AND snapshot_at IS NOT NULL
) saved ORDER BY at, place;
