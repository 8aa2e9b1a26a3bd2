"""Forward: the columns' content becomes a legacy snapshot."""

from __future__ import annotations

from typing import Any

from django.db.backends.utils import CursorWrapper

from agentstate.backfill.counts import Counts, Failure
from agentstate.backfill.options import IN_BATCH, PassOptions
from agentstate.backfill.step import Step
from agentstate.state.homes import CLOCK, COLUMNS_AS_STATE, COLUMNS_WEIGHT, NEWEST, PROJECTS
from agentstate.state.legacy_snapshot import events_written, run_id, snapshot_events, take_in
from agentstate.state.merging import CAN_TAKE_IN


class TakeIn(Step):
    """Takes in the columns of projects that are legacy ahead. Needs no lock: a batch is one statement."""

    name = "projects"
    source = f"{PROJECTS} p {NEWEST}"
    condition = CAN_TAKE_IN
    weight = COLUMNS_WEIGHT

    def __init__(self, options: PassOptions) -> None:
        super().__init__(options, prefer=options.prefer)

    @property
    def _ahead(self) -> str:
        return f"""(
            SELECT p.id AS project_id, {CLOCK} AS at, {COLUMNS_AS_STATE} AS state
            FROM {self.candidates(IN_BATCH)} ORDER BY p.id LIMIT %(limit)s
        ) ahead"""

    def move(self, cursor: CursorWrapper, parameters: dict[str, Any]) -> Counts:
        # If another pass wrote the snapshot first, this one skips it.
        cursor.execute(
            f"""
            WITH {take_in("snapshots", self._ahead, may_exist=True)}
            SELECT (SELECT count(*) FROM snapshots), (SELECT count(*) FROM snapshots_events)
            """,
            parameters,
        )
        runs, events = cursor.fetchone()
        return Counts(written=runs, runs=runs, events=events)

    def preview(self, cursor: CursorWrapper, parameters: dict[str, Any]) -> Counts:
        cursor.execute(
            f"""
            SELECT count(*), coalesce(sum(events.count), 0), coalesce(sum(pg_column_size(state) + events.size), 0)
            FROM {self._ahead} CROSS JOIN LATERAL {events_written(snapshot_events("ahead.state"))} events
            WHERE NOT EXISTS (
                SELECT FROM "AgentWorkflowRun" run WHERE run.id = {run_id("ahead.project_id", "ahead.at")}
            )
            """,
            parameters,
        )
        runs, events, size = cursor.fetchone()
        return Counts(written=runs, runs=runs, events=int(events), size=int(size))


class AdoptOrphans(Step):
    """Resolves id collisions: the id of a project's snapshot is already used by an orphaned run.

    That happens to a deleted project that is restored with its clock. A run with the same content becomes the
    project's again. A run with other content stays, and the project is left aside.
    """

    name = "orphaned runs"
    moves_state = False  # TakeIn has counted them
    source = f'{PROJECTS} p {NEWEST} JOIN "AgentWorkflowRun" orphan ON orphan.id = {run_id("p.id", CLOCK)}'
    condition = CAN_TAKE_IN
    weight = COLUMNS_WEIGHT

    def __init__(self, options: PassOptions) -> None:
        super().__init__(options, prefer=options.prefer)

    @property
    def _adoptable(self) -> str:
        return f"""(
            SELECT p.id AS project_id, orphan.id AS run_id,
                orphan.project_id IS NULL AND orphan.workflow_id = 'legacy_snapshot'
                AND orphan.snapshot_at = {CLOCK} AND orphan.legacy_at = {CLOCK}
                AND orphan.result -> 'state' = {COLUMNS_AS_STATE} AS same
            FROM {self.candidates(IN_BATCH)} ORDER BY p.id LIMIT %(limit)s
        )"""

    def move(self, cursor: CursorWrapper, parameters: dict[str, Any]) -> Counts:
        cursor.execute(
            f"""
            UPDATE "AgentWorkflowRun" run SET project_id = adoptable.project_id
            FROM {self._adoptable} adoptable WHERE run.id = adoptable.run_id AND adoptable.same
            """,
            parameters,
        )
        adopted = cursor.rowcount
        return Counts(written=adopted, runs=adopted, failures=self._obstructed(cursor, parameters))

    def preview(self, cursor: CursorWrapper, parameters: dict[str, Any]) -> Counts:
        cursor.execute(f"SELECT count(*) FROM {self._adoptable} adoptable WHERE same", parameters)
        (adopted,) = cursor.fetchone()
        return Counts(written=adopted, runs=adopted, failures=self._obstructed(cursor, parameters))

    def _obstructed(self, cursor: CursorWrapper, parameters: dict[str, Any]) -> list[Failure]:
        cursor.execute(
            f"SELECT project_id, run_id FROM {self._adoptable} adoptable WHERE same IS NOT TRUE", parameters
        )
        return [
            Failure(
                project_id,
                "OrphanedRun",
                f"The run {orphan} is there already, with other content: a project of this id was deleted, or its "
                "id was changed, and a project was made with the same id and clock. Rename or delete that run, or "
                "change one of the five columns.",
            )
            for project_id, orphan in cursor.fetchall()
        ]
