"""The tree of a page's rows: what happened inside a row follows it, one level deeper."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import connection

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from agentstate.admin.run.timeline.calls import TimelineRow

# Deeper levels are shown like this one. It also ends a circle of parents, which a client may have written.
DEEPEST = 20

# The parents that are on other pages, and theirs.
_ANCESTORS = f"""
    WITH RECURSIVE ancestor AS (
        SELECT id, parent_id, 1 AS level FROM "AgentWorkflowRunEvent" WHERE run_id = %(run)s AND id = ANY (%(ids)s)
        UNION
        SELECT event.id, event.parent_id, level + 1 FROM ancestor
        JOIN "AgentWorkflowRunEvent" event ON event.id = ancestor.parent_id AND event.run_id = %(run)s
        WHERE level < {DEEPEST}
    )
    SELECT DISTINCT id, parent_id FROM ancestor"""


def as_tree(run_id: str, rows: Sequence[TimelineRow]) -> list[TimelineRow]:
    """Set the depth of each row, and return them in the order of time, but each behind its parent."""
    places = {event.id: place for place, row in enumerate(rows) for event in row.events}
    parents = [row.event.parent for row in rows]
    if not any(parents):
        return list(rows)
    elsewhere = _ancestors(run_id, sorted({parent for parent in parents if parent and parent not in places}))
    inside: dict[int, list[int]] = {}
    roots: list[int] = []
    for place, (row, parent) in enumerate(zip(rows, parents, strict=True)):
        above = places.get(parent) if parent else None
        if above is not None and above < place:
            row.depth = min(rows[above].depth + 1, DEEPEST)
            inside.setdefault(above, []).append(place)
        else:
            row.depth = _depth(parent, elsewhere)
            roots.append(place)
    found: list[TimelineRow] = []
    waiting = roots[::-1]
    while waiting:
        place = waiting.pop()
        rows[place].has_inside = place in inside
        found.append(rows[place])
        waiting += reversed(inside.get(place, []))
    return found


def _depth(parent: str | None, ancestors: Mapping[str, str | None]) -> int:
    depth = 0
    while parent is not None and parent in ancestors and depth < DEEPEST:
        parent, depth = ancestors[parent], depth + 1
    return depth


def _ancestors(run_id: str, ids: list[str]) -> dict[str, str | None]:
    if not ids:
        return {}
    with connection.cursor() as cursor:
        cursor.execute(_ANCESTORS, {"run": run_id, "ids": ids})
        return dict(cursor.fetchall())
