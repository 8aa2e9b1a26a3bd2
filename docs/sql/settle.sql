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
    AND (%(after)s::text IS NULL OR p.id > %(after)s::text) AND p.id <= %(upto)s::text) AND ((p.has_columns AND CASE
            CASE
                WHEN newest.snapshot_at IS NULL THEN CASE WHEN num_nonnulls(p."rfpNormJson", p."factsJson",
                    p."coverageJson", p."conflictLogJson", p."eligibilityJson") = 0 THEN 'empty' ELSE 'legacy_ahead'
                    END
                WHEN p."stateUpdatedAt" = newest.legacy_at THEN
                CASE WHEN newest.snapshot_at = newest.legacy_at THEN 'in_sync' ELSE 'agentkit_ahead' END
                WHEN newest.snapshot_at = newest.legacy_at THEN 'legacy_ahead'
                ELSE 'forked'
            END
            WHEN 'forked' THEN true
            WHEN 'legacy_ahead' THEN NOT (p."stateUpdatedAt" BETWEEN '0002-01-01 00:00+00'::timestamptz AND
                '9999-01-01 00:00+00'::timestamptz AND (newest.snapshot_at IS NULL OR p."stateUpdatedAt" >
                newest.snapshot_at)
                AND NOT (%(prefer)s::text IS DISTINCT FROM 'legacy' AND (num_nonnulls(p."rfpNormJson", p."factsJson",
                    p."coverageJson", p."conflictLogJson", p."eligibilityJson") = 0 AND newest.result -> 'state' <>
                    '{}')))
            WHEN 'in_sync' THEN %(prefer)s::text IS NOT NULL AND (
                SELECT CASE WHEN record_image_eq(ROW(p."rfpNormJson", p."factsJson", p."coverageJson",
                    p."conflictLogJson", p."eligibilityJson"), ROW(state -> 'rfpNorm', state -> 'facts', state ->
                    'coverage', state -> 'conflictLog', state -> 'eligibility')) THEN false ELSE p."rfpNormJson" IS
                    DISTINCT FROM state -> 'rfpNorm' OR p."factsJson" IS DISTINCT FROM state -> 'facts' OR
                    p."coverageJson" IS DISTINCT FROM state -> 'coverage' OR p."conflictLogJson" IS DISTINCT FROM state
                    -> 'conflictLog' OR p."eligibilityJson" IS DISTINCT FROM state -> 'eligibility' END OR
                    num_nonnulls(p."rfpNormJson", p."factsJson", p."coverageJson", p."conflictLogJson",
                    p."eligibilityJson") <> (SELECT count(*) FROM jsonb_object_keys(state))
                FROM (SELECT newest.result -> 'state' AS state OFFSET 0) snapshot)
            ELSE false
END)) ORDER BY p.id LIMIT %(limit)s FOR NO KEY UPDATE OF p;

