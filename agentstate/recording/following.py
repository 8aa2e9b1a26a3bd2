"""Follow a run: has it changed, and which events come after a position?

Below the live page of the admin, the download of a run and the stream of the HTTP API.

A position is an event's time in microseconds since 1970. Following by time loses nothing, because a writer locks the
run's row, takes a time after all events of the run, and keeps the lock until it commits (``events.py``, ``save`` and
the status verbs). So the events of a run become visible in the order of their times, however long a transaction
stays open, and a run that is seen to have ended is seen with all its events. This holds for every writer that locks
the run's row before it chooses the time. It does not hold for foreign SQL that inserts without the lock, nor for a
repeatable read transaction of the caller's, which chooses the time by an old view of the run.

A heartbeat is moved to the run's end each time, so one that has been seen can come again with the same id.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

from django.db import connection

from agentstate.distant_times import distant_times
from agentstate.models.fields import possible_id

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)

# One read returns up to this many events, and about this many stored bytes; at least one event if there is one.
MOST_EVENTS, MOST_BYTES = 1_000, 1_000_000

# A text that changes whenever the status of a row `run` changes, or its last event.
PULSE = """concat_ws('-', run.status, (
        SELECT concat_ws('-', created_at, id) FROM "AgentWorkflowRunEvent"
        WHERE run_id = run.id ORDER BY created_at DESC LIMIT 1))"""

# One statement has one view of the rows: a status, and the events that were there with it.
_READ = f"""
    SELECT run.status, {PULSE}, event.found, event.id, event.type, event.created_at, event.payload::text,
        event.parent_id
    FROM "AgentWorkflowRun" run LEFT JOIN LATERAL (
        SELECT *, count(*) OVER () AS found,
            sum(pg_column_size(payload)) OVER (ORDER BY created_at) - pg_column_size(payload) AS before
        FROM (
            SELECT id, type, created_at, payload, parent_id FROM "AgentWorkflowRunEvent"
            WHERE run_id = run.id AND (%(after)s::timestamptz IS NULL OR created_at > %(after)s)
              AND (%(until)s::timestamptz IS NULL OR created_at <= %(until)s)
              AND (%(types)s::text[] IS NULL OR type = ANY (%(types)s))
            ORDER BY created_at LIMIT %(limit)s
        ) batch
    ) event ON event.before < {MOST_BYTES}
    WHERE run.id = %(run)s ORDER BY event.created_at"""


class StoredEvent(NamedTuple):
    """An event as it is stored; ``payload`` is JSON text with every digit, ``parent`` the enclosing event's id."""

    id: str
    type: str
    at: datetime
    payload: str
    parent: str | None = None

    @property
    def place(self) -> int:
        """The event's position in its run."""
        return place_of(self.at)


class NewEvents(NamedTuple):
    """The events after a position, as one view of the run has them.

    Attributes:
        events: the first of them, in order.
        status: the run's status.
        pulse: the run's pulse, see :func:`pulses_of`.
        is_all: whether no further event matches. False also where the last one fills the limit.
    """

    events: list[StoredEvent]
    status: str
    pulse: str
    is_all: bool

    @property
    def has_ended(self) -> bool:
        """Whether the run has ended. Only one that was closed as stale can still get events."""
        return self.status not in ("pending", "running")


def place_of(moment: datetime) -> int:
    """Return a moment in microseconds since 1970."""
    return (moment - EPOCH) // MICROSECOND


# The last position that Python's datetime holds.
LAST_PLACE = place_of(datetime.max.replace(tzinfo=UTC))


def moment_of(place: int) -> datetime:
    """Return the moment that many microseconds after 1970.

    Raises:
        OverflowError: no calendar has it.
    """
    return EPOCH + timedelta(microseconds=place)


def events_after(
    run_id: str,
    after: datetime | None = None,
    *,
    until: datetime | None = None,
    types: Sequence[str] | None = None,
    limit: int = MOST_EVENTS,
) -> NewEvents | None:
    """Return the first events of a run after a moment, or of all; None if no run has this id.

    Args:
        until: the last moment to read.
        types: the types to read; by default all.
        limit: how many events to read at most.
    """
    parameters = {
        "run": possible_id(run_id),
        "after": after,
        "until": until,
        "types": None if types is None else [type_ for type_ in types if possible_id(type_) is not None],
        "limit": limit,
    }
    with distant_times(), connection.cursor() as cursor:
        cursor.execute(_READ, parameters)
        rows = cursor.fetchall()
    if not rows:
        return None
    status, pulse, found = rows[0][:3]
    events = [StoredEvent(*row[3:]) for row in rows if row[3] is not None]
    return NewEvents(events, status, pulse, is_all=len(events) == (found or 0) < limit)


def pulses_of(run_ids: Collection[str]) -> dict[str, str]:
    """Return of each run a text that changes whenever its status or its last event changes. A deleted run has none."""
    with connection.cursor() as cursor:
        cursor.execute(f'SELECT id, {PULSE} FROM "AgentWorkflowRun" run WHERE id = ANY (%s)', [list(run_ids)])
        return dict(cursor.fetchall())
