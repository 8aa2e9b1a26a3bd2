"""Entries: what is written as one, what is read back, and the SQL that finds some of a session's in both places."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from operator import itemgetter
from typing import TYPE_CHECKING, Any, NotRequired, TypedDict

from django.db import connection

from agentstate.models import AgentSession
from agentstate.models.fields import possible_id
from agentstate.recording.storable import MARK, restored, storable_members, storable_text
from agentstate.sessions.errors import SessionNotFound
from agentstate.state.documents import decode
from agentstate.state.history import require_zone
from agentstate.state.nesting import parse

if TYPE_CHECKING:
    from collections.abc import Mapping

# The array takes no further entries once it is stored in so many bytes. Rewriting more costs more than rows do.
BOUND = 65_536
# More entries than a transcript can have, and still a valid index in a JSON path.
MOST_ENTRIES = 1_000_000_000


class Entry(TypedDict):
    """An entry to write: ``at`` is an aware time, or text that is stored as it is; now by default."""

    role: str
    content: object
    at: NotRequired[datetime | str | None]


def written(entry: Entry | Mapping[str, Any], item_id: str | None = None) -> str:
    """Return an entry as JSON text that jsonb accepts, without ``at`` if that is now.

    Raises:
        ValueError: a key is missing or superfluous, ``at`` is naive, or the content's ``id`` is not the item id, by
            which an entry of the array is found.
    """
    if not {"role", "content"} <= entry.keys() <= {"role", "content", "at"}:
        raise ValueError(f"An entry has role, content and at, not {', '.join(map(repr, entry))}.")
    content = entry["content"]
    has_id = isinstance(content, dict) and content.get("id") == item_id
    if item_id is not None and not (has_id and possible_id(item_id)):
        raise ValueError(f"The content of the item {item_id!r} does not have this id, or the id cannot be stored.")
    members: dict[str, object] = {"role": storable_text(entry["role"]), "content": content}
    if (at := entry.get("at")) is not None:
        members["at"] = storable_text(at) if isinstance(at, str) else _in_utc(at)
    return storable_members(members)


def _in_utc(moment: datetime) -> str:
    require_zone(moment)
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%fZ}"


def parsed(text: str, as_given: bool) -> Any:
    """Parse entries as JSON text.

    Args:
        as_given: undo the marks of :mod:`agentstate.recording.storable`, and parse numbers as ``json`` does; else see
            :func:`~agentstate.state.documents.decode`.
    """
    if not as_given:
        return decode(text)
    try:
        value = json.loads(text)
    except ValueError:  # more digits than Python converts
        value = _with_long_numbers(text)
    except RecursionError:
        value = parse(text, _with_long_numbers)
    return restored(value) if MARK in text else value


def _with_long_numbers(text: str) -> Any:
    return json.loads(text, parse_int=lambda digits: int(Decimal(digits)))


def id_of(session: AgentSession | str) -> str:
    return session if isinstance(session, str) else session.pk


def forget(session: AgentSession | str) -> None:
    """Let a session at hand read its transcript again on the next access."""
    if isinstance(session, AgentSession):
        for name in ("transcript_json", "further", "updated_at"):
            session.__dict__.pop(name, None)


# SQL over "AgentSession" session.

TOTAL = "(CASE WHEN session.further > 0 THEN session.further ELSE jsonb_array_length(session.transcript_json) END)"

# Lock in one statement, look in the next: a statement that waits for the lock still sees the rows from before it.
LOCK = """SELECT FROM "AgentSession" WHERE id = %(session)s FOR NO KEY UPDATE"""


def between(first: str, last: str) -> str:
    """Return the SQL of the entries from one place to another, each with its number. Their order is not defined."""
    return f"""(
        SELECT {first} + ordinality - 1 AS number, element AS entry
        FROM jsonb_array_elements({_of_array(first, last)}) WITH ORDINALITY part (element, ordinality)
        UNION ALL
        SELECT number, entry FROM "AgentSessionEntry"
        WHERE session_id = session.id AND number BETWEEN {first} AND {last})"""


def window(span: str) -> str:
    """Return the SQL that reads a window: see :func:`read`.

    Args:
        span: the SQL of a row with the places ``first`` and ``last``; no row leads to a window that is None.
    """
    return f"""
    WITH session AS MATERIALIZED (
        SELECT session.id, session.transcript_json, span.first, span.last
        FROM "AgentSession" session LEFT JOIN LATERAL ({span}) span ON true WHERE session.id = %(session)s
    )
    SELECT 0 AS number, CASE
            WHEN first = 1 AND last = {MOST_ENTRIES} THEN transcript_json
            WHEN first IS NOT NULL THEN {_of_array("first", "last")}
        END::text
    FROM session
    UNION ALL
    SELECT number, entry::text FROM "AgentSessionEntry"
    WHERE session_id = %(session)s AND number BETWEEN (SELECT first FROM session) AND (SELECT last FROM session)"""


def _of_array(first: str, last: str) -> str:
    # The array is left where it is, if the first is a row: reading it costs more than those.
    return f"""CASE WHEN EXISTS (SELECT FROM "AgentSessionEntry" WHERE session_id = session.id AND number = {first})
        THEN '[]'
        ELSE jsonb_path_query_array(
            session.transcript_json, format('$[%%s to %%s]', {first} - 1, {last} - 1)::jsonpath) END"""


def read(sql: str, session_id: str, as_given: bool, **parameters: str | int | None) -> list[Any] | None:
    """Return the entries of a window in their order, or None if there is no such window.

    They come as text and are parsed once, in half the time that jsonb_agg takes.

    Raises:
        SessionNotFound: no session has this id.
    """
    with connection.cursor() as cursor:
        cursor.execute(sql, {"session": possible_id(session_id), **parameters})
        # Sorted here, since the database would write long texts to its disk for that.
        texts = [text for _, text in sorted(cursor.fetchall(), key=itemgetter(0))]
    if not texts:
        raise SessionNotFound(session_id)
    if texts[0] is None:
        return None
    entries: list[Any] = parsed(f"[{','.join(filter(None, (texts[0][1:-1], *texts[1:])))}]", as_given)
    return entries
