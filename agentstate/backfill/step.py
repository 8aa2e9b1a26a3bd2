"""A step of a pass: one kind of move, made batch by batch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

from django.db import transaction
from django.db.backends.utils import CursorWrapper

from agentstate.backfill.counts import Counts, not_written
from agentstate.backfill.options import IN_BATCH, PassOptions
from agentstate.state.homes import CLOCKS, NEWEST, PROJECTS

if TYPE_CHECKING:
    from agentstate.backfill.batch import Batch


class Step(ABC):
    """One kind of move over the projects that its candidates query finds.

    Args:
        options: what the pass was asked to do.
        parameters: what the step's statements read beside the selection's and the batch's parameters.
    """

    name: ClassVar[str]
    # Whether its candidates count as the pass's: projects whose state is to be moved.
    moves_state: ClassVar[bool] = True
    # The FROM items, with rows p of "Project", and the condition that makes a row a candidate.
    source: ClassVar[str]
    condition: ClassVar[str]
    # The bytes of a candidate's documents as stored, which PostgreSQL knows without reading them.
    weight: ClassVar[str]

    def __init__(self, options: PassOptions, **parameters: Any) -> None:
        self.options = options
        self.parameters = parameters

    def candidates(self, selected: str) -> str:
        """Return the ``FROM`` and ``WHERE`` that find candidates among the selected rows."""
        return f"{self.source} WHERE {selected} AND ({self.condition})"

    def parameters_of(self, batch: Batch) -> dict[str, Any]:
        """Return the parameters that the statements read for a batch."""
        return {
            **self.options.selection.parameters,
            **self.parameters,
            "after": batch.after,
            "upto": batch.upto,
            # With a limit, projects that became candidates after planning wait for the next pass.
            "limit": batch.size if self.options.selection.limit is not None else None,
        }

    @abstractmethod
    def move(self, cursor: CursorWrapper, parameters: dict[str, Any]) -> Counts:
        """Move a batch, within a transaction."""

    def move_locked(
        self, cursor: CursorWrapper, parameters: dict[str, Any], move: Callable[[list[str]], tuple[Counts, list[str]]]
    ) -> Counts:
        """Lock a batch's candidates and move them, but for those whose row in ``"Project"`` refuses what is written.

        Args:
            move: moves the projects of these ids; returns the counts and the ids that were refused. It is rolled back
                and repeated without them.
        """
        locked, refused = self._as_seen(cursor, self.lock(cursor, parameters)), list[str]()
        while True:
            with transaction.atomic():
                counts, refused_now = move(locked)
                transaction.set_rollback(bool(refused_now))
            if not refused_now:
                counts.failures += [not_written(project_id) for project_id in refused]
                return counts
            refused += refused_now
            locked = [project_id for project_id in locked if project_id not in set(refused_now)]

    def _as_seen(self, cursor: CursorWrapper, locked: list[str]) -> list[str]:
        """Return the locked projects whose clocks are those that the operator saw, if they decided by them."""
        if self.options.seen is None:
            return locked
        cursor.execute(
            f"SELECT p.id FROM {PROJECTS} p {NEWEST} WHERE p.id = ANY (%(locked)s) AND {CLOCKS} = %(seen)s",
            {"locked": locked, "seen": self.options.seen},
        )
        return [project_id for (project_id,) in cursor.fetchall()]

    @abstractmethod
    def preview(self, cursor: CursorWrapper, parameters: dict[str, Any]) -> Counts:
        """Count what moving a batch would write, within a read-only transaction."""

    def find(self, cursor: CursorWrapper, parameters: dict[str, Any], locking: str = "") -> list[str]:
        """Return the ids of a batch's candidates, in order."""
        cursor.execute(
            f"SELECT p.id FROM {self.candidates(IN_BATCH)} ORDER BY p.id LIMIT %(limit)s {locking}", parameters
        )
        return [project_id for (project_id,) in cursor.fetchall()]

    def lock(self, cursor: CursorWrapper, parameters: dict[str, Any]) -> list[str]:
        """Lock a batch's candidates in the order of their ids, and return these.

        ``FOR NO KEY UPDATE``: stronger locks deadlock with the foreign keys of a forward batch. Read the locked rows
        in a further statement: this one's snapshot is older than the locks.
        """
        return self.find(cursor, parameters, "FOR NO KEY UPDATE OF p")
