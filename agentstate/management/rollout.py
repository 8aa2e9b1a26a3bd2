"""Output of the rollout command: the status, a step taken, a refusal."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

from agentstate.management.text import counted, print_table, stream_of
from agentstate.rollout.evidence import ADVICE, DESCRIPTIONS
from agentstate.rollout.refusals import ConditionsNotMet, NoStage, NoSuchStep
from agentstate.rollout.stages import Position, RolloutState, Stage
from agentstate.rollout.status import percent_as_json
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


def write_status(command: BaseCommand, status: Status) -> None:
    """Print the stage, and the conditions of the next step."""
    command.stdout.write(f"Stage: {status.position or 'none'}")
    if status.foreign_changes:
        command.stdout.write(command.style.ERROR(" ".join(status.foreign_changes.facts)))
        command.stdout.write(f"No step can be taken until this is undone. {status.foreign_changes.way_out}")
        return
    if status.override:
        command.stdout.write(
            command.style.ERROR(f"Taken by override: {status.override.override} ({status.override.requested_by})")
        )
    if status.frozen:
        command.stdout.write(f"Frozen since {status.frozen.since}, by {status.frozen.by}.")
    if status.unfinished:
        command.stdout.write(
            command.style.WARNING(
                "The retreat to this stage is unfinished. Run manage.py agentkit_rollout retreat to continue."
            )
        )
    for pilots in status.pilots:
        who = [counted(pilots.projects, "project")] if pilots.projects else []
        command.stdout.write(f"Pilots: {pilots.gate} names {' and '.join([*who, *['users'] * pilots.users])}.")
    _write_bypassing_writes(command, status)
    if status.position is None:
        _write_nearest(command, status.nearest)
    elif status.next is None:
        command.stdout.write("The legacy columns have been dropped: contracted is the last stage.")
    else:
        _write_next(command, status.next, status.conditions, is_open=status.open)


def write_step(command: BaseCommand, step: RolloutStep) -> None:
    """Print the step that was taken."""
    if step.override:
        missing = ", ".join(condition["name"] for condition in step.conditions if not condition["holds"])
        command.stdout.write(command.style.ERROR(f"TAKEN BY OVERRIDE. Not met: {missing}"))
        command.stdout.write(command.style.ERROR(f"Reason, recorded for {step.requested_by}: {step.override}"))
    before, after = (
        Position(Stage(stage), percent)
        for stage, percent in ((step.from_stage, step.from_percent), (step.to_stage, step.to_percent))
    )
    command.stdout.write(command.style.SUCCESS(f"{before} → {after}"))
    command.stdout.write("Every process sees it within two seconds. Run manage.py agentkit_rollout for the next step.")


def write_refusal(command: BaseCommand, refusal: RolloutError) -> None:
    """Print why no step was taken, and what to do."""
    if conditions := _conditions(refusal):
        _write_conditions(command, "Conditions", conditions)
    if isinstance(refusal, NoStage):
        _write_nearest(command, refusal.nearest)
    command.stderr.write(str(refusal))
    _write_ways_out(command.stderr, conditions)
    command.stderr.write(f"Stage: {RolloutState.read().position or 'none'}.")


def step_as_json(step: RolloutStep) -> dict[str, Any]:
    """Return a step that was taken, for ``--format json``."""
    return {
        "taken": True,
        "stage": step.to_stage,
        "percent": percent_as_json(step.to_percent),
        "from_stage": step.from_stage,
        "from_percent": percent_as_json(step.from_percent),
        "requested_by": step.requested_by,
        "override": step.override,
        "conditions": step.conditions,
    }


def refusal_as_json(refusal: RolloutError) -> dict[str, Any]:
    """Return a refusal with the present stage, for ``--format json``."""
    rollout_state = RolloutState.read()
    return {
        "taken": False,
        "stage": rollout_state.position and rollout_state.position.stage.value,
        "percent": percent_as_json(rollout_state.percent),
        "reason": str(refusal),
        "conditions": [condition._asdict() for condition in _conditions(refusal)],
    }


def bypassing_writes_in_words(counts: BypassingWriteCounts) -> str:
    """Say how many writes bypassed agentstate, and how many of them wait for a backfill."""
    return (
        f"{counted(counts.count, 'write')} bypassed agentstate since dual writing started; "
        f"{counts.open:,} still {'waits' if counts.open == 1 else 'wait'} for a backfill"
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
        command.stdout.write(command.style.ERROR(f"Not open. Not met: {', '.join(missing)}."))
        _write_ways_out(command.stdout, conditions)
        return
    how = CONTRACT if target.stage == Stage.CONTRACTED else "manage.py agentkit_rollout advance"
    command.stdout.write(command.style.SUCCESS(f"Open. Run {how} to take the step."))


def _write_ways_out(output: OutputWrapper, conditions: Sequence[Condition]) -> None:
    for condition in conditions:
        if not condition.holds:
            output.write(f"  {condition.name}: {ADVICE[condition.name]}.")


def _write_conditions(command: BaseCommand, title: str, conditions: Sequence[Condition]) -> None:
    print_table(
        stream_of(command.stdout),
        title,
        ["condition", "status", "found", "needed", "age", "meaning"],
        [
            (
                condition.name,
                "met" if condition.holds else "not met",
                f"{condition.figure:,}",
                f"{condition.needed:,}",
                age(condition.age_seconds),
                DESCRIPTIONS[condition.name],
            )
            for condition in conditions
        ],
    )


def _write_bypassing_writes(command: BaseCommand, status: Status) -> None:
    if not status.bypassing_writes.count:
        return
    command.stdout.write(command.style.WARNING(f"{bypassing_writes_in_words(status.bypassing_writes)}."))
    print_table(
        stream_of(command.stdout),
        "The newest",
        ["project", "at", "kind"],
        [
            (shlex.quote(each.project), f"{each.at:%Y-%m-%d %H:%M:%S %Z}", each.kind)
            for each in status.newest_bypassing_writes
        ],
    )


def _write_nearest(command: BaseCommand, nearest: Sequence[NearestPosition]) -> None:
    for each in nearest:
        command.stdout.write(f"Nearest stage: {each.position}. Different:")
        for difference in each.differences:
            command.stdout.write(
                f"  {difference.gate} is {difference.setting}; {each.position} needs {difference.wanted}:"
            )
            command.stdout.write(f"    manage.py {difference.command}")
