"""The coverage score after each save."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from django.db import connection

from agentstate.models.fields import possible_id
from agentstate.state.documents import decode
from agentstate.state.history import SAVES

if TYPE_CHECKING:
    from datetime import datetime

NEWEST, LARGEST = 400, 4_000_000

# The newest saves, as long as their documents are at most so many bytes together. A save that did not change coverage
# has no score, nor does a damaged event. A score is a member of the document or, in odd ones, the document itself.
_SCORES = f"""
    WITH saved AS (
        SELECT DISTINCT ON (at) at, run_id, event_id FROM {SAVES} each ORDER BY at DESC, place LIMIT %(newest)s
    ), sized AS MATERIALIZED (
        SELECT at, event.payload, run.result,
            sum(coalesce(pg_column_size(event.payload), pg_column_size(run.result))) OVER (ORDER BY at DESC) AS size
        FROM saved
        LEFT JOIN "AgentWorkflowRunEvent" event ON event.id = saved.event_id
        LEFT JOIN "AgentWorkflowRun" run ON run.id = saved.run_id AND saved.event_id IS NULL
    ), saves AS MATERIALIZED (
        SELECT at, payload IS NULL
                OR (jsonb_typeof(payload) = 'object' AND payload ?| '{{coverage}}')
                OR (jsonb_typeof(payload -> 'absent') = 'array' AND payload -> 'absent' ? 'coverage') AS has_coverage,
            coalesce(payload, result -> 'state') -> 'coverage' AS coverage
        FROM sized WHERE size <= %(largest)s
    ), scored AS MATERIALIZED (
        SELECT at, CASE jsonb_typeof(coverage) WHEN 'object' THEN coverage -> 'score' ELSE coverage END AS score
        FROM saves WHERE has_coverage
    )
    SELECT at, CASE WHEN jsonb_typeof(score) IN ('number', 'string') AND pg_column_size(score) < 200
                    THEN score::text END
    FROM scored ORDER BY at"""


class SavedScore(NamedTuple):
    """When coverage was saved, and its score: a number, a text, or None for anything else."""

    at: datetime
    score: Any


def scores(project_id: str, newest: int = NEWEST) -> list[SavedScore]:
    """Return the scores after the newest saves, the oldest first. Bounded in number and in bytes read."""
    with connection.cursor() as cursor:
        cursor.execute(_SCORES, {"project": possible_id(project_id), "newest": newest, "largest": LARGEST})
        return [SavedScore(at, decode(text) if text else None) for at, text in cursor.fetchall()]
