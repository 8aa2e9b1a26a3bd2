"""Refusals of a step, with what the operator needs to open it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentstate.rollout.errors import Refused

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agentstate.rollout.evidence import Condition
    from agentstate.rollout.stages import NearestPosition, Position


class NoSuchStep(Refused):
    """There is no further step, or a migration takes it.

    Attributes:
        conditions: of the step that a migration takes.
    """

    def __init__(self, text: str, conditions: Sequence[Condition] = ()) -> None:
        super().__init__(text)
        self.conditions = conditions


class ConditionsNotMet(Refused):
    """Conditions are not met. Nothing was changed.

    Attributes:
        target: where the step would have led.
        conditions: all of its conditions.
    """

    def __init__(self, target: Position, conditions: Sequence[Condition]) -> None:
        names = ", ".join(condition.name for condition in conditions if not condition.holds)
        super().__init__(f"The step to {target} is not open. Not met: {names}. Nothing was changed.")
        self.target, self.conditions = target, conditions


class NoStage(Refused):
    """The flags match no stage. Nothing was changed.

    Attributes:
        nearest: the stages that differ least.
    """

    def __init__(self, nearest: Sequence[NearestPosition]) -> None:
        super().__init__("The flags match no stage, so there is no step from here. Nothing was changed.")
        self.nearest = nearest
