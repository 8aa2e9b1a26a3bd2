"""The other half of a tool call: where the end of a page splits it, and where a search picked one half."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db import connection

from agentstate.admin.shared.time_limit import TookTooLong, time_limit

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from agentstate.admin.run.timeline.events import Event

_OTHERS = {"tool.invocation": ("tool.result", ">", "ASC"), "tool.result": ("tool.invocation", "<", "DESC")}

# Of the calls that a search picked, the other halves are looked for among so many events beside each, for so long.
NEAR, SECONDS = 500, 0.5
_NEAR_HALVES = f"""
    SELECT other.created_at FROM unnest(%(moments)s::timestamptz[], %(calls)s::text[]) picked (at, call)
    CROSS JOIN LATERAL (
        SELECT created_at FROM (
            SELECT type, payload, created_at FROM "AgentWorkflowRunEvent"
            WHERE run_id = %(run)s AND created_at {{comparison}} picked.at
            ORDER BY created_at {{direction}} LIMIT {NEAR}
        ) near
        WHERE type = %(type)s AND payload ->> 'call_id' = picked.call
        ORDER BY created_at {{direction}} LIMIT 1
    ) other"""


def missing_halves(run_id: str, events: Iterable[Event]) -> list[datetime]:
    """Return the moments of the halves that tool calls among these events lack.

    A half that is far away, or not found in time, is left out; its row links to it.
    """
    single: dict[str, tuple[str, datetime]] = {}
    for event in events:
        call = event.call_id
        if call and single.get(call, ("",))[0] == "tool.invocation" and event.type == "tool.result":
            del single[call]
        elif call:
            single[call] = (event.type, event.at)
    moments: list[datetime] = []
    for half, (other, comparison, direction) in _OTHERS.items():
        calls = {call: at for call, (type_, at) in single.items() if type_ == half}
        if calls:
            query = _NEAR_HALVES.format(comparison=comparison, direction=direction)
            parameters: dict[str, Any] = {
                "run": run_id,
                "type": other,
                "calls": list(calls),
                "moments": list(calls.values()),
            }
            try:
                with time_limit(SECONDS) as cursor:
                    cursor.execute(query, parameters)
                    moments += [at for (at,) in cursor.fetchall()]
            except TookTooLong:
                continue
    return moments


def other_half(run_id: str, event_id: str, seconds: float = 2.0) -> str | None:
    """Return the id of the event that belongs to a tool's invocation or result.

    None where there is none, or none was found in that time.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT type, created_at, payload ->> 'call_id' FROM "AgentWorkflowRunEvent" WHERE id = %s AND run_id = %s
            """,
            [event_id, run_id],
        )
        found = cursor.fetchone()
    if found is None or found[0] not in _OTHERS:
        return None
    other, comparison, direction = _OTHERS[found[0]]
    try:
        with time_limit(seconds) as cursor:
            cursor.execute(
                f"""
                SELECT id FROM "AgentWorkflowRunEvent"
                WHERE run_id = %s AND created_at {comparison} %s AND type = %s AND payload ->> 'call_id' = %s
                ORDER BY created_at {direction} LIMIT 1
                """,
                [run_id, found[1], other, found[2]],
            )
            row = cursor.fetchone()
    except TookTooLong:
        return None
    return str(row[0]) if row else None
