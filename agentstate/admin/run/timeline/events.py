"""A run's events for the timeline: of each payload only what the row shows, however large it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.db import connection

from agentstate.admin.run.timeline.markdown import TEXT_MEMBERS
from agentstate.models import AgentWorkflowRunEvent
from agentstate.recording.events import LATE
from agentstate.recording.following import place_of
from agentstate.state.documents import decode

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

# The longest payload that is read as text, the largest member that is read whole, and the beginning of longer ones.
INLINE_LENGTH = 2_000
GLIMPSED_BYTES = 1_000
CUT = 300
FIRST_MEMBERS, LARGE_BYTES = 6, 100_000
# How many stored bytes of payloads one query detoasts.
READ_BYTES = 16_000_000

# The members that summaries and the pairing of tool calls ask for, whichever others a payload has.
MEMBERS = (
    "absent",
    "agent",
    "arguments",
    "by",
    "call_id",
    "cost_usd",
    "decision",
    "duration_ms",
    "error",
    "fatal",
    "from",
    "guardrail",
    "id",
    "info",
    "input_tokens",
    "item",
    "key",
    "keys",
    "kind",
    "message",
    "model",
    "next",
    "output_tokens",
    "previous",
    "resolved",
    "score",
    "status",
    "text",
    "to",
    "tool",
    "type",
    "usage",
    LATE,
)


def _glimpse(value: str, text: str) -> str:
    """Return a jsonb expression: a value itself where it is short, else its beginning or a sign of what it is.

    Args:
        text: the value as text, which ``#>>`` would be slow at.
    """
    return f"""CASE
        WHEN pg_column_size({value}) <= {GLIMPSED_BYTES} AND length({value}::text) <= 2 * {GLIMPSED_BYTES} THEN {value}
        ELSE to_jsonb(CASE jsonb_typeof({value})
            WHEN 'array' THEN '[… ' || jsonb_array_length({value}) || ' items]'
            WHEN 'object' THEN '{{…}}'
            ELSE left({text}, {CUT}) || '…' END)
        END"""


# Extracting a member copies it. Of a large payload only MEMBERS are extracted.
_SEEN_MEMBERS = f"""
    SELECT jsonb_object_agg(left(name, 80),
        CASE WHEN value IS NULL THEN '"…"' ELSE {_glimpse("value", "doc ->> name")} END)
    FROM (
        SELECT name, CASE WHEN is_wanted OR pg_column_size(doc) <= {LARGE_BYTES} THEN doc -> name END AS value
        FROM (
            SELECT name, true AS is_wanted FROM unnest(%(members)s::text[]) name WHERE doc ? name
            UNION ALL
            SELECT name, false FROM (SELECT jsonb_object_keys(doc) AS name LIMIT {FIRST_MEMBERS}) first
            WHERE name <> ALL (%(members)s)
        ) chosen OFFSET 0
    ) member"""
_SEEN_VALUE = _glimpse("doc", "jsonb_build_array(doc) ->> 0")


def _query(condition: str, direction: str) -> str:
    """Return the query of events that meet a condition.

    ``#>`` with OFFSET 0, an optimization fence, detoasts a payload once.
    """
    return f"""
        SELECT event.id, event.parent_id, event.type, event.created_at, event.stored,
            doc.shape, doc.size, doc.seen::text, doc.text
        FROM (
            SELECT *, pg_column_size(payload) AS stored,
                sum(pg_column_size(payload)) OVER (ORDER BY created_at) AS so_far
            FROM (
                SELECT id, parent_id, type, created_at, payload FROM "AgentWorkflowRunEvent"
                WHERE run_id = %(run)s AND {condition} ORDER BY created_at {direction} LIMIT %(limit)s
            ) chosen
        ) event
        LEFT JOIN LATERAL (
            SELECT jsonb_typeof(doc) AS shape, pg_column_size(doc) AS size,
                CASE jsonb_typeof(doc) WHEN 'object' THEN ({_SEEN_MEMBERS}) ELSE {_SEEN_VALUE} END AS seen,
                CASE WHEN pg_column_size(doc) <= {INLINE_LENGTH} THEN left(doc::text, {INLINE_LENGTH} + 1) END AS text
            FROM (SELECT event.payload #> '{{}}' AS doc OFFSET 0) payload
        ) doc ON event.so_far <= {READ_BYTES}
        ORDER BY event.created_at"""


@dataclass(frozen=True)
class Event:
    """An event, and what was seen of its payload.

    Attributes:
        parent: the id of the event that it happened inside.
        size: the payload's bytes, unpacked where it was looked into.
        shape: the payload's JSON type; None where it was not looked into, since there was too much to unpack.
        seen: of an object some members, of anything else the value, each cut where it is long.
        text: the payload's JSON text, where it is short.
    """

    id: str
    parent: str | None
    type: str
    at: datetime
    size: int
    shape: str | None
    seen: Any
    text: str | None

    def get(self, name: str) -> Any:
        """Return a member of the payload, None where there is no such thing."""
        return self.seen.get(name) if self.shape == "object" and isinstance(self.seen, dict) else None

    @property
    def call_id(self) -> str:
        """The id that the two events of a tool call share; empty for other events."""
        call = self.get("call_id") if self.type in ("tool.invocation", "tool.result") else None
        return call if isinstance(call, str) else ""

    @property
    def has_texts(self) -> bool:
        """Whether it holds what a person or a model wrote."""
        if self.type == "state.changed":
            return False
        if isinstance(self.seen, dict):
            return any(self.seen.get(name) not in (None, "", {}, []) for name in TEXT_MEMBERS & self.seen.keys())
        return self.shape == "string"

    @property
    def is_late(self) -> bool:
        """Whether it came after the run had ended."""
        return self.get(LATE) is True

    @property
    def place(self) -> int:
        """Its time in microseconds since 1970, which no other event of its run has."""
        return place_of(self.at)


def events_before(run_id: str, moment: datetime | None, limit: int) -> list[Event]:
    """Return the last events before a moment, or of all, in order."""
    return _read(run_id, "true" if moment is None else "created_at < %(at)s", "DESC", limit, at=moment)


def events_after(run_id: str, moment: datetime | None, limit: int) -> list[Event]:
    """Return the first events after a moment, or of all, in order."""
    return _read(run_id, "true" if moment is None else "created_at > %(at)s", "ASC", limit, at=moment)


def events_at(run_id: str, moments: Sequence[datetime]) -> list[Event]:
    """Return the events of these moments, in order."""
    return _read(run_id, "created_at = ANY (%(moments)s)", "ASC", len(moments), moments=list(moments))


def _read(run_id: str, condition: str, direction: str, limit: int, **parameters: Any) -> list[Event]:
    with connection.cursor() as cursor:
        cursor.execute(
            _query(condition, direction),
            {"run": run_id, "limit": limit, "members": list(MEMBERS), **parameters},
        )
        return [_event(*row) for row in cursor.fetchall()]


def _event(
    event_id: str,
    parent: str | None,
    type_: str,
    at: datetime,
    stored: int,
    shape: str | None,
    size: int | None,
    seen: str | None,
    text: str | None,
) -> Event:
    short = text if text is not None and len(text) <= INLINE_LENGTH else None
    return Event(event_id, parent, type_, at, size or stored, shape, {} if seen is None else decode(seen), short)


def time_of(run_id: str, event_id: str) -> datetime | None:
    """Return when an event of this run happened, None where the run has no such event."""
    events = AgentWorkflowRunEvent.objects.filter(pk=event_id, run=run_id)
    return events.values_list("created_at", flat=True).first()


def sides_of(run_id: str, first: datetime, last: datetime) -> tuple[bool, bool]:
    """Return whether the run has events before the first moment, and after the last.

    Its ends come from the index. For EXISTS the planner may go through the table, as it expects to find one soon.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT min(created_at) < %(first)s, max(created_at) > %(last)s
            FROM "AgentWorkflowRunEvent" WHERE run_id = %(run)s
            """,
            {"run": run_id, "first": first, "last": last},
        )
        earlier, later = cursor.fetchone()
    return bool(earlier), bool(later)
