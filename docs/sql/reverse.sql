-- Lock a batch
SELECT p.id FROM (
    SELECT project.* FROM (SELECT NULL::json AS "rfpNormJson", NULL::json AS "factsJson", NULL::json AS "coverageJson",
        NULL::json AS "conflictLogJson", NULL::json AS "eligibilityJson") missing CROSS JOIN LATERAL (
        SELECT id, "stateUpdatedAt", "rfpNormJson"::jsonb AS "rfpNormJson", "factsJson"::jsonb AS "factsJson",
            "coverageJson"::jsonb AS "coverageJson", "conflictLogJson"::jsonb AS "conflictLogJson",
            "eligibilityJson"::jsonb AS "eligibilityJson",
        'jsonb'::regtype IN (pg_typeof("rfpNormJson"), pg_typeof("factsJson"), pg_typeof("coverageJson"),
            pg_typeof("conflictLogJson"), pg_typeof("eligibilityJson")) AS has_columns
        FROM "Project"
    ) project
) p
LEFT JOIN LATERAL (
    SELECT run.id, run.snapshot_at, run.legacy_at, run.result FROM "AgentWorkflowRun" run
    WHERE run.project_id = p.id AND run.snapshot_at IS NOT NULL
    ORDER BY run.snapshot_at DESC LIMIT 1
) newest ON true WHERE (((%(projects)s::text[] IS NULL OR p.id = ANY (%(projects)s::text[]))
        AND (%(above)s::text IS NULL OR p.id > %(above)s::text)
        AND (%(up_to)s::text IS NULL OR p.id <= %(up_to)s::text))
    AND (%(after)s::text IS NULL OR p.id > %(after)s::text) AND p.id <= %(upto)s::text) AND ((
        CASE
            WHEN newest.snapshot_at IS NULL THEN CASE WHEN num_nonnulls(p."rfpNormJson", p."factsJson",
                p."coverageJson", p."conflictLogJson", p."eligibilityJson") = 0 THEN 'empty' ELSE 'legacy_ahead' END
            WHEN p."stateUpdatedAt" = newest.legacy_at THEN
            CASE WHEN newest.snapshot_at = newest.legacy_at THEN 'in_sync' ELSE 'agentkit_ahead' END
            WHEN newest.snapshot_at = newest.legacy_at THEN 'legacy_ahead'
            ELSE 'forked'
    END) = 'agentkit_ahead') ORDER BY p.id LIMIT %(limit)s FOR NO KEY UPDATE OF p;

