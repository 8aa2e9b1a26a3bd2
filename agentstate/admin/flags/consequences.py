"""What a change of a gate leads to: what `manage.py check` would report then, and a step up without its checks."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from agentstate.admin.shared.gate_problems import gate_problems
from agentstate.gates import GATES
from agentstate.rollout.stages import RolloutState, Stage

if TYPE_CHECKING:
    from collections.abc import Iterator
    from decimal import Decimal

    from agentstate.models import Flag
    from agentstate.rollout.stages import Position


def consequences_of(flag: Flag) -> list[str]:
    """Return what an unsaved flag would lead to that is not so already. Empty for a flag that is no gate."""
    if flag.name not in GATES:
        return []
    before = RolloutState.read()
    after = replace(before, flags={**before.flags, flag.name: flag})
    known = {message.msg for message in gate_problems(before)}
    new = (f"{message.msg} {message.hint}" for message in gate_problems(after) if message.msg not in known)
    return [*new, *_step_up(before, after)]


def _step_up(before: RolloutState, after: RolloutState) -> Iterator[str]:
    """Return a sentence where the change takes the rollout up."""
    if before.position and after.position and _height(after.position) > _height(before.position):
        yield (
            f"The rollout goes up from {before.position} to {after.position}, and nothing checks the conditions. "
            "manage.py agentkit_rollout advance checks them, and records the step."
        )


def _height(position: Position) -> tuple[int, Decimal]:
    return list(Stage).index(position.stage), position.percent
