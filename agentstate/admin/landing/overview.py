"""The overview at the top of the app's own page: where the rollout is, and what runs or failed lately."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from django.urls import reverse
from django.utils import timezone
from django.utils.http import urlencode

from agentstate.admin.shared.gate_problems import Alarm, alarms
from agentstate.admin.shared.links import may_see
from agentstate.models import AgentWorkflowRun, LeftAside, RolloutStep
from agentstate.models.expressions import status_and_snapshot
from agentstate.rollout.stages import RolloutState

if TYPE_CHECKING:
    from django.contrib.auth.models import AnonymousUser, User
    from django.db.models import Model, QuerySet

# Counts end here; the index of the list of runs answers each within a few milliseconds.
MOST = 1000
RECENT = timedelta(hours=24)

# Models by what people come for; any other model of the app comes last.
GROUPS = {
    "Watch": ("AgentWorkflowRun", "AgentSession", "Project", "AgentDocument", "Usage", "Storage"),
    "Migrate": ("Rollout", "LeftAside", "BackfillPass", "Flag", "FlagChange", "RolloutStep", "StepRequest"),
}


class Figure(NamedTuple):
    """A figure of the overview, and the list that it counts; ``is_bad`` asks for attention."""

    label: str
    value: str
    address: str
    is_bad: bool = False


def overview(user: User | AnonymousUser) -> dict[str, Any]:
    """Return the figures that a user may see, and what they need to know at once."""
    figures: list[Figure] = []
    alarming: list[Alarm] = []
    retreat_url = ""
    if may_see(RolloutStep, user):
        state = RolloutState.read()
        alarming = alarms(state)
        stage = f"{state.position or 'no stage'}".replace("_", " ")
        figures.append(
            Figure("Rollout", stage, reverse("admin:agentstate_rollout_changelist"), state.position is None)
        )
        if state.may_go_down and user.has_perm("agentstate.retreat_rollout"):
            retreat_url = reverse("admin:agentstate_rollout_retreat")
    if may_see(LeftAside, user):
        count = _count(LeftAside.objects.open())
        figures.append(Figure("Left aside, open", _shown(count), _list(LeftAside), count > 0))
    if may_see(AgentWorkflowRun, user):
        running, failed = _runs("running"), _runs("failed").filter(started_at__gte=timezone.now() - RECENT)
        figures.append(Figure("Running now", _shown(_count(running)), _list(AgentWorkflowRun, status="running")))
        count = _count(failed)
        label = "Failed, started in the last 24 hours"
        figures.append(Figure(label, _shown(count), _list(AgentWorkflowRun, status="failed"), count > 0))
    return {"figures": figures, "alarms": alarming, "retreat_url": retreat_url}


def grouped(models: list[dict[str, Any]]) -> list[tuple[str, list[dict[str, Any]]]]:
    """Return the models of the app's page by group, each in the order of its group."""
    by_name = {model["object_name"]: model for model in models}
    groups = [(title, [by_name.pop(name) for name in names if name in by_name]) for title, names in GROUPS.items()]
    return [(title, of_group) for title, of_group in (*groups, ("Set up", [*by_name.values()])) if of_group]


def _runs(status: str) -> QuerySet[AgentWorkflowRun]:
    """Return the runs of a status, as the index of the list of runs has them."""
    return AgentWorkflowRun.objects.alias(kind=status_and_snapshot()).filter(kind__in=[f"{status}0", f"{status}1"])


def _count(rows: QuerySet[Any]) -> int:
    return rows.order_by().values("pk")[: MOST + 1].count()


def _shown(count: int) -> str:
    return f"{MOST:,}+" if count > MOST else f"{count:,}"


def _list(model: type[Model], **filters: str) -> str:
    address = reverse(f"admin:agentstate_{model._meta.model_name}_changelist")
    return f"{address}?{urlencode(filters)}" if filters else address
