"""What of a run waits for approval, and people's decisions about it."""

from __future__ import annotations

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
from agentstate.approvals import (
    APPROVED,
    REJECTED,
    CannotDecide,
    WaitingCall,
    decide,
    undecided_call,
    waiting_calls,
)
from agentstate.state import StateError

if TYPE_CHECKING:
    from django.urls import URLPattern

    from agentstate.admin.run.timeline.header import RunHeader

DECIDE = "agentstate.decide_approvals"


class DecisionForm(forms.Form):
    """The reason for a decision, and what was decided about: the call as the page showed it."""

    version = forms.CharField(widget=forms.HiddenInput)
    message = forms.CharField(label="Reason", widget=forms.Textarea(attrs={"rows": 4, "cols": 60}))

    def __init__(self, data: Any, call: WaitingCall, *, approves: bool) -> None:
        super().__init__(data, initial={"version": call.version})
        self.fields["message"].required = not approves
        self.fields["message"].help_text = (
            "Optional. It is kept with your name." if approves else "The agent gets it. It is kept with your name."
        )


class ApprovalPages(ReadOnlyAdmin):
    """Shows what waits to those who may view runs, and lets those decide who have a permission for that."""

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.approval_view)
        return [
            path("<str:object_id>/approval/", view, name="agentstate_agentworkflowrun_approval"),
            *super().get_urls(),
        ]

    def approvals(self, request: HttpRequest, run: RunHeader) -> dict[str, Any]:
        """Return the context of what of a run waits for approval."""
        calls = waiting_calls(run.id) if run.status == "pending" else []
        return {
            "waiting_calls": calls,
            "undecided": sum(call.decision is None for call in calls),
            "may_decide": request.user.has_perm(DECIDE),
            "approval_url": reverse("admin:agentstate_agentworkflowrun_approval", args=[quote(run.id)]),
        }

    @method_decorator(require_http_methods(["GET", "HEAD", "POST"]))
    def approval_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Ask for the reason of the decision ``?call=…&decision=approved|rejected``; a POST records it."""
        if not (self.has_view_permission(request) and request.user.has_perm(DECIDE)):
            raise PermissionDenied
        run_id, call_id = unquote(object_id), request.GET.get("call", "")
        decision = request.GET.get("decision")
        if decision not in (APPROVED, REJECTED):
            raise Http404("The decision is approved or rejected.")
        approves = decision == APPROVED
        run_url = reverse("admin:agentstate_agentworkflowrun_change", args=[quote(run_id)])
        try:
            call, others = undecided_call(run_id, call_id)
            form = DecisionForm(request.POST if request.method == "POST" else None, call, approves=approves)
            if not form.is_valid():
                return self._ask(
                    request, call=call, form=form, approves=approves, others=others, run_id=run_id, run_url=run_url
                )
            left = decide(run_id, call_id, approves, by=request.user.get_username(), **form.cleaned_data)
        except (CannotDecide, StateError) as error:
            self.message_user(request, str(error), messages.ERROR)
        else:
            self.message_user(request, f"{decision.capitalize()}: {call.tool}. {_what_follows(left)}")
        return HttpResponseRedirect(run_url)

    def _ask(self, request: HttpRequest, **context: Any) -> HttpResponse:
        approves, call = context["approves"], context["call"]
        context |= {
            **self.admin_site.each_context(request),
            "title": f"{'Approve' if approves else 'Reject'} {call.tool}",
            "opts": self.opts,
            "media": self.media,
            "what_follows": _what_follows(context["others"]),
        }
        return TemplateResponse(request, "admin/agentstate/agentworkflowrun/approval.html", context)


def _what_follows(undecided: int) -> str:
    """Say what happens to a run of which so many calls still lack a decision."""
    if undecided:
        calls = "1 other call still lacks" if undecided == 1 else f"{undecided:,} other calls still lack"
        return f"{calls} a decision; the run waits for {'it' if undecided == 1 else 'them'}."
    return "Every call has a decision now; the application can resume the run."
