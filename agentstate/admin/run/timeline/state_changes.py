"""What an event ``state.changed`` changed: the differences from the state that it found."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from django.db import connection

from agentstate.recording.following import MICROSECOND
from agentstate.state import ProjectNotFound
from agentstate.state.differences import differences
from agentstate.state.documents import ABSENT, as_text, decode
from agentstate.state.history import at
from agentstate.state.keys import STATE_KEYS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

# How many differences of an event are shown, and how much of each value. Larger payloads are not compared.
MOST, SHOWN = 100, 300
LARGEST_BYTES = 8_000_000

_EVENT = """
    SELECT run.project_id, event.created_at,
        CASE WHEN pg_column_size(event.payload) <= %(largest)s THEN event.payload::text END
    FROM "AgentWorkflowRunEvent" event JOIN "AgentWorkflowRun" run ON run.id = event.run_id
    WHERE event.id = %(event)s AND event.run_id = %(run)s AND event.type = 'state.changed'"""


class ChangedValue(NamedTuple):
    """A path that an event changed, with both values as JSON text, cut; empty where there was or is none."""

    path: str
    before: str
    after: str


class StateChanges(NamedTuple):
    """The first differences of an event. ``is_known`` is False if there is nothing to compare with."""

    values: list[ChangedValue]
    has_more: bool
    is_known: bool = True


def state_changes_of(run_id: str, event_id: str) -> StateChanges | None:
    """Return what an event changed in the state of its project; None if the run has no such event."""
    with connection.cursor() as cursor:
        cursor.execute(_EVENT, {"run": run_id, "event": event_id, "largest": LARGEST_BYTES})
        row = cursor.fetchone()
    if row is None:
        return None
    project_id, when, text = row
    payload = None if text is None else decode(text)
    if project_id is None or not isinstance(payload, dict):
        return StateChanges([], has_more=False, is_known=False)
    try:
        before = at(project_id, when - MICROSECOND)
    except ProjectNotFound:
        return StateChanges([], has_more=False, is_known=False)
    found = list(islice(_changes(before, payload), MOST + 1))
    return StateChanges(found[:MOST], has_more=len(found) > MOST)


def _changes(before: object, payload: dict[str, Any]) -> Iterator[ChangedValue]:
    absent = payload.get("absent")
    removed = absent if isinstance(absent, list) else []
    for key in STATE_KEYS:
        if key.name in payload or key.name in removed:
            after = payload.get(key.name, ABSENT)
            for difference in differences(getattr(before, key.attribute), after, key.name):
                yield ChangedValue(difference.path, _shown(difference.one), _shown(difference.other))


def _shown(value: Any) -> str:
    if value is ABSENT:
        return ""
    text = as_text(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"
