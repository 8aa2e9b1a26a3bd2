"""Transcripts: append to them, take from their end, and read them.

Each function is one round trip. Those that change a transcript lock the session's row, so concurrent writers lose no
entry and entries of one call stay together.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from agentstate.isolation import one_round
from agentstate.models.fields import possible_id
from agentstate.sessions.entries import (
    BOUND,
    LOCK,
    MOST_ENTRIES,
    TOTAL,
    Entry,
    forget,
    id_of,
    parsed,
    read,
    window,
    written,
)
from agentstate.sessions.errors import SessionNotFound
from agentstate.state.homes import next_clock

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from agentstate.models import AgentSession

# The backfill overwrites a session of the legacy chat only while updated_at equals created_at.
TOUCHED = f"updated_at = {next_clock('updated_at', 'created_at')}"

_HAS_ROOM = f"(further = 0 AND pg_column_size(transcript_json) < {BOUND})"


def _with_time(element: str, moment: str) -> str:
    at = f"""to_char({moment} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')"""
    return f"jsonb_build_object('at', {at}) || {element}"


# A CASE that returns the column itself keeps its stored value: nothing of it is read or written.
_EXTEND = f"""
    WITH given AS MATERIALIZED (
        SELECT element ->> 0 AS item_id, element -> 1 AS entry, ordinality
        FROM jsonb_array_elements(%(entries)s::jsonb) WITH ORDINALITY part (element, ordinality)
    ), session AS (
        UPDATE "AgentSession" SET
            transcript_json = CASE WHEN {_HAS_ROOM}
                THEN transcript_json || (
                    SELECT jsonb_agg({_with_time("entry", "clock_timestamp()")} ORDER BY ordinality) FROM given)
                ELSE transcript_json END,
            further = CASE WHEN {_HAS_ROOM} THEN 0
                WHEN further = 0 THEN jsonb_array_length(transcript_json) + %(count)s
                ELSE further + %(count)s END,
            {TOUCHED}
        WHERE id = %(session)s RETURNING id, transcript_json, further, updated_at
    ), rows AS (
        INSERT INTO "AgentSessionEntry" (session_id, number, item_id, entry)
        SELECT id, further - %(count)s + ordinality, item_id, {_with_time("entry", "updated_at")}
        FROM session, given WHERE further > 0
    )
    SELECT {TOTAL} FROM session"""

_KEEPS_ARRAY = """(further > 0 AND (further <= {length} OR EXISTS (
    SELECT FROM "AgentSessionEntry" entry WHERE entry.session_id = session.id AND entry.number = {length})))"""


def _cut_to(length: str) -> str:
    """Return the SQL that cuts the session to so many entries, and shows the row as it was before."""
    keeps_array = _KEEPS_ARRAY.format(length=length)
    return f"""
    {LOCK};
    WITH rows AS (
        DELETE FROM "AgentSessionEntry" entry USING "AgentSession" session
        WHERE session.id = %(session)s AND session_id = session.id AND number > {length}
    ), cut AS (
        UPDATE "AgentSession" session SET
            transcript_json = CASE WHEN {keeps_array} THEN transcript_json
                ELSE jsonb_path_query_array(transcript_json, format('$[0 to %%s]', {length} - 1)::jsonpath) END,
            further = CASE WHEN {keeps_array} THEN least(further, {length}) ELSE 0 END,
            {TOUCHED}
        WHERE id = %(session)s
    )
    SELECT {{shown}} FROM "AgentSession" session WHERE id = %(session)s"""


_TRUNCATE = _cut_to("%(length)s").format(shown="true")
_LAST = """coalesce(
    (SELECT entry FROM "AgentSessionEntry" WHERE session_id = session.id AND number = session.further),
    session.transcript_json -> -1)::text"""
_POP = _cut_to(f"greatest({TOTAL} - 1, 0)").format(shown=_LAST)

_LENGTH = f'SELECT {TOTAL} FROM "AgentSession" session WHERE id = %(session)s'
_READ = window(f"SELECT 1 AS first, {MOST_ENTRIES} AS last")
_READ_LAST = window(f"SELECT greatest({TOTAL} - %(limit)s::int, 0) + 1 AS first, {MOST_ENTRIES} AS last")


def append(session: AgentSession | str, role: str, content: object, at: datetime | None = None) -> int:
    """Add an entry to a session's transcript, and return the number of its entries; see :func:`extend`.

    Args:
        content: text or JSON; what PostgreSQL refuses is marked, see :mod:`agentstate.recording.storable`.
        at: the entry's time, aware; now by default.
    """
    return extend(session, [{"role": role, "content": content, "at": at}])


def extend(
    session: AgentSession | str,
    entries: Sequence[Entry | Mapping[str, Any]],
    *,
    item_ids: Sequence[str | None] | None = None,
) -> int:
    """Add entries to a session's transcript in one statement, and return the number of all its entries.

    It costs the same at any length. Concurrent writers lose no entry, and these stay together. An ``AgentSession``
    that is given reads its transcript again on the next access.

    Args:
        item_ids: an id for each entry, or None for one that is not looked for; see :mod:`agentstate.sessions.items`,
            whose :func:`~agentstate.sessions.items.put` also replaces.

    Raises:
        SessionNotFound: no session has this id.
        ValueError: an entry has other keys than ``role``, ``content`` and ``at``, ``at`` is naive, or the ``id`` of an
            entry's content is not its item id.
    """
    session_id = id_of(session)
    ids = [None] * len(entries) if item_ids is None else item_ids
    given = [f"[{json.dumps(item_id)},{written(entry, item_id)}]" for entry, item_id in zip(entries, ids, strict=True)]
    if not given:
        return length(session)
    parameters = {"session": possible_id(session_id), "entries": f"[{','.join(given)}]", "count": len(given)}
    total = _only_value(_EXTEND, session_id, parameters)
    forget(session)
    return int(total)


def pop(session: AgentSession | str, *, as_given: bool = False) -> Any:
    """Remove the last entry of a session's transcript, and return it; None where there is none.

    Args:
        as_given: see :func:`transcript`.

    Raises:
        SessionNotFound: no session has this id.
    """
    text = _changed(_POP, session)
    return None if text is None else parsed(text, as_given)


def truncate(session: AgentSession | str, length: int) -> None:
    """Remove the entries after the first so many. A transcript that has no more is left as it is.

    Raises:
        SessionNotFound: no session has this id.
        ValueError: the length is negative.
    """
    if length < 0:
        raise ValueError(f"The length is {length}, and must be at least 0.")
    _changed(_TRUNCATE, session, length=min(length, MOST_ENTRIES))


def clear(session: AgentSession | str) -> None:
    """Remove all entries of a session's transcript.

    Raises:
        SessionNotFound: no session has this id.
    """
    truncate(session, 0)


def length(session: AgentSession | str) -> int:
    """Return the number of a session's entries.

    Raises:
        SessionNotFound: no session has this id.
    """
    session_id = id_of(session)
    return int(_only_value(_LENGTH, session_id, {"session": possible_id(session_id)}))


def transcript(session: AgentSession | str, limit: int | None = None, *, as_given: bool = False) -> list[Any]:
    """Return a session's entries in order, each ``{"role", "content", "at"}``.

    Args:
        limit: return only this many, the last ones; the database sends no others.
        as_given: undo the marks of what PostgreSQL refused, and parse numbers as ``json`` does, for what compares
            content with what it gave. Else marks stay, and numbers keep their digits.

    Raises:
        SessionNotFound: no session has this id.
        ValueError: the limit is negative.
    """
    if limit is not None and limit < 0:
        raise ValueError(f"The limit is {limit}, and must be at least 0.")
    if limit is None:
        return read(_READ, id_of(session), as_given) or []
    return read(_READ_LAST, id_of(session), as_given, limit=min(limit, MOST_ENTRIES)) or []


def _changed(statements: str, session: AgentSession | str, **parameters: int) -> Any:
    session_id = id_of(session)
    value = _only_value(statements, session_id, {"session": possible_id(session_id), **parameters})
    forget(session)
    return value


def _only_value(statements: str, session_id: str, parameters: Mapping[str, Any]) -> Any:
    row = one_round(statements, parameters)
    if row is None:
        raise SessionNotFound(session_id)
    return row[0]
