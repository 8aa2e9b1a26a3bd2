"""Whether the rollout can go on, in a few words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentstate.rollout.evidence import WITHOUT_SCAN, Evidence
from agentstate.rollout.stages import above

if TYPE_CHECKING:
    from agentstate.rollout.counting import Counted
    from agentstate.rollout.stages import RolloutState


def verdict(state: RolloutState, counted: Counted) -> str:
    """Return how many conditions of the next step are not met, by the last count."""
    if state.position is None:
        return "the flags are at no stage of the rollout"
    target = above(state.position)
    if target is None:
        return "the last stage"
    name = f"{target}".replace("_", " ")
    if counted.kept is None and target.stage not in WITHOUT_SCAN:
        return f"conditions of {name} not counted yet"
    evidence = Evidence(counted.figures, counted.kept.started_at if counted.kept else None)
    conditions = evidence.conditions(target)
    not_met = sum(not condition.holds for condition in conditions)
    if not_met:
        return f"{not_met} of {len(conditions)} conditions of {name} not met"
    return f"all conditions of {name} met"
