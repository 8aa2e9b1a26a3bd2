"""What is wrong with the gates as they are set: what `manage.py check` reports of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from agentstate.checks.flags import REFUSED_SAVES, problems_of
from agentstate.models import RolloutStep
from agentstate.rollout.stages import Position, Stage

if TYPE_CHECKING:
    from collections.abc import Iterable

    from django.core.checks import CheckMessage

    from agentstate.rollout.stages import RolloutState


def gate_problems(rollout_state: RolloutState) -> Iterable[CheckMessage]:
    """Return the messages on gates that contradict each other or have no effect."""
    return problems_of(rollout_state.rollout, has_columns=not rollout_state.is_contracted)


class Alarm(NamedTuple):
    """Something about the gates that an operator must not overlook, for a banner."""

    title: str
    sentences: list[str]


def alarms(rollout_state: RolloutState) -> list[Alarm]:
    """Return what the gates do that needs attention now: saves that they refuse, stages that were skipped."""
    refused = [
        f"{problem.msg} {problem.hint}" for problem in gate_problems(rollout_state) if problem.id == REFUSED_SAVES
    ]
    found = (Alarm("Saves are refused", refused), Alarm("Stages were skipped", _skipped(rollout_state)))
    return [alarm for alarm in found if alarm.sentences]


def _skipped(rollout_state: RolloutState) -> list[str]:
    """Return a sentence where the flags are above what the steps of the rollout reached."""
    position = rollout_state.position
    if position is None or position.stage == Stage.CONTRACTED:
        return []
    newest = RolloutStep._default_manager.order_by("-pk").first()
    known = newest is not None and newest.to_stage in set(Stage)
    reached = Position(Stage(newest.to_stage), newest.to_percent) if newest and known else Position.at(Stage.LEGACY)
    if position.height <= reached.height:
        return []
    fact = f"The flags were set to {position} by hand; the steps of the rollout reached {reached}."
    way_out = "Run manage.py verify_agentkit_state, or retreat and advance step by step."
    return [f"{fact} Nothing checked the conditions in between. {way_out}"]
