-- Read the newest snapshot, where the AgentKit home is asked
SELECT CASE WHEN clock = legacy_at AND snapshot_at = legacy_at THEN 'in_sync'
    WHEN clock = legacy_at THEN 'agentkit_ahead' ELSE 'forked' END,
round(extract(epoch FROM CASE WHEN clock > '9999-01-01 00:00+00'::timestamptz THEN '9999-01-01 00:00+00'::timestamptz
    WHEN clock < '0002-01-01 00:00+00'::timestamptz THEN '0002-01-01 00:00+00'::timestamptz ELSE clock END) *
    1000000)::bigint, round(extract(epoch FROM CASE WHEN snapshot_at > '9999-01-01 00:00+00'::timestamptz THEN
    '9999-01-01 00:00+00'::timestamptz WHEN snapshot_at < '0002-01-01 00:00+00'::timestamptz THEN
    '0002-01-01 00:00+00'::timestamptz ELSE snapshot_at END) * 1000000)::bigint, state::text
FROM (
    SELECT p."stateUpdatedAt" AS clock, newest.snapshot_at, newest.legacy_at, newest.result -> 'state' AS state
    FROM "Project" p
    LEFT JOIN LATERAL (
        SELECT run.id, run.snapshot_at, run.legacy_at, run.result FROM "AgentWorkflowRun" run
        WHERE run.project_id = p.id AND run.snapshot_at IS NOT NULL
        ORDER BY run.snapshot_at DESC LIMIT 1
    ) newest ON true
    WHERE p.id = %(id)s AND (p."stateUpdatedAt" = newest.legacy_at OR newest.snapshot_at <> newest.legacy_at)
    OFFSET 0
) homes;

-- Read a state, where that cannot answer or is not asked
SELECT id::text, standing, source, fell_back, round(extract(epoch FROM CASE WHEN clock >
    '9999-01-01 00:00+00'::timestamptz THEN '9999-01-01 00:00+00'::timestamptz WHEN clock <
    '0002-01-01 00:00+00'::timestamptz THEN '0002-01-01 00:00+00'::timestamptz ELSE clock END) * 1000000)::bigint,
    round(extract(epoch FROM CASE WHEN snapshot_at > '9999-01-01 00:00+00'::timestamptz THEN
    '9999-01-01 00:00+00'::timestamptz WHEN snapshot_at < '0002-01-01 00:00+00'::timestamptz THEN
    '0002-01-01 00:00+00'::timestamptz ELSE snapshot_at END) * 1000000)::bigint, shadowed,
NULL, CASE WHEN source = 'agentkit' THEN (result -> 'state')::text END, CASE WHEN source = 'legacy' THEN
    "rfpNormJson"::text END, CASE WHEN source = 'legacy' THEN "factsJson"::text END, CASE WHEN source = 'legacy' THEN
    "coverageJson"::text END, CASE WHEN source = 'legacy' THEN "conflictLogJson"::text END, CASE WHEN source = 'legacy'
    THEN "eligibilityJson"::text END
