"""Reverse: the columns are written from the newest snapshot."""

from __future__ import annotations

from typing import Any

from django.db.backends.utils import CursorWrapper

from agentstate.backfill.counts import Counts
from agentstate.backfill.step import Step
from agentstate.state.filling import fill_columns, preview_filling
from agentstate.state.homes import NEWEST, PROJECTS, SNAPSHOT_WEIGHT
from agentstate.state.standing import STANDING


class FillColumns(Step):
    """Writes the newest snapshot into the columns of projects that are AgentKit ahead, under their lock."""

    name = "projects"
    source = f"{PROJECTS} p {NEWEST}"
    condition = f"({STANDING}) = 'agentkit_ahead'"
    weight = SNAPSHOT_WEIGHT

    def move(self, cursor: CursorWrapper, parameters: dict[str, Any]) -> Counts:
        def move(locked: list[str]) -> tuple[Counts, list[str]]:
            written = fill_columns(cursor, locked)
            return Counts.of(written), written.refused

        return self.move_locked(cursor, parameters, move)

    def preview(self, cursor: CursorWrapper, parameters: dict[str, Any]) -> Counts:
        return Counts.of(preview_filling(cursor, self.find(cursor, parameters)))
