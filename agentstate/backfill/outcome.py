"""The result of a pass."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from agentstate.backfill.counts import Counts, Failure
from agentstate.models.passes import BackfillPass

if TYPE_CHECKING:
    from agentstate.backfill.expectation import Expectation


@dataclass
class Outcome:
    """The result of a pass.

    Attributes:
        candidates: how many projects it planned to move.
        counts: what it wrote.
        accepted: the projects that could not be moved and that an operator accepted.
        stopped: whether it ended before everything was done.
        canceled_by: the operator who ended it by its entry in the ledger.
        expected: what it expected before it began, where it was asked.
        throttled: the seconds that it waited for others, for each of its connections.
        seconds: how long it took.
        forked: how many projects stay forked for an operator to settle, and the first ids.
        without_snapshot: how many projects a forced restore found no earlier snapshot of, and the first ids.
    """

    candidates: int = 0
    counts: Counts = field(default_factory=Counts)
    accepted: set[str] = field(default_factory=set)
    stopped: bool = False
    canceled_by: str = ""
    throttled: float = 0.0
    expected: Expectation | None = None
    seconds: float = 0.0
    forked: tuple[int, list[str]] = (0, [])
    without_snapshot: tuple[int, list[str]] = (0, [])

    @property
    def how(self) -> BackfillPass.Outcome:
        """How the pass ended, as the ledger calls it."""
        if not self.stopped:
            return BackfillPass.Outcome.FINISHED
        return BackfillPass.Outcome.CANCELED if self.canceled_by else BackfillPass.Outcome.INTERRUPTED

    @property
    def failures(self) -> list[Failure]:
        """The failures that no operator has accepted."""
        return [failure for failure in self.counts.failures if failure.project not in self.accepted]

    @property
    def left_aside(self) -> int:
        """How many projects could not be moved, without the accepted ones."""
        return len({failure.project for failure in self.failures})
