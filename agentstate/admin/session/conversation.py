"""Windows of a transcript, cut by the database to what a page can hold.

An entry's number is its place, so a window costs the same anywhere in a long transcript.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from django.db import connection

from agentstate.sessions.entries import between

# The limits of a window: entries, characters of each, characters of a role or a time.
ENTRIES, CHARACTERS, LETTERS = 50, 4_000, 100

# A search looks at so many entries at first and at a time, and so long.
FIRST_STEP, LARGEST_STEP, SECONDS = 500, 5_000, 2.0

# What people read of an entry: its content's text, or that of its parts where each has one. An object is a message of
# a framework, which has a content of its own.
_TEXT = """
    LATERAL (SELECT
        CASE jsonb_typeof(entry->'content') WHEN 'object' THEN entry->'content'->'content' ELSE entry->'content' END
    ) body (parts),
    LATERAL (SELECT CASE jsonb_typeof(parts) WHEN 'string' THEN parts #>> '{}' WHEN 'array' THEN (
        SELECT string_agg(piece->>'text', E'\n' ORDER BY place)
        FROM jsonb_array_elements(parts) WITH ORDINALITY pieces (piece, place)
        HAVING bool_and(coalesce(jsonb_typeof(piece->'text') = 'string', false))) END
    ) readable (text)"""
_COLUMNS = """number, jsonb_typeof(entry->'role'), left(entry->>'role', %(letters)s),
        CASE WHEN text IS NULL THEN jsonb_typeof(entry->'content') ELSE 'string' END,
        left(coalesce(text, entry->>'content'), %(characters)s), length(coalesce(text, entry->>'content')),
        left(entry->>'at', %(letters)s), left(entry::text, %(characters)s), length(entry::text)"""
_PART = f"""
    FROM "AgentSession" session, LATERAL {between("%(first)s::int", "%(last)s::int")} part, {_TEXT}
    WHERE session.id = %(session)s"""
_ENTRIES = f"SELECT {_COLUMNS} {_PART} ORDER BY number"
# The newest of them that match. A role that is no text is shown as unknown.
_MATCHING = f"""
    SELECT {_COLUMNS} {_PART}
        AND (%(role)s = '' OR %(role)s
            = CASE jsonb_typeof(entry->'role') WHEN 'string' THEN entry->>'role' ELSE 'unknown' END)
        AND (%(q)s = '' OR strpos(lower(coalesce(text, entry->>'content')), lower(%(q)s)) > 0)
    ORDER BY number DESC LIMIT %(limit)s"""
_TIMES = f"""
    SELECT number, left(entry->>'at', {LETTERS})
    FROM "AgentSession" session, LATERAL {between("%(first)s::int", "%(last)s::int")} part
    WHERE session.id = %(session)s ORDER BY number"""
_WHOLE = f"""
    SELECT entry::text FROM "AgentSession" session, LATERAL {between("%(number)s::int", "%(number)s::int")} part
    WHERE session.id = %(session)s"""

# How much of an entry its own page shows: browsers take long over more. All of it is there as JSON.
LONG_CHARACTERS = 500_000
# More than a transcript can hold, and still a number that the database takes.
_MOST = 2**30


@dataclass(frozen=True)
class TranscriptEntry:
    """An entry of a transcript. One that is odd, without a role or content that can be read, has its JSON as content.

    ``at`` is None, or text where it is no time.
    """

    number: int
    role: str
    at: datetime | str | None
    content: str
    is_json: bool
    is_cut: bool
    raw: str
    is_raw_cut: bool


@dataclass(frozen=True)
class TranscriptWindow:
    """Some entries of a transcript, and where others begin; None where there are none."""

    entries: list[TranscriptEntry]
    first: int
    last: int
    total: int

    @property
    def earlier(self) -> int | None:
        return max(1, self.first - ENTRIES) if self.first > 1 else None

    @property
    def later(self) -> int | None:
        return self.last + 1 if self.last < self.total else None

    @property
    def latest(self) -> int:
        return max(1, self.total - ENTRIES + 1)


def number_of(text: str) -> int | None:
    """Return the number that a text is, None if it is none or of too many digits."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else None