FROM (
    SELECT *, CASE
        WHEN asked AND fell_back IS NULL THEN 'agentkit'
        WHEN standing = 'empty' THEN 'none'
        ELSE 'legacy' END AS source
    FROM (
        SELECT *, CASE
            WHEN NOT asked THEN NULL
            WHEN snapshot_at IS NULL THEN 'no_snapshot'
            WHEN standing = 'legacy_ahead' AND has_columns THEN 'legacy_ahead'
            WHEN jsonb_typeof(result -> 'state') IS DISTINCT FROM 'object' THEN 'malformed'
        END AS fell_back
        FROM (
            SELECT p.id, p."stateUpdatedAt" AS clock, p."rfpNormJson", p."factsJson", p."coverageJson",
                p."conflictLogJson", p."eligibilityJson", p.has_columns, newest.snapshot_at, newest.result,
            wanted.asked OR NOT p.has_columns AS asked, wanted.shadowed AND p.has_columns AS shadowed,
            CASE
                WHEN newest.snapshot_at IS NULL THEN CASE WHEN num_nonnulls(p."rfpNormJson", p."factsJson",
                    p."coverageJson", p."conflictLogJson", p."eligibilityJson") = 0 THEN 'empty' ELSE 'legacy_ahead'
                    END
                WHEN p."stateUpdatedAt" = newest.legacy_at THEN
                CASE WHEN newest.snapshot_at = newest.legacy_at THEN 'in_sync' ELSE 'agentkit_ahead' END
                WHEN newest.snapshot_at = newest.legacy_at THEN 'legacy_ahead'
                ELSE 'forked'
            END AS standing
            FROM (SELECT %(id)s::text AS id, %(asked)s::boolean AS asked, %(shadowed)s::boolean AS shadowed) wanted
                JOIN (
                SELECT project.* FROM (SELECT NULL::json AS "rfpNormJson", NULL::json AS "factsJson", NULL::json AS
                    "coverageJson", NULL::json AS "conflictLogJson", NULL::json AS "eligibilityJson") missing CROSS
                    JOIN LATERAL (
                    SELECT id, "stateUpdatedAt", "rfpNormJson"::jsonb AS "rfpNormJson", "factsJson"::jsonb AS
                        "factsJson", "coverageJson"::jsonb AS "coverageJson", "conflictLogJson"::jsonb AS
                        "conflictLogJson", "eligibilityJson"::jsonb AS "eligibilityJson",
                    'jsonb'::regtype IN (pg_typeof("rfpNormJson"), pg_typeof("factsJson"), pg_typeof("coverageJson"),
                        pg_typeof("conflictLogJson"), pg_typeof("eligibilityJson")) AS has_columns
                    FROM "Project"
                ) project
            ) p ON p.id = wanted.id
            LEFT JOIN LATERAL (
                SELECT run.id, run.snapshot_at, run.legacy_at, run.result FROM "AgentWorkflowRun" run
                WHERE run.project_id = p.id AND run.snapshot_at IS NOT NULL
                ORDER BY run.snapshot_at DESC LIMIT 1
            ) newest ON true
        ) homes
        OFFSET 0
    ) judged
    OFFSET 0
) chosen;

-- Read a state with agentkit_shadow_reads
SELECT id::text, standing, source, fell_back, round(extract(epoch FROM CASE WHEN clock >
    '9999-01-01 00:00+00'::timestamptz THEN '9999-01-01 00:00+00'::timestamptz WHEN clock <
    '0002-01-01 00:00+00'::timestamptz THEN '0002-01-01 00:00+00'::timestamptz ELSE clock END) * 1000000)::bigint,
    round(extract(epoch FROM CASE WHEN snapshot_at > '9999-01-01 00:00+00'::timestamptz THEN
    '9999-01-01 00:00+00'::timestamptz WHEN snapshot_at < '0002-01-01 00:00+00'::timestamptz THEN
    '0002-01-01 00:00+00'::timestamptz ELSE snapshot_at END) * 1000000)::bigint, shadowed,
