-- Restore
WITH target AS MATERIALIZED (
    SELECT p.id AS project_id, p."stateUpdatedAt" AS clock, newest.snapshot_at AS newest_at,
    p."stateUpdatedAt" BETWEEN '0002-01-01 00:00+00'::timestamptz AND '9999-01-01 00:00+00'::timestamptz AND
        newest.snapshot_at BETWEEN '0002-01-01 00:00+00'::timestamptz AND '9999-01-01 00:00+00'::timestamptz AS usable,
    CASE WHEN num_nulls(p."rfpNormJson", p."factsJson", p."coverageJson", p."conflictLogJson", p."eligibilityJson") = 0
        THEN jsonb_build_object('rfpNorm', p."rfpNormJson", 'facts', p."factsJson", 'coverage', p."coverageJson",
        'conflictLog', p."conflictLogJson", 'eligibility', p."eligibilityJson")
        ELSE (SELECT coalesce(jsonb_object_agg(key, document) FILTER (WHERE document IS NOT NULL), '{}')
            FROM (VALUES ('rfpNorm', p."rfpNormJson"), ('facts', p."factsJson"), ('coverage', p."coverageJson"),
                ('conflictLog', p."conflictLogJson"), ('eligibility', p."eligibilityJson")) documents (key, document))
    END AS legacy, earlier.state, earlier.run_id
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
    ) newest ON true CROSS JOIN LATERAL (
        SELECT coalesce(changed.run_id, anchor.id) AS run_id,
        (anchor.result -> 'state') - coalesce(changed.keys, '{}') || coalesce(changed.documents, '{}')
        AS state,
        greatest(anchor.snapshot_at, changed.at) AS at
        FROM (
            SELECT run.id, run.result, run.snapshot_at FROM "AgentWorkflowRun" run
            WHERE run.project_id = p.id AND run.snapshot_at <= coalesce(%(as_of)s::timestamptz, 'infinity')
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
                AND event.created_at >= anchor.snapshot_at AND event.created_at <= coalesce(%(as_of)s::timestamptz,
                    'infinity')
                ORDER BY document.key, event.created_at DESC
            ) newest_documents
        ) changed
    ) earlier
    WHERE p.id = ANY (%(projects)s) AND NOT ((
            CASE
                WHEN newest.snapshot_at IS NULL THEN CASE WHEN num_nonnulls(p."rfpNormJson", p."factsJson",
                    p."coverageJson", p."conflictLogJson", p."eligibilityJson") = 0 THEN 'empty' ELSE 'legacy_ahead'
                    END
                WHEN p."stateUpdatedAt" = newest.legacy_at THEN
                CASE WHEN newest.snapshot_at = newest.legacy_at THEN 'in_sync' ELSE 'agentkit_ahead' END
                WHEN newest.snapshot_at = newest.legacy_at THEN 'legacy_ahead'
                ELSE 'forked'
        END) = 'in_sync' AND earlier.state = newest.result -> 'state'
        AND earlier.state = (
            CASE WHEN num_nulls(p."rfpNormJson", p."factsJson", p."coverageJson", p."conflictLogJson",
                p."eligibilityJson") = 0 THEN jsonb_build_object('rfpNorm', p."rfpNormJson", 'facts', p."factsJson",
                'coverage', p."coverageJson", 'conflictLog', p."conflictLogJson", 'eligibility', p."eligibilityJson")
                ELSE (SELECT coalesce(jsonb_object_agg(key, document) FILTER (WHERE document IS NOT NULL), '{}')
                    FROM (VALUES ('rfpNorm', p."rfpNormJson"), ('facts', p."factsJson"), ('coverage',
                        p."coverageJson"), ('conflictLog', p."conflictLogJson"), ('eligibility', p."eligibilityJson"))
                        documents (key, document))
    END))
), keeping AS MATERIALIZED (
    SELECT *,
    EXISTS (SELECT FROM "AgentWorkflowRun" run WHERE run.project_id = target.project_id
        AND run.snapshot_at = clock AND run.result -> 'state' = legacy OFFSET 0) AS is_kept,
    (
        WITH RECURSIVE candidate (at) AS (
            SELECT CASE WHEN newest_at IS NULL OR clock > newest_at THEN clock ELSE greatest(clock_timestamp(), CASE
                WHEN clock < '9999-01-01 00:00+00'::timestamptz THEN clock + interval '1 microsecond' END, CASE WHEN
                newest_at < '9999-01-01 00:00+00'::timestamptz THEN newest_at + interval '1 microsecond' END) END
            UNION ALL
            SELECT at + interval '1 microsecond' FROM candidate
            WHERE EXISTS (SELECT FROM "AgentWorkflowRun" run WHERE run.id = 'legacy_' || target.project_id || '_' ||
                round(extract(epoch FROM candidate.at) * 1000000) OFFSET 0)
        )
        SELECT max(at) FROM candidate
    ) AS kept_at
    FROM target WHERE usable
), restored AS MATERIALIZED (
    SELECT *, (
        WITH RECURSIVE candidate (at) AS (
            SELECT greatest(clock_timestamp(), CASE WHEN kept_at < '9999-01-01 00:00+00'::timestamptz THEN kept_at +
                interval '1 microsecond' END, CASE WHEN newest_at < '9999-01-01 00:00+00'::timestamptz THEN newest_at +
                interval '1 microsecond' END, CASE WHEN clock < '9999-01-01 00:00+00'::timestamptz THEN clock +
                interval '1 microsecond' END)
            UNION ALL
            SELECT at + interval '1 microsecond' FROM candidate
            WHERE EXISTS (SELECT FROM "AgentWorkflowRun" run WHERE run.id = 'restore_' || keeping.project_id || '_' ||
                round(extract(epoch FROM candidate.at) * 1000000) OFFSET 0)
        )
        SELECT max(at) FROM candidate
    ) AS restored_at FROM keeping
),
kept AS (
    INSERT INTO "AgentWorkflowRun" (id, workflow_id, project_id, status, input, result,
        started_at, completed_at, snapshot_at, legacy_at)
    SELECT 'legacy_' || project_id || '_' || round(extract(epoch FROM kept_at) * 1000000), 'legacy_snapshot',
        project_id, 'succeeded', '{"source": "legacy_snapshot"}',
    jsonb_build_object('state', legacy), kept_at, kept_at, kept_at, kept_at
    FROM restored WHERE NOT is_kept
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
runs AS (
    INSERT INTO "AgentWorkflowRun" (id, workflow_id, project_id, status, input, result,
        started_at, completed_at, snapshot_at, legacy_at)
    SELECT 'restore_' || project_id || '_' || round(extract(epoch FROM restored_at) * 1000000), 'legacy_restore',
        project_id, 'succeeded', '{"source": "legacy_restore"}',
    jsonb_build_object('state', state), restored_at, restored_at, restored_at, restored_at
    FROM restored RETURNING 1
), runs_events AS (
    INSERT INTO "AgentWorkflowRunEvent" (id, run_id, type, payload, created_at)
    SELECT 'restore_' || project_id || '_' || round(extract(epoch FROM restored_at) * 1000000) || '_' ||
        lpad(event.ordinal::text, greatest(5, length(event.ordinal::text)), '0'), 'restore_' || project_id || '_' ||
        round(extract(epoch FROM restored_at) * 1000000), event.type, event.payload,
    restored_at + event.ordinal * interval '1 microsecond'
    FROM (SELECT * FROM restored) source CROSS JOIN LATERAL (
        SELECT 1 AS ordinal, 'snapshot.restored' AS type, jsonb_build_object('from', run_id) AS payload
    ) event RETURNING 1
),
filled AS (
    UPDATE "Project" p SET "rfpNormJson" = restored.state -> 'rfpNorm', "factsJson" = restored.state -> 'facts',
        "coverageJson" = restored.state -> 'coverage', "conflictLogJson" = restored.state -> 'conflictLog',
        "eligibilityJson" = restored.state -> 'eligibility', "stateUpdatedAt" = restored.restored_at
    FROM restored WHERE p.id = restored.project_id
    RETURNING restored.project_id, (p."stateUpdatedAt" = restored.restored_at AND CASE WHEN EXISTS (
                SELECT FROM pg_trigger WHERE tgrelid = p.tableoid AND tgtype & 19 = 19 AND tgname NOT IN
                    ('zz_agentstate_state_clock', 'agentstate_freeze')
                AND (NOT tgisinternal OR tgparentid <> 0)) THEN (
                SELECT NOT (p."rfpNormJson" IS DISTINCT FROM written.state -> 'rfpNorm' OR p."factsJson" IS DISTINCT
                    FROM written.state -> 'facts' OR p."coverageJson" IS DISTINCT FROM written.state -> 'coverage' OR
                    p."conflictLogJson" IS DISTINCT FROM written.state -> 'conflictLog' OR p."eligibilityJson" IS
                    DISTINCT FROM written.state -> 'eligibility') FROM (SELECT restored.state AS state OFFSET 0)
                    written
            ) ELSE true END) AS is_written
)
SELECT (SELECT count(*) FROM filled), (SELECT count(*) FROM kept) + (SELECT count(*) FROM runs),
(SELECT count(*) FROM kept_events) + (SELECT count(*) FROM runs_events), 0, (SELECT coalesce(array_agg(project_id),
    '{}') FROM target WHERE NOT usable),
(SELECT coalesce(array_agg(project_id), '{}') FROM restored
    WHERE project_id NOT IN (SELECT project_id FROM filled WHERE is_written));
