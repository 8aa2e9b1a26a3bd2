"""The overview at the top of the app's own page: where the rollout is, and what runs or failed lately."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from django.urls import reverse
from django.utils.http import urlencode

from agentstate.admin.landing.failures import recent_failures
from agentstate.admin.landing.rollout import verdict
from agentstate.admin.shared.gate_problems import Alarm, alarms
from agentstate.admin.shared.links import may_see
from agentstate.admin.shared.time_limit import TookTooLong, time_limit
from agentstate.models import AgentWorkflowRun, LeftAside, RolloutStep
from agentstate.models.expressions import status_and_snapshot
from agentstate.rollout.counting import Counted
from agentstate.rollout.stages import RolloutState
from agentstate.state.standing import Standing

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from django.contrib.auth.models import AnonymousUser, User
    from django.db.models import Model, QuerySet

    from agentstate.admin.landing.failures import HourOfFailures

# Counts end here; the index of the list of runs answers each within a few milliseconds.
MOST, SECONDS = 1000, 1.0

# The list of the runs that failed lately.
FAILED = {"status": "failed", "started_at-within": "24h"}

# Models by what people come for; any other model of the app comes last.
GROUPS = {
    "Watch": ("AgentWorkflowRun", "AgentSession", "Project", "AgentDocument", "Usage", "Storage"),
    "Migrate": ("Rollout", "LeftAside", "BackfillPass", "Flag", "FlagChange", "RolloutStep", "StepRequest"),
}


class Figure(NamedTuple):
    """A figure of the overview, and the page behind it; ``is_bad`` asks for attention.

    Attributes:
        note: what the figure means, in words.
        at: when it was counted, None for now.
        hours: the failures of each of the last 24 hours, for a plot.
    """

    label: str
    value: str
    address: str
    is_bad: bool = False
    note: str = ""
    at: datetime | None = None
    hours: Sequence[HourOfFailures] = ()


def overview(user: User | AnonymousUser) -> dict[str, Any]:
    """Return the figures that a user may see, and what they need to know at once."""
    figures: list[Figure] = []
    alarming: list[Alarm] = []
    retreat_url = ""
    if may_see(RolloutStep, user):
        state = RolloutState.read()
        alarming = alarms(state)
        figures += _of_rollout(state)
        if state.may_go_down and user.has_perm("agentstate.retreat_rollout"):
            retreat_url = reverse("admin:agentstate_rollout_retreat")
    if may_see(LeftAside, user):
        count = _count(LeftAside.objects.open())
        figures.append(Figure("Left aside, open", _shown(count), _list(LeftAside), bool(count)))
    if may_see(AgentWorkflowRun, user):
        figures += _of_runs()
    return {"figures": figures, "alarms": alarming, "retreat_url": retreat_url}


def grouped(models: list[dict[str, Any]]) -> list[tuple[str, list[dict[str, Any]]]]:
    """Return the models of the app's page by group, each in the order of its group."""
    by_name = {model["object_name"]: model for model in models}
    groups = [(title, [by_name.pop(name) for name in names if name in by_name]) for title, names in GROUPS.items()]
    return [(title, of_group) for title, of_group in (*groups, ("Set up", [*by_name.values()])) if of_group]


def _of_rollout(state: RolloutState) -> list[Figure]:
    """Return the stage with the verdict on its next step, and the standings of the last count."""
    address = reverse("admin:agentstate_rollout_changelist")
    stage = f"{state.position or 'no stage'}".replace("_", " ")
    counted = Counted.read()
    figures = [Figure("Rollout", stage, address, state.position is None, verdict(state, counted))]
    if counted.kept is None or counted.figures is None:
        return [*figures, Figure("Standings", "not counted yet", address, note="the rollout page counts")]
    verification = counted.figures.verification
    in_sync, total = verification.standing[Standing.IN_SYNC], sum(verification.standing.values())
    others = {**verification.standing, "unequal": verification.unequal}
    note = ", ".join(
        f"{count:,} {standing}".replace("_", " ")
        for standing, count in others.items()
        if count and standing != Standing.IN_SYNC
    )
    is_bad = bool(verification.unequal or verification.standing[Standing.FORKED])
    value = f"{in_sync:,} of {total + verification.unequal:,} in sync"
    return [
        *figures,
        Figure("Standings", value, f"{address}#agentstate-standings", is_bad, note, counted.kept.started_at),
    ]


def _of_runs() -> list[Figure]:
    running = _count(running_runs())
    figures = [Figure("Running now", _shown(running), _list(AgentWorkflowRun, status="running"))]
    label, address = "Failed, started in the last 24 hours", _list(AgentWorkflowRun, **FAILED)
    failures = recent_failures()
    if failures is None:
        return [*figures, Figure(label, _shown(None), address)]
    count = f"{failures.count:,}{'+' if failures.is_cut else ''}"
    note = "the newest by hour" if failures.is_cut else ""
    return [*figures, Figure(label, count, address, bool(failures.count), note, hours=failures.hours)]


def running_runs() -> QuerySet[AgentWorkflowRun]:
    """Return the running runs, as the index of the list of runs has them."""
    return AgentWorkflowRun.objects.alias(kind=status_and_snapshot()).filter(kind__in=["running0", "running1"])


def _count(rows: QuerySet[Any]) -> int | None:
    """Count up to ``MOST`` rows and one more, None if that takes too long."""
    try:
        with time_limit(SECONDS):
            return rows.order_by().values("pk")[: MOST + 1].count()
    except TookTooLong:
        return None


def _shown(count: int | None) -> str:
    if count is None:
        return "not counted"
    return f"{MOST:,}+" if count > MOST else f"{count:,}"


def _list(model: type[Model], **filters: str) -> str:
    address = reverse(f"admin:agentstate_{model._meta.model_name}_changelist")
    return f"{address}?{urlencode(filters)}" if filters else address
