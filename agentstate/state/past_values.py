"""What a project's saves wrote: the value at a path of a document after each, and whole documents."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from django.db import connection

from agentstate.models.fields import possible_id
from agentstate.state.history import SAVES
from agentstate.state.homes import CLOCK, PROJECTS, readable
from agentstate.state.keys import STATE_KEYS
from agentstate.state.replay import state_at

if TYPE_CHECKING:
    from datetime import datetime

# How many bytes of one value are returned as text.
LONGEST = 100_000


class SavedValue(NamedTuple):
    """A value as a run saved it.

    Attributes:
        text: its JSON text, cut to the length asked for; None where it is absent.
        digest: equal for values that jsonb calls equal, None where it is absent.
        size: the characters of its whole text.
    """

    at: datetime
    run_id: str
    workflow_id: str
    text: str | None
    digest: int | None
    size: int | None


# The newest saves until a moment: of those that wrote the document, the value at a path. An event has the documents
# that its save changed, and names those that it removed.
_AT_PATH = f"""
    WITH saved AS MATERIALIZED (
        SELECT DISTINCT ON (at) at, run_id, workflow_id, event_id FROM {SAVES} each
        WHERE %(until)s::timestamptz IS NULL OR at <= %(until)s ORDER BY at DESC, place LIMIT %(limit)s
    )
    SELECT at, run_id, workflow_id, left(text, %(longest)s), digest, length(text), writes
    FROM (
        SELECT *, value::text AS text, jsonb_hash_extended(value, 0) AS digest FROM (
            SELECT at, run_id, workflow_id, writes, CASE WHEN writes THEN
                jsonb_path_query_first(document -> %(key)s, %(path)s::jsonpath, '{{}}', true) END AS value
            FROM (
                SELECT saved.*, event.id IS NULL
                        OR (jsonb_typeof(event.payload) = 'object' AND event.payload ? %(key)s)
                        OR (jsonb_typeof(event.payload -> 'absent') = 'array'
                            AND event.payload -> 'absent' ? %(key)s) AS writes,
                    coalesce(event.payload, run.result -> 'state') AS document
                FROM saved LEFT JOIN "AgentWorkflowRunEvent" event ON event.id = saved.event_id
                LEFT JOIN "AgentWorkflowRun" run ON run.id = saved.run_id AND saved.event_id IS NULL
                OFFSET 0
            ) written OFFSET 0
        ) valued OFFSET 0
    ) saves ORDER BY at DESC"""


class SavedValues(NamedTuple):
    """Values of the newest saves until a moment, the newest first.

    Attributes:
        values: of the saves that wrote the document.
        looked_at: how many saves there were.
        last: when the oldest of them was, None where there were none.
    """

    values: list[SavedValue]
    looked_at: int
    last: datetime | None


def values_at_path(
    project_id: str, key: str, path: str, *, until: datetime | None, limit: int, longest: int = LONGEST
) -> SavedValues:
    """Return the value at a path of a document after each of the newest saves.

    Args:
        path: a JSON path into the document, as PostgreSQL has them.
        until: leave later saves out.
        limit: look at so many saves.
        longest: cut a value's text to so many characters.
    """
    parameters = {
        "project": possible_id(project_id),
        "key": key,
        "path": path,
        "until": until,
        "limit": limit,
        "longest": longest,
    }
    with connection.cursor() as cursor:
        cursor.execute(_AT_PATH, parameters)
        rows = cursor.fetchall()
    return SavedValues([SavedValue(*row[:6]) for row in rows if row[6]], len(rows), rows[-1][0] if rows else None)


_COLUMNS = {key.name: key.column for key in STATE_KEYS}


def column_value(project_id: str, key: str, path: str) -> tuple[datetime, str | None, int | None] | None:
    """Return the columns' clock, and the text and digest of the value at a path of a column; None without it."""
    if key not in _COLUMNS:
        return None
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            SELECT at, left(value::text, %(longest)s), jsonb_hash_extended(value, 0) FROM (
                SELECT {readable(CLOCK)} AS at,
                    jsonb_path_query_first(p."{_COLUMNS[key]}", %(path)s::jsonpath, '{{}}', true) AS value
                FROM {PROJECTS} p WHERE p.id = %(project)s AND p.has_columns OFFSET 0
            ) columns
            """,
            {"project": project_id, "path": path, "longest": LONGEST},
        )
        row: tuple[datetime, str | None, int | None] | None = cursor.fetchone()
    return row


class SavedDocument(NamedTuple):
    """A document that a save wrote; see :class:`SavedValue`. ``text`` is None for a large one, too."""

    at: datetime
    key: str
    text: str | None
    digest: int | None


_MEMBERS = "jsonb_each(CASE jsonb_typeof({0}) WHEN 'object' THEN {0} ELSE '{{}}' END)"
_TEXT = f"CASE WHEN pg_column_size(value) <= {LONGEST} THEN value::text END, jsonb_hash_extended(value, 0)"

# All documents that the saves of some moments wrote. A whole state has no document for the keys that it lacks.
_WRITTEN = f"""
    SELECT {readable("at")}, key, {_TEXT} FROM (
        SELECT saved.at, member.key, member.value
        FROM (SELECT DISTINCT ON (at) * FROM {SAVES} each WHERE at = ANY (%(moments)s) ORDER BY at, place) saved
        LEFT JOIN "AgentWorkflowRunEvent" event ON event.id = saved.event_id
        LEFT JOIN "AgentWorkflowRun" run ON run.id = saved.run_id AND saved.event_id IS NULL
        CROSS JOIN LATERAL (
            SELECT * FROM {_MEMBERS.format("event.payload - 'absent'")}
            UNION ALL
            SELECT name, NULL FROM jsonb_array_elements_text(CASE jsonb_typeof(event.payload -> 'absent')
                WHEN 'array' THEN event.payload -> 'absent' ELSE '[]' END) name
            UNION ALL
            SELECT name, run.result -> 'state' -> name FROM unnest(%(keys)s::text[]) name WHERE run.id IS NOT NULL
        ) member (key, value)
        WHERE member.key = ANY (%(keys)s)
    ) written ORDER BY at"""
_BEFORE = f"""
    SELECT past.at, key, {_TEXT} FROM "Project" p
    CROSS JOIN LATERAL {state_at("%(moment)s::timestamptz - interval '1 microsecond'")} past
    CROSS JOIN LATERAL {_MEMBERS.format("past.state")} WHERE p.id = %(project)s"""


def documents_written(project_id: str, moments: list[datetime]) -> list[SavedDocument]:
    """Return the documents that the saves of these moments wrote, the oldest first."""
    keys = [key.name for key in STATE_KEYS]
    with connection.cursor() as cursor:
        cursor.execute(_WRITTEN, {"project": possible_id(project_id), "moments": moments, "keys": keys})
        return [SavedDocument(*row) for row in cursor.fetchall()]


def documents_before(project_id: str, moment: datetime) -> list[SavedDocument]:
    """Return the documents of a project's state just before a moment."""
    with connection.cursor() as cursor:
        cursor.execute(_BEFORE, {"project": possible_id(project_id), "moment": moment})
        return [SavedDocument(*row) for row in cursor.fetchall()]


_NEWEST = f"""
    SELECT DISTINCT ON (at) at, run_id, workflow_id FROM {SAVES} saved
    WHERE (%(since)s::timestamptz IS NULL OR at >= %(since)s) AND (%(before)s::timestamptz IS NULL OR at < %(before)s)
    ORDER BY at DESC, place LIMIT %(limit)s"""


def newest_saves(
    project_id: str, *, since: datetime | None, before: datetime | None, limit: int
) -> list[tuple[datetime, str, str]]:
    """Return the newest moments of a project's history in a span, each with its run and workflow, the newest first."""
    parameters = {"project": possible_id(project_id), "since": since, "before": before, "limit": limit}
    with connection.cursor() as cursor:
        cursor.execute(_NEWEST, parameters)
        return list(cursor.fetchall())