-- Merge forks, take in under new clocks
WITH standings AS MATERIALIZED (
    SELECT p.id AS project_id,
    CASE
        WHEN newest.snapshot_at IS NULL THEN CASE WHEN num_nonnulls(p."rfpNormJson", p."factsJson", p."coverageJson",
            p."conflictLogJson", p."eligibilityJson") = 0 THEN 'empty' ELSE 'legacy_ahead' END
        WHEN p."stateUpdatedAt" = newest.legacy_at THEN
        CASE WHEN newest.snapshot_at = newest.legacy_at THEN 'in_sync' ELSE 'agentkit_ahead' END
        WHEN newest.snapshot_at = newest.legacy_at THEN 'legacy_ahead'
        ELSE 'forked'
    END AS standing FROM (
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
    ) newest ON true WHERE p.id = ANY (%(projects)s)), homes AS MATERIALIZED (
    SELECT p.id AS project_id, p."stateUpdatedAt" AS clock, newest.snapshot_at AS newest_at, standing,
        (num_nonnulls(p."rfpNormJson", p."factsJson", p."coverageJson", p."conflictLogJson", p."eligibilityJson") = 0
        AND newest.result -> 'state' <> '{}') AS emptied,
    p."stateUpdatedAt" BETWEEN '0002-01-01 00:00+00'::timestamptz AND '9999-01-01 00:00+00'::timestamptz AND
        (newest.snapshot_at BETWEEN '0002-01-01 00:00+00'::timestamptz AND '9999-01-01 00:00+00'::timestamptz) IS NOT
        FALSE AS usable,
    newest.result -> 'state' AS agentkit,
    CASE WHEN num_nulls(p."rfpNormJson", p."factsJson", p."coverageJson", p."conflictLogJson", p."eligibilityJson") = 0
        THEN jsonb_build_object('rfpNorm', p."rfpNormJson", 'facts', p."factsJson", 'coverage', p."coverageJson",
        'conflictLog', p."conflictLogJson", 'eligibility', p."eligibilityJson")
        ELSE (SELECT coalesce(jsonb_object_agg(key, document) FILTER (WHERE document IS NOT NULL), '{}')
            FROM (VALUES ('rfpNorm', p."rfpNormJson"), ('facts', p."factsJson"), ('coverage', p."coverageJson"),
                ('conflictLog', p."conflictLogJson"), ('eligibility', p."eligibilityJson")) documents (key, document))
    END AS legacy,
    CASE WHEN standing = 'forked' AND NOT (num_nonnulls(p."rfpNormJson", p."factsJson", p."coverageJson",
        p."conflictLogJson", p."eligibilityJson") = 0 AND newest.result -> 'state' <> '{}') THEN base.state END AS base
    FROM standings JOIN (
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
    ) p ON p.id = standings.project_id
    LEFT JOIN LATERAL (
        SELECT run.id, run.snapshot_at, run.legacy_at, run.result FROM "AgentWorkflowRun" run
        WHERE run.project_id = p.id AND run.snapshot_at IS NOT NULL
        ORDER BY run.snapshot_at DESC LIMIT 1
    ) newest ON true
    LEFT JOIN LATERAL (
        SELECT coalesce(changed.run_id, anchor.id) AS run_id,
        (anchor.result -> 'state') - coalesce(changed.keys, '{}') || coalesce(changed.documents, '{}')
        AS state,
        greatest(anchor.snapshot_at, changed.at) AS at
        FROM (
            SELECT run.id, run.result, run.snapshot_at FROM "AgentWorkflowRun" run
            WHERE run.project_id = p.id AND run.snapshot_at <= newest.legacy_at
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
                AND event.created_at >= anchor.snapshot_at AND event.created_at <= newest.legacy_at
                ORDER BY document.key, event.created_at DESC
            ) newest_documents
        ) changed
    ) base ON base.at = newest.legacy_at
    WHERE (p.has_columns AND CASE standing
            WHEN 'forked' THEN true
            WHEN 'legacy_ahead' THEN NOT (p."stateUpdatedAt" BETWEEN '0002-01-01 00:00+00'::timestamptz AND
                '9999-01-01 00:00+00'::timestamptz AND (newest.snapshot_at IS NULL OR p."stateUpdatedAt" >
                newest.snapshot_at)
                AND NOT (%(prefer)s::text IS DISTINCT FROM 'legacy' AND (num_nonnulls(p."rfpNormJson", p."factsJson",
                    p."coverageJson", p."conflictLogJson", p."eligibilityJson") = 0 AND newest.result -> 'state' <>
                    '{}')))
            WHEN 'in_sync' THEN %(prefer)s::text IS NOT NULL AND (
                SELECT CASE WHEN record_image_eq(ROW(p."rfpNormJson", p."factsJson", p."coverageJson",
                    p."conflictLogJson", p."eligibilityJson"), ROW(state -> 'rfpNorm', state -> 'facts', state ->
                    'coverage', state -> 'conflictLog', state -> 'eligibility')) THEN false ELSE p."rfpNormJson" IS
                    DISTINCT FROM state -> 'rfpNorm' OR p."factsJson" IS DISTINCT FROM state -> 'facts' OR
                    p."coverageJson" IS DISTINCT FROM state -> 'coverage' OR p."conflictLogJson" IS DISTINCT FROM state
                    -> 'conflictLog' OR p."eligibilityJson" IS DISTINCT FROM state -> 'eligibility' END OR
                    num_nonnulls(p."rfpNormJson", p."factsJson", p."coverageJson", p."conflictLogJson",
                    p."eligibilityJson") <> (SELECT count(*) FROM jsonb_object_keys(state))
                FROM (SELECT newest.result -> 'state' AS state OFFSET 0) snapshot)
            ELSE false
END)), keyed AS (
    SELECT project_id, key, position, legacy -> key AS legacy, agentkit -> key AS agentkit,
    legacy -> key IS DISTINCT FROM agentkit -> key
    AND (base IS NULL OR (legacy -> key IS DISTINCT FROM base -> key
            AND agentkit -> key IS DISTINCT FROM base -> key)) AS clashes,
    base IS NOT NULL AND legacy -> key IS DISTINCT FROM base -> key AS legacy_changed
    FROM homes CROSS JOIN (VALUES ('rfpNorm', 0), ('facts', 1), ('coverage', 2), ('conflictLog', 3), ('eligibility',
        4)) keys (key, position)),
