"""Restore: write an earlier state into both homes, for columns that were damaged."""

from __future__ import annotations

from typing import Any

from django.db.backends.utils import CursorWrapper

from agentstate.backfill.counts import Counts
from agentstate.backfill.options import SELECTED, PassOptions
from agentstate.backfill.step import Step
from agentstate.backfill.transactions import pass_transaction
from agentstate.state.homes import NEWEST, PROJECTS, SNAPSHOT_WEIGHT
from agentstate.state.restoring import EARLIER, NEEDS_RESTORING, preview_restoring, restore


class Restore(Step):
    """Restores projects of any standing that have an earlier state which differs from the present one."""

    name = "projects"
    source = f"{PROJECTS} p {NEWEST} CROSS JOIN LATERAL {EARLIER} earlier"
    condition = NEEDS_RESTORING
    weight = SNAPSHOT_WEIGHT

    def __init__(self, options: PassOptions) -> None:
        super().__init__(options, as_of=options.as_of)

    def move(self, cursor: CursorWrapper, parameters: dict[str, Any]) -> Counts:
        def move(locked: list[str]) -> tuple[Counts, list[str]]:
            written = restore(cursor, locked, self.options.as_of)
            return Counts.of(written), written.refused

        return self.move_locked(cursor, parameters, move)

    def preview(self, cursor: CursorWrapper, parameters: dict[str, Any]) -> Counts:
        return Counts.of(preview_restoring(cursor, self.find(cursor, parameters), self.options.as_of))


def without_earlier_state(options: PassOptions, named: int) -> tuple[int, list[str]]:
    """Return how many selected projects have no state to restore, and the first ids of them."""
    with pass_transaction() as cursor:
        cursor.execute(
            f"""
            SELECT p.id, count(*) OVER () FROM {PROJECTS} p
            WHERE {SELECTED} AND NOT EXISTS (SELECT FROM {EARLIER} earlier) ORDER BY p.id LIMIT %(named)s
            """,
            {**options.selection.parameters, "as_of": options.as_of, "named": named},
        )
        found = cursor.fetchall()
    return (found[0][1] if found else 0), [project_id for project_id, _ in found]
