"""The parts of a run's page that are made on request: what a save changed, and texts as Markdown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.http import Http404
from django.template.response import TemplateResponse
from django.urls import path

from agentstate.admin.run.timeline.header import payload_of
from agentstate.admin.run.timeline.markdown import messages_in
from agentstate.admin.run.timeline.state_changes import state_changes_of
from agentstate.admin.shared.read_only import ReadOnlyAdmin
from agentstate.admin.shared.time_limit import TookTooLong, deadline
from agentstate.state.documents import decode

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse
    from django.urls import URLPattern

TEMPLATES = "admin/agentstate/agentworkflowrun"
# How long the database may take to rebuild the state before a save, and the longest payload that is rendered.
SECONDS, LONGEST = 3.0, 2_000_000


class PartPages(ReadOnlyAdmin):
    """Pages of one event, which a run's page also loads into itself."""

    def get_urls(self) -> list[URLPattern]:
        views = {"changes": self.changes_view, "markdown": self.markdown_view}
        ours = [
            path(
                f"<str:object_id>/events/<str:event_id>/{name}/",
                self.admin_site.admin_view(view),
                name=f"agentstate_agentworkflowrun_{name}",
            )
            for name, view in views.items()
        ]
        return [*ours, *super().get_urls()]

    def changes_view(self, request: HttpRequest, object_id: str, event_id: str) -> HttpResponse:
        """Show what an event ``state.changed`` changed."""
        run_id, event_id = self._ids(request, object_id, event_id)
        try:
            with deadline(SECONDS):
                changes = state_changes_of(run_id, event_id)
        except TookTooLong:
            context: dict[str, Any] = {"took_too_long": SECONDS}
        else:
            if changes is None:
                raise Http404
            context = {"changes": changes}
        return self._part(request, run_id, event_id, "changes", f"What event {event_id} changed", context)

    def markdown_view(self, request: HttpRequest, object_id: str, event_id: str) -> HttpResponse:
        """Show the texts of an event's payload as Markdown."""
        run_id, event_id = self._ids(request, object_id, event_id)
        payload = payload_of(run_id, event_id, LONGEST)
        if payload is None:
            raise Http404
        context = {"texts": None if payload.is_cut else messages_in(decode(payload.text))}
        return self._part(request, run_id, event_id, "messages", f"Texts of event {event_id}", context)

    def _ids(self, request: HttpRequest, *quoted: str) -> list[str]:
        if request.method not in ("GET", "HEAD") or not self.has_view_permission(request):
            raise PermissionDenied
        ids = [unquote(each) for each in quoted]
        if any("\0" in each for each in ids):  # PostgreSQL refuses it, so no row has it
            raise Http404
        return ids

    def _part(
        self, request: HttpRequest, run_id: str, event_id: str, name: str, title: str, context: dict[str, Any]
    ) -> HttpResponse:
        """Return a part of another page, or a page of its own."""
        if "part" in request.GET:
            return TemplateResponse(request, f"{TEMPLATES}/{name}.html", context)
        page = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "media": self.media,
            "title": title,
            "run_id": run_id,
            "event_id": event_id,
            "part": f"{TEMPLATES}/{name}.html",
        }
        return TemplateResponse(request, f"{TEMPLATES}/document.html", page | context)
