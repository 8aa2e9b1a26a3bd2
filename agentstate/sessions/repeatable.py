"""Extend a transcript for a client that may send the same entries twice, and read it in parts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db import connection

from agentstate.isolation import read_committed
from agentstate.models.fields import possible_id
from agentstate.sessions.entries import LOCK, MOST_ENTRIES, TOTAL, Entry, between, id_of, parsed, written
from agentstate.sessions.errors import OtherLength, SessionNotFound
from agentstate.sessions.transcripts import extend
from agentstate.state.documents import decode

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from agentstate.models import AgentSession

_ENTRIES = between("(%(after)s + 1)", "(%(after)s + %(limit)s)")
_PART = f"""
    SELECT {TOTAL}, '[' || array_to_string(
        ARRAY(SELECT entry::text FROM {_ENTRIES} part ORDER BY number), ',') || ']'
    FROM "AgentSession" session WHERE session.id = %(session)s"""


def extend_after(
    session: AgentSession | str, known: int, entries: Sequence[Entry | Mapping[str, Any]]
) -> tuple[int, bool]:
    """Add entries to a transcript of a known length. The same entries again in that place are not added.

    Returns:
        The transcript's length, and whether the entries were added now.

    Raises:
        OtherLength: the transcript has another length, and others follow in that place.
        SessionNotFound: no session has this id.
        ValueError: see :func:`~agentstate.sessions.transcripts.extend`.
    """
    with read_committed():
        with connection.cursor() as cursor:
            cursor.execute(LOCK, {"session": possible_id(id_of(session))})
        present, length = part(session, known, len(entries))
        if length == known:
            return extend(session, entries), True
        if len(present) == len(entries) and all(map(_is_same, present, entries)):
            return length, False
        raise OtherLength(id_of(session), known, length)


def part(session: AgentSession | str, after: int, limit: int) -> tuple[list[Any], int]:
    """Return up to so many entries after the first ones of a transcript, and the number of all its entries.

    Raises:
        SessionNotFound: no session has this id.
        ValueError: a number is negative.
    """
    if after < 0 or limit < 0:
        raise ValueError(f"After {after} entries, {limit} cannot be read: neither number may be negative.")
    session_id = id_of(session)
    parameters = {
        "session": possible_id(session_id),
        "after": min(after, MOST_ENTRIES),
        "limit": min(limit, MOST_ENTRIES),
    }
    with connection.cursor() as cursor:
        cursor.execute(_PART, parameters)
        row = cursor.fetchone()
    if row is None:
        raise SessionNotFound(session_id)
    length, text = row
    return parsed(text, as_given=False), length


def _is_same(present: Mapping[str, Any], given: Entry | Mapping[str, Any]) -> bool:
    """Return whether an entry was written from another. The time of one without a time may be any."""
    return present == {"at": present.get("at"), **decode(written(given))}
