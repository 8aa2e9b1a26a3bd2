"""Whether an operator's decision not to move a project's state still applies to the state that there is now."""

from __future__ import annotations

from collections.abc import Collection

from django.db import connection

from agentstate.state.homes import CLOCK, NEWEST, PROJECTS
from agentstate.state.standing import STANDING

# The conditions and clocks below read an entry's direction, an SQL expression, beside a project p and its newest
# snapshot (see homes.py).


def state_is_left(direction: str) -> str:
    """Return the condition that a pass of a direction still has a project's state to move."""
    return f"""({STANDING}) = ANY (CASE {direction} WHEN 'forward' THEN ARRAY['legacy_ahead', 'forked']
                                  ELSE ARRAY['agentkit_ahead'] END)"""


def state_clock(direction: str) -> str:
    """Return the clock of the state that a pass of a direction moves: the columns', in reverse the snapshot's."""
    return f"(CASE {direction} WHEN 'forward' THEN {CLOCK} ELSE newest.snapshot_at END)"


# An entry that is accepted and not closed.
IS_ACCEPTED = "entry.closed_at IS NULL AND entry.accepted_at IS NOT NULL"


def is_given_up(content: str) -> str:
    """Return the condition that an operator decided not to take in some content of project p, as it is now.

    Args:
        content: compares what the entry accepted with what there is. Reads the unique index on the hashed id.
    """
    return f"""EXISTS (
        SELECT FROM "AgentStateLeftAside" entry
        WHERE md5(entry.project_id) = md5(p.id) AND entry.project_id = p.id AND entry.direction = 'forward'
          AND {IS_ACCEPTED} AND {content})"""


# The columns are not to be taken in, and have not changed since that was decided.
COLUMNS_ARE_GIVEN_UP = is_given_up(f"entry.accepted_clock = {CLOCK}")

_ACCEPTED = f"""
    SELECT p.id FROM {PROJECTS} p {NEWEST}
    WHERE p.id = ANY (%(projects)s::text[]) AND {state_is_left("'forward'")} AND {COLUMNS_ARE_GIVEN_UP}"""


def with_accepted_columns(projects: Collection[str]) -> set[str]:
    """Return those of the projects whose columns, as they are now, an operator decided not to take in."""
    if not projects:
        return set()
    with connection.cursor() as cursor:
        cursor.execute(_ACCEPTED, {"projects": list(projects)})
        return {project_id for (project_id,) in cursor.fetchall()}
