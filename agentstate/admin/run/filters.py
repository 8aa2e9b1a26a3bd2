"""The filters of the list of runs. They say what is chosen; the listing makes conditions of it."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin

from agentstate.admin.shared.filters import DateRangeFilter, FormFilter
from agentstate.admin.shared.names import tool_names, workflow_names
from agentstate.models import AgentWorkflowRun
from agentstate.models.expressions import BACKFILLED_WORKFLOW, PATTERN_LETTERS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from django.contrib.admin.views.main import ChangeList
    from django.db.models import Model, QuerySet
    from django.http import HttpRequest

    Runs = QuerySet[AgentWorkflowRun]

LONGEST_TEXT = 200


class RunFilter(admin.SimpleListFilter):
    """One of some choices, which the listing reads."""

    def queryset(self, request: HttpRequest, queryset: Runs) -> Runs:
        return queryset


class StatusFilter(RunFilter):
    title = "status"
    parameter_name = "status"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Sequence[tuple[str, str]]:
        return [(status.value, status.label.lower()) for status in AgentWorkflowRun.Status]


class WorkflowFilter(RunFilter):
    """The workflow, as far as the index holds its name."""

    title = "workflow"
    parameter_name = "workflow"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Sequence[tuple[str, str]]:
        found = workflow_names()
        chosen = self.value()
        found += [chosen] if chosen is not None and chosen not in found else []
        return [(name, name or "without a name") for name in found]


class BackfilledFilter(RunFilter):
    """Runs that a backfill made. By default they are left out once there are others."""

    title = "backfilled runs"
    parameter_name = "backfilled"
    WITH = "with"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Sequence[tuple[str, str]]:
        return [(self.WITH, "with them")]

    def choices(self, changelist: ChangeList) -> Iterator[Any]:
        without, *others = super().choices(changelist)
        yield {**without, "display": "without, if there are others"}
        yield from others
        yield {
            "selected": False,
            "query_string": changelist.get_query_string({"workflow": BACKFILLED_WORKFLOW}),
            "display": "these alone",
        }


class SnapshotFilter(RunFilter):
    title = "snapshot"
    parameter_name = "snapshot"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Sequence[tuple[str, str]]:
        return [("yes", "carries one"), ("no", "carries none")]


class ApprovalFilter(RunFilter):
    title = "approval"
    parameter_name = "approval"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Sequence[tuple[str, str]]:
        return [("waits", "waits for it")]


class OrderFilter(RunFilter):
    """The order; by default the newest first."""

    title = "order"
    parameter_name = "order"
    OLDEST, LONGEST, SHORTEST = "oldest", "duration", "shortest"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Sequence[tuple[str, str]]:
        return [(self.OLDEST, "oldest first"), (self.LONGEST, "longest first"), (self.SHORTEST, "shortest first")]

    def choices(self, changelist: ChangeList) -> Iterator[Any]:
        newest, *others = super().choices(changelist)
        yield {**newest, "display": "newest first", "selected": not any(each["selected"] for each in others)}
        yield from others


class PatternFilter(RunFilter):
    """The errors of one pattern. The page of errors leads here."""

    title = "error"
    parameter_name = "error"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Sequence[tuple[str, str]]:
        chosen = self.value()
        return [] if chosen is None else [(chosen, chosen[:PATTERN_LETTERS] or "without a text")]


class StartedFilter(DateRangeFilter):
    """When a run began; in the list of a tool's calls, when the call did."""

    title = "time"
    field = "started_at"

    def queryset(self, request: HttpRequest, queryset: QuerySet[Model]) -> QuerySet[Model]:
        return queryset


class ToolForm(forms.Form):
    tool = forms.CharField(
        required=False,
        label="Tool",
        max_length=1_000,
        strip=False,
        widget=forms.TextInput(attrs={"list": "agentstate-tools", "autocomplete": "off"}),
    )
    call = forms.ChoiceField(
        required=False, label="Its call", choices=[("", "was made"), ("failed", "failed")], initial=""
    )


class ToolFilter(FormFilter):
    """Runs in which a tool was called, or in which a call of it failed."""

    title = "tool"
    form_class = ToolForm
    template = "admin/agentstate/filters/tool.html"

    def tools(self) -> list[str]:
        return tool_names()


class DurationForm(forms.Form):
    longer = forms.FloatField(
        required=False,
        label="Longer than, in seconds",
        min_value=0,
        max_value=timedelta(days=36_500).total_seconds(),
        widget=forms.NumberInput(attrs={"min": 0, "step": "any"}),
        error_messages={"invalid": "Not a number of seconds; ignored."},
    )


class DurationFilter(FormFilter):
    """Finished runs that took longer than some time."""

    title = "duration"
    form_class = DurationForm

    def longer(self) -> timedelta | None:
        seconds = self.value("longer")
        return None if seconds is None else timedelta(seconds=seconds)


class TextForm(forms.Form):
    text = forms.CharField(required=False, label="Text", max_length=LONGEST_TEXT)
    where = forms.ChoiceField(
        required=False,
        label="In",
        choices=[
            ("", "errors"),
            ("documents", "inputs and outputs"),
            ("payloads", "payloads of events"),
            ("all", "all"),
        ],
    )


class TextFilter(FormFilter):
    """A text in errors, in inputs and outputs, in payloads of events."""

    title = "text"
    form_class = TextForm
    help = "Looks for 2 seconds, and then says how far it came. Choose a time to look at less."


class OtherRunForm(forms.Form):
    """The run that another one is compared with."""

    other = forms.CharField(label="Id of the other run", max_length=3_000)