CASE WHEN shadowed AND standing = 'in_sync' AND jsonb_typeof(result -> 'state') = 'object' THEN (
        SELECT coalesce(json_agg(json_build_array(
                    key, key || first.path, left(first.one::text, 256), left(first.other::text, 256)
            )), '[]')
        FROM (SELECT result -> 'state' AS state OFFSET 0) snapshot
        CROSS JOIN LATERAL (VALUES ('rfpNorm', "rfpNormJson", state -> 'rfpNorm'), ('facts', "factsJson", state ->
            'facts'), ('coverage', "coverageJson", state -> 'coverage'), ('conflictLog', "conflictLogJson", state ->
            'conflictLog'), ('eligibility', "eligibilityJson", state -> 'eligibility')) document (key, legacy,
            agentkit)
        CROSS JOIN LATERAL (
            WITH RECURSIVE difference AS (
                SELECT '' AS path, 0 AS depth, legacy AS one, agentkit AS other
                UNION ALL
                SELECT difference.path || inner_difference.step, depth + 1, inner_difference.one,
                    inner_difference.other
                FROM difference CROSS JOIN LATERAL (
                    SELECT types = ARRAY['object', 'object'] AS objects, types = ARRAY['array', 'array'] AS arrays
                    FROM (SELECT ARRAY[jsonb_typeof(difference.one), jsonb_typeof(difference.other)] AS types) each
                ) both_are CROSS JOIN LATERAL (
                    SELECT step, member.one, member.other FROM (
                        SELECT key AS position,
                        CASE WHEN key ~ '^[A-Za-z_][A-Za-z0-9_]*$' THEN '.' || key
                            ELSE '[' || to_jsonb(key)::text || ']' END AS step,
                        ours.value AS one, theirs.value AS other
                        FROM jsonb_each(CASE WHEN objects THEN difference.one ELSE '{}' END) ours
                        FULL JOIN jsonb_each(CASE WHEN objects THEN difference.other ELSE '{}' END) theirs USING (key)
                        UNION ALL
                        SELECT lpad(place::text, 20, '0'), '[' || place - 1 || ']', ours.value, theirs.value
                        FROM jsonb_array_elements(CASE WHEN arrays THEN difference.one ELSE '[]' END)
                        WITH ORDINALITY ours (value, place)
                        FULL JOIN jsonb_array_elements(CASE WHEN arrays THEN difference.other ELSE '[]' END)
                        WITH ORDINALITY theirs (value, place) USING (place)
                    ) member
                    WHERE member.one IS DISTINCT FROM member.other
                    ORDER BY position COLLATE "C" LIMIT 1
                ) inner_difference
            )
            SELECT path, one, other FROM difference WHERE one IS DISTINCT FROM other ORDER BY depth DESC LIMIT 1
        ) first
        WHERE legacy IS DISTINCT FROM agentkit
    )::text END, CASE WHEN source = 'agentkit' THEN (result -> 'state')::text END, CASE WHEN source = 'legacy' THEN
        "rfpNormJson"::text END, CASE WHEN source = 'legacy' THEN "factsJson"::text END, CASE WHEN source = 'legacy'
        THEN "coverageJson"::text END, CASE WHEN source = 'legacy' THEN "conflictLogJson"::text END, CASE WHEN source =
        'legacy' THEN "eligibilityJson"::text END
