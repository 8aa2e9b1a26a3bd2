"""The page of an entry of a project left aside, and the operator's decisions: retry, or accept with a note."""

from __future__ import annotations

import json
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from django import forms
from django.contrib import messages
from django.contrib.admin.utils import quote, unquote
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils.decorators import method_decorator

from agentstate.actors import acting_as
from agentstate.admin.shared.read_only import ReadOnlyAdmin
from agentstate.backfill import BackfillError
from agentstate.backfill.acceptance import SHORTEST_NOTE, CannotAccept, accept, status_of, valid_acceptances
from agentstate.backfill.given_up import given_up
from agentstate.backfill.retry import retry
from agentstate.models import LeftAside
from agentstate.models.passes import Direction
from agentstate.row_security import RowsHidden

if TYPE_CHECKING:
    from django.urls import URLPattern

EXPLANATIONS = {
    "open": "Open: fix the cause and retry, or accept that the project is not moved.",
    "accepted": "Excluded by decision, until the project changes.",
    "outdated": "The project has changed since it was accepted. The decision does not cover its present content.",
    "closed": "The project was moved, or nothing was left to move.",
}


class Decision(NamedTuple):
    """A decision in an entry's history; ``at`` is a text if it is not a valid time."""

    what: str
    at: datetime | str
    by: str
    note: str


class AcceptForm(forms.Form):
    note = forms.CharField(
        min_length=SHORTEST_NOTE,
        help_text="The reason. It is recorded with your name.",
        widget=forms.Textarea(attrs={"rows": 4, "cols": 60}),
    )


class DecisionPages(ReadOnlyAdmin):
    """Shows entries to users with the view permission; users with the change permission decide."""

    def get_urls(self) -> list[URLPattern]:
        return [
            path(
                f"<path:object_id>/{action}/",
                self.admin_site.admin_view(view),
                name=f"agentstate_leftaside_{action}",
            )
            for action, view in (("retry", self.retry_view), ("accept", self.accept_view))
        ] + super().get_urls()

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """Show an entry: its error, its project and its decisions."""
        if request.method not in ("GET", "HEAD"):
            raise PermissionDenied
        entry: Any = self.get_object(request, unquote(object_id))
        if not self.has_view_permission(request, entry):
            raise PermissionDenied
        if entry is None:
            return self.not_found(request, object_id)
        context = {
            "decisions": _decisions(entry.decisions),
            "may_decide": not entry.closed_at and entry.direction in Direction and _may_decide(request),
        }
        return self._respond(request, entry, "change_form", {**context, **(extra_context or {})})

    @method_decorator(transaction.non_atomic_requests)  # a pass has transactions of its own
    def retry_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Run a pass for the entry's project, and report the outcome."""
        entry = self._entry(request, object_id)
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        if not entry.closed_at:
            try:
                with acting_as(request.user.get_username()):
                    retried = retry([entry])
            except (BackfillError, RowsHidden) as error:
                self.message_user(request, str(error), messages.ERROR)
                return self._back_to(entry)
            if retried.accepted:
                text = f"While the retry ran, {entry.decided_by} accepted this entry. It stays accepted."
                self.message_user(request, text, messages.WARNING)
            elif retried.failed:
                self.message_user(request, f"Failed again; the entry is open: {entry.error_class}.", messages.ERROR)
            elif retried.unsettled:
                text = "The project is still forked. Settle it with --prefer legacy or --prefer agentkit."
                self.message_user(request, text, messages.WARNING)
        if entry.closed_at:
            self.message_user(request, "Closed: the project was moved, or nothing was left to move.", messages.SUCCESS)
        return self._back_to(entry)

    def accept_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Show what is given up, ask for a note, and accept."""
        entry = self._entry(request, object_id)
        if entry.closed_at:
            self.message_user(request, "This entry is closed. Nothing is left to accept.", messages.WARNING)
            return self._back_to(entry)
        form = AcceptForm(request.POST if request.method == "POST" else None)
        if form.is_valid():
            try:
                # Accept the version that the page showed.
                version, shown = request.POST.get("version", ""), request.POST.get("seen", "")
                seen = int(shown) if shown.isdecimal() and len(shown) < 10 else -1
                accept(entry, form.cleaned_data["note"], by=request.user.get_username(), version=version, seen=seen)
            except (CannotAccept, RowsHidden) as error:
                form.add_error(None, str(error))
            else:
                self.message_user(request, "Accepted. The content below is given up.", messages.SUCCESS)
                return self._back_to(entry)
        return self._respond(request, entry, "accept", {"form": form})

    def _entry(self, request: HttpRequest, object_id: str) -> LeftAside:
        if not _may_decide(request):
            raise PermissionDenied
        entry: Any = self.get_object(request, unquote(object_id))
        if entry is None:
            raise Http404("There is no such entry.")
        return entry  # type: ignore[no-any-return]

    def _back_to(self, entry: LeftAside) -> HttpResponse:
        return HttpResponseRedirect(reverse("admin:agentstate_leftaside_change", args=[quote(entry.pk)]))

    def _respond(
        self, request: HttpRequest, entry: LeftAside, template: str, context: dict[str, Any]
    ) -> TemplateResponse:
        status = status_of(entry, valid_acceptances([entry.project_id]))
        context = {
            **self.admin_site.each_context(request),
            "title": f"Left aside: {entry.project_id[:80]}",
            "opts": self.opts,
            "media": self.media,
            "entry": entry,
            "status": status,
            "explanation": EXPLANATIONS[status],
            "given_up": given_up(entry) if not entry.closed_at and entry.direction in Direction else None,
            **context,
        }
        return TemplateResponse(request, f"admin/agentstate/leftaside/{template}.html", context)


def _may_decide(request: HttpRequest) -> bool:
    return request.user.has_perm("agentstate.change_leftaside")


def _decisions(recorded: Any) -> list[Decision]:
    """Return an entry's decisions, the newest first. What others wrote in another shape is shown as it is."""
    return [
        Decision(
            _text(each.get("what", "")),
            recorded_moment(each.get("at")),
            _text(each.get("by", "")),
            _text(each.get("note", "")),
        )
        if isinstance(each, dict)
        else Decision(_text(each), "", "", "")
        for each in reversed(recorded if isinstance(recorded, list) else [recorded])
    ]


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def recorded_moment(value: Any) -> datetime | str:
    """Return a time that JSON holds; as text if it is no time that can be shown in each time zone."""
    try:
        moment = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return "" if value is None else _text(value)
    return moment if 1 < moment.year < 9999 else str(value)  # a time zone can move the others out of reach
