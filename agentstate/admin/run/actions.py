"""What a person does to runs: cancel one, and close those whose process died."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import messages
from django.contrib.admin.utils import quote, unquote
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils.decorators import method_decorator
from django.views.decorators.http import require_http_methods

from agentstate.admin.shared.read_only import ReadOnlyAdmin
from agentstate.admin.shared.reasons import ReasonField
from agentstate.admin.shared.time_limit import TookTooLong, deadline
from agentstate.models import AgentWorkflowRun
from agentstate.recording import IllegalStatusChange, RunFinished, RunNotFound, cancel, close_stale_runs
from agentstate.state import StateError

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.urls import URLPattern

    from agentstate.admin.run.timeline.header import RunHeader

CANCEL, CLOSE = "agentstate.cancel_runs", "agentstate.close_stale_runs"
TEMPLATES = "admin/agentstate/agentworkflowrun"
SILENT = {15: "15 minutes", 60: "1 hour", 6 * 60: "6 hours", 24 * 60: "1 day", 7 * 24 * 60: "7 days"}
SECONDS = 10.0  # that the search for stale runs may take
MOST = 500  # runs that one page closes


class CancelForm(forms.Form):
    """Why a run is canceled, and its status when the page was shown."""

    status = forms.CharField(widget=forms.HiddenInput)
    reason = ReasonField(required=True, help_text="Recorded with your name, in the run's error.")


class CloseForm(forms.Form):
    """Why stale runs are closed."""

    reason = ReasonField(required=True, help_text="Recorded with your name, in each run's error.")


class ActionPages(ReadOnlyAdmin):
    """The pages on which a person cancels a run, and closes stale ones. Each needs a permission of its own."""

    def get_urls(self) -> list[URLPattern]:
        views: dict[str, tuple[str, Callable[..., HttpResponse]]] = {
            "cancel": ("<str:object_id>/cancel/", self.cancel_view),
            "stale": ("stale/", self.stale_view),
        }
        ours = [
            path(route, self.admin_site.admin_view(view), name=f"agentstate_agentworkflowrun_{name}")
            for name, (route, view) in views.items()
        ]
        return [*ours, *super().get_urls()]

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        tools = [("Errors", reverse("admin:agentstate_agentworkflowrun_errors"))]
        if request.user.has_perm(CLOSE):
            tools.append(("Close stale runs…", reverse("admin:agentstate_agentworkflowrun_stale")))
        answer: HttpResponse = super().changelist_view(request, {"list_tools": tools, **(extra_context or {})})
        return answer

    def run_actions(self, request: HttpRequest, run: RunHeader) -> dict[str, Any]:
        """Return the context of what the user may do to a run."""
        may_cancel = run.status in ("pending", "running") and request.user.has_perm(CANCEL)
        address = reverse("admin:agentstate_agentworkflowrun_cancel", args=[quote(run.id)]) if may_cancel else ""
        return {"cancel_url": address}

    @method_decorator(require_http_methods(["GET", "HEAD", "POST"]))
    def cancel_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Ask why a run is to be canceled; a POST cancels it."""
        if not (self.has_view_permission(request) and request.user.has_perm(CANCEL)):
            raise PermissionDenied
        run = self.get_object(request, unquote(object_id))
        if run is None:
            raise Http404
        run_url = reverse("admin:agentstate_agentworkflowrun_change", args=[quote(run.pk)])
        form = CancelForm(request.POST or None, initial={"status": run.status})
        try:
            if run.status not in ("pending", "running"):
                raise RunFinished(run.pk, run.status)
            if not form.is_valid():
                context = {"run": run, "form": form, "run_url": run_url}
                return self._answer_with(request, "cancel.html", f"Cancel run {run.pk}", **context)
            seen, reason = form.cleaned_data["status"], form.cleaned_data["reason"]
            cancel(run.pk, reason, by=request.user.get_username(), seen=seen)
        except (RunFinished, IllegalStatusChange) as error:
            text = f"The run is {error.status} now. It changed after the page was shown, so nothing was done."
            self.message_user(request, text, messages.ERROR)
        except (RunNotFound, StateError) as error:
            self.message_user(request, f"Nothing was changed. {error}", messages.ERROR)
        else:
            self.log_change(request, run, f"Canceled. {form.cleaned_data['reason']}")
            self.message_user(request, "The run is canceled. Its process gets an error at its next event.")
        return HttpResponseRedirect(run_url)

    @method_decorator(require_http_methods(["GET", "HEAD", "POST"]))
    def stale_view(self, request: HttpRequest) -> HttpResponse:
        """List the running runs that were silent for ``?minutes=``; a POST closes those that still are."""
        if not (self.has_view_permission(request) and request.user.has_perm(CLOSE)):
            raise PermissionDenied
        asked = request.GET.get("minutes", "60")
        minutes = int(asked) if asked in map(str, SILENT) else 60
        silence, stale, problem = timedelta(minutes=minutes), [], ""
        form = CloseForm(request.POST or None)
        if form.is_valid():
            return self._close(request, silence, form)
        try:
            with deadline(SECONDS):
                stale = close_stale_runs(silence, dry_run=True)
        except TookTooLong:
            problem = (
                f"The search took longer than {SECONDS:g} s. Run manage.py close_stale_runs --older-than {minutes}m."
            )
        context = {"stale": stale[:MOST], "more": len(stale[MOST:]), "minutes": minutes, "choices": SILENT.items()}
        return self._answer_with(request, "stale.html", "Close stale runs", form=form, problem=problem, **context)

    def _close(self, request: HttpRequest, silence: timedelta, form: CloseForm) -> HttpResponse:
        by, reason = request.user.get_username(), form.cleaned_data["reason"]
        # One that came to life after the page was shown is not stale any more.
        chosen = [run for run in request.POST.getlist("runs")[:MOST] if "\0" not in run]
        closed = close_stale_runs(silence, among=chosen, decision=f"Closed by {by}: {reason}")
        for run in AgentWorkflowRun.objects.only("pk", "workflow_id").filter(pk__in=[each.run_id for each in closed]):
            self.log_change(request, run, f"Closed as stale. {reason}")
        left = len(chosen) - len(closed)
        text = f"{len(closed):,} run{'' if len(closed) == 1 else 's'} closed as stale."
        if left:
            text += f" {left:,} left alone: ended, or alive again."
        self.message_user(request, text, messages.WARNING if left else messages.SUCCESS)
        return HttpResponseRedirect(reverse("admin:agentstate_agentworkflowrun_changelist"))

    def _answer_with(self, request: HttpRequest, template: str, title: str, **context: Any) -> HttpResponse:
        context |= {
            **self.admin_site.each_context(request),
            "title": title,
            "opts": self.opts,
            "media": self.media,
        }
        return TemplateResponse(request, f"{TEMPLATES}/{template}", context)