FROM (
    SELECT *, CASE
        WHEN asked AND fell_back IS NULL THEN 'agentkit'
        WHEN standing = 'empty' THEN 'none'
        ELSE 'legacy' END AS source
    FROM (
        SELECT *, CASE
            WHEN NOT asked THEN NULL
            WHEN snapshot_at IS NULL THEN 'no_snapshot'
            WHEN standing = 'legacy_ahead' AND has_columns THEN 'legacy_ahead'
            WHEN jsonb_typeof(result -> 'state') IS DISTINCT FROM 'object' THEN 'malformed'
        END AS fell_back
        FROM (
            SELECT p.id, p."stateUpdatedAt" AS clock, p."rfpNormJson", p."factsJson", p."coverageJson",
                p."conflictLogJson", p."eligibilityJson", p.has_columns, newest.snapshot_at, newest.result,
            wanted.asked OR NOT p.has_columns AS asked, wanted.shadowed AND p.has_columns AS shadowed,
            CASE
                WHEN newest.snapshot_at IS NULL THEN CASE WHEN num_nonnulls(p."rfpNormJson", p."factsJson",
                    p."coverageJson", p."conflictLogJson", p."eligibilityJson") = 0 THEN 'empty' ELSE 'legacy_ahead'
                    END
                WHEN p."stateUpdatedAt" = newest.legacy_at THEN
                CASE WHEN newest.snapshot_at = newest.legacy_at THEN 'in_sync' ELSE 'agentkit_ahead' END
                WHEN newest.snapshot_at = newest.legacy_at THEN 'legacy_ahead'
                ELSE 'forked'
            END AS standing
            FROM (SELECT %(id)s::text AS id, %(asked)s::boolean AS asked, %(shadowed)s::boolean AS shadowed) wanted
                JOIN (
                SELECT project.* FROM (SELECT NULL::json AS "rfpNormJson", NULL::json AS "factsJson", NULL::json AS
                    "coverageJson", NULL::json AS "conflictLogJson", NULL::json AS "eligibilityJson") missing CROSS
                    JOIN LATERAL (
                    SELECT id, "stateUpdatedAt", "rfpNormJson"::jsonb AS "rfpNormJson", "factsJson"::jsonb AS
                        "factsJson", "coverageJson"::jsonb AS "coverageJson", "conflictLogJson"::jsonb AS
                        "conflictLogJson", "eligibilityJson"::jsonb AS "eligibilityJson",
                    'jsonb'::regtype IN (pg_typeof("rfpNormJson"), pg_typeof("factsJson"), pg_typeof("coverageJson"),
                        pg_typeof("conflictLogJson"), pg_typeof("eligibilityJson")) AS has_columns
                    FROM "Project"
                ) project
            ) p ON p.id = wanted.id
            LEFT JOIN LATERAL (
                SELECT run.id, run.snapshot_at, run.legacy_at, run.result FROM "AgentWorkflowRun" run
                WHERE run.project_id = p.id AND run.snapshot_at IS NOT NULL
                ORDER BY run.snapshot_at DESC LIMIT 1
            ) newest ON true
        ) homes
        OFFSET 0
    ) judged
    OFFSET 0
) chosen;

-- Read states of several projects
SELECT id::text, standing, source, fell_back, round(extract(epoch FROM CASE WHEN clock >
    '9999-01-01 00:00+00'::timestamptz THEN '9999-01-01 00:00+00'::timestamptz WHEN clock <
    '0002-01-01 00:00+00'::timestamptz THEN '0002-01-01 00:00+00'::timestamptz ELSE clock END) * 1000000)::bigint,
    round(extract(epoch FROM CASE WHEN snapshot_at > '9999-01-01 00:00+00'::timestamptz THEN
    '9999-01-01 00:00+00'::timestamptz WHEN snapshot_at < '0002-01-01 00:00+00'::timestamptz THEN
    '0002-01-01 00:00+00'::timestamptz ELSE snapshot_at END) * 1000000)::bigint, shadowed,
NULL, CASE WHEN source = 'agentkit' THEN (result -> 'state')::text END, CASE WHEN source = 'legacy' THEN
    "rfpNormJson"::text END, CASE WHEN source = 'legacy' THEN "factsJson"::text END, CASE WHEN source = 'legacy' THEN
    "coverageJson"::text END, CASE WHEN source = 'legacy' THEN "conflictLogJson"::text END, CASE WHEN source = 'legacy'
    THEN "eligibilityJson"::text END
