"""The other half of a tool call that the end of a page splits."""

from __future__ import annotations

from django.db import connection

from agentstate.admin.shared.time_limit import TookTooLong, time_limit

_OTHERS = {"tool.invocation": ("tool.result", ">", "ASC"), "tool.result": ("tool.invocation", "<", "DESC")}


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
