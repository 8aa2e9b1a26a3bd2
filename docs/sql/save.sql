-- Lock the project
SELECT FROM "Project" WHERE id = %(project)s FOR NO KEY UPDATE;

-- Lock the given run
SELECT project_id::text, status::text FROM "AgentWorkflowRun" WHERE id = %(run)s FOR NO KEY UPDATE;

-- Read the standing, and what changes in the AgentKit home
SELECT standing, has_columns, usable,
(SELECT array_agg(key) FROM unnest(%(keys)s::text[]) key WHERE state -> key IS DISTINCT FROM documents -> key),
newest_run, greatest(clock_timestamp(), CASE WHEN clock < '9999-01-01 00:00+00'::timestamptz THEN clock + interval
    '1 microsecond' END, CASE WHEN newest_at < '9999-01-01 00:00+00'::timestamptz THEN newest_at + interval
    '1 microsecond' END, CASE WHEN last_event_at < '9999-01-01 00:00+00'::timestamptz THEN last_event_at + interval
    '1 microsecond' END)
FROM (
    SELECT
    CASE
        WHEN newest.snapshot_at IS NULL THEN CASE WHEN num_nonnulls(p."rfpNormJson", p."factsJson", p."coverageJson",
            p."conflictLogJson", p."eligibilityJson") = 0 THEN 'empty' ELSE 'legacy_ahead' END
        WHEN p."stateUpdatedAt" = newest.legacy_at THEN
        CASE WHEN newest.snapshot_at = newest.legacy_at THEN 'in_sync' ELSE 'agentkit_ahead' END
        WHEN newest.snapshot_at = newest.legacy_at THEN 'legacy_ahead'
        ELSE 'forked'
    END AS standing, p.has_columns,
    p."stateUpdatedAt" BETWEEN '0002-01-01 00:00+00'::timestamptz AND '9999-01-01 00:00+00'::timestamptz AND
        (newest.snapshot_at BETWEEN '0002-01-01 00:00+00'::timestamptz AND '9999-01-01 00:00+00'::timestamptz) IS NOT
        FALSE AS usable,
    p."stateUpdatedAt" AS clock, newest.id::text AS newest_run, newest.snapshot_at AS newest_at, newest.result ->
        'state' AS state,
    (SELECT max(created_at) FROM "AgentWorkflowRunEvent" WHERE run_id = %(run)s) AS last_event_at
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
    ) newest ON true WHERE p.id = %(project)s OFFSET 0
) present
CROSS JOIN (SELECT %(given)s::jsonb AS documents OFFSET 0) given;

-- The same if only the columns are written
SELECT standing, has_columns, usable,
(SELECT array_agg(key) FROM unnest(%(keys)s::text[]) key WHERE state -> key IS DISTINCT FROM documents -> key),
newest_run, greatest(clock_timestamp(), CASE WHEN clock < '9999-01-01 00:00+00'::timestamptz THEN clock + interval
    '1 microsecond' END, CASE WHEN newest_at < '9999-01-01 00:00+00'::timestamptz THEN newest_at + interval
    '1 microsecond' END, CASE WHEN last_event_at < '9999-01-01 00:00+00'::timestamptz THEN last_event_at + interval
    '1 microsecond' END)
