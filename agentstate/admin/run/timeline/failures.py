"""A run's failures: how many it has, the first and the last."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.db import connection

from agentstate.models.expressions import IS_FAILURE

# Failures are counted up to this many.
CAP = 1_000

_FAILURES = f"""
    WITH failure AS NOT MATERIALIZED (
        SELECT id, created_at FROM "AgentWorkflowRunEvent" WHERE run_id = %(run)s AND {IS_FAILURE}
    )
    SELECT (SELECT count(*) FROM (SELECT created_at FROM failure LIMIT {CAP}) counted),
        first.id, first.created_at, last.id, last.created_at
    FROM (SELECT * FROM failure ORDER BY created_at LIMIT 1) first,
        (SELECT * FROM failure ORDER BY created_at DESC LIMIT 1) last"""


@dataclass(frozen=True)
class Failures:
    """The failures of a run. ``number`` ends at ``CAP``."""

    number: int
    first: str
    first_at: datetime
    last: str
    last_at: datetime

    @property
    def short(self) -> str:
        return f"{CAP:,}+" if self.number == CAP else str(self.number)

    @property
    def words(self) -> str:
        """How many there are, in words."""
        if self.number == CAP:
            return f"{CAP:,} failures or more"
        return f"{self.number} failure{'' if self.number == 1 else 's'}"


def failures_of(run_id: str) -> Failures | None:
    """Return a run's failures, None if it has none."""
    with connection.cursor() as cursor:
        cursor.execute(_FAILURES, {"run": run_id})
        row = cursor.fetchone()
    return Failures(*row) if row else None
