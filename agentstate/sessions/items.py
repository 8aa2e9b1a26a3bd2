"""Items: entries that an application finds again by an id of its own, as a ChatKit store does.

An entry in the array has exactly three keys, so its item id is looked for in its content, an object with this ``id``.
A row has it in ``item_id`` as well, with an index. An item id is one entry's: :func:`put` replaces that. Contents come
back as they were given.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.db import connection

from agentstate.models.fields import possible_id
from agentstate.sessions.entries import (
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
from agentstate.sessions.errors import ItemNotFound, SessionNotFound
from agentstate.sessions.transcripts import TOUCHED, extend
from agentstate.state.transactions import seeing_others

if TYPE_CHECKING:
    from collections.abc import Mapping

    from django.db.backends.utils import CursorWrapper

    from agentstate.models import AgentSession

# The entry with the item id: its place, whether it is a row, and itself. The array is read only if no row has the id.
_FOUND = """(
    SELECT number, true AS is_row, entry FROM "AgentSessionEntry"
    WHERE session_id = session.id AND item_id = %(item)s
    UNION ALL
    SELECT ordinality, false, element
    FROM jsonb_array_elements(session.transcript_json) WITH ORDINALITY part (element, ordinality)
    WHERE element -> 'content' ->> 'id' = %(item)s
    LIMIT 1)"""
_FIND = f"""
    SELECT found.number, found.is_row, found.entry::text
    FROM "AgentSession" session LEFT JOIN LATERAL {_FOUND} found ON true WHERE session.id = %(session)s"""

_REPLACE_ROW = """
    UPDATE "AgentSessionEntry" SET entry = jsonb_build_object('at', entry -> 'at') || %(entry)s::jsonb
    WHERE session_id = %(session)s AND number = %(number)s"""
_REPLACE_ELEMENT = """
    UPDATE "AgentSession" SET transcript_json = jsonb_set(transcript_json, ARRAY[(%(number)s - 1)::text],
        jsonb_build_object('at', transcript_json -> (%(number)s - 1) -> 'at') || %(entry)s::jsonb)
    WHERE id = %(session)s"""
_TOUCH = f"""UPDATE "AgentSession" SET {TOUCHED} WHERE id = %(session)s"""

_REMOVE_ROW = 'DELETE FROM "AgentSessionEntry" WHERE session_id = %(session)s AND number = %(number)s'
_REMOVE_ELEMENT = """
    UPDATE "AgentSession" SET transcript_json = transcript_json - (%(number)s - 1) WHERE id = %(session)s"""
# Two statements: a primary key is checked row by row.
_CLOSE_GAP = f"""
    UPDATE "AgentSessionEntry" SET number = -number WHERE session_id = %(session)s AND number > %(number)s;
    UPDATE "AgentSessionEntry" SET number = -number - 1 WHERE session_id = %(session)s AND number < 0;
    UPDATE "AgentSession" SET {TOUCHED}, further = coalesce((
        SELECT max(number) FROM "AgentSessionEntry" WHERE session_id = %(session)s), 0) WHERE id = %(session)s"""


_AFTER_ITEM = f"(SELECT number FROM {_FOUND} found)"
_LATER = "SELECT place + 1 AS first, place + %(count)s AS last FROM {place} place (place)"
_EARLIER = "SELECT greatest(place - %(count)s, 1) AS first, place - 1 AS last FROM {place} place (place)"
# By whether the newest come first, and whether the page begins after an item.
_PAGES = {
    (False, False): window(_LATER.format(place="(SELECT 0)")),
    (False, True): window(_LATER.format(place=_AFTER_ITEM)),
    (True, False): window(_EARLIER.format(place=f"(SELECT {TOTAL} + 1)")),
    (True, True): window(_EARLIER.format(place=_AFTER_ITEM)),
}


@dataclass(frozen=True)
class Page:
    """Some entries of a transcript in the order that was asked for, and whether others follow in it."""

    entries: list[Any]
    has_more: bool


def item(session: AgentSession | str, item_id: str) -> Any:
    """Return the entry with an item id, None where there is none.

    Raises:
        SessionNotFound: no session has this id.
    """
    with connection.cursor() as cursor:
        _, _, text = _find(cursor, session, item_id)
    return None if text is None else parsed(text, as_given=True)


def put(session: AgentSession | str, item_id: str, entry: Entry | Mapping[str, Any]) -> bool:
    """Replace the entry with an item id in its place, or append it; return whether it is new.

    A replaced entry without an ``at`` keeps the one from before.

    Raises:
        SessionNotFound: no session has this id.
        UnsuitableTransaction: the caller's transaction is repeatable read or serializable.
        ValueError: see :func:`~agentstate.sessions.transcripts.extend`.
    """
    with seeing_others("An item cannot be written"), connection.cursor() as cursor:
        number, is_row, _ = _find(cursor, session, item_id, locked=True)
        if number is None:
            extend(session, [entry], item_ids=[item_id])
            return True
        parameters: dict[str, str | int] = {
            "session": id_of(session),
            "number": number,
            "entry": written(entry, item_id),
        }
        cursor.execute(_REPLACE_ROW if is_row else _REPLACE_ELEMENT, parameters)
        cursor.execute(_TOUCH, parameters)
    forget(session)
    return False


def remove(session: AgentSession | str, item_id: str) -> bool:
    """Delete the entry with an item id, and return whether there was one.

    The entries behind it move up. In a long transcript that costs a little for each of them.

    Raises:
        SessionNotFound: no session has this id.
        UnsuitableTransaction: the caller's transaction is repeatable read or serializable.
    """
    with seeing_others("An item cannot be deleted"), connection.cursor() as cursor:
        number, is_row, _ = _find(cursor, session, item_id, locked=True)
        if number is None:
            return False
        parameters: dict[str, str | int] = {"session": id_of(session), "number": number}
        cursor.execute(_REMOVE_ROW if is_row else _REMOVE_ELEMENT, parameters)
        for statement in _CLOSE_GAP.split(";"):
            cursor.execute(statement, parameters)
    forget(session)
    return True


def page(session: AgentSession | str, limit: int, *, after: str | None = None, newest_first: bool = False) -> Page:
    """Return the entries that follow an item, or the first ones, in either order.

    Raises:
        ItemNotFound: no entry has the item id ``after``.
        SessionNotFound: no session has this id.
        ValueError: the limit is negative.
    """
    if limit < 0:
        raise ValueError(f"The limit is {limit}, and must be at least 0.")
    session_id, count = id_of(session), min(limit, MOST_ENTRIES) + 1
    sql = _PAGES[newest_first, after is not None]
    entries = read(sql, session_id, as_given=True, count=count, item=after and possible_id(after))
    if entries is None:
        raise ItemNotFound(session_id, str(after))
    return Page((entries[::-1] if newest_first else entries)[:limit], len(entries) == count)


def _find(
    cursor: CursorWrapper, session: AgentSession | str, item_id: str, *, locked: bool = False
) -> tuple[int | None, bool | None, str | None]:
    """Return an item's place, whether it is a row, and its JSON text; None where there is none."""
    session_id = id_of(session)
    parameters = {"session": possible_id(session_id), "item": possible_id(item_id)}
    if locked:
        cursor.execute(LOCK, parameters)
    cursor.execute(_FIND, parameters)
    row: tuple[int | None, bool | None, str | None] | None = cursor.fetchone()
    if row is None:
        raise SessionNotFound(session_id)
    return row
