"""The list of runs."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.db.models.fields.json import KT
from django.db.models.functions import Left
from django.template.loader import render_to_string
from django.utils import timezone
from django.utils.http import urlencode

from agentstate.admin.run.comparison import ComparisonPages
from agentstate.admin.run.errors import ErrorPages
from agentstate.admin.run.filters import (
    ApprovalFilter,
    BackfilledFilter,
    DurationFilter,
    OrderFilter,
    PatternFilter,
    SnapshotFilter,
    StartedFilter,
    StatusFilter,
    TextFilter,
    ToolFilter,
    WorkflowFilter,
)
from agentstate.admin.run.listing import Question
from agentstate.admin.run.neighbours import CAME_FROM
from agentstate.admin.run.timeline.usage import usage_in_short
from agentstate.admin.run.views import TimelinePages
from agentstate.admin.shared.formats import length_of_time
from agentstate.admin.shared.links import link_to
from agentstate.admin.shared.paging import KeysetPages
from agentstate.models import AgentWorkflowRun, AgentWorkflowRunEvent, Project
from agentstate.models.expressions import id_hash

if TYPE_CHECKING:
    from collections.abc import Sequence

    from django.db.models import QuerySet
    from django.http import HttpRequest

    from agentstate.admin.shared.paging import KeysetChangeList, Listing

    Runs = QuerySet[AgentWorkflowRun]


@admin.register(AgentWorkflowRun)
class AgentWorkflowRunAdmin(KeysetPages, ErrorPages, ComparisonPages, TimelinePages):
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
    list_filter = (
        StartedFilter,
        StatusFilter,
        BackfilledFilter,
        ToolFilter,
        TextFilter,
        WorkflowFilter,
        DurationFilter,
        OrderFilter,
        PatternFilter,
        SnapshotFilter,
        ApprovalFilter,
    )
    search_fields = ("=id",)
    search_help_text = (
        "The beginning of a run's id, a session's id or memory, a workflow, or a project's id; or a part of a "
        "project's name."
    )
    keyset = ("-started_at", "-id_hash")
    column_orders = {
        "started": (OrderFilter.parameter_name, None, OrderFilter.OLDEST),
        "duration": (OrderFilter.parameter_name, OrderFilter.LONGEST, OrderFilter.SHORTEST),
    }
    preserve_filters = True

    class Media:
        css = {"all": ["agentstate/run.css"]}

    def get_queryset(self, request: HttpRequest) -> Runs:
        # The list shows no document; one can be megabytes.
        return AgentWorkflowRun.objects.defer("input", "result").alias(id_hash=id_hash())

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        return queryset, False  # the listing finds them

    def for_list(self, queryset: QuerySet[Any]) -> QuerySet[Any]:
        runs: QuerySet[Any] = queryset.defer("input", "result", "error").annotate(
            error_start=Left("error", 300), project_name=Left("project__name", 200)
        )
        return runs

    def get_preserved_filters(self, request: HttpRequest) -> str:
        """Carry the list's filters to a run's page and back, those of the whole list too."""
        match = request.resolver_match
        if match and match.view_name.endswith("_changelist"):
            return urlencode({CAME_FROM: request.GET.urlencode() or "order=newest"})
        return super().get_preserved_filters(request)

    def question(self, changelist: KeysetChangeList) -> Question:
        """Return what the list's address asks."""
        tool, times = changelist.spec(ToolFilter), changelist.spec(StartedFilter)
        since, until = times.bounds()
        order = changelist.chosen(OrderFilter.parameter_name)
        return Question(
            term=changelist.query,
            status=changelist.chosen("status"),
            workflow=changelist.chosen("workflow"),
            snapshot=changelist.chosen("snapshot"),
            with_backfilled=changelist.chosen("backfilled") == BackfilledFilter.WITH,
            waits=changelist.chosen("approval") is not None,
            by_duration=order in (OrderFilter.LONGEST, OrderFilter.SHORTEST),
            is_ascending=order in (OrderFilter.OLDEST, OrderFilter.SHORTEST),
            pattern=changelist.chosen("error"),
            tool=tool.value("tool"),
            only_failed_calls=tool.value("call") == "failed",
            longer=changelist.spec(DurationFilter).longer(),
            text=changelist.spec(TextFilter).value("text") or "",
            where=changelist.spec(TextFilter).value("where") or "",
            since=since,
            until=until,
        )

    def listing(self, changelist: KeysetChangeList) -> Listing:
        return self.question(changelist).listing()

    def rows(self, changelist: KeysetChangeList, pks: Sequence[Any]) -> list[Any]:
        """Return the runs of a page; where a tool is asked for, each with its newest call."""
        if not changelist.spec(ToolFilter).value("tool"):
            return super().rows(changelist, pks)
        calls = (
            AgentWorkflowRunEvent.objects.filter(pk__in=pks)
            .defer("payload")
            .annotate(reason=Left(KT("payload__error"), 300))
        )
        by_pk = {call.pk: call for call in calls}
        runs = {run.pk: run for run in super().rows(changelist, [call.run_id for call in by_pk.values()])}
        found = []
        for call in (by_pk[pk] for pk in pks if pk in by_pk):
            if run := runs.get(call.run_id):
                run.call, run.preserved = call, changelist.preserved_filters
                found.append(run)
        return found

    def get_list_display(self, request: HttpRequest) -> list[Any]:
        """Show the call that a row stands for, where a tool is asked for."""
        columns = [*super().get_list_display(request)]
        if request.GET.get("tool"):
            columns[columns.index("snapshot")] = "call"  # there is no room for both
        return columns

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

    @admin.display(description="newest call")
    def call(self, run: Any) -> str:
        return render_to_string(
            "admin/agentstate/agentworkflowrun/newest_call.html",
            {"call": getattr(run, "call", None), "preserved": getattr(run, "preserved", "")},
        )

    @admin.display(description="error")
    def first_line_of_error(self, run: Any) -> str:
        lines = (run.error_start or "").strip().splitlines() if run.status == AgentWorkflowRun.Status.FAILED else []
        return render_to_string("admin/agentstate/includes/error_line.html", {"line": lines[0] if lines else ""})
