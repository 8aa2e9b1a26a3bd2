"""Places on the ladder, and evidence for the next step, as tests want them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from django.db import connection
from django.utils import timezone

from agentstate import state
from agentstate.models import ReadCount, RolloutStep
from agentstate.rollout.evidence import Evidence
from agentstate.rollout.flag_history import FlagHistory
from agentstate.rollout.freeze import freeze
from agentstate.rollout.stages import Position, RolloutState, Stage
from agentstate.rollout.steps import StepMonitor
from tests import scenes
from tests.factories import ProjectFactory
from tests.flags import turn

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agentstate.gates import Gate
    from agentstate.rollout.evidence import Condition
    from agentstate.rollout.waiting import Transaction

FLAGS: dict[str, dict[str, bool]] = {
    "legacy": {"agentkit_writes": False, "legacy_writes": True, "agentkit_reads": False, "shadow": False},
    "dual_write": {"agentkit_writes": True, "legacy_writes": True, "agentkit_reads": False, "shadow": False},
    "shadow_read": {"agentkit_writes": True, "legacy_writes": True, "agentkit_reads": False, "shadow": True},
    "agentkit_read": {"agentkit_writes": True, "legacy_writes": True, "agentkit_reads": True, "shadow": True},
    "agentkit_only": {"agentkit_writes": True, "legacy_writes": False, "agentkit_reads": True, "shadow": False},
    "frozen": {"agentkit_writes": True, "legacy_writes": False, "agentkit_reads": True, "shadow": False},
}
DATED = {
    "AgentStateFlagChange": ["changed_at"],
    "AgentStateReadCount": ["hour"],
    "Project": ["stateUpdatedAt"],
    "AgentWorkflowRun": ["started_at", "completed_at", "snapshot_at", "legacy_at"],
    "AgentWorkflowRunEvent": ["created_at"],
}


def stand_at(stage: str, percent: float = 100) -> None:
    """Set the flags of a stage by hand, and the freeze where it belongs to it."""
    for name, is_on in FLAGS[stage].items():
        turn("agentkit_shadow_reads" if name == "shadow" else name, everyone=is_on)
    if stage == "agentkit_read" and percent != 100:
        turn("agentkit_reads", percent=percent)
    if stage == "frozen":
        freeze()


def in_sync(**documents: str) -> str:
    project = ProjectFactory(documents=documents or {"facts": "1"}).id
    scenes.forward(project, sessions=False)
    return project


def saved_in_agentkit_only(number: int = 3) -> list[str]:
    """Make projects that were saved while legacy writes were off."""
    projects = [in_sync() for _ in range(number)]
    stand_at("agentkit_only")
    for project in projects:
        state.save(project, facts=2)
    assert set(scenes.standings().values()) == {"agentkit_ahead"}
    return projects


def position() -> tuple[str, float] | None:
    """Return the stage and the percent that the flags and the catalog are."""
    found = RolloutState.read().position
    return found and (found.stage.value, float(found.percent))


def let_time_pass(hours: float) -> None:
    """Let everything that has happened be so much older."""
    with scenes.behind_the_trigger(), connection.cursor() as cursor:
        for table, columns in DATED.items():
            older = ", ".join(f'"{column}" = "{column}" - %(time)s' for column in columns)
            cursor.execute(f'UPDATE "{table}" SET {older}', {"time": timedelta(hours=hours)})


def hour(ago: float = 0, *, now: datetime | None = None) -> datetime:
    """Return the beginning of the hour so many hours ago."""
    moment = (now or timezone.now()) - timedelta(hours=ago)
    return moment.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


def found_by_reads(
    finding: str, count: int = 1, *, ago: float = 0, reason: str = "", now: datetime | None = None
) -> None:
    """Count what reads found in the hour so many hours ago."""
    ReadCount.objects.create(hour=hour(ago, now=now), finding=finding, reason=reason, count=count)


def on_since(gate: Gate) -> datetime:
    """Return since when a gate has been on for everyone."""
    since = FlagHistory.load().since(gate, lambda share: share.is_everything)
    assert since is not None
    return since


def conditions(stage: str, percent: float = 100, *, now: datetime | None = None) -> dict[str, Condition]:
    """Return the conditions of the step to a stage by name.

    Args:
        now: the moment from which ages and hours are counted. A test gives it where it must not matter how long the
            test takes, nor whether another hour begins meanwhile.
    """
    target, evidence = Position(Stage(stage), Decimal(percent)), Evidence()
    evidence.now = now or evidence.now
    return {condition.name: condition for condition in evidence.conditions(target)}


def missing(stage: str, percent: float = 100, *, now: datetime | None = None) -> list[str]:
    """Return the names of the conditions that keep the step to a stage closed."""
    return [name for name, condition in conditions(stage, percent, now=now).items() if not condition.holds]


def steps_taken() -> list[tuple[Any, ...]]:
    return [
        (step.from_stage, float(step.from_percent), step.to_stage, float(step.to_percent), step.override)
        for step in RolloutStep.objects.order_by("pk")
    ]


class WaitRecorder:
    """Records which transactions a step waits for; an impatient one then interrupts the step."""

    def __init__(self, *, is_impatient: bool = False) -> None:
        self.waited_for: list[list[int]] = []
        self.is_impatient = is_impatient
        self.monitor = StepMonitor(waiting=self.wait)

    def wait(self, transactions: Sequence[Transaction]) -> None:
        self.waited_for.append([transaction.pid for transaction in transactions])
        if self.is_impatient:
            self.monitor.stop.set()
