"""What a person asks of a running pass: pause, resume, cancel, and another pacing."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils.decorators import method_decorator
from django.views.decorators.http import require_http_methods

from agentstate.admin.shared.paging import KeysetPages
from agentstate.backfill import BackfillError, Pacing
from agentstate.backfill.requests import CANCEL, PAUSE, RESUME, ask, set_pacing
from agentstate.models import BackfillPass

if TYPE_CHECKING:
    from django.urls import URLPattern

SET = "set"
CHANGE = "agentstate.change_backfillpass"
CONSEQUENCES = {
    PAUSE: "The pass waits after its current batches. It keeps its lock, so no pass of the other direction can start.",
    RESUME: "The pass continues.",
    CANCEL: "The pass ends after its current batches. What it has done stays, and a later pass continues.",
    SET: "The new pacing holds from the next batch on.",
}


class PacingForm(forms.Form):
    """The pacing of a running pass."""

    target_seconds = forms.FloatField(min_value=0.01, max_value=3600, help_text="How long a batch should take.")
    sleep_ratio = forms.FloatField(
        min_value=0, max_value=100, help_text="How many seconds to sleep after each second of work."
    )
    max_lag = forms.FloatField(
        min_value=0.01,
        max_value=86400,
        required=False,
        help_text="How many seconds a replica may be behind. Empty: replicas are not looked at.",
    )


class ControlPages(KeysetPages):
    """The pages on which users with the change permission ask something of a running pass."""

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.ask_view)
        return [
            *(
                path(f"<int:number>/{what}/", view, {"what": what}, name=f"agentstate_backfillpass_{what}")
                for what in CONSEQUENCES
            ),
            *super().get_urls(),
        ]

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show a pass, with what may be asked of it."""
        entry: Any = self.get_object(request, object_id)
        actions = _actions(entry) if entry and request.user.has_perm(CHANGE) else []
        answer: HttpResponse = super().change_view(
            request, object_id, form_url, {"pass_actions": actions, **(extra_context or {})}
        )
        return answer

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        entry = super().get_object(request, object_id, from_field)
        return entry and BackfillPass.objects.with_state().filter(pk=entry.pk).first()

    @method_decorator(require_http_methods(["GET", "HEAD", "POST"]))
    def ask_view(self, request: HttpRequest, number: int, what: str) -> HttpResponse:
        """Ask for a confirmation; a POST asks the pass."""
        if not (self.has_view_permission(request) and request.user.has_perm(CHANGE)):
            raise PermissionDenied
        entry = BackfillPass.objects.with_state().filter(pk=number).first()
        if entry is None:
            raise Http404
        now = asdict(Pacing.recorded(entry.options))
        form = PacingForm(request.POST or None, initial=now) if what == SET else None
        if request.method != "POST" or (form and not form.is_valid()):
            return self._show(request, entry, what, form)
        by, shown = request.user.get_username(), request.POST.get("seen", "")
        seen = int(shown) if shown.isdecimal() and len(shown) < 10 else -1
        try:
            if form:
                set_pacing(entry, by, seen, **{name: form.cleaned_data[name] for name in now})
            else:
                ask(entry, what, by, seen)
        except BackfillError as error:
            self.message_user(request, str(error), messages.ERROR)
        else:
            self.log_change(request, entry, f"Asked to {what}.")
            self.message_user(request, CONSEQUENCES[what], messages.SUCCESS)
        return HttpResponseRedirect(reverse("admin:agentstate_backfillpass_change", args=[entry.pk]))

    def _show(self, request: HttpRequest, entry: Any, what: str, form: PacingForm | None) -> HttpResponse:
        is_pacing = what == SET
        context = {
            **self.admin_site.each_context(request),
            "title": f"Change the pacing of {entry}" if is_pacing else f"{what.capitalize()} {entry}",
            "opts": self.opts,
            "media": self.media,
            "entry": entry,
            "button": "Change the pacing" if is_pacing else f"{what.capitalize()} the pass",
            "consequence": CONSEQUENCES[what],
            "form": form,
        }
        return TemplateResponse(request, "admin/agentstate/backfillpass/ask.html", context)


def _actions(entry: Any) -> list[tuple[str, str]]:
    """Return the label and the address of each thing that may be asked of a pass."""
    if entry.outcome != BackfillPass.Outcome.RUNNING or (entry.is_lost and not entry.ranges.exists()):
        return []
    is_going = entry.state in ("running", "waiting")
    asked = {PAUSE: "Pause…"} if is_going else {}
    if not is_going or entry.ranges.unattended().exists():
        asked[RESUME] = "Resume…"
    asked |= {CANCEL: "Cancel…", SET: "Change the pacing…"}
    return [
        (label, reverse(f"admin:agentstate_backfillpass_{what}", args=[entry.pk])) for what, label in asked.items()
    ]
