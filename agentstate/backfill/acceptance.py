"""Acceptance: an operator's decision not to move what a pass could not move.

It applies to the content at the time, which a clock or a chat's digest identifies. Later content is not given up.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import connection

from agentstate.actors import actor
from agentstate.backfill.chats import CHATS, DIGEST, UNMADE
from agentstate.backfill.counts import UNUSABLE_CLOCK
from agentstate.backfill.errors import BackfillError
from agentstate.backfill.given_up import GivenUp, given_up
from agentstate.backfill.transactions import pass_transaction
from agentstate.models import LeftAside
from agentstate.models.left_aside import EntryClosed
from agentstate.row_security import refuse_hidden_rows
from agentstate.state.acceptance import IS_ACCEPTED, state_clock, state_is_left
from agentstate.state.homes import NEWEST, PROJECTS

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from agentstate.backfill.counts import Failure
    from agentstate.backfill.options import PassOptions

SHORTEST_NOTE = 3

# The failures of a step that are what was accepted: the same error over the same content.
_SAME_CONTENT = {
    False: f"entry.accepted_clock = {state_clock('entry.direction')}",
    True: f"entry.accepted_chat = {DIGEST}",
}

# The accepted entries whose projects have nothing left to move but what was given up. Once the columns are dropped, no
# snapshot is left to move into them, whatever is saved.
_VALID = f"""
    SELECT entry.id FROM "AgentStateLeftAside" entry
    LEFT JOIN LATERAL (
        SELECT {state_clock("entry.direction")} AS clock FROM {PROJECTS} p {NEWEST}
        WHERE p.id = entry.project_id AND {state_is_left("entry.direction")}
          AND (p.has_columns OR entry.direction = 'forward')
    ) state ON true
    LEFT JOIN LATERAL (
        SELECT {DIGEST} AS digest FROM {CHATS}
        WHERE p.id = entry.project_id AND entry.direction = 'forward' AND {UNMADE}
    ) chat ON true
    WHERE {IS_ACCEPTED}
        AND (entry.accepted_clock <> state.clock) IS NOT TRUE AND (entry.accepted_chat <> chat.digest) IS NOT TRUE
        AND EXISTS (SELECT FROM "Project" p WHERE p.id = entry.project_id)
        AND (%(projects)s::text[] IS NULL OR entry.project_id = ANY (%(projects)s::text[]))"""


class CannotAccept(BackfillError):
    """An entry cannot be accepted. The text says why, and what to do."""


def accept(
    entry: LeftAside, note: str, *, by: str = "", version: str | None = None, seen: int | None = None
) -> GivenUp:
    """Record the decision not to move a project as it is now, and return what is given up.

    Args:
        entry: of the project.
        note: why.
        by: who decided; by default the current actor.
        version: of the content that the operator saw, see :attr:`GivenUp.version`.
        seen: how many decisions they saw that the entry had.

    Raises:
        CannotAccept: the note is too short, nothing is left to move, the content has changed, or the entry has a
            decision that was not seen.
        RowsHidden: row-level security hides rows from this role.
    """
    note, by = _storable(note), _storable(by) or actor()
    if len(note) < SHORTEST_NOTE:
        raise CannotAccept(f"The note must say why, in at least {SHORTEST_NOTE} characters.")
    if entry.closed_at:
        raise CannotAccept(f"Entry {entry.pk} is closed: its project was moved, or nothing was left to move.")
    if entry.error_class == UNUSABLE_CLOCK:
        raise CannotAccept(f"Entry {entry.pk} is about a clock: correct it, as the error says, and retry.")
    refuse_hidden_rows()
    found = given_up(entry)
    if found.is_nothing:
        raise CannotAccept(f"Of the project of entry {entry.pk} nothing is left to move: a retry closes the entry.")
    if version not in (None, found.version):
        raise CannotAccept(f"The project of entry {entry.pk} has changed meanwhile. Check again what is given up.")
    clock = found.state.clock if found.state else None
    try:
        with pass_transaction():
            entry.accept(note, by, clock=clock, chat=found.chat.digest if found.chat else None, seen=seen)
    except EntryClosed:
        raise CannotAccept(_what_came_first(entry)) from None
    return found


def _what_came_first(entry: LeftAside) -> str:
    entry.refresh_from_db()
    if entry.closed_at:
        return f"Entry {entry.pk} was closed meanwhile: its project was moved."
    return (
        f"Entry {entry.pk} was accepted or retried after the page was shown. Nothing was recorded. Its decisions are "
        "on its page."
    )


def still_accepted(
    options: PassOptions, failures: Sequence[Failure], *, of_chats: bool, lock: bool = False
) -> set[str]:
    """Return the projects whose failure was accepted: the same error over the same content.

    A forced restore or ``prefer`` asks for exactly these projects, so there every failure is reported.

    Args:
        options: of the pass.
        failures: of one of its steps.
        of_chats: that step moves chats, not states.
        lock: block other decisions until the end of the transaction.
    """
    if options.force or options.prefer:
        return set()
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            SELECT entry.project_id
            FROM "AgentStateLeftAside" entry JOIN "Project" p ON p.id = entry.project_id {NEWEST}
            JOIN unnest(%(projects)s::text[], %(classes)s::text[]) failure (project, class)
                ON failure.project = entry.project_id AND failure.class = entry.error_class
            WHERE {IS_ACCEPTED} AND entry.direction = %(direction)s AND {_SAME_CONTENT[of_chats]}
            {"FOR NO KEY UPDATE OF entry" if lock else ""}
            """,
            {
                "direction": options.direction,
                "projects": [failure.project for failure in failures],
                "classes": [failure.error_class for failure in failures],
            },
        )
        return {project_id for (project_id,) in cursor.fetchall()}


def valid_acceptances(projects: Sequence[str] = ()) -> set[int]:
    """Return the ids of accepted entries whose projects have not changed since, of all projects or of the named."""
    with connection.cursor() as cursor:
        cursor.execute(_VALID, {"projects": list(projects) or None})
        return {entry_id for (entry_id,) in cursor.fetchall()}


def status_of(entry: LeftAside, valid: Collection[int]) -> str:
    """Return an entry's status: ``open``, ``accepted``, ``closed``, or ``outdated`` if the project has changed since.

    Args:
        valid: the ids that :func:`valid_acceptances` returned.
    """
    return "outdated" if entry.status == "accepted" and entry.pk not in valid else entry.status


def _storable(text: str) -> str:
    """Return a text without surrounding spaces.

    Raises:
        CannotAccept: it has characters that the database does not take.
    """
    if "\0" in text or any("\ud800" <= character <= "\udfff" for character in text):
        raise CannotAccept("The note or the name has characters that cannot be stored. Remove them.")
    return text.strip()
