"""The result of a pass: counts and failures."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, NamedTuple

from agentstate.models.passes import BackfillPass
from agentstate.state.effects import REFUSED, UNUSABLE
from agentstate.state.errors import NotWritten
from agentstate.state.legacy_snapshot import Written

if TYPE_CHECKING:
    from agentstate.backfill.expectation import Expectation


class Failure(NamedTuple):
    """A project that could not be moved."""

    project: str
    error_class: str
    error: str


UNUSABLE_CLOCK = "UnusableClock"


def unusable_clock(project_id: str) -> Failure:
    """Return the failure of a project with a clock that no other can follow."""
    return Failure(project_id, UNUSABLE_CLOCK, str(NotWritten(project_id, UNUSABLE)))


def not_written(project_id: str) -> Failure:
    """Return the failure of a project whose row in ``"Project"`` does not keep what is written to it."""
    return Failure(project_id, "NotWritten", str(NotWritten(project_id, REFUSED)))


@dataclass
class Counts:
    """What a batch or a pass wrote; in a dry run, what it would write.

    ``written`` counts projects that were moved, ``merged`` projects whose fork was merged or settled, ``size`` the
    bytes of jsonb before compression (dry runs only); ``forked`` names projects that stay forked.
    """

    written: int = 0
    merged: int = 0
    runs: int = 0
    events: int = 0
    sessions: int = 0
    size: int = 0
    forked: list[str] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)

    @classmethod
    def of(cls, written: Written) -> Counts:
        """Return the counts of a move of projects."""
        return cls(
            written=written.projects,
            runs=written.runs,
            events=written.events,
            size=written.size,
            failures=[unusable_clock(project_id) for project_id in written.unusable],
        )

    def __iadd__(self, other: Counts) -> Counts:
        for each in fields(self):
            setattr(self, each.name, getattr(self, each.name) + getattr(other, each.name))
        return self


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
