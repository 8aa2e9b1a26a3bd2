"""The list of runs."""

from __future__ import annotations

from datetime import timedelta
from itertools import product
from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.db import connection
from django.db.models import Q
from django.db.models.functions import Left
from django.db.models.lookups import Exact
from django.template.loader import render_to_string
from django.utils import timezone

from agentstate.admin.run.timeline.usage import usage_in_short
from agentstate.admin.run.views import TimelinePages
from agentstate.admin.shared.filters import DateRangeFilter
from agentstate.admin.shared.formats import length_of_time
from agentstate.admin.shared.links import link_to
from agentstate.admin.shared.search import FoundByProject, is_search
from agentstate.admin.shared.workflows import WORKFLOWS
from agentstate.models import AgentWorkflowRun, Project
from agentstate.models.expressions import (
    id_hash,
    lacks_snapshot,
    of_project,
    status_and_snapshot,
    workflow_start,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from django.db.models import QuerySet
    from django.http import HttpRequest

    from agentstate.admin.shared.paging import KeysetChangeList

    Runs = QuerySet[AgentWorkflowRun]

# The filter's value, and that of lacks_snapshot().
LACKS: dict[str | None, int] = {"yes": 0, "no": 1}


class StatusFilter(admin.SimpleListFilter):
    """Filters search results by status. Without a search, each part of the list has one status already."""

    title = "status"
    parameter_name = "status"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Sequence[tuple[str, str]]:
        return [(status.value, status.label.lower()) for status in AgentWorkflowRun.Status]

    def queryset(self, request: HttpRequest, queryset: Runs) -> Runs:
        chosen = self.value() is not None and is_search(request)
        return queryset.filter(status=self.value()) if chosen else queryset


class WorkflowFilter(admin.SimpleListFilter):
    """Filters by workflow, as far as the index holds its name."""

    title = "workflow"
    parameter_name = "workflow"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Sequence[tuple[str, str]]:
        with connection.cursor() as cursor:
            cursor.execute(WORKFLOWS)
            names = [name for (name,) in cursor.fetchall()]
        chosen = self.value()
        names += [chosen] if chosen is not None and chosen not in names else []
        return [(name, name or "without a name") for name in names]

    def queryset(self, request: HttpRequest, queryset: Runs) -> Runs:
        return queryset if self.value() is None else queryset.filter(Exact(workflow_start(), self.value()))


class SnapshotFilter(admin.SimpleListFilter):
    """Filters search results by snapshot, as :class:`StatusFilter` does by status."""

    title = "snapshot"
    parameter_name = "snapshot"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Sequence[tuple[str, str]]:
        return [("yes", "carries one"), ("no", "carries none")]

    def queryset(self, request: HttpRequest, queryset: Runs) -> Runs:
        chosen = self.value() in LACKS and is_search(request)
        return queryset.filter(snapshot_at__isnull=bool(LACKS[self.value()])) if chosen else queryset


class ApprovalFilter(admin.SimpleListFilter):
    """Filters by what waits for approval. It looks at each pending run of the page's part of the index."""

    title = "approval"
    parameter_name = "approval"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Sequence[tuple[str, str]]:
        return [("waits", "waits for it")]

    def queryset(self, request: HttpRequest, queryset: Runs) -> Runs:
        return queryset if self.value() is None else queryset.waiting_for_approval()  # type: ignore[attr-defined]


class StartedFilter(DateRangeFilter):
    title = "day it started"
    field = "started_at"


@admin.register(AgentWorkflowRun)
class AgentWorkflowRunAdmin(FoundByProject, TimelinePages):
    list_display = (
        "status_word",
        "run",
        "project_link",
        "started",
        "duration",
        "tokens",
        "snapshot",
        "first_line_of_error",
    )
    list_display_links = ("run",)
    list_filter = (StatusFilter, ApprovalFilter, WorkflowFilter, SnapshotFilter, StartedFilter)
    search_help_text = "A run's id, or a project's: its id, how that begins, or a part of its name."
    keyset = ("-started_at", "-id_hash")

    class Media:
        css = {"all": ["agentstate/run.css"]}

    def get_queryset(self, request: HttpRequest) -> Runs:
        # The list shows no document; one can be megabytes.
        return AgentWorkflowRun.objects.defer("input", "result").alias(id_hash=id_hash())

    def for_list(self, queryset: QuerySet[Any]) -> QuerySet[Any]:
        runs: QuerySet[Any] = queryset.defer("input", "result", "error").annotate(
            error_start=Left("error", 300), project_name=Left("project__name", 200)
        )
        return runs

    def all_parts(self, changelist: KeysetChangeList) -> Sequence[Q]:
        """Split the list into parts that an index returns in order: by status, with and without a snapshot."""
        status, snapshot = changelist.chosen("status"), changelist.chosen("snapshot")
        statuses = AgentWorkflowRun.Status.values if status is None else [status]
        if changelist.chosen("approval") is not None:
            statuses = [each for each in statuses if each == AgentWorkflowRun.Status.PENDING]
        if not statuses:
            return [Q(pk__in=[])]
        kinds = product(statuses, [LACKS[snapshot]] if snapshot in LACKS else LACKS.values())
        if changelist.chosen("workflow") is None:
            return [Q(Exact(status_and_snapshot(), f"{status}{lacks}")) for status, lacks in kinds]
        return [Q(Exact(lacks_snapshot(), lacks), status=status) for status, lacks in kinds]

    def of_project(self, project_id: str) -> Q:
        return of_project(project_id)

    @admin.display(description="workflow")
    def run(self, run: AgentWorkflowRun) -> str:
        return render_to_string("admin/agentstate/includes/run_name.html", {"run": run})

    @admin.display(description="status")
    def status_word(self, run: AgentWorkflowRun) -> str:
        return render_to_string("admin/agentstate/includes/status.html", {"status": run.status})

    @admin.display(description="project")
    def project_link(self, run: Any) -> str:
        if run.project_id is None:
            return "\N{EN DASH}"
        return link_to(Project, run.project_id, run.project_name or run.project_id, run.viewer)

    @admin.display(description="started")
    def started(self, run: AgentWorkflowRun) -> str:
        return render_to_string("admin/agentstate/includes/moment.html", {"when": run.started_at})

    @admin.display(description="duration")
    def duration(self, run: AgentWorkflowRun) -> str:
        if run.completed_at:
            return length_of_time(run.completed_at - run.started_at)
        if run.status == AgentWorkflowRun.Status.RUNNING:
            # The start is from the database's clock, which may be ahead of ours.
            return f"{length_of_time(max(timezone.now() - run.started_at, timedelta(0)))} so far"
        return "\N{EN DASH}"

    @admin.display(description="usage")
    def tokens(self, run: AgentWorkflowRun) -> str:
        return usage_in_short(run.usage) or "\N{EN DASH}"

    @admin.display(description="snapshot")
    def snapshot(self, run: AgentWorkflowRun) -> str:
        return "yes" if run.snapshot_at else "\N{EN DASH}"

    @admin.display(description="error")
    def first_line_of_error(self, run: Any) -> str:
        lines = (run.error_start or "").strip().splitlines() if run.status == AgentWorkflowRun.Status.FAILED else []
        return render_to_string("admin/agentstate/includes/error_line.html", {"line": lines[0] if lines else ""})
