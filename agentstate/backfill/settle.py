"""Settle: merge forks, and take in what needs the project's lock."""

from __future__ import annotations

from typing import Any

from django.db.backends.utils import CursorWrapper

from agentstate.backfill.counts import Counts, Failure, unusable_clock
from agentstate.backfill.options import PassOptions
from agentstate.backfill.step import Step
from agentstate.models.passes import Direction
from agentstate.state.filling import fill_columns
from agentstate.state.homes import COLUMNS_WEIGHT, NEWEST, PROJECTS
from agentstate.state.merging import NEEDS_SETTLING, Settled, preview_settling, settle


class Settle(Step):
    """Settles projects under their lock. A reverse pass then writes the merged state into the columns."""

    name = "forks"
    source = f"{PROJECTS} p {NEWEST}"
    condition = NEEDS_SETTLING
    weight = COLUMNS_WEIGHT

    def __init__(self, options: PassOptions) -> None:
        super().__init__(options, prefer=options.prefer)

    def move(self, cursor: CursorWrapper, parameters: dict[str, Any]) -> Counts:
        def move(locked: list[str]) -> tuple[Counts, list[str]]:
            settled = settle(cursor, locked, self.options.prefer)
            counts, refused = _counts(settled, written=settled.kept - settled.merges), settled.refused
            if self.options.direction == Direction.REVERSE and not refused:
                written = fill_columns(cursor, locked)
                counts += Counts.of(written)
                refused = written.refused
            return counts, refused

        return self.move_locked(cursor, parameters, move)

    def preview(self, cursor: CursorWrapper, parameters: dict[str, Any]) -> Counts:
        settled = preview_settling(cursor, self.find(cursor, parameters), self.options.prefer)
        fills = self.options.direction == Direction.REVERSE
        return _counts(settled, written=settled.kept if fills else settled.kept - settled.merges)


def _counts(settled: Settled, written: int) -> Counts:
    return Counts(
        written=written,
        merged=settled.merges,
        runs=settled.kept + settled.merges,
        events=settled.events,
        size=settled.size,
        forked=settled.forked,
        failures=[_left_emptied(project_id) for project_id in sorted(settled.emptied)]
        + [unusable_clock(project_id) for project_id in sorted(settled.unusable)],
    )


def _left_emptied(project_id: str) -> Failure:
    return Failure(
        project_id,
        "Emptied",
        "All five columns became SQL NULL over a snapshot with content, which looks like damage. Restore them with "
        "manage.py reverse_backfill_agentkit_state --force --project ID, or, if they were meant to be emptied, run "
        "manage.py backfill_agentkit_state --prefer legacy --project ID.",
    )
