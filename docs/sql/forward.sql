-- Take in a batch
WITH
snapshots AS (
    INSERT INTO "AgentWorkflowRun" (id, workflow_id, project_id, status, input, result,
        started_at, completed_at, snapshot_at, legacy_at)
    SELECT 'legacy_' || project_id || '_' || round(extract(epoch FROM at) * 1000000), 'legacy_snapshot', project_id,
        'succeeded', '{"source": "legacy_snapshot"}',
    jsonb_build_object('state', state), at, at, at, at
    FROM (
        SELECT p.id AS project_id, p."stateUpdatedAt" AS at,
        CASE WHEN num_nulls(p."rfpNormJson", p."factsJson", p."coverageJson", p."conflictLogJson", p."eligibilityJson")
            = 0 THEN jsonb_build_object('rfpNorm', p."rfpNormJson", 'facts', p."factsJson", 'coverage',
            p."coverageJson", 'conflictLog', p."conflictLogJson", 'eligibility', p."eligibilityJson")
            ELSE (SELECT coalesce(jsonb_object_agg(key, document) FILTER (WHERE document IS NOT NULL), '{}')
                FROM (VALUES ('rfpNorm', p."rfpNormJson"), ('facts', p."factsJson"), ('coverage', p."coverageJson"),
                    ('conflictLog', p."conflictLogJson"), ('eligibility', p."eligibilityJson")) documents (key,
                    document))
        END AS state
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
        ) newest ON true WHERE (((%(projects)s::text[] IS NULL OR p.id = ANY (%(projects)s::text[]))
                AND (%(above)s::text IS NULL OR p.id > %(above)s::text)
                AND (%(up_to)s::text IS NULL OR p.id <= %(up_to)s::text))
            AND (%(after)s::text IS NULL OR p.id > %(after)s::text) AND p.id <= %(upto)s::text) AND ((p.has_columns AND
                (
                    CASE
                        WHEN newest.snapshot_at IS NULL THEN CASE WHEN num_nonnulls(p."rfpNormJson", p."factsJson",
                            p."coverageJson", p."conflictLogJson", p."eligibilityJson") = 0 THEN 'empty' ELSE
                            'legacy_ahead' END
                        WHEN p."stateUpdatedAt" = newest.legacy_at THEN
                        CASE WHEN newest.snapshot_at = newest.legacy_at THEN 'in_sync' ELSE 'agentkit_ahead' END
                        WHEN newest.snapshot_at = newest.legacy_at THEN 'legacy_ahead'
                        ELSE 'forked'
                END) = 'legacy_ahead' AND (p."stateUpdatedAt" BETWEEN '0002-01-01 00:00+00'::timestamptz AND
                    '9999-01-01 00:00+00'::timestamptz AND (newest.snapshot_at IS NULL OR p."stateUpdatedAt" >
                    newest.snapshot_at)
                    AND NOT (%(prefer)s::text IS DISTINCT FROM 'legacy' AND (num_nonnulls(p."rfpNormJson",
                        p."factsJson", p."coverageJson", p."conflictLogJson", p."eligibilityJson") = 0 AND
                        newest.result -> 'state' <> '{}'))))) ORDER BY p.id LIMIT %(limit)s
    ) ahead ON CONFLICT (id) DO NOTHING
    RETURNING id, snapshot_at, result -> 'state' AS state
), snapshots_events AS (
    INSERT INTO "AgentWorkflowRunEvent" (id, run_id, type, payload, created_at)
    SELECT id || '_' || lpad(event.ordinal::text, greatest(5, length(event.ordinal::text)), '0'), id, event.type,
        event.payload,
    snapshot_at + event.ordinal * interval '1 microsecond'
    FROM (SELECT * FROM snapshots) source CROSS JOIN LATERAL (
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
)
SELECT (SELECT count(*) FROM snapshots), (SELECT count(*) FROM snapshots_events);

-- Adopt orphaned runs of the same content
UPDATE "AgentWorkflowRun" run SET project_id = adoptable.project_id
FROM (
    SELECT p.id AS project_id, orphan.id AS run_id,
    orphan.project_id IS NULL AND orphan.workflow_id = 'legacy_snapshot'
    AND orphan.snapshot_at = p."stateUpdatedAt" AND orphan.legacy_at = p."stateUpdatedAt"
    AND orphan.result -> 'state' =
    CASE WHEN num_nulls(p."rfpNormJson", p."factsJson", p."coverageJson", p."conflictLogJson", p."eligibilityJson") = 0
        THEN jsonb_build_object('rfpNorm', p."rfpNormJson", 'facts', p."factsJson", 'coverage', p."coverageJson",
        'conflictLog', p."conflictLogJson", 'eligibility', p."eligibilityJson")
        ELSE (SELECT coalesce(jsonb_object_agg(key, document) FILTER (WHERE document IS NOT NULL), '{}')
            FROM (VALUES ('rfpNorm', p."rfpNormJson"), ('facts', p."factsJson"), ('coverage', p."coverageJson"),
                ('conflictLog', p."conflictLogJson"), ('eligibility', p."eligibilityJson")) documents (key, document))
    END AS same
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
    ) newest ON true JOIN "AgentWorkflowRun" orphan ON orphan.id = 'legacy_' || p.id || '_' || round(extract(epoch FROM
        p."stateUpdatedAt") * 1000000) WHERE (((%(projects)s::text[] IS NULL OR p.id = ANY (%(projects)s::text[]))
            AND (%(above)s::text IS NULL OR p.id > %(above)s::text)
            AND (%(up_to)s::text IS NULL OR p.id <= %(up_to)s::text))
        AND (%(after)s::text IS NULL OR p.id > %(after)s::text) AND p.id <= %(upto)s::text) AND ((p.has_columns AND (
                CASE
                    WHEN newest.snapshot_at IS NULL THEN CASE WHEN num_nonnulls(p."rfpNormJson", p."factsJson",
                        p."coverageJson", p."conflictLogJson", p."eligibilityJson") = 0 THEN 'empty' ELSE
                        'legacy_ahead' END
                    WHEN p."stateUpdatedAt" = newest.legacy_at THEN
                    CASE WHEN newest.snapshot_at = newest.legacy_at THEN 'in_sync' ELSE 'agentkit_ahead' END
                    WHEN newest.snapshot_at = newest.legacy_at THEN 'legacy_ahead'
                    ELSE 'forked'
            END) = 'legacy_ahead' AND (p."stateUpdatedAt" BETWEEN '0002-01-01 00:00+00'::timestamptz AND
                '9999-01-01 00:00+00'::timestamptz AND (newest.snapshot_at IS NULL OR p."stateUpdatedAt" >
                newest.snapshot_at)
                AND NOT (%(prefer)s::text IS DISTINCT FROM 'legacy' AND (num_nonnulls(p."rfpNormJson", p."factsJson",
                    p."coverageJson", p."conflictLogJson", p."eligibilityJson") = 0 AND newest.result -> 'state' <>
                    '{}'))))) ORDER BY p.id LIMIT %(limit)s
) adoptable WHERE run.id = adoptable.run_id AND adoptable.same;

