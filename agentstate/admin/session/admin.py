"""Sessions: their list, and each as a conversation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.contrib.admin.utils import quote, unquote
from django.core.exceptions import PermissionDenied
from django.db.models import Case, F, Func, IntegerField, TextField, When
from django.db.models.functions import Cast, Left
from django.http import Http404, HttpResponse, HttpResponseRedirect
from django.template.loader import render_to_string
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils.dateparse import parse_datetime
from django.utils.http import urlencode
from django.utils.text import Truncator
from django.utils.timezone import get_current_timezone

from agentstate.admin.session import conversation
from agentstate.admin.session.search import found_sessions
from agentstate.admin.session.tool_calls import interleave
from agentstate.admin.shared.filters import DateRangeFilter
from agentstate.admin.shared.links import link_to, may_see
from agentstate.admin.shared.search import FoundByProject
from agentstate.models import AgentSession, AgentWorkflowRun, Project
from agentstate.models.expressions import WORKFLOW_LETTERS, id_hash

if TYPE_CHECKING:
    from django.db.models import QuerySet
    from django.http import HttpRequest
    from django.urls import URLPattern

    from agentstate.admin.shared.paging import KeysetChangeList, Listing

METADATA_CHARACTERS = 20_000
ROLES = ("user", "assistant", "tool", "system", "developer", "unknown")


class CreatedFilter(DateRangeFilter):
    title = "began"
    field = "created_at"


@admin.register(AgentSession)
class AgentSessionAdmin(FoundByProject):
    list_display = ("session", "project_link", "run_link", "began", "last_written")
    list_display_links = ("session",)
    list_filter = (CreatedFilter,)
    search_help_text = (
        "The beginning of a session's id or memory, of its run's id or workflow, or of a project's id; or a part of a "
        "project's name."
    )
    keyset = ("-created_at", "-id_hash")

    class Media:
        css = {"all": ["agentstate/session.css"]}

    def get_queryset(self, request: HttpRequest) -> QuerySet[AgentSession]:
        # A list of sessions shows no transcript.
        return AgentSession.objects.defer("transcript_json", "metadata").alias(id_hash=id_hash())

    def listing(self, changelist: KeysetChangeList) -> Listing:
        if not changelist.query.strip():
            return super().listing(changelist)
        return found_sessions(changelist.query, changelist.queryset, self.keyset)

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
        asked = {
            name: request.GET.get(name, "").replace("\0", "") for name in ("from", "until", "q", "role", "calls", "go")
        }
        notices: list[str] = []
        if asked["go"].strip():
            number = _number_to_go_to(session, asked["go"].strip())
            if number is not None:
                return HttpResponseRedirect(self._jump(request, number, asked["calls"]))
            notices.append(f"“{Truncator(asked['go']).chars(60)}” is neither a number nor a time.")
        context = {"asked": asked, "roles": _roles(asked["role"]), "notices": notices, **(extra_context or {})}
        if asked["q"].strip() or asked["role"]:
            return self._page(request, "found", session, {**context, **_found(session, asked)})
        window = conversation.window_of(session.pk, session.entries, asked["from"])
        items: list[Any] = window.entries
        if asked["calls"] and session.agent_run_id and may_see(AgentWorkflowRun, request.user):
            following = conversation.long_entry(session.pk, window.last + 1) if window.later else None
            interleaved = interleave(session.agent_run_id, window.entries, following, is_first=window.first == 1)
            items, notices = interleaved.items, [*notices, interleaved.notice]
        context |= {"window": window, "items": items, "notices": list(filter(None, notices))}
        return self._page(request, "conversation", session, context)

    def _jump(self, request: HttpRequest, number: int, calls: str) -> str:
        query: dict[str, str | int] = {"from": number, **({"calls": calls} if calls else {})}
        return f"{request.path}?{urlencode(query)}#entry-{number}"

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


def _number_to_go_to(session: Any, text: str) -> int | None:
    """Return the number of the entry that a number or a time names, None if the text is neither."""
    number = conversation.number_of(text.replace(",", ""))
    if number is not None:
        return max(1, min(number, int(session.entries)))
    try:
        moment = parse_datetime(text) or parse_datetime(f"{text} 00:00")
    except ValueError:
        return None
    if moment is None:
        return None
    aware = moment if moment.utcoffset() is not None else moment.replace(tzinfo=get_current_timezone())
    return conversation.number_at(session.pk, session.entries, aware)


def _roles(chosen: str) -> list[str]:
    return [*ROLES, *([chosen] if chosen and chosen not in ROLES else [])]


def _found(session: Any, asked: dict[str, str]) -> dict[str, Any]:
    """Return the context of the entries that match."""
    until = conversation.number_of(asked["until"])
    until = session.entries if until is None else min(until, session.entries)
    found = conversation.find_entries(session.pk, until, asked["q"].strip(), asked["role"])
    older: dict[str, str | int] = {"q": asked["q"], "role": asked["role"], "until": found.until or 0}
    return {"found": found, "older": f"?{urlencode(older)}" if found.until else ""}
