"""A step of a pass: one kind of move, made batch by batch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

from django.db.backends.utils import CursorWrapper

from agentstate.backfill.options import IN_BATCH, PassOptions
from agentstate.backfill.outcome import Counts


class Step(ABC):
    """One kind of move over the projects that its candidates query finds.

    Args:
        options: what the pass was asked to do.
        parameters: what the step's statements read beside the selection's and the batch's parameters.
    """

    name: ClassVar[str]
    # Whether its candidates count as the pass's: projects whose state is to be moved.
    moves_state: ClassVar[bool] = True
    # Where candidates are looked for, rows p of "Project" with what is joined to them, and what makes them candidates.
    source: ClassVar[str]
    condition: ClassVar[str]

    def __init__(self, options: PassOptions, **parameters: Any) -> None:
        self.options = options
        self.parameters = parameters

    def candidates(self, selected: str) -> str:
        """Return the ``FROM`` and ``WHERE`` that find candidates among the selected rows."""
        return f"{self.source} WHERE {selected} AND ({self.condition})"

    @abstractmethod
    def move(self, cursor: CursorWrapper, parameters: dict[str, Any]) -> Counts:
        """Move a batch, within a transaction."""

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

        ``FOR NO KEY UPDATE``: stronger locks deadlock with the foreign keys of a forward batch. The look at what was
        locked is a statement of its own, since this one's view is older than the locks.
        """
        return self.find(cursor, parameters, "FOR NO KEY UPDATE OF p")
