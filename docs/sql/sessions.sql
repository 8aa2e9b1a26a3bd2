-- Make the sessions of a batch
INSERT INTO "AgentSession" AS session
(id, project_id, transcript_json, metadata, created_at, updated_at)
SELECT CASE
    WHEN session.id IS NOT NULL THEN session.id
    WHEN EXISTS (SELECT FROM "AgentSession" taken WHERE taken.id = 'legacy_' || p.id OFFSET 0)
    THEN 'legacy_' || p.id || '_' || md5(p."createdAt"::text)
    ELSE 'legacy_' || p.id
END, p.id, (
    SELECT jsonb_agg(
        CASE WHEN jsonb_typeof(entry) = 'object'
            AND jsonb_typeof(entry -> 'role') = 'string' AND jsonb_typeof(entry -> 'content') = 'string'
            THEN entry ELSE jsonb_build_object('role', 'unknown', 'content', entry::text) END
        || jsonb_build_object('at', coalesce(nullif(entry -> 'at', 'null'),
            to_jsonb(to_char(least(greatest(p."createdAt", '0002-01-01'), '9999-01-01'),
            'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'))))
        ORDER BY position)
    FROM jsonb_array_elements(
        CASE jsonb_typeof((p.meta -> 'chat')) WHEN 'array' THEN (p.meta -> 'chat') ELSE jsonb_build_array((p.meta ->
            'chat')) END
    ) WITH ORDINALITY chat (entry, position)), jsonb_build_object(
    'kind', 'legacy_chat', 'source', 'Project.meta.chat', 'userId', p."userId", 'digest',
        encode(sha256(convert_to((p.meta -> 'chat')::text, 'UTF8')), 'hex')),
least(greatest(p."createdAt", '0002-01-01'), '9999-01-01') AT TIME ZONE 'UTC', least(greatest(p."createdAt",
    '0002-01-01'), '9999-01-01') AT TIME ZONE 'UTC'
FROM "Project" p LEFT JOIN LATERAL (
    SELECT made.* FROM "AgentSession" made
    WHERE made.project_id = p.id AND starts_with(made.id, 'legacy_')
    AND made.metadata ->> 'source' = 'Project.meta.chat'
    ORDER BY made.id <> 'legacy_' || p.id, made.id LIMIT 1
) session ON true WHERE (((%(projects)s::text[] IS NULL OR p.id = ANY (%(projects)s::text[]))
        AND (%(above)s::text IS NULL OR p.id > %(above)s::text)
        AND (%(up_to)s::text IS NULL OR p.id <= %(up_to)s::text))
    AND (%(after)s::text IS NULL OR p.id > %(after)s::text) AND p.id <= %(upto)s::text) AND (coalesce((p.meta ->
        'chat'), 'null') NOT IN ('null', '[]', '{}')
    AND (session.id IS NULL OR (session.updated_at = session.created_at AND session.metadata ->> 'digest' IS DISTINCT
        FROM encode(sha256(convert_to((p.meta -> 'chat')::text, 'UTF8')), 'hex')))) ORDER BY p.id LIMIT %(limit)s
ON CONFLICT (id) DO UPDATE SET transcript_json = EXCLUDED.transcript_json, metadata = EXCLUDED.metadata
WHERE session.project_id = EXCLUDED.project_id AND session.updated_at = session.created_at
AND session.metadata ->> 'digest' IS DISTINCT FROM EXCLUDED.metadata ->> 'digest';
