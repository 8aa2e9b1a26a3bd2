"""Chats: each legacy chat becomes a session. The step is separate because a chat has no clock."""

from __future__ import annotations

from typing import Any

from django.db.backends.utils import CursorWrapper

from agentstate.backfill.counts import Counts
from agentstate.backfill.options import IN_BATCH
from agentstate.backfill.step import Step

CHAT = "(p.meta -> 'chat')"
DIGEST = f"encode(sha256(convert_to({CHAT}::text, 'UTF8')), 'hex')"
# timestamp(3) without time zone holding UTC, brought into the years that Python reads.
_CREATED_AT = """least(greatest(p."createdAt", '0002-01-01'), '9999-01-01')"""
_CREATED = f"""to_char({_CREATED_AT}, 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')"""

# A session without a write since the pass made it has equal times: see models.AgentSession.
_UNTOUCHED = "session.updated_at = session.created_at"

# The chats beside the sessions made from them, and those whose session the pass would make or change: the chat has
# entries, and the session is missing, or untouched and made from another chat. The session is found by its project,
# since a project's id can change, and the session keeps its own. Reads the index on project_id.
CHATS = """"Project" p LEFT JOIN LATERAL (
        SELECT made.* FROM "AgentSession" made
        WHERE made.project_id = p.id AND starts_with(made.id, 'legacy_')
          AND made.metadata ->> 'source' = 'Project.meta.chat'
        ORDER BY made.id <> 'legacy_' || p.id, made.id LIMIT 1
    ) session ON true"""
UNMADE = f"""coalesce({CHAT}, 'null') NOT IN ('null', '[]', '{{}}')
    AND (session.id IS NULL OR ({_UNTOUCHED} AND session.metadata ->> 'digest' IS DISTINCT FROM {DIGEST}))"""

# What fits has a role and a content that are strings; what does not is kept as its JSON text.
_TRANSCRIPT = f"""(
    SELECT jsonb_agg(
        CASE WHEN jsonb_typeof(entry) = 'object'
                AND jsonb_typeof(entry -> 'role') = 'string' AND jsonb_typeof(entry -> 'content') = 'string'
            THEN entry ELSE jsonb_build_object('role', 'unknown', 'content', entry::text) END
        || jsonb_build_object('at', coalesce(nullif(entry -> 'at', 'null'), to_jsonb({_CREATED})))
        ORDER BY position)
    FROM jsonb_array_elements(
        CASE jsonb_typeof({CHAT}) WHEN 'array' THEN {CHAT} ELSE jsonb_build_array({CHAT}) END
    ) WITH ORDINALITY chat (entry, position))"""
# A project may have the former id of another one, whose session has kept the id made of it.
_ID = """CASE
        WHEN session.id IS NOT NULL THEN session.id
        WHEN EXISTS (SELECT FROM "AgentSession" taken WHERE taken.id = 'legacy_' || p.id OFFSET 0)
        THEN 'legacy_' || p.id || '_' || md5(p."createdAt"::text)
        ELSE 'legacy_' || p.id
    END"""
_METADATA = f"""jsonb_build_object(
    'kind', 'legacy_chat', 'source', 'Project.meta.chat', 'userId', p."userId", 'digest', {DIGEST})"""


class MakeSessions(Step):
    """Makes the sessions of legacy chats. One that has been written to is never overwritten."""

    name = "sessions"
    moves_state = False
    source = CHATS
    condition = UNMADE
    weight = "pg_column_size(p.meta)"

    def move(self, cursor: CursorWrapper, parameters: dict[str, Any]) -> Counts:
        cursor.execute(
            f"""
            INSERT INTO "AgentSession" AS session
                (id, project_id, transcript_json, metadata, created_at, updated_at)
            SELECT {_ID}, p.id, {_TRANSCRIPT}, {_METADATA},
                   {_CREATED_AT} AT TIME ZONE 'UTC', {_CREATED_AT} AT TIME ZONE 'UTC'
            FROM {self.candidates(IN_BATCH)} ORDER BY p.id LIMIT %(limit)s
            ON CONFLICT (id) DO UPDATE SET transcript_json = EXCLUDED.transcript_json, metadata = EXCLUDED.metadata
            WHERE session.project_id = EXCLUDED.project_id AND {_UNTOUCHED}
                AND session.metadata ->> 'digest' IS DISTINCT FROM EXCLUDED.metadata ->> 'digest'
            """,
            parameters,
        )
        return Counts(sessions=cursor.rowcount)

    def preview(self, cursor: CursorWrapper, parameters: dict[str, Any]) -> Counts:
        cursor.execute(
            f"""
            SELECT count(*), coalesce(sum(pg_column_size({_TRANSCRIPT}) + pg_column_size({_METADATA})), 0) FROM (
                SELECT p.* FROM {self.candidates(IN_BATCH)} ORDER BY p.id LIMIT %(limit)s
            ) p
            """,
            parameters,
        )
        sessions, size = cursor.fetchone()
        return Counts(sessions=sessions, size=int(size))
