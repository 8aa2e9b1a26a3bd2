"""The coverage score as each save left it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from django.db import connection

from agentstate.models.fields import possible_id
from agentstate.state.documents import decode
from agentstate.state.history import SAVES

if TYPE_CHECKING:
    from datetime import datetime

NEWEST, LARGEST = 400, 4_000_000

# The newest saves: their documents are looked up one by one, as long as they are not too many bytes together. A save
# that left coverage alone says nothing, nor does an event that somebody damaged. A score is a member of the document
# or, in odd ones, the document itself.
_SCORES = f"""
    WITH saved AS (
        SELECT DISTINCT ON (at) at, run_id, event_id FROM {SAVES} each ORDER BY at DESC, place LIMIT %(newest)s
    ), sized AS MATERIALIZED (
        SELECT at, event.payload, run.result,
            sum(coalesce(pg_column_size(event.payload), pg_column_size(run.result))) OVER (ORDER BY at DESC) AS size
        FROM saved
        LEFT JOIN "AgentWorkflowRunEvent" event ON event.id = saved.event_id
        LEFT JOIN "AgentWorkflowRun" run ON run.id = saved.run_id AND saved.event_id IS NULL
    ), told AS MATERIALIZED (
        SELECT at, payload IS NULL
                OR (jsonb_typeof(payload) = 'object' AND payload ?| '{{coverage}}')
                OR (jsonb_typeof(payload -> 'absent') = 'array' AND payload -> 'absent' ? 'coverage') AS is_told,
            coalesce(payload, result -> 'state') -> 'coverage' AS coverage
        FROM sized WHERE size <= %(largest)s
    ), scored AS MATERIALIZED (
        SELECT at, CASE jsonb_typeof(coverage) WHEN 'object' THEN coverage -> 'score' ELSE coverage END AS score
        FROM told WHERE is_told
    )
    SELECT at, CASE WHEN jsonb_typeof(score) IN ('number', 'string') AND pg_column_size(score) < 200
                    THEN score::text END
    FROM scored ORDER BY at"""


class SavedScore(NamedTuple):
    """When coverage was saved, and what stood where its score is: a number, a text, or None."""

    at: datetime
    score: Any


def scores(project_id: str, newest: int = NEWEST) -> list[SavedScore]:
    """Return the scores that the newest saves left, the oldest first: at most so many, and megabytes are left out."""
    with connection.cursor() as cursor:
        cursor.execute(_SCORES, {"project": possible_id(project_id), "newest": newest, "largest": LARGEST})
        return [SavedScore(at, decode(text) if text else None) for at, text in cursor.fetchall()]
