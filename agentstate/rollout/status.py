"""Where the rollout stands, and what is open before its next step."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from agentstate.models import RolloutStep
from agentstate.rollout.escapes import Escape, Escapes, escapes
from agentstate.rollout.evidence import Evidence
from agentstate.rollout.freeze import frozen
from agentstate.rollout.stages import above, look
from agentstate.rollout.steps import unfinished_step

if TYPE_CHECKING:
    from decimal import Decimal

    from agentstate.rollout.evidence import Condition
    from agentstate.rollout.freeze import Freeze
    from agentstate.rollout.stages import Nearest, Pilots, Place

ESCAPES_LISTED = 10


@dataclass(frozen=True)
class Status:
    """What the flags, the catalog, the history and what reads found say together.

    Attributes:
        percent: of projects that read from the AgentKit home.
        next: the place one step up, None from the top and off the ladder.
        nearest: off the ladder, the stages that differ least.
        newest_escapes: the first of them, the newest first.
        frozen: since when the columns refuse writes, and by whom.
        override: the newest step that led to this stage, or on within it, although conditions did not hold.
        unfinished: the retreat that led to this stage, if it has not come to its end.
    """

    place: Place | None
    percent: Decimal
    next: Place | None = None
    conditions: list[Condition] = field(default_factory=list)
    nearest: list[Nearest] = field(default_factory=list)
    pilots: list[Pilots] = field(default_factory=list)
    escapes: Escapes = field(default_factory=Escapes)
    newest_escapes: list[Escape] = field(default_factory=list)
    frozen: Freeze | None = None
    override: RolloutStep | None = None
    unfinished: RolloutStep | None = None

    @property
    def open(self) -> bool:
        """There is a next step, and all of its conditions hold."""
        return self.next is not None and all(condition.holds for condition in self.conditions)

    def as_json(self) -> dict[str, Any]:
        return {
            "stage": self.place.stage.value if self.place else None,
            "percent": number(self.percent),
            "next": self.next.stage.value if self.next else None,
            "next_percent": number(self.next.percent) if self.next else None,
            "open": self.open,
            "conditions": [condition.as_json() for condition in self.conditions],
            "nearest": [
                {
                    "stage": each.place.stage.value,
                    "percent": number(each.place.percent),
                    "differences": [difference._asdict() for difference in each.differences],
                }
                for each in self.nearest
            ],
            "pilots": [each._asdict() for each in self.pilots],
            "escapes": {
                "count": self.escapes.count,
                "open": self.escapes.open,
                "newest": self.escapes.newest and self.escapes.newest.isoformat(),
                "listed": [
                    {"project": each.project, "at": each.at.isoformat(), "kind": each.kind}
                    for each in self.newest_escapes
                ],
            },
            "frozen": self.frozen and self.frozen._asdict(),
            "override": self.override and {"reason": self.override.override, "by": self.override.requested_by},
            "unfinished": self.unfinished is not None,
        }


def status() -> Status:
    """Look at everything. Where verification is a condition of the next step, that takes as long as it does."""
    standpoint, evidence = look(), Evidence()
    place = standpoint.place
    found = evidence.escapes
    target = above(place) if place else None
    return Status(
        place,
        standpoint.percent if place is None else place.percent,
        next=target,
        conditions=evidence.conditions(target) if target else [],
        nearest=[] if place else standpoint.nearest,
        pilots=standpoint.pilots,
        escapes=found,
        newest_escapes=escapes(ESCAPES_LISTED, evidence.history) if found.count else [],
        frozen=frozen(),
        override=override_at(place),
        unfinished=unfinished_step(place),
    )


def override_at(place: Place | None) -> RolloutStep | None:
    """Return the newest step by override that led to this place, or on within its stage, if a step led here at all."""
    if place is None or RolloutStep.newest_to(*place) is None:
        return None
    return RolloutStep.newest_override_in(place.stage)


def number(percent: Decimal) -> float:
    """Return a percent as JSON has it, whole where it is."""
    return int(percent) if percent == int(percent) else float(percent)