FROM (
    SELECT
    CASE
        WHEN newest.snapshot_at IS NULL THEN CASE WHEN num_nonnulls(p."rfpNormJson", p."factsJson", p."coverageJson",
            p."conflictLogJson", p."eligibilityJson") = 0 THEN 'empty' ELSE 'legacy_ahead' END
        WHEN p."stateUpdatedAt" = newest.legacy_at THEN
        CASE WHEN newest.snapshot_at = newest.legacy_at THEN 'in_sync' ELSE 'agentkit_ahead' END
        WHEN newest.snapshot_at = newest.legacy_at THEN 'legacy_ahead'
        ELSE 'forked'
    END AS standing, p.has_columns,
    p."stateUpdatedAt" BETWEEN '0002-01-01 00:00+00'::timestamptz AND '9999-01-01 00:00+00'::timestamptz AND
        (newest.snapshot_at BETWEEN '0002-01-01 00:00+00'::timestamptz AND '9999-01-01 00:00+00'::timestamptz) IS NOT
        FALSE AS usable,
    p."stateUpdatedAt" AS clock, newest.id::text AS newest_run, newest.snapshot_at AS newest_at,
    CASE WHEN num_nulls(p."rfpNormJson", p."factsJson", p."coverageJson", p."conflictLogJson", p."eligibilityJson") = 0
        THEN jsonb_build_object('rfpNorm', p."rfpNormJson", 'facts', p."factsJson", 'coverage', p."coverageJson",
        'conflictLog', p."conflictLogJson", 'eligibility', p."eligibilityJson")
        ELSE (SELECT coalesce(jsonb_object_agg(key, document) FILTER (WHERE document IS NOT NULL), '{}')
            FROM (VALUES ('rfpNorm', p."rfpNormJson"), ('facts', p."factsJson"), ('coverage', p."coverageJson"),
                ('conflictLog', p."conflictLogJson"), ('eligibility', p."eligibilityJson")) documents (key, document))
    END AS state,
    (SELECT max(created_at) FROM "AgentWorkflowRunEvent" WHERE run_id = %(run)s) AS last_event_at
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
    ) newest ON true WHERE p.id = %(project)s OFFSET 0
) present
CROSS JOIN (SELECT %(given)s::jsonb AS documents OFFSET 0) given;