merged AS (
    SELECT project_id,
    coalesce(jsonb_object_agg(key, document) FILTER (WHERE document IS NOT NULL), '{}') AS merged,
    coalesce(jsonb_agg(key ORDER BY position) FILTER (WHERE clashes), '[]') AS clashes,
    coalesce(jsonb_agg(key ORDER BY position) FILTER (WHERE legacy_changed AND NOT clashes), '[]') AS from_legacy
    FROM (
        SELECT *, CASE WHEN CASE WHEN clashes THEN %(prefer)s = 'legacy' ELSE legacy_changed END
            THEN legacy ELSE agentkit END AS document
        FROM keyed
    ) chosen
    GROUP BY project_id), settled AS MATERIALIZED (
    SELECT *, (
        WITH RECURSIVE candidate (at) AS (
            SELECT greatest(clock_timestamp(), CASE WHEN kept_at < '9999-01-01 00:00+00'::timestamptz THEN kept_at +
                interval '1 microsecond' END, CASE WHEN newest_at < '9999-01-01 00:00+00'::timestamptz THEN newest_at +
                interval '1 microsecond' END)
            UNION ALL
            SELECT at + interval '1 microsecond' FROM candidate
            WHERE EXISTS (SELECT FROM "AgentWorkflowRun" run WHERE run.id = 'merge_' || kept.project_id || '_' ||
                round(extract(epoch FROM candidate.at) * 1000000) OFFSET 0)
        )
        SELECT max(at) FROM candidate
    ) AS merged_at FROM (
        SELECT homes.*, merged, clashes, from_legacy,
        standing = 'forked'
        OR (coalesce(%(prefer)s::text = 'agentkit', false) AND (standing = 'in_sync' OR emptied)) AS merges,
        (
            WITH RECURSIVE candidate (at) AS (
                SELECT CASE WHEN newest_at IS NULL OR clock > newest_at THEN clock ELSE greatest(clock_timestamp(),
                    CASE WHEN clock < '9999-01-01 00:00+00'::timestamptz THEN clock + interval '1 microsecond' END,
                    CASE WHEN newest_at < '9999-01-01 00:00+00'::timestamptz THEN newest_at + interval '1 microsecond'
                    END) END
                UNION ALL
                SELECT at + interval '1 microsecond' FROM candidate
                WHERE EXISTS (SELECT FROM "AgentWorkflowRun" run WHERE run.id = 'legacy_' || homes.project_id || '_' ||
                    round(extract(epoch FROM candidate.at) * 1000000) OFFSET 0)
            )
            SELECT max(at) FROM candidate
        ) AS kept_at
        FROM homes JOIN merged USING (project_id)
        WHERE usable
        AND (%(prefer)s::text IS NOT NULL OR (NOT emptied AND (standing <> 'forked' OR clashes = '[]')))
        OFFSET 0
    ) kept),