-- Fill the columns
WITH ahead AS MATERIALIZED (
    SELECT *, usable AND newest_at > clock AND (is_kept OR NOT is_taken) AS fills FROM (
        SELECT p.id AS project_id, p."stateUpdatedAt" AS clock, newest.id AS run_id, newest.snapshot_at AS newest_at,
        p."stateUpdatedAt" BETWEEN '0002-01-01 00:00+00'::timestamptz AND '9999-01-01 00:00+00'::timestamptz AND
            newest.snapshot_at BETWEEN '0002-01-01 00:00+00'::timestamptz AND '9999-01-01 00:00+00'::timestamptz AS
            usable,
        newest.result -> 'state' AS state,
        CASE WHEN num_nulls(p."rfpNormJson", p."factsJson", p."coverageJson", p."conflictLogJson", p."eligibilityJson")
            = 0 THEN jsonb_build_object('rfpNorm', p."rfpNormJson", 'facts', p."factsJson", 'coverage',
            p."coverageJson", 'conflictLog', p."conflictLogJson", 'eligibility', p."eligibilityJson")
            ELSE (SELECT coalesce(jsonb_object_agg(key, document) FILTER (WHERE document IS NOT NULL), '{}')
                FROM (VALUES ('rfpNorm', p."rfpNormJson"), ('facts', p."factsJson"), ('coverage', p."coverageJson"),
                    ('conflictLog', p."conflictLogJson"), ('eligibility', p."eligibilityJson")) documents (key,
                    document))
        END AS legacy, content.is_kept,
        CASE WHEN NOT content.is_kept THEN EXISTS (SELECT FROM "AgentWorkflowRun" run WHERE run.id = 'legacy_' || p.id
            || '_' || round(extract(epoch FROM p."stateUpdatedAt") * 1000000) OFFSET 0)
            OR EXISTS (SELECT FROM (
                    SELECT coalesce(changed.run_id, anchor.id) AS run_id,
                    (anchor.result -> 'state') - coalesce(changed.keys, '{}') || coalesce(changed.documents, '{}')
                    AS state,
                    greatest(anchor.snapshot_at, changed.at) AS at
                    FROM (
                        SELECT run.id, run.result, run.snapshot_at FROM "AgentWorkflowRun" run
                        WHERE run.project_id = p.id AND run.snapshot_at <= p."stateUpdatedAt"
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
                                    CASE jsonb_typeof(event.payload) WHEN 'object' THEN event.payload - 'absent' ELSE
                                        '{}' END)
                                UNION ALL
                                SELECT key, NULL FROM jsonb_array_elements_text(
                                    CASE jsonb_typeof(event.payload -> 'absent') WHEN 'array' THEN event.payload ->
                                        'absent'
                                        ELSE '[]' END) key
                            ) document
                            WHERE run.project_id = p.id AND event.type = 'state.changed'
                            AND event.created_at >= anchor.snapshot_at AND event.created_at <= p."stateUpdatedAt"
                            ORDER BY document.key, event.created_at DESC
                        ) newest_documents
                    ) changed
                ) past WHERE past.at = p."stateUpdatedAt" AND past.state <>
                CASE WHEN num_nulls(p."rfpNormJson", p."factsJson", p."coverageJson", p."conflictLogJson",
                    p."eligibilityJson") = 0 THEN jsonb_build_object('rfpNorm', p."rfpNormJson", 'facts',
                    p."factsJson", 'coverage', p."coverageJson", 'conflictLog', p."conflictLogJson", 'eligibility',
                    p."eligibilityJson")
                    ELSE (SELECT coalesce(jsonb_object_agg(key, document) FILTER (WHERE document IS NOT NULL), '{}')
                        FROM (VALUES ('rfpNorm', p."rfpNormJson"), ('facts', p."factsJson"), ('coverage',
                            p."coverageJson"), ('conflictLog', p."conflictLogJson"), ('eligibility',
                            p."eligibilityJson")) documents (key, document))
            END) END AS is_taken
        FROM (
            SELECT project.* FROM (SELECT NULL::json AS "rfpNormJson", NULL::json AS "factsJson", NULL::json AS
                "coverageJson", NULL::json AS "conflictLogJson", NULL::json AS "eligibilityJson") missing CROSS JOIN
                LATERAL (
                SELECT id, "stateUpdatedAt", "rfpNormJson"::jsonb AS "rfpNormJson", "factsJson"::jsonb AS "factsJson",
                    "coverageJson"::jsonb AS "coverageJson", "conflictLogJson"::jsonb AS "conflictLogJson",
                    "eligibilityJson"::jsonb AS "eligibilityJson",
                'jsonb'::regtype IN (pg_typeof("rfpNormJson"), pg_typeof("factsJson"), pg_typeof("coverageJson"),
                    pg_typeof("conflictLogJson"), pg_typeof("eligibilityJson")) AS has_columns
                FROM "Project"
            ) project
        ) p
        LEFT JOIN LATERAL (
            SELECT run.id, run.snapshot_at, run.legacy_at, run.result FROM "AgentWorkflowRun" run
            WHERE run.project_id = p.id AND run.snapshot_at IS NOT NULL
            ORDER BY run.snapshot_at DESC LIMIT 1
        ) newest ON true CROSS JOIN LATERAL (SELECT num_nonnulls(p."rfpNormJson", p."factsJson", p."coverageJson",
            p."conflictLogJson", p."eligibilityJson") = 0 OR EXISTS (
                SELECT FROM "AgentWorkflowRun" run
                WHERE run.project_id = p.id AND run.snapshot_at = p."stateUpdatedAt" AND run.result -> 'state' =
                CASE WHEN num_nulls(p."rfpNormJson", p."factsJson", p."coverageJson", p."conflictLogJson",
                    p."eligibilityJson") = 0 THEN jsonb_build_object('rfpNorm', p."rfpNormJson", 'facts',
                    p."factsJson", 'coverage', p."coverageJson", 'conflictLog', p."conflictLogJson", 'eligibility',
                    p."eligibilityJson")
                    ELSE (SELECT coalesce(jsonb_object_agg(key, document) FILTER (WHERE document IS NOT NULL), '{}')
                        FROM (VALUES ('rfpNorm', p."rfpNormJson"), ('facts', p."factsJson"), ('coverage',
                            p."coverageJson"), ('conflictLog', p."conflictLogJson"), ('eligibility',
                            p."eligibilityJson")) documents (key, document))
                END
                OFFSET 0) AS is_kept OFFSET 0) content
        WHERE p.id = ANY (%(projects)s) AND (
            CASE
                WHEN newest.snapshot_at IS NULL THEN CASE WHEN num_nonnulls(p."rfpNormJson", p."factsJson",
                    p."coverageJson", p."conflictLogJson", p."eligibilityJson") = 0 THEN 'empty' ELSE 'legacy_ahead'
                    END
                WHEN p."stateUpdatedAt" = newest.legacy_at THEN
                CASE WHEN newest.snapshot_at = newest.legacy_at THEN 'in_sync' ELSE 'agentkit_ahead' END
                WHEN newest.snapshot_at = newest.legacy_at THEN 'legacy_ahead'
                ELSE 'forked'
        END) = 'agentkit_ahead'
    ) judged
),
kept AS (
    INSERT INTO "AgentWorkflowRun" (id, workflow_id, project_id, status, input, result,
        started_at, completed_at, snapshot_at, legacy_at)
    SELECT 'legacy_' || project_id || '_' || round(extract(epoch FROM clock) * 1000000), 'legacy_snapshot', project_id,
        'succeeded', '{"source": "legacy_snapshot"}',
    jsonb_build_object('state', legacy), clock, clock, clock, clock
    FROM ahead WHERE fills AND NOT is_kept
    RETURNING id, snapshot_at, result -> 'state' AS state
), kept_events AS (
    INSERT INTO "AgentWorkflowRunEvent" (id, run_id, type, payload, created_at)
    SELECT id || '_' || lpad(event.ordinal::text, greatest(5, length(event.ordinal::text)), '0'), id, event.type,
        event.payload,
    snapshot_at + event.ordinal * interval '1 microsecond'
    FROM (SELECT * FROM kept) source CROSS JOIN LATERAL (
        SELECT event.ordinal, event.type, event.payload FROM (
            SELECT state, coverage,
            jsonb_typeof(coverage) = 'object' AND jsonb_typeof(coverage -> 'score') = 'number' AS scored,
            CASE coalesce(jsonb_typeof(conflicts), 'null')
                WHEN 'array' THEN conflicts WHEN 'null' THEN '[]' ELSE jsonb_build_array(conflicts) END AS conflicts,
                    CASE coalesce(jsonb_typeof(eligibility), 'null')
                WHEN 'array' THEN eligibility
                WHEN 'null' THEN '[]'
                ELSE CASE WHEN jsonb_typeof(eligibility) = 'object' AND jsonb_typeof(eligibility -> 'items') = 'array'
                    THEN eligibility -> 'items' ELSE jsonb_build_array(eligibility) END
            END AS items
            FROM (
                SELECT state, state -> 'coverage' AS coverage, state -> 'conflictLog' AS conflicts,
                state -> 'eligibility' AS eligibility
                FROM (SELECT state AS state OFFSET 0) whole
                OFFSET 0
            ) document
            OFFSET 0
        ) list
        CROSS JOIN LATERAL (SELECT CASE WHEN scored THEN 2 ELSE 1 END AS before_conflicts) start
        CROSS JOIN LATERAL (
            SELECT 1 AS ordinal, 'snapshot.legacy' AS type,
            jsonb_build_object('keys', array_remove(ARRAY[CASE WHEN state ? 'rfpNorm' THEN 'rfpNorm' END, CASE WHEN
                state ? 'facts' THEN 'facts' END, CASE WHEN state ? 'coverage' THEN 'coverage' END, CASE WHEN state ?
                'conflictLog' THEN 'conflictLog' END, CASE WHEN state ? 'eligibility' THEN 'eligibility' END], NULL))
                AS payload
            UNION ALL
            SELECT 2, 'coverage.delta', jsonb_build_object('from', NULL, 'to', coverage -> 'score') WHERE scored
            UNION ALL
            SELECT before_conflicts + position, 'conflict.found', entry
            FROM jsonb_array_elements(conflicts) WITH ORDINALITY item (entry, position)
            UNION ALL
            SELECT before_conflicts + jsonb_array_length(conflicts) + position, 'eligibility.flag', entry
            FROM jsonb_array_elements(items) WITH ORDINALITY item (entry, position)
        ) event
    ) event RETURNING 1
),
filled AS (
    UPDATE "Project" p SET "rfpNormJson" = ahead.state -> 'rfpNorm', "factsJson" = ahead.state -> 'facts',
        "coverageJson" = ahead.state -> 'coverage', "conflictLogJson" = ahead.state -> 'conflictLog', "eligibilityJson"
        = ahead.state -> 'eligibility', "stateUpdatedAt" = ahead.newest_at
    FROM ahead WHERE p.id = ahead.project_id AND p."stateUpdatedAt" = ahead.clock AND ahead.fills
    RETURNING ahead.run_id, (p."stateUpdatedAt" = ahead.newest_at AND CASE WHEN EXISTS (
                SELECT FROM pg_trigger WHERE tgrelid = p.tableoid AND tgtype & 19 = 19 AND tgname NOT IN
                    ('zz_agentstate_state_clock', 'agentstate_freeze')
                AND (NOT tgisinternal OR tgparentid <> 0)) THEN (
                SELECT NOT (p."rfpNormJson" IS DISTINCT FROM written.state -> 'rfpNorm' OR p."factsJson" IS DISTINCT
                    FROM written.state -> 'facts' OR p."coverageJson" IS DISTINCT FROM written.state -> 'coverage' OR
                    p."conflictLogJson" IS DISTINCT FROM written.state -> 'conflictLog' OR p."eligibilityJson" IS
                    DISTINCT FROM written.state -> 'eligibility') FROM (SELECT ahead.state AS state OFFSET 0) written
            ) ELSE true END) AS is_written
), in_sync AS (
    UPDATE "AgentWorkflowRun" run SET legacy_at = snapshot_at FROM filled
    WHERE run.id = filled.run_id AND filled.is_written RETURNING run.id
)
SELECT (SELECT count(*) FROM in_sync), (SELECT count(*) FROM kept), (SELECT count(*) FROM kept_events),
(SELECT coalesce(array_agg(project_id), '{}') FROM ahead WHERE usable AND NOT fills),
(SELECT coalesce(array_agg(project_id), '{}') FROM ahead WHERE NOT usable),
(SELECT coalesce(array_agg(project_id), '{}') FROM ahead
    WHERE fills AND run_id NOT IN (SELECT id FROM in_sync));
