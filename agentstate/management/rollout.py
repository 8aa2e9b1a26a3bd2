"""The rollout in words: where it stands, and what came of a step."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

from agentstate.management.text import counted, print_table, stream_of
from agentstate.rollout.evidence import ADVICE, DESCRIPTIONS
from agentstate.rollout.refusals import ConditionsNotMet, NoStage, NoSuchStep
from agentstate.rollout.stages import Position, RolloutState, Stage
from agentstate.rollout.status import number
from agentstate.rollout.steps import CONTRACT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from django.core.management.base import BaseCommand, OutputWrapper

    from agentstate.models import RolloutStep
    from agentstate.rollout.bypassing_writes import BypassingWriteCounts
    from agentstate.rollout.errors import RolloutError
    from agentstate.rollout.evidence import Condition
    from agentstate.rollout.stages import NearestPosition
    from agentstate.rollout.status import Status


def write_status(command: BaseCommand, found: Status) -> None:
    """Say where the rollout stands, and what is missing for the next step."""
    command.stdout.write(f"Stage: {found.position or 'none of the ladder'}")
    if found.foreign_changes:
        command.stdout.write(command.style.ERROR(" ".join(found.foreign_changes.facts)))
        command.stdout.write(f"There is no step until this is undone. {found.foreign_changes.way_out}")
        return
    if found.override:
        command.stdout.write(
            command.style.ERROR(f"Taken by override: {found.override.override} ({found.override.requested_by})")
        )
    if found.frozen:
        command.stdout.write(f"Frozen since {found.frozen.since}, by {found.frozen.by}.")
    if found.unfinished:
        command.stdout.write(
            command.style.WARNING("The retreat to here has not ended: manage.py agentkit_rollout retreat goes on.")
        )
    for pilots in found.pilots:
        who = [counted(pilots.projects, "project")] if pilots.projects else []
        command.stdout.write(f"Pilots: {pilots.gate} names {' and '.join([*who, *['users'] * pilots.users])}.")
    _write_bypassing_writes(command, found)
    if found.position is None:
        _write_nearest(command, found.nearest)
    elif found.next is None:
        command.stdout.write("The legacy columns have been dropped: there is no step up from here.")
    else:
        _write_next(command, found.next, found.conditions, is_open=found.open)


def write_step(command: BaseCommand, step: RolloutStep) -> None:
    """Say what step was taken."""
    if step.override:
        missing = ", ".join(condition["name"] for condition in step.conditions if not condition["holds"])
        command.stdout.write(command.style.ERROR(f"TAKEN BY OVERRIDE, although these did not hold: {missing}"))
        command.stdout.write(command.style.ERROR(f"The reason, kept with {step.requested_by}: {step.override}"))
    before, after = (
        Position(Stage(stage), percent)
        for stage, percent in ((step.from_stage, step.from_percent), (step.to_stage, step.to_percent))
    )
    command.stdout.write(command.style.SUCCESS(f"{before} → {after}"))
    command.stdout.write("Every process sees it within two seconds. manage.py agentkit_rollout says what comes next.")


def write_refusal(command: BaseCommand, refusal: RolloutError) -> None:
    """Say why no step was taken, and what leads on."""
    if conditions := _conditions(refusal):
        _write_conditions(command, "Conditions", conditions)
    if isinstance(refusal, NoStage):
        _write_nearest(command, refusal.nearest)
    command.stderr.write(str(refusal))
    _write_ways_out(command.stderr, conditions)
    command.stderr.write(f"Stage: {RolloutState.read().position or 'none of the ladder'}.")


def step_as_json(step: RolloutStep) -> dict[str, Any]:
    """Return the step that was taken as the one object that ``--format json`` prints."""
    return {
        "taken": True,
        "stage": step.to_stage,
        "percent": number(step.to_percent),
        "from_stage": step.from_stage,
        "from_percent": number(step.from_percent),
        "requested_by": step.requested_by,
        "override": step.override,
        "conditions": step.conditions,
    }


def refusal_as_json(refusal: RolloutError) -> dict[str, Any]:
    """Return where that leaves the rollout, as the one object that ``--format json`` prints."""
    rollout_state = RolloutState.read()
    return {
        "taken": False,
        "stage": rollout_state.position and rollout_state.position.stage.value,
        "percent": number(rollout_state.percent),
        "reason": str(refusal),
        "conditions": [condition._asdict() for condition in _conditions(refusal)],
    }


def bypassing_writes_in_words(counts: BypassingWriteCounts) -> str:
    """Say how many writes bypassed agentstate, and how many of them no backfill has taken in."""
    return (
        f"{counted(counts.count, 'write')} bypassed agentstate since dual writing started; "
        f"{counts.open:,} still to be taken in"
    )


def age(seconds: int | None) -> str:
    """Return an age in its largest units."""
    if seconds is None:
        return "none"
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s" if seconds else "now"


def _conditions(refusal: RolloutError) -> Sequence[Condition]:
    return refusal.conditions if isinstance(refusal, ConditionsNotMet | NoSuchStep) else ()


def _write_next(command: BaseCommand, target: Position, conditions: Sequence[Condition], *, is_open: bool) -> None:
    _write_conditions(command, f"Next: {target}", conditions)
    if not is_open:
        missing = [condition.name for condition in conditions if not condition.holds]
        command.stdout.write(command.style.ERROR(f"Not open: {', '.join(missing)}."))
        _write_ways_out(command.stdout, conditions)
        return
    how = CONTRACT if target.stage == Stage.CONTRACTED else "manage.py agentkit_rollout advance"
    command.stdout.write(command.style.SUCCESS(f"Open: {how} takes the step."))


def _write_ways_out(output: OutputWrapper, conditions: Sequence[Condition]) -> None:
    for condition in conditions:
        if not condition.holds:
            output.write(f"  {condition.name}: {ADVICE[condition.name]}.")


def _write_conditions(command: BaseCommand, title: str, conditions: Sequence[Condition]) -> None:
    print_table(
        stream_of(command.stdout),
        title,
        ["condition", "holds", "found", "needed", "age", "what it is"],
        [
            (
                condition.name,
                "yes" if condition.holds else "NO",
                f"{condition.figure:,}",
                f"{condition.needed:,}",
                age(condition.age_seconds),
                DESCRIPTIONS[condition.name],
            )
            for condition in conditions
        ],
    )


def _write_bypassing_writes(command: BaseCommand, found: Status) -> None:
    if not found.bypassing_writes.count:
        return
    command.stdout.write(command.style.WARNING(f"{bypassing_writes_in_words(found.bypassing_writes)}."))
    print_table(
        stream_of(command.stdout),
        "The newest of them",
        ["project", "at", "kind"],
        [
            (shlex.quote(each.project), f"{each.at:%Y-%m-%d %H:%M:%S %Z}", each.kind)
            for each in found.newest_bypassing_writes
        ],
    )


def _write_nearest(command: BaseCommand, nearest: Sequence[NearestPosition]) -> None:
    for each in nearest:
        command.stdout.write(f"Near {each.position}, but for:")
        for difference in each.differences:
            command.stdout.write(f"  {difference.gate} is {difference.setting}, and there {difference.wanted}:")
            command.stdout.write(f"    manage.py {difference.command}")
