"""What a change of a gate leads to: what `manage.py check` would report then, and a step up without its checks."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from django.db import DEFAULT_DB_ALIAS

from agentstate.admin.shared.gate_problems import gate_problems
from agentstate.admin.shared.time_limit import TookTooLong, deadline
from agentstate.checks.flags import unread_state
from agentstate.gates import GATES
from agentstate.rollout.stages import Position, RolloutState, Stage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agentstate.models import Flag

SECONDS = 3.0  # that the search for projects with a state that readers would miss may take


def consequences_of(flag: Flag) -> list[str]:
    """Return what an unsaved flag would lead to that is not so already. Empty for a flag that is no gate."""
    if flag.name not in GATES:
        return []
    before = RolloutState.read()
    after = replace(before, flags={**before.flags, flag.name: flag})
    known = {message.msg for message in gate_problems(before)}
    new = [f"{message.msg} {message.hint}" for message in gate_problems(after) if message.msg not in known]
    return [*new, *_unread(before, after), *_without_conditions(before, after)]


def _unread(before: RolloutState, after: RolloutState) -> list[str]:
    """Return what the change makes readers miss, found by a scan of the projects for a limited time."""
    if before.is_contracted or before.rollout.agentkit_reads == after.rollout.agentkit_reads:
        return []
    try:
        with deadline(SECONDS):
            known, new = (
                {f"{message.msg} {message.hint}" for message in unread_state(DEFAULT_DB_ALIAS, state.rollout)}
                for state in (before, after)
            )
    except TookTooLong:
        fact = f"Whether readers would get an older state was not found out within {SECONDS:g} s."
        return [f"{fact} manage.py check --database default reports it afterwards."]
    return sorted(new - known)


def _without_conditions(before: RolloutState, after: RolloutState) -> Iterator[str]:
    """Return a sentence where the change takes the rollout up, or off the stages, which no step would do."""
    if before.rollout == after.rollout:
        return
    if after.position is None:
        yield (
            "The flags match no stage then, so nothing checks any conditions. No step can be taken until they match "
            "one again."
        )
    elif after.position.height > (before.position or Position.at(Stage.LEGACY)).height:
        yield (
            f"The rollout goes up from {before.position or 'no stage'} to {after.position}, and nothing checks the "
            "conditions. manage.py agentkit_rollout advance checks them, and records the step."
        )
