"""History: a project's state at a moment, and the moments at which it changed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from django.db import connection

from agentstate.models.fields import possible_id
from agentstate.models.projects import Project
from agentstate.state.documents import ABSENT, decode
from agentstate.state.homes import readable
from agentstate.state.keys import STATE_KEYS
from agentstate.state.loading import Documents
from agentstate.state.missing import missing
from agentstate.state.replay import state_at

AT = f"""
    SELECT past.state::text, {readable("past.at")}, past.run_id FROM "Project" p
    LEFT JOIN LATERAL {state_at("%(moment)s::timestamptz")} past ON true WHERE p.id = %(project)s"""

# A state that a run saved before it saved again may also be in a legacy snapshot at the same clock value. The run is
# the one that saved it: ``place`` sorts it first.
SAVES = f"""(
    SELECT {readable("event.created_at")} AS at, run.id AS run_id, run.workflow_id, event.id AS event_id, 1 AS place
    FROM "AgentWorkflowRun" run JOIN "AgentWorkflowRunEvent" event ON event.run_id = run.id
    WHERE run.project_id = %(project)s AND event.type = 'state.changed'
    UNION ALL
    SELECT {readable("snapshot_at")}, id, workflow_id, NULL, 2 FROM "AgentWorkflowRun"
    WHERE project_id = %(project)s AND snapshot_at IS NOT NULL
)"""

HISTORY = f"SELECT DISTINCT ON (at) at, run_id, workflow_id FROM {SAVES} saved ORDER BY at, place"
_PART = f"""
    SELECT DISTINCT ON (at) at, run_id, workflow_id FROM {SAVES} saved
    WHERE %(after)s::timestamptz IS NULL OR at > %(after)s ORDER BY at, place LIMIT %(limit)s"""


# The chosen moment: the one with the given number, or the newest one until the given time.
_AROUND = f"""
    WITH moments AS MATERIALIZED (
        SELECT row_number() OVER (ORDER BY at) AS number, count(*) OVER () AS total, at, run_id, workflow_id
        FROM ({HISTORY}) history
    ), chosen AS (
        SELECT coalesce(
            CASE WHEN %(number)s::bigint IS NULL
                 THEN (SELECT max(number) FROM moments WHERE at <= coalesce(%(when)s::timestamptz, 'infinity'))
                 ELSE least(greatest(%(number)s::bigint, 1), (SELECT max(total) FROM moments))
            END, 1) AS number
    )
    SELECT chosen.number, moments.* FROM chosen JOIN moments
        ON moments.number BETWEEN chosen.number - %(reach)s AND chosen.number + %(reach)s
    ORDER BY moments.number"""


@dataclass(frozen=True)
class PastState(Documents):
    """A project's five documents at a moment.

    Attributes:
        as_of: when this state was saved, None if nothing had been saved yet.
        run_id: the run that saved it.
    """

    as_of: datetime | None = None
    run_id: str | None = None


class Moment(NamedTuple):
    """A clock value at which a project's state was saved, and the run that saved it."""

    at: datetime
    run_id: str
    workflow_id: str


class HistoryWindow(NamedTuple):
    """A bounded part of a project's history around a chosen moment.

    Attributes:
        moments: each with its number in the whole history, from 1, the oldest first.
        chosen: the number of the chosen moment, 0 without a history.
        total: how many moments the whole history has.
    """

    moments: dict[int, Moment]
    chosen: int
    total: int


def require_zone(moment: datetime) -> None:
    """Raise ValueError for a naive datetime."""
    if moment.utcoffset() is None:
        raise ValueError(f"{moment!r} is naive: pass an aware datetime, such as timezone.now().")


def at(project_id: str, when: datetime) -> PastState:
    """Return a project's state at a moment, rebuilt from snapshots and ``state.changed`` events.

    The history contains saves with ``agentkit_writes`` on, and other writers' changes since a pass took them in.

    Args:
        when: an aware datetime; the clock values that :func:`history` lists are precise to the microsecond.

    Raises:
        ProjectNotFound: no project has this id.
        ProjectHidden: row-level security hides it, or no project has this id.
        ValueError: ``when`` is naive.
    """
    require_zone(when)
    with connection.cursor() as cursor:
        cursor.execute(AT, {"project": possible_id(project_id), "moment": when})
        row = cursor.fetchone()
    if row is None:
        raise missing(project_id)
    text, as_of, run_id = row
    state = decode(text) if text is not None else {}
    documents = {key.attribute: state.get(key.name, ABSENT) for key in STATE_KEYS}
    return PastState(project_id, **documents, as_of=as_of, run_id=run_id)


def history(project_id: str, *, after: datetime | None = None, limit: int | None = None) -> list[Moment]:
    """Return the moments at which a project's state was saved, the oldest first.

    Args:
        after: return only later moments.
        limit: return only so many.

    Raises:
        ProjectNotFound: no project has this id.
        ValueError: ``after`` is naive.
    """
    if after is not None:
        require_zone(after)
    if Project.objects.unknown([project_id]):
        raise missing(project_id)
    with connection.cursor() as cursor:
        cursor.execute(_PART, {"project": project_id, "after": after, "limit": limit})
        return [Moment(*row) for row in cursor.fetchall()]


def around(
    project_id: str, *, number: int | None = None, when: datetime | None = None, reach: int = 10
) -> HistoryWindow:
    """Return the moments around a chosen one. Bounded, however long the history is.

    Args:
        number: of the chosen moment, from 1; a number beyond an end chooses the moment at that end.
        when: chooses the newest moment until then, or the oldest of all. Without either the newest is chosen.
        reach: how many moments before and after it to return.

    Raises:
        ProjectNotFound: no project has this id.
        ValueError: ``when`` is naive.
    """
    if when is not None:
        require_zone(when)
    parameters = {"project": possible_id(project_id), "number": number, "when": when, "reach": reach}
    with connection.cursor() as cursor:
        cursor.execute(_AROUND, parameters)
        rows = cursor.fetchall()
    if not rows:
        if Project.objects.unknown([project_id]):
            raise missing(project_id)
        return HistoryWindow({}, 0, 0)
    moments = {place: Moment(*moment) for _, place, _, *moment in rows}
    return HistoryWindow(moments, chosen=rows[0][0], total=rows[0][2])
