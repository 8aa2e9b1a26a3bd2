"""Entries: what is written as one, what is read back, and the SQL that finds some of a session's in both places."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NotRequired, TypedDict

from agentstate.models import AgentSession
from agentstate.models.fields import possible_id
from agentstate.recording.storable import MARK, restored, storable_members, storable_text
from agentstate.state.documents import decode
from agentstate.state.history import require_zone

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
    except (RecursionError, ValueError):  # too deep, or more digits than Python converts
        value = decode(text)
    return restored(value) if MARK in text else value


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
    """Return the SQL of the entries from one place to another, each with its number. Their order is not defined.

    The array is left where it is, if the first is a row: reading it costs more than those.
    """
    return f"""(
        SELECT ({first}) + ordinality - 1 AS number, element AS entry
        FROM jsonb_array_elements(
            CASE WHEN EXISTS (SELECT FROM "AgentSessionEntry" WHERE session_id = session.id AND number = ({first}))
                THEN '[]'
                ELSE jsonb_path_query_array(
                    session.transcript_json, format('$[%%s to %%s]', ({first}) - 1, ({last}) - 1)::jsonpath)
            END) WITH ORDINALITY part (element, ordinality)
        UNION ALL
        SELECT number, entry FROM "AgentSessionEntry"
        WHERE session_id = session.id AND number BETWEEN ({first}) AND ({last}))"""


def as_text(entries: str) -> str:
    """Return the SQL of entries in their order as the text of a JSON array: parsed once, in half jsonb_agg's time."""
    return f"""'[' || array_to_string(ARRAY(SELECT entry::text FROM {entries} part ORDER BY number), ',') || ']'"""