-- Take in columns that are ahead
WITH columns AS MATERIALIZED (
    SELECT project_id, clock, state, (
        WITH RECURSIVE candidate (at) AS (
            SELECT CASE WHEN newest_at IS NULL OR clock > newest_at THEN clock ELSE greatest(clock_timestamp(), CASE
                WHEN clock < '9999-01-01 00:00+00'::timestamptz THEN clock + interval '1 microsecond' END, CASE WHEN
                newest_at < '9999-01-01 00:00+00'::timestamptz THEN newest_at + interval '1 microsecond' END) END
            UNION ALL
            SELECT at + interval '1 microsecond' FROM candidate
            WHERE EXISTS (SELECT FROM "AgentWorkflowRun" run WHERE run.id = 'legacy_' || judged.project_id || '_' ||
                round(extract(epoch FROM candidate.at) * 1000000) OFFSET 0)
        )
        SELECT max(at) FROM candidate
    ) AS at FROM (
        SELECT p.id AS project_id, p."stateUpdatedAt" AS clock,
        CASE WHEN num_nulls(p."rfpNormJson", p."factsJson", p."coverageJson", p."conflictLogJson", p."eligibilityJson")
            = 0 THEN jsonb_build_object('rfpNorm', p."rfpNormJson", 'facts', p."factsJson", 'coverage',
            p."coverageJson", 'conflictLog', p."conflictLogJson", 'eligibility', p."eligibilityJson")
            ELSE (SELECT coalesce(jsonb_object_agg(key, document) FILTER (WHERE document IS NOT NULL), '{}')
                FROM (VALUES ('rfpNorm', p."rfpNormJson"), ('facts', p."factsJson"), ('coverage', p."coverageJson"),
                    ('conflictLog', p."conflictLogJson"), ('eligibility', p."eligibilityJson")) documents (key,
                    document))
        END AS state, newest.snapshot_at AS newest_at
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
        ) newest ON true WHERE p.id = %s AND (
            CASE
                WHEN newest.snapshot_at IS NULL THEN CASE WHEN num_nonnulls(p."rfpNormJson", p."factsJson",
                    p."coverageJson", p."conflictLogJson", p."eligibilityJson") = 0 THEN 'empty' ELSE 'legacy_ahead'
                    END
                WHEN p."stateUpdatedAt" = newest.legacy_at THEN
                CASE WHEN newest.snapshot_at = newest.legacy_at THEN 'in_sync' ELSE 'agentkit_ahead' END
                WHEN newest.snapshot_at = newest.legacy_at THEN 'legacy_ahead'
                ELSE 'forked'
        END) IN ('empty', 'legacy_ahead')
    ) judged
),
kept AS (
    INSERT INTO "AgentWorkflowRun" (id, workflow_id, project_id, status, input, result,
        started_at, completed_at, snapshot_at, legacy_at)
    SELECT 'legacy_' || project_id || '_' || round(extract(epoch FROM at) * 1000000), 'legacy_snapshot', project_id,
        'succeeded', '{"source": "legacy_snapshot"}',
    jsonb_build_object('state', state), at, at, at, at
    FROM columns ON CONFLICT (id) DO NOTHING
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
clock AS (
    UPDATE "Project" p SET "stateUpdatedAt" = columns.at FROM columns
    WHERE p.id = columns.project_id AND columns.at <> columns.clock
    RETURNING (p."stateUpdatedAt" = columns.at AND CASE WHEN EXISTS (
                SELECT FROM pg_trigger WHERE tgrelid = p.tableoid AND tgtype & 19 = 19 AND tgname NOT IN
                    ('zz_agentstate_state_clock', 'agentstate_freeze')
                AND (NOT tgisinternal OR tgparentid <> 0)) THEN (
                SELECT NOT (coalesce(to_jsonb(p) -> 'rfpNormJson', 'null') <> coalesce(written.state -> 'rfpNorm',
                    'null') OR coalesce(to_jsonb(p) -> 'factsJson', 'null') <> coalesce(written.state -> 'facts',
                    'null') OR coalesce(to_jsonb(p) -> 'coverageJson', 'null') <> coalesce(written.state -> 'coverage',
                    'null') OR coalesce(to_jsonb(p) -> 'conflictLogJson', 'null') <> coalesce(written.state ->
                    'conflictLog', 'null') OR coalesce(to_jsonb(p) -> 'eligibilityJson', 'null') <>
                    coalesce(written.state -> 'eligibility', 'null')) FROM (SELECT columns.state AS state OFFSET 0)
                    written
            ) ELSE true END) AS is_written
)
SELECT EXISTS (SELECT FROM kept),
coalesce((SELECT at = clock FROM columns), true) OR coalesce((SELECT is_written FROM clock), false);

-- Read the standing after that, or after a merge
SELECT
CASE
    WHEN newest.snapshot_at IS NULL THEN CASE WHEN num_nonnulls(p."rfpNormJson", p."factsJson", p."coverageJson",
        p."conflictLogJson", p."eligibilityJson") = 0 THEN 'empty' ELSE 'legacy_ahead' END
    WHEN p."stateUpdatedAt" = newest.legacy_at THEN
    CASE WHEN newest.snapshot_at = newest.legacy_at THEN 'in_sync' ELSE 'agentkit_ahead' END
    WHEN newest.snapshot_at = newest.legacy_at THEN 'legacy_ahead'
    ELSE 'forked'
END FROM (
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
) newest ON true WHERE p.id = %s;

-- Write a new run with the snapshot, and the events
WITH given AS MATERIALIZED (SELECT %(given)s::jsonb AS state),
newest AS MATERIALIZED (
    SELECT legacy_at, result -> 'state' AS state FROM "AgentWorkflowRun" WHERE id = %(newest)s
), changed AS MATERIALIZED (
    SELECT key, given.state -> key AS after, newest.state -> key AS before
    FROM unnest(%(keys)s::text[]) key CROSS JOIN given CROSS JOIN newest
), events AS (
    SELECT 1 AS part, 1::bigint AS position, 'state.changed' AS type,
    coalesce(jsonb_object_agg(key, after) FILTER (WHERE after IS NOT NULL), '{}')
    || CASE WHEN bool_or(after IS NULL)
        THEN jsonb_build_object('absent', jsonb_agg(key) FILTER (WHERE after IS NULL)) ELSE '{}' END
    AS payload
    FROM changed HAVING count(*) > 0
    UNION ALL
    SELECT 2, 1, 'coverage.delta', jsonb_build_object('from', was, 'to', now) FROM (
        SELECT CASE WHEN jsonb_typeof(before -> 'score') = 'number' THEN before -> 'score' END AS was, CASE WHEN
            jsonb_typeof(after -> 'score') = 'number' THEN after -> 'score' END AS now
        FROM changed WHERE key = 'coverage'
    ) score WHERE was IS DISTINCT FROM now
    UNION ALL
    SELECT 3, position, CASE WHEN resolves THEN 'conflict.resolved' ELSE 'conflict.found' END, entry
    FROM changed CROSS JOIN LATERAL (
        SELECT entry, position, known.unresolved IS NOT NULL AS resolves
        FROM jsonb_array_elements(CASE coalesce(jsonb_typeof(after), 'null')
                WHEN 'array' THEN after WHEN 'null' THEN '[]' ELSE jsonb_build_array(after) END) WITH ORDINALITY item
                    (entry, position)
        LEFT JOIN (
            SELECT DISTINCT CASE jsonb_typeof(earlier) WHEN 'object' THEN earlier - 'resolved' END AS unresolved
            FROM jsonb_array_elements(CASE coalesce(jsonb_typeof(before), 'null')
                    WHEN 'array' THEN before WHEN 'null' THEN '[]' ELSE jsonb_build_array(before) END) earlier
        ) known ON known.unresolved = CASE WHEN entry -> 'resolved' <> 'null' THEN CASE jsonb_typeof(entry) WHEN
            'object' THEN entry - 'resolved' END END
        WHERE NOT EXISTS (
            SELECT FROM jsonb_array_elements(CASE coalesce(jsonb_typeof(before), 'null')
                    WHEN 'array' THEN before WHEN 'null' THEN '[]' ELSE jsonb_build_array(before) END) earlier WHERE
                        earlier = entry)) item WHERE key = 'conflictLog'
    UNION ALL
    SELECT 4, position, 'eligibility.flag', entry
    FROM changed CROSS JOIN LATERAL (
        SELECT entry, position
        FROM jsonb_array_elements(CASE coalesce(jsonb_typeof(after), 'null')
                WHEN 'array' THEN after
                WHEN 'null' THEN '[]'
                ELSE CASE WHEN jsonb_typeof(after) = 'object' AND jsonb_typeof(after -> 'items') = 'array'
                    THEN after -> 'items' ELSE jsonb_build_array(after) END
        END) WITH ORDINALITY item (entry, position)
        WHERE NOT EXISTS (
            SELECT FROM jsonb_array_elements(CASE coalesce(jsonb_typeof(before), 'null')
                    WHEN 'array' THEN before
                    WHEN 'null' THEN '[]'
                    ELSE CASE WHEN jsonb_typeof(before) = 'object' AND jsonb_typeof(before -> 'items') = 'array'
                        THEN before -> 'items' ELSE jsonb_build_array(before) END
            END) earlier WHERE earlier = entry)) item WHERE key = 'eligibility'
), snapshot AS (
    INSERT INTO "AgentWorkflowRun" (id, workflow_id, project_id, status, input, result, started_at, completed_at,
        snapshot_at, legacy_at)
    SELECT %(run)s, 'direct_write', %(project)s, 'succeeded', '{"source": "direct_write"}', jsonb_build_object('state',
        newest.state - %(keys)s::text[] || given.state),
    %(at)s::timestamptz, %(at)s::timestamptz, %(at)s::timestamptz, CASE WHEN %(in_sync)s::boolean THEN
        %(at)s::timestamptz ELSE newest.legacy_at END
    FROM newest CROSS JOIN given RETURNING 1
), written AS (
    INSERT INTO "AgentWorkflowRunEvent" (id, run_id, type, payload, created_at, parent_id)
    SELECT 'c' || lpad(to_hex((extract(epoch FROM clock_timestamp()) * 1000)::bigint), 11, '0')
    || left(replace(gen_random_uuid()::text, '-', ''), 12), %(run)s, type, payload, %(at)s::timestamptz
    + (row_number() OVER (ORDER BY part, position) - 1) * interval '1 microsecond', %(parent)s
    FROM events RETURNING 1
)
SELECT EXISTS (SELECT FROM snapshot) AND EXISTS (SELECT FROM written);

-- The same on the given run
WITH given AS MATERIALIZED (SELECT %(given)s::jsonb AS state),
newest AS MATERIALIZED (
    SELECT legacy_at, result -> 'state' AS state FROM "AgentWorkflowRun" WHERE id = %(newest)s
), changed AS MATERIALIZED (
    SELECT key, given.state -> key AS after, newest.state -> key AS before
    FROM unnest(%(keys)s::text[]) key CROSS JOIN given CROSS JOIN newest
), events AS (
    SELECT 1 AS part, 1::bigint AS position, 'state.changed' AS type,
    coalesce(jsonb_object_agg(key, after) FILTER (WHERE after IS NOT NULL), '{}')
    || CASE WHEN bool_or(after IS NULL)
        THEN jsonb_build_object('absent', jsonb_agg(key) FILTER (WHERE after IS NULL)) ELSE '{}' END
    AS payload
    FROM changed HAVING count(*) > 0
    UNION ALL
    SELECT 2, 1, 'coverage.delta', jsonb_build_object('from', was, 'to', now) FROM (
        SELECT CASE WHEN jsonb_typeof(before -> 'score') = 'number' THEN before -> 'score' END AS was, CASE WHEN
            jsonb_typeof(after -> 'score') = 'number' THEN after -> 'score' END AS now
        FROM changed WHERE key = 'coverage'
    ) score WHERE was IS DISTINCT FROM now
    UNION ALL
    SELECT 3, position, CASE WHEN resolves THEN 'conflict.resolved' ELSE 'conflict.found' END, entry
    FROM changed CROSS JOIN LATERAL (
        SELECT entry, position, known.unresolved IS NOT NULL AS resolves
        FROM jsonb_array_elements(CASE coalesce(jsonb_typeof(after), 'null')
                WHEN 'array' THEN after WHEN 'null' THEN '[]' ELSE jsonb_build_array(after) END) WITH ORDINALITY item
                    (entry, position)
        LEFT JOIN (
            SELECT DISTINCT CASE jsonb_typeof(earlier) WHEN 'object' THEN earlier - 'resolved' END AS unresolved
            FROM jsonb_array_elements(CASE coalesce(jsonb_typeof(before), 'null')
                    WHEN 'array' THEN before WHEN 'null' THEN '[]' ELSE jsonb_build_array(before) END) earlier
        ) known ON known.unresolved = CASE WHEN entry -> 'resolved' <> 'null' THEN CASE jsonb_typeof(entry) WHEN
            'object' THEN entry - 'resolved' END END
        WHERE NOT EXISTS (
            SELECT FROM jsonb_array_elements(CASE coalesce(jsonb_typeof(before), 'null')
                    WHEN 'array' THEN before WHEN 'null' THEN '[]' ELSE jsonb_build_array(before) END) earlier WHERE
                        earlier = entry)) item WHERE key = 'conflictLog'
    UNION ALL
    SELECT 4, position, 'eligibility.flag', entry
    FROM changed CROSS JOIN LATERAL (
        SELECT entry, position
        FROM jsonb_array_elements(CASE coalesce(jsonb_typeof(after), 'null')
                WHEN 'array' THEN after
                WHEN 'null' THEN '[]'
                ELSE CASE WHEN jsonb_typeof(after) = 'object' AND jsonb_typeof(after -> 'items') = 'array'
                    THEN after -> 'items' ELSE jsonb_build_array(after) END
        END) WITH ORDINALITY item (entry, position)
        WHERE NOT EXISTS (
            SELECT FROM jsonb_array_elements(CASE coalesce(jsonb_typeof(before), 'null')
                    WHEN 'array' THEN before
                    WHEN 'null' THEN '[]'
                    ELSE CASE WHEN jsonb_typeof(before) = 'object' AND jsonb_typeof(before -> 'items') = 'array'
                        THEN before -> 'items' ELSE jsonb_build_array(before) END
            END) earlier WHERE earlier = entry)) item WHERE key = 'eligibility'
), snapshot AS (
    UPDATE "AgentWorkflowRun" run SET snapshot_at = %(at)s::timestamptz, legacy_at = CASE WHEN %(in_sync)s::boolean
        THEN %(at)s::timestamptz ELSE newest.legacy_at END,
    result = CASE jsonb_typeof(run.result) WHEN 'object' THEN run.result ELSE '{}' END || jsonb_build_object('state',
        newest.state - %(keys)s::text[] || given.state)
    FROM newest CROSS JOIN given WHERE run.id = %(run)s RETURNING 1
), written AS (
    INSERT INTO "AgentWorkflowRunEvent" (id, run_id, type, payload, created_at, parent_id)
    SELECT 'c' || lpad(to_hex((extract(epoch FROM clock_timestamp()) * 1000)::bigint), 11, '0')
    || left(replace(gen_random_uuid()::text, '-', ''), 12), %(run)s, type, payload, %(at)s::timestamptz
    + (row_number() OVER (ORDER BY part, position) - 1) * interval '1 microsecond', %(parent)s
    FROM events RETURNING 1
)
SELECT EXISTS (SELECT FROM snapshot) AND EXISTS (SELECT FROM written);

-- Write the columns beside the snapshot
UPDATE "Project" p SET "rfpNormJson" = given.state -> 'rfpNorm', "factsJson" = given.state -> 'facts', "coverageJson" =
    given.state -> 'coverage', "conflictLogJson" = given.state -> 'conflictLog', "eligibilityJson" = given.state ->
    'eligibility', "stateUpdatedAt" = %(at)s
FROM (SELECT %(given)s::jsonb AS state OFFSET 0) given WHERE p.id = %(project)s
RETURNING (p."stateUpdatedAt" = %(at)s AND CASE WHEN EXISTS (
            SELECT FROM pg_trigger WHERE tgrelid = p.tableoid AND tgtype & 19 = 19 AND tgname NOT IN
                ('zz_agentstate_state_clock', 'agentstate_freeze')
            AND (NOT tgisinternal OR tgparentid <> 0)) THEN (
            SELECT NOT (p."rfpNormJson" IS DISTINCT FROM written.state -> 'rfpNorm' OR p."factsJson" IS DISTINCT FROM
                written.state -> 'facts' OR p."coverageJson" IS DISTINCT FROM written.state -> 'coverage' OR
                p."conflictLogJson" IS DISTINCT FROM written.state -> 'conflictLog' OR p."eligibilityJson" IS DISTINCT
                FROM written.state -> 'eligibility') FROM (SELECT (SELECT result -> 'state' FROM "AgentWorkflowRun"
                WHERE id = %(run)s) AS state OFFSET 0) written
        ) ELSE true END);

-- Write the columns alone
UPDATE "Project" p SET "rfpNormJson" = given.state -> 'rfpNorm', "factsJson" = given.state -> 'facts', "coverageJson" =
    given.state -> 'coverage', "conflictLogJson" = given.state -> 'conflictLog', "eligibilityJson" = given.state ->
    'eligibility', "stateUpdatedAt" = %(at)s
FROM (SELECT %(given)s::jsonb AS state OFFSET 0) given WHERE p.id = %(project)s
RETURNING (p."stateUpdatedAt" = %(at)s AND CASE WHEN EXISTS (
            SELECT FROM pg_trigger WHERE tgrelid = p.tableoid AND tgtype & 19 = 19 AND tgname NOT IN
                ('zz_agentstate_state_clock', 'agentstate_freeze')
            AND (NOT tgisinternal OR tgparentid <> 0)) THEN (
            SELECT NOT (p."rfpNormJson" IS DISTINCT FROM written.state -> 'rfpNorm' OR p."factsJson" IS DISTINCT FROM
                written.state -> 'facts' OR p."coverageJson" IS DISTINCT FROM written.state -> 'coverage' OR
                p."conflictLogJson" IS DISTINCT FROM written.state -> 'conflictLog' OR p."eligibilityJson" IS DISTINCT
                FROM written.state -> 'eligibility') FROM (SELECT given.state AS state OFFSET 0) written
        ) ELSE true END);
