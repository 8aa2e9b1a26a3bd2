"""What is wrong with the gates as they are set: what `manage.py check` reports of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentstate.checks.flags import REFUSED_SAVES, problems_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from django.core.checks import CheckMessage

    from agentstate.rollout.stages import RolloutState


def gate_problems(rollout_state: RolloutState) -> Iterable[CheckMessage]:
    """Return the messages on gates that contradict each other or have no effect."""
    return problems_of(rollout_state.rollout, has_columns=not rollout_state.is_contracted)


def refused_saves(rollout_state: RolloutState) -> list[str]:
    """Return a sentence for each kind of projects whose saves the gates refuse."""
    return [f"{problem.msg} {problem.hint}" for problem in gate_problems(rollout_state) if problem.id == REFUSED_SAVES]
