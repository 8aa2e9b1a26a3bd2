"""The rollout on one page, and the steps taken."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import HttpResponseRedirect
from django.template.loader import render_to_string
from django.template.response import TemplateResponse
from django.urls import path
from django.utils.decorators import method_decorator
from django.views.decorators.http import require_http_methods

from agentstate.actors import acting_as
from agentstate.admin.rollout import lists
from agentstate.admin.rollout.actions import StepPages, may
from agentstate.admin.rollout.context import page_context, stage_context
from agentstate.admin.rollout.reads_plot import HOURS, reads
from agentstate.admin.shared.links import may_see
from agentstate.admin.shared.paging import KeysetPages
from agentstate.models import BackfillPass, FlagChange, LeftAside, Project, Rollout, RolloutStep, StepRequest
from agentstate.rollout.counting import Counted, count_in_background
from agentstate.row_security import refuse_hidden_rows
from agentstate.state.foreign_changes import read_foreign_changes

if TYPE_CHECKING:
    from django.db.models import Model
    from django.http import HttpRequest, HttpResponse
    from django.urls import URLPattern

WAIT = 1.0  # seconds that a page waits for a count before it shows the one before it


@admin.register(Rollout)
class RolloutAdmin(StepPages):
    """The page of the rollout, and its steps."""

    class Media:
        css = {"all": ["agentstate/rollout.css"]}

    def has_view_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return may_see(RolloutStep, request.user)

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.changelist_view)
        return [path("", view, name="agentstate_rollout_changelist"), *self.step_urls()]

    @method_decorator(transaction.non_atomic_requests)  # the thread that counts has a connection of its own
    @method_decorator(require_http_methods(["GET", "HEAD", "POST"]))
    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """Show the page with the last count. A POST counts again, and so does a GET if that is too old."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        page = {
            **self.admin_site.each_context(request),
            "title": "Rollout",
            "opts": self.opts,
            "media": self.media,
            **(extra_context or {}),
        }
        if (changes := read_foreign_changes()) and changes.blocks_steps:
            context = {**page, **stage_context(), "foreign_changes": changes}
            return TemplateResponse(request, "admin/agentstate/rollout/foreign_changes.html", context)
        refuse_hidden_rows()
        if request.method == "POST":
            count(request)
            return HttpResponseRedirect(request.path)
        counted = Counted.read()
        if counted.is_due:
            count(request)
            counted = Counted.read()
        context = {
            **page,
            **page_context(counted),
            **lists.left_aside(),
            "reads": reads(),
            "hours": HOURS,
            "differences": lists.newest_differences(),
            "passes": lists.passes(),
            "steps": lists.steps(),
            "sees": {
                model._meta.model_name: may_see(model, request.user)
                for model in (BackfillPass, FlagChange, LeftAside, Project)
            },
            "may": may(request.user),
            "may_change_flags": request.user.has_perm("agentstate.change_flag"),
        }
        return TemplateResponse(request, "admin/agentstate/rollout/page.html", context)


def count(request: HttpRequest) -> None:
    """Count in the background, for the user of the request."""
    with acting_as(request.user.get_username()):
        count_in_background(WAIT)


@admin.register(RolloutStep)
class RolloutStepAdmin(KeysetPages):
    list_display = ("taken", "step", "requested_by", "overridden", "completed")
    fields = ("taken", "step", "requested_by", "override", "completed", "as_they_stood")
    readonly_fields = ("taken", "step", "completed", "as_they_stood")

    class Media:
        css = {"all": ["agentstate/rollout.css"]}

    @admin.display(description="taken")
    def taken(self, step: RolloutStep) -> str:
        return render_to_string("admin/agentstate/includes/moment.html", {"when": step.at})

    @admin.display(description="step")
    def step(self, step: RolloutStep) -> str:
        return lists.step_in_words(step)

    @admin.display(description="override")
    def overridden(self, step: RolloutStep) -> str:
        return render_to_string("admin/agentstate/rollout/override.html", {"step": step})

    @admin.display(description="completed")
    def completed(self, step: RolloutStep) -> str:
        return render_to_string("admin/agentstate/includes/moment.html", {"when": step.completed_at})

    @admin.display(description="conditions at that time")
    def as_they_stood(self, step: RolloutStep) -> str:
        return render_to_string(
            "admin/agentstate/rollout/as_they_stood.html", {"conditions": lists.conditions_of(step)}
        )


@admin.register(StepRequest)
class StepRequestAdmin(KeysetPages):
    """The steps that operators requested on the page."""

    list_display = ("asked", "request", "requested_by", "reason", "outcome", "message")
    fields = readonly_fields = (
        "asked",
        "request",
        "requested_by",
        "reason",
        "overrides",
        "outcome",
        "message",
        "ended",
        "step",
    )

    @admin.display(description="requested")
    def asked(self, request: StepRequest) -> str:
        return render_to_string("admin/agentstate/includes/moment.html", {"when": request.requested_at})

    @admin.display(description="request")
    def request(self, request: StepRequest) -> str:
        return str(request)

    @admin.display(description="ended")
    def ended(self, request: StepRequest) -> str:
        return render_to_string("admin/agentstate/includes/moment.html", {"when": request.ended_at})
