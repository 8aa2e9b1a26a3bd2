"""Sessions: their list, and each as a conversation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.contrib.admin.utils import quote, unquote
from django.core.exceptions import PermissionDenied
from django.db.models import Case, F, Func, IntegerField, TextField, When
from django.db.models.functions import Cast, Left
from django.http import Http404, HttpResponse
from django.template.loader import render_to_string
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils.text import Truncator

from agentstate.admin.session import conversation
from agentstate.admin.shared.filters import DateRangeFilter
from agentstate.admin.shared.links import link_to
from agentstate.admin.shared.search import FoundByProject
from agentstate.models import AgentSession, AgentWorkflowRun, Project
from agentstate.models.expressions import WORKFLOW_LETTERS, id_hash

if TYPE_CHECKING:
    from django.db.models import QuerySet
    from django.http import HttpRequest
    from django.urls import URLPattern

METADATA_CHARACTERS = 20_000


class CreatedFilter(DateRangeFilter):
    title = "day it began"
    field = "created_at"


@admin.register(AgentSession)
class AgentSessionAdmin(FoundByProject):
    list_display = ("session", "project_link", "run_link", "began", "last_written")
    list_display_links = ("session",)
    list_filter = (CreatedFilter,)
    search_help_text = "A session's id, or a project's: its id, how that begins, or a part of its name."
    keyset = ("-created_at", "-id_hash")

    class Media:
        css = {"all": ["agentstate/session.css"]}

    def get_queryset(self, request: HttpRequest) -> QuerySet[AgentSession]:
        # A list of sessions shows no transcript.
        return AgentSession.objects.defer("transcript_json", "metadata").alias(id_hash=id_hash())

    def for_list(self, queryset: QuerySet[Any]) -> QuerySet[Any]:
        sessions: QuerySet[Any] = queryset.annotate(
            project_name=Left("project__name", 200), workflow=Left("agent_run__workflow_id", WORKFLOW_LETTERS)
        )
        return sessions

    @admin.display(description="session")
    def session(self, session: AgentSession) -> str:
        return render_to_string("admin/agentstate/includes/session_name.html", {"session": session})

    @admin.display(description="project")
    def project_link(self, session: Any) -> str:
        return link_to(Project, session.project_id, session.project_name or session.project_id, session.viewer)

    @admin.display(description="run")
    def run_link(self, session: Any) -> str:
        if session.agent_run_id is None:
            return "\N{EN DASH}"
        return link_to(AgentWorkflowRun, session.agent_run_id, session.workflow, session.viewer)

    @admin.display(description="began")
    def began(self, session: AgentSession) -> str:
        return render_to_string("admin/agentstate/includes/moment.html", {"when": session.created_at})

    @admin.display(description="last written to")
    def last_written(self, session: AgentSession) -> str:
        return render_to_string("admin/agentstate/includes/moment.html", {"when": session.updated_at})

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        return [
            path("<path:object_id>/entry/<int:number>/", view(self.entry_view), name="agentstate_agentsession_entry"),
            path(
                "<path:object_id>/entry/<int:number>/json/",
                view(self.entry_json_view),
                name="agentstate_agentsession_entry_json",
            ),
            *super().get_urls(),
        ]

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        session = self._session(request, object_id)
        if session is None:
            return self.not_found(request, object_id)
        window = conversation.window_of(session.pk, session.entries, request.GET.get("from", ""))
        return self._page(request, "conversation", session, {"window": window, **(extra_context or {})})

    def entry_view(self, request: HttpRequest, object_id: str, number: int) -> HttpResponse:
        """Show one entry by itself."""
        session = self._session(request, object_id)
        entry = conversation.long_entry(session.pk, number) if session else None
        if entry is None:
            raise Http404("This session has no such entry.")
        return self._page(request, "entry", session, {"entry": entry})

    def entry_json_view(self, request: HttpRequest, object_id: str, number: int) -> HttpResponse:
        """Return an entry as the JSON that is stored."""
        session = self._session(request, object_id)
        text = conversation.json_of_entry(session.pk, number) if session else None
        if text is None:
            raise Http404("This session has no such entry.")
        disposition = f'attachment; filename="entry-{number}.json"'
        return HttpResponse(text, content_type="application/json", headers={"Content-Disposition": disposition})

    def _session(self, request: HttpRequest, object_id: str) -> Any:
        """Return the session with all that its pages show but the transcript, or None where there is none.

        Raises:
            PermissionDenied: the viewer may not see it, or wants to change it.
        """
        pk = unquote(object_id)
        sessions = self.get_queryset(request).none() if "\0" in pk else self.get_queryset(request)
        session = (
            self.for_list(sessions)
            .annotate(
                status=F("agent_run__status"),
                entries=Case(
                    When(further__gt=0, then="further"),
                    default=Func("transcript_json", function="jsonb_array_length"),
                    output_field=IntegerField(),
                ),
                metadata_text=Left(Cast("metadata", TextField()), METADATA_CHARACTERS),
            )
            .filter(pk=pk)
            .first()
        )
        if not self.has_view_permission(request, session) or request.method not in ("GET", "HEAD"):
            raise PermissionDenied
        return session

    def _page(self, request: HttpRequest, name: str, session: Any, context: dict[str, Any]) -> HttpResponse:
        return TemplateResponse(
            request,
            f"admin/agentstate/agentsession/{name}.html",
            {
                **self.admin_site.each_context(request),
                "opts": self.opts,
                "media": self.media,
                "title": f"Session {Truncator(session.memory_id or session.pk).chars(100)}",
                "session": session,
                "session_quoted": quote(session.pk),
                "conversation": reverse("admin:agentstate_agentsession_change", args=[quote(session.pk)]),
                **context,
            },
        )