def window_of(session_id: str, total: int, wanted: str) -> TranscriptWindow:
    """Return the entries from a number on; the newest, where the text names no number."""
    number = number_of(wanted)
    first = min(max(1, total - ENTRIES + 1 if number is None else number), max(1, total))
    last = min(first + ENTRIES - 1, total)
    return TranscriptWindow(_read(session_id, first, last, CHARACTERS) if total else [], first, last, total)


@dataclass(frozen=True)
class Matches:
    """Entries that match, the oldest first.

    Attributes:
        until: the number of the entry with which the page of older matches begins, None if there is none.
        looked_at: how many entries were looked at.
    """

    entries: list[TranscriptEntry]
    until: int | None
    looked_at: int


def find_entries(session_id: str, until: int, text: str, role: str) -> Matches:
    """Return the newest entries until a number that have a text or a role, as far as a time budget reaches."""
    found: list[TranscriptEntry] = []
    last, end, step = until, time.monotonic() + SECONDS, FIRST_STEP
    while last > 0 and len(found) < ENTRIES and time.monotonic() < end:
        first = max(1, last - step + 1)
        limit = ENTRIES - len(found)
        matches = _read(session_id, first, last, CHARACTERS, _MATCHING, role=role, q=text, limit=limit)
        found += matches
        last, step = (matches[-1].number if len(matches) == limit else first) - 1, LARGEST_STEP
    return Matches(found[::-1], last or None, until - last)


def number_at(session_id: str, total: int, moment: datetime) -> int:
    """Return the number of the first entry at a moment or later; of the last one looked at, if none is found."""
    first, end = 1, time.monotonic() + SECONDS
    while first <= total and time.monotonic() < end:
        last = min(first + LARGEST_STEP - 1, total)
        with connection.cursor() as cursor:
            cursor.execute(_TIMES, {"session": session_id, "first": first, "last": last})
            for number, text in cursor.fetchall():
                at = _moment(text)
                if isinstance(at, datetime) and at.utcoffset() is not None and at >= moment:
                    return int(number)
        first = last + 1
    return max(1, min(first, total))


def long_entry(session_id: str, number: int) -> TranscriptEntry | None:
    """Return one entry with as much as a page of its own can hold, or None where there is none of this number."""
    entries = _read(session_id, number, number, LONG_CHARACTERS) if 0 < number < _MOST else []
    return entries[0] if entries else None


def json_of_entry(session_id: str, number: int) -> str | None:
    """Return one entry as JSON text, or None where there is none of this number."""
    if not 0 < number < _MOST:
        return None
    with connection.cursor() as cursor:
        cursor.execute(_WHOLE, {"number": number, "session": session_id})
        found = cursor.fetchone()
    return found[0] if found else None


def _read(
    session_id: str, first: int, last: int, characters: int, query: str = _ENTRIES, **more: str | int
) -> list[TranscriptEntry]:
    parameters: dict[str, str | int] = {
        "session": session_id,
        "first": first,
        "last": last,
        "characters": characters,
        "letters": LETTERS,
        **more,
    }
    with connection.cursor() as cursor:
        cursor.execute(query, parameters)
        return [_entry(*row) for row in cursor.fetchall()]


def _entry(
    number: int,
    role_kind: str | None,
    role: str | None,
    kind: str | None,
    content: str | None,
    length: int | None,
    at: str | None,
    raw: str,
    raw_length: int,
) -> TranscriptEntry:
    is_raw_cut = len(raw) < raw_length
    common: dict[str, Any] = {"number": number, "at": _moment(at), "raw": raw, "is_raw_cut": is_raw_cut}
    if role_kind != "string" or content is None:
        return TranscriptEntry(role="unknown", content=raw, is_json=True, is_cut=is_raw_cut, **common)
    is_cut = len(content) < (length or 0)
    return TranscriptEntry(role=role or "unknown", content=content, is_json=kind != "string", is_cut=is_cut, **common)


def _moment(text: str | None) -> datetime | str | None:
    """Return a time with its zone, in the zone of the site, or the text as it is."""
    try:
        moment = datetime.fromisoformat(text) if text else None
        # A time zone can move a time of the first or the last year out of reach.
        is_shown = moment and moment.utcoffset() is not None and 1 < moment.year < 9999
        return moment.astimezone(UTC) if moment and is_shown else text
    except (ValueError, OverflowError):
        return text
