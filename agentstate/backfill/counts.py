"""What a batch or a pass wrote, and what could not be moved."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import NamedTuple

from agentstate.state.effects import REFUSED, UNUSABLE
from agentstate.state.errors import NotWritten
from agentstate.state.legacy_snapshot import Written


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
