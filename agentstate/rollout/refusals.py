"""Refusals of a step that say what would open it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentstate.rollout.errors import Refused

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agentstate.rollout.evidence import Condition
    from agentstate.rollout.stages import NearestPosition, Position


class NoSuchStep(Refused):
    """The ladder ends here, or the next rung is not one that this command climbs.

    Attributes:
        conditions: of the step that is taken elsewhere.
    """

    def __init__(self, text: str, conditions: Sequence[Condition] = ()) -> None:
        super().__init__(text)
        self.conditions = conditions


class ConditionsNotMet(Refused):
    """Conditions do not hold. Nothing was changed.

    Attributes:
        target: where the step would have led.
        conditions: all of its conditions.
    """

    def __init__(self, target: Position, conditions: Sequence[Condition]) -> None:
        names = ", ".join(condition.name for condition in conditions if not condition.holds)
        super().__init__(f"The step to {target} is not open: {names}. Nothing was changed.")
        self.target, self.conditions = target, conditions


class NoStage(Refused):
    """The flags were set by hand into no stage. Nothing was changed.

    Attributes:
        nearest: the stages that differ least.
    """

    def __init__(self, nearest: Sequence[NearestPosition]) -> None:
        super().__init__("The flags are no stage of the ladder, so there is no step from here. Nothing was changed.")
        self.nearest = nearest
