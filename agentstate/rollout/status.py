"""The status of the rollout: its stage, and the conditions of the next step."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from agentstate.models import RolloutStep
from agentstate.rollout.bypassing_writes import BypassingWrite, BypassingWriteCounts, newest_bypassing_writes
from agentstate.rollout.evidence import Evidence
from agentstate.rollout.freeze import read_freeze
from agentstate.rollout.preconditions import refuse_missing_tables
from agentstate.rollout.stages import RolloutState, above
from agentstate.rollout.steps import unfinished_step
from agentstate.row_security import refuse_hidden_rows
from agentstate.state.foreign_changes import read_foreign_changes

if TYPE_CHECKING:
    from decimal import Decimal

    from agentstate.rollout.evidence import Condition
    from agentstate.rollout.freeze import Freeze
    from agentstate.rollout.stages import NearestPosition, Pilots, Position
    from agentstate.state.foreign_changes import ForeignChanges

LISTED = 10


@dataclass(frozen=True)
class Status:
    """The stage with its evidence, from the flags, the catalog, the history and the counts of reads.

    Attributes:
        percent: of projects that read from the AgentKit home.
        next: the position one step up, None at the top or if the flags match no stage.
        nearest: if the flags match no stage, the positions that differ least.
        newest_bypassing_writes: up to ten, the newest first.
        frozen: since when the columns refuse writes, and by whom.
        override: the newest step to this stage, or within it, whose conditions were not met.
        unfinished: the retreat to this stage, if it is not completed.
        foreign_changes: what other tools changed in the legacy home. Until that is undone there is no step, and
            nothing else is read.
    """

    position: Position | None
    percent: Decimal
    next: Position | None = None
    conditions: list[Condition] = field(default_factory=list)
    nearest: list[NearestPosition] = field(default_factory=list)
    pilots: list[Pilots] = field(default_factory=list)
    bypassing_writes: BypassingWriteCounts = field(default_factory=BypassingWriteCounts)
    newest_bypassing_writes: list[BypassingWrite] = field(default_factory=list)
    frozen: Freeze | None = None
    override: RolloutStep | None = None
    unfinished: RolloutStep | None = None
    foreign_changes: ForeignChanges | None = None

    @property
    def open(self) -> bool:
        """Whether there is a next step, and all of its conditions are met."""
        return self.next is not None and all(condition.holds for condition in self.conditions)

    def as_json(self) -> dict[str, Any]:
        return {
            "stage": self.position.stage.value if self.position else None,
            "percent": percent_as_json(self.percent),
            "next": self.next.stage.value if self.next else None,
            "next_percent": percent_as_json(self.next.percent) if self.next else None,
            "open": self.open,
            "conditions": [condition.as_json() for condition in self.conditions],
            "nearest": [
                {
                    "stage": each.position.stage.value,
                    "percent": percent_as_json(each.position.percent),
                    "differences": [difference._asdict() for difference in each.differences],
                }
                for each in self.nearest
            ],
            "pilots": [each._asdict() for each in self.pilots],
            "escapes": {
                "count": self.bypassing_writes.count,
                "open": self.bypassing_writes.open,
                "newest": self.bypassing_writes.newest and self.bypassing_writes.newest.isoformat(),
                "listed": [
                    {"project": each.project, "at": each.at.isoformat(), "kind": each.kind}
                    for each in self.newest_bypassing_writes
                ],
            },
            "frozen": self.frozen and self.frozen._asdict(),
            "override": self.override and {"reason": self.override.override, "by": self.override.requested_by},
            "unfinished": self.unfinished is not None,
            "foreign_changes": self.foreign_changes and self.foreign_changes._asdict(),
        }


def status() -> Status:
    """Read the whole status. Runs verification if that is a condition of the next step."""
    refuse_missing_tables()
    rollout_state = RolloutState.read()
    position = rollout_state.position
    if (changes := read_foreign_changes()) and changes.blocks_steps:
        percent = rollout_state.percent if position is None else position.percent
        return Status(position, percent, foreign_changes=changes)
    refuse_hidden_rows()
    evidence = Evidence()
    bypassing_writes = evidence.bypassing_writes
    target = above(position) if position else None
    return Status(
        position,
        rollout_state.percent if position is None else position.percent,
        next=target,
        conditions=evidence.conditions(target) if target else [],
        nearest=[] if position else rollout_state.nearest,
        pilots=rollout_state.pilots,
        bypassing_writes=bypassing_writes,
        newest_bypassing_writes=newest_bypassing_writes(LISTED, evidence.history) if bypassing_writes.count else [],
        frozen=read_freeze(),
        override=override_at(position),
        unfinished=unfinished_step(position),
    )


def override_at(position: Position | None) -> RolloutStep | None:
    """Return the newest step by override to this position, or within its stage; None if no step led here."""
    if position is None or RolloutStep.newest_to(*position) is None:
        return None
    return RolloutStep.newest_override_in(position.stage)


def percent_as_json(percent: Decimal) -> float:
    """Return a percent as a JSON number, an integer if it is whole."""
    return int(percent) if percent == int(percent) else float(percent)
