"""What a step will do, in words, for the page that asks for its confirmation."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from agentstate.models import StepRequest
from agentstate.rollout.stages import Stage
from agentstate.state.standing import Standing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agentstate.rollout.counting import Counted
    from agentstate.rollout.stages import Position, RolloutState

# What each step up does.
UP = {
    Stage.DUAL_WRITE: "Every save writes both homes, the columns and the runs. Reads do not change.",
    Stage.SHADOW_READ: "Every read of state also compares both homes. Readers still get the columns.",
    Stage.AGENTKIT_READ: "More projects read from their newest snapshots. Saves still write both homes.",
    Stage.AGENTKIT_ONLY: "Saves no longer write the columns. A later retreat has to fill them first.",
    Stage.FROZEN: "The columns refuse every write, also of other programs. The step waits until each older "
    'transaction has ended, then locks "Project" for an instant.',
}
# What each step down does, by where it begins.
DOWN = {
    Stage.DUAL_WRITE: "Saves write the columns only. Before that, the columns get what they lack.",
    Stage.SHADOW_READ: "Reads no longer compare both homes.",
    Stage.AGENTKIT_READ: "Fewer projects, or none, read from their snapshots. Before that, the columns get what they "
    "lack.",
    Stage.AGENTKIT_ONLY: "Saves write both homes again, at once. Then the step waits until each older transaction has "
    "ended, and fills the columns from the newest snapshots. Reads stay with the snapshots.",
    Stage.FROZEN: "The columns accept writes again. Saves still write the snapshots only.",
}
_FILLS = (Stage.DUAL_WRITE, Stage.AGENTKIT_READ, Stage.AGENTKIT_ONLY)


class FlagChange(NamedTuple):
    """A gate that the step sets: its setting now, and the one after the step."""

    gate: str
    now: str
    then: str


def changes_of(rollout_state: RolloutState, target: Position) -> list[FlagChange]:
    """Return the gates that a step sets."""
    return [FlagChange(each.gate, each.setting, each.wanted) for each in rollout_state.to_set(target)]


def effects_of(action: StepRequest.Action, position: Position, target: Position, counted: Counted) -> list[str]:
    """Return what a step does, a sentence or two each."""
    if action == StepRequest.Action.ADVANCE:
        return [UP[target.stage], "The conditions are checked again first, which can take as long as a verification."]
    if position == target:
        effects = ["Waits until each older transaction has ended, then fills the columns from the newest snapshots."]
    else:
        effects = [DOWN[position.stage]]
    if position == target or position.stage in _FILLS:
        effects += _work(counted)
    return effects


def _work(counted: Counted) -> Iterator[str]:
    if figures := counted.figures:
        ahead = figures.verification.standing[Standing.AGENTKIT_AHEAD]
        forked = figures.verification.standing[Standing.FORKED]
        yield f"At the last count {ahead:,} projects had columns to be filled."
        if forked:
            yield (
                f"Forked projects at the last count: {forked:,}. The step merges them by key first. Where both homes "
                "changed the same document, it stops and names the projects: settle each, then retreat again."
            )
    yield "If the web process stops on the way, the step stops at a safe point. Retreat again to continue."