FROM (
    SELECT *, CASE
        WHEN asked AND fell_back IS NULL THEN 'agentkit'
        WHEN standing = 'empty' THEN 'none'
        ELSE 'legacy' END AS source
    FROM (
        SELECT *, CASE
            WHEN NOT asked THEN NULL
            WHEN snapshot_at IS NULL THEN 'no_snapshot'
            WHEN standing = 'legacy_ahead' AND has_columns THEN 'legacy_ahead'
            WHEN jsonb_typeof(result -> 'state') IS DISTINCT FROM 'object' THEN 'malformed'
        END AS fell_back
        FROM (
            SELECT p.id, p."stateUpdatedAt" AS clock, p."rfpNormJson", p."factsJson", p."coverageJson",
                p."conflictLogJson", p."eligibilityJson", p.has_columns, newest.snapshot_at, newest.result,
            wanted.asked OR NOT p.has_columns AS asked, wanted.shadowed AND p.has_columns AS shadowed,
            CASE
                WHEN newest.snapshot_at IS NULL THEN CASE WHEN num_nonnulls(p."rfpNormJson", p."factsJson",
                    p."coverageJson", p."conflictLogJson", p."eligibilityJson") = 0 THEN 'empty' ELSE 'legacy_ahead'
                    END
                WHEN p."stateUpdatedAt" = newest.legacy_at THEN
                CASE WHEN newest.snapshot_at = newest.legacy_at THEN 'in_sync' ELSE 'agentkit_ahead' END
                WHEN newest.snapshot_at = newest.legacy_at THEN 'legacy_ahead'
                ELSE 'forked'
            END AS standing
            FROM unnest(%(ids)s::text[], %(asked)s::boolean[], %(shadowed)s::boolean[]) wanted (id, asked, shadowed)
                JOIN (
                SELECT project.* FROM (SELECT NULL::json AS "rfpNormJson", NULL::json AS "factsJson", NULL::json AS
                    "coverageJson", NULL::json AS "conflictLogJson", NULL::json AS "eligibilityJson") missing CROSS
                    JOIN LATERAL (
                    SELECT id, "stateUpdatedAt", "rfpNormJson"::jsonb AS "rfpNormJson", "factsJson"::jsonb AS
                        "factsJson", "coverageJson"::jsonb AS "coverageJson", "conflictLogJson"::jsonb AS
                        "conflictLogJson", "eligibilityJson"::jsonb AS "eligibilityJson",
                    'jsonb'::regtype IN (pg_typeof("rfpNormJson"), pg_typeof("factsJson"), pg_typeof("coverageJson"),
                        pg_typeof("conflictLogJson"), pg_typeof("eligibilityJson")) AS has_columns
                    FROM "Project"
                ) project
            ) p ON p.id = wanted.id
            LEFT JOIN LATERAL (
                SELECT run.id, run.snapshot_at, run.legacy_at, run.result FROM "AgentWorkflowRun" run
                WHERE run.project_id = p.id AND run.snapshot_at IS NOT NULL
                ORDER BY run.snapshot_at DESC LIMIT 1
            ) newest ON true
        ) homes
        OFFSET 0
    ) judged
    OFFSET 0
) chosen;

-- Read the columns, after an error of the others
SELECT p.id, p.has_columns, CASE WHEN p."stateUpdatedAt" > '9999-01-01 00:00+00'::timestamptz THEN
    '9999-01-01 00:00+00'::timestamptz WHEN p."stateUpdatedAt" < '0002-01-01 00:00+00'::timestamptz THEN
    '0002-01-01 00:00+00'::timestamptz ELSE p."stateUpdatedAt" END, num_nonnulls(p."rfpNormJson", p."factsJson",
    p."coverageJson", p."conflictLogJson", p."eligibilityJson") = 0,
p."rfpNormJson"::text, p."factsJson"::text, p."coverageJson"::text, p."conflictLogJson"::text,
    p."eligibilityJson"::text
FROM (
    SELECT project.* FROM (SELECT NULL::json AS "rfpNormJson", NULL::json AS "factsJson", NULL::json AS "coverageJson",
        NULL::json AS "conflictLogJson", NULL::json AS "eligibilityJson") missing CROSS JOIN LATERAL (
        SELECT id, "stateUpdatedAt", "rfpNormJson"::jsonb AS "rfpNormJson", "factsJson"::jsonb AS "factsJson",
            "coverageJson"::jsonb AS "coverageJson", "conflictLogJson"::jsonb AS "conflictLogJson",
            "eligibilityJson"::jsonb AS "eligibilityJson",
        'jsonb'::regtype IN (pg_typeof("rfpNormJson"), pg_typeof("factsJson"), pg_typeof("coverageJson"),
            pg_typeof("conflictLogJson"), pg_typeof("eligibilityJson")) AS has_columns
        FROM "Project"
    ) project
) p WHERE p.id = ANY (%(ids)s);
