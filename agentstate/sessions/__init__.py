"""Open conversations of a project, and read and change their transcripts.

An entry is ``{"role", "content", "at"}``. A transcript's entries are in the array ``transcript_json`` of its row until
that is stored in 64 kB. Each further entry is a row of ``"AgentSessionEntry"``, and appending does not touch the array
any more, so it costs the same at any length. ``number`` is the entry's place in the whole transcript, and
``"AgentSession".further`` the last row's number, or 0. Entries never move between the two.

:mod:`~agentstate.sessions.transcripts` appends at the end, takes from the end and reads;
:mod:`~agentstate.sessions.items` finds, replaces and deletes entries by an id of the application's.
"""

from agentstate.sessions.entries import Entry
from agentstate.sessions.errors import ItemNotFound, OtherLength, SessionNotFound
from agentstate.sessions.items import Page, item, page, put, remove
from agentstate.sessions.opening import find, open_for
from agentstate.sessions.repeatable import extend_after, part
from agentstate.sessions.transcripts import append, clear, extend, length, pop, transcript, truncate

__all__ = [
    "Entry",
    "ItemNotFound",
    "OtherLength",
    "Page",
    "SessionNotFound",
    "append",
    "clear",
    "extend",
    "extend_after",
    "find",
    "item",
    "length",
    "open_for",
    "page",
    "part",
    "pop",
    "put",
    "remove",
    "transcript",
    "truncate",
]