kept AS (
    INSERT INTO "AgentWorkflowRun" (id, workflow_id, project_id, status, input, result,
        started_at, completed_at, snapshot_at, legacy_at)
    SELECT 'legacy_' || project_id || '_' || round(extract(epoch FROM kept_at) * 1000000), 'legacy_snapshot',
        project_id, 'succeeded', '{"source": "legacy_snapshot"}',
    jsonb_build_object('state', legacy), kept_at, kept_at, kept_at, kept_at
    FROM settled
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
merges AS (
    INSERT INTO "AgentWorkflowRun" (id, workflow_id, project_id, status, input, result,
        started_at, completed_at, snapshot_at, legacy_at)
    SELECT 'merge_' || project_id || '_' || round(extract(epoch FROM merged_at) * 1000000), 'legacy_merge', project_id,
        'succeeded', '{"source": "legacy_merge"}',
    jsonb_build_object('state', merged), merged_at, merged_at, merged_at, kept_at
    FROM settled WHERE merges RETURNING 1
), merges_events AS (
    INSERT INTO "AgentWorkflowRunEvent" (id, run_id, type, payload, created_at)
    SELECT 'merge_' || project_id || '_' || round(extract(epoch FROM merged_at) * 1000000) || '_' ||
        lpad(event.ordinal::text, greatest(5, length(event.ordinal::text)), '0'), 'merge_' || project_id || '_' ||
        round(extract(epoch FROM merged_at) * 1000000), event.type, event.payload,
    merged_at + event.ordinal * interval '1 microsecond'
    FROM (SELECT * FROM settled WHERE merges) source CROSS JOIN LATERAL (
        SELECT 1 AS ordinal, 'fork.merged' AS type, jsonb_build_object('keys', from_legacy, 'from', 'legacy') AS
            payload
        WHERE standing = 'forked'
        UNION ALL
        SELECT CASE standing WHEN 'forked' THEN 2 ELSE 1 END, 'fork.settled',
        jsonb_build_object('keys', clashes, 'from', %(prefer)s::text)
        WHERE clashes <> '[]'
    ) event RETURNING 1
),
clocks AS (
    UPDATE "Project" p SET "stateUpdatedAt" = settled.kept_at FROM settled
    WHERE p.id = settled.project_id AND settled.kept_at <> settled.clock
    RETURNING settled.project_id,
    (p."stateUpdatedAt" = settled.kept_at AND CASE WHEN EXISTS (
                SELECT FROM pg_trigger WHERE tgrelid = p.tableoid AND tgtype & 19 = 19 AND tgname NOT IN
                    ('zz_agentstate_state_clock', 'agentstate_freeze')
                AND (NOT tgisinternal OR tgparentid <> 0)) THEN (
                SELECT NOT (coalesce(to_jsonb(p) -> 'rfpNormJson', 'null') <> coalesce(written.state -> 'rfpNorm',
                    'null') OR coalesce(to_jsonb(p) -> 'factsJson', 'null') <> coalesce(written.state -> 'facts',
                    'null') OR coalesce(to_jsonb(p) -> 'coverageJson', 'null') <> coalesce(written.state -> 'coverage',
                    'null') OR coalesce(to_jsonb(p) -> 'conflictLogJson', 'null') <> coalesce(written.state ->
                    'conflictLog', 'null') OR coalesce(to_jsonb(p) -> 'eligibilityJson', 'null') <>
                    coalesce(written.state -> 'eligibility', 'null')) FROM (SELECT settled.legacy AS state OFFSET 0)
                    written
            ) ELSE true END) AS is_written
)
SELECT (SELECT count(*) FROM kept), (SELECT count(*) FROM merges),
(SELECT count(*) FROM kept_events) + (SELECT count(*) FROM merges_events), 0,
(SELECT coalesce(array_agg(project_id), '{}') FROM homes
    WHERE usable AND standing = 'forked' AND project_id NOT IN (SELECT project_id FROM settled)),
(SELECT coalesce(array_agg(project_id), '{}') FROM homes WHERE usable AND emptied AND %(prefer)s::text IS NULL),
(SELECT coalesce(array_agg(project_id), '{}') FROM homes WHERE NOT usable),
(SELECT coalesce(array_agg(project_id), '{}') FROM settled
    WHERE kept_at <> clock AND project_id NOT IN (SELECT project_id FROM clocks WHERE is_written));