-- Name the projects that other content obstructs
SELECT project_id, run_id FROM (
    SELECT p.id AS project_id, orphan.id AS run_id,
    orphan.project_id IS NULL AND orphan.workflow_id = 'legacy_snapshot'
    AND orphan.snapshot_at = p."stateUpdatedAt" AND orphan.legacy_at = p."stateUpdatedAt"
    AND orphan.result -> 'state' =
    CASE WHEN num_nulls(p."rfpNormJson", p."factsJson", p."coverageJson", p."conflictLogJson", p."eligibilityJson") = 0
        THEN jsonb_build_object('rfpNorm', p."rfpNormJson", 'facts', p."factsJson", 'coverage', p."coverageJson",
        'conflictLog', p."conflictLogJson", 'eligibility', p."eligibilityJson")
        ELSE (SELECT coalesce(jsonb_object_agg(key, document) FILTER (WHERE document IS NOT NULL), '{}')
            FROM (VALUES ('rfpNorm', p."rfpNormJson"), ('facts', p."factsJson"), ('coverage', p."coverageJson"),
                ('conflictLog', p."conflictLogJson"), ('eligibility', p."eligibilityJson")) documents (key, document))
    END AS same
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
    ) newest ON true JOIN "AgentWorkflowRun" orphan ON orphan.id = 'legacy_' || p.id || '_' || round(extract(epoch FROM
        p."stateUpdatedAt") * 1000000) WHERE (((%(projects)s::text[] IS NULL OR p.id = ANY (%(projects)s::text[]))
            AND (%(above)s::text IS NULL OR p.id > %(above)s::text)
            AND (%(up_to)s::text IS NULL OR p.id <= %(up_to)s::text))
        AND (%(after)s::text IS NULL OR p.id > %(after)s::text) AND p.id <= %(upto)s::text) AND ((p.has_columns AND (
                CASE
                    WHEN newest.snapshot_at IS NULL THEN CASE WHEN num_nonnulls(p."rfpNormJson", p."factsJson",
                        p."coverageJson", p."conflictLogJson", p."eligibilityJson") = 0 THEN 'empty' ELSE
                        'legacy_ahead' END
                    WHEN p."stateUpdatedAt" = newest.legacy_at THEN
                    CASE WHEN newest.snapshot_at = newest.legacy_at THEN 'in_sync' ELSE 'agentkit_ahead' END
                    WHEN newest.snapshot_at = newest.legacy_at THEN 'legacy_ahead'
                    ELSE 'forked'
            END) = 'legacy_ahead' AND (p."stateUpdatedAt" BETWEEN '0002-01-01 00:00+00'::timestamptz AND
                '9999-01-01 00:00+00'::timestamptz AND (newest.snapshot_at IS NULL OR p."stateUpdatedAt" >
                newest.snapshot_at)
                AND NOT (%(prefer)s::text IS DISTINCT FROM 'legacy' AND (num_nonnulls(p."rfpNormJson", p."factsJson",
                    p."coverageJson", p."conflictLogJson", p."eligibilityJson") = 0 AND newest.result -> 'state' <>
                    '{}'))))) ORDER BY p.id LIMIT %(limit)s
) adoptable WHERE same IS NOT TRUE;
