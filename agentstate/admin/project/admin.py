"""Projects: their standings, their state at any moment, and both homes side by side."""

from __future__ import annotations

from collections import Counter
from functools import wraps
from itertools import islice
from typing import TYPE_CHECKING, Any, ParamSpec

from django.contrib import admin
from django.contrib.admin.utils import quote, unquote
from django.core.exceptions import PermissionDenied
from django.db.models.functions import Left
from django.http import Http404, HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils.http import urlencode
from django.utils.text import Truncator
from django.views.decorators.http import require_safe

from agentstate.admin.project.changelist import (
    FatalFilter,
    OpenConflictsFilter,
    OrderFilter,
    ProjectChangeList,
    StandingFilter,
)
from agentstate.admin.project.context import EMPTIED, UNEQUAL, StandingSummary, differing, panels_at, standing_summary
from agentstate.admin.project.decisions import CHANGE, DecisionPages, can_decide
from agentstate.admin.project.documents import LARGEST, document_text, read_documents
from agentstate.admin.project.history import HistoryPages
from agentstate.admin.project.listing import unequal_projects
from agentstate.admin.project.moments import position
from agentstate.admin.project.settling import RESTORE, SettlePages, address_of, offers, why
from agentstate.admin.shared.formats import indented
from agentstate.admin.shared.links import may_see
from agentstate.admin.shared.paging import KeysetPages
from agentstate.backfill.settling import Choice, dispute_of
from agentstate.models import AgentSession, AgentWorkflowRun, AgentWorkflowRunEvent, Project
from agentstate.state import ProjectNotFound

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.contrib.admin.views.main import ChangeList
    from django.db.models import Model, QuerySet
    from django.urls import URLPattern

    from agentstate.admin.project.documents import ProjectDocuments

P = ParamSpec("P")

# How many runs, sessions and event types a project's page names, and how many events of a run it counts.
NAMED, COUNTED = 20, 1_000
LONGEST_NAME, LONGEST_TYPE = 200, 60


def _not_found_once_it_is_gone(view: Callable[P, HttpResponse]) -> Callable[P, HttpResponse]:
    """Answer 404 if the legacy application deletes the project during the request."""

    @wraps(view)
    def looking(*args: P.args, **kwargs: P.kwargs) -> HttpResponse:
        try:
            return view(*args, **kwargs)
        except ProjectNotFound as error:
            raise Http404(str(error)) from error

    return looking


@admin.register(Project)
class ProjectAdmin(DecisionPages, SettlePages, HistoryPages, KeysetPages):
    """Shows projects. The view permission includes their state at any moment."""

    list_display = ("shown_id", "shown_name", "standing", "score", "open_conflicts", "fatal", "last_change", "created")
    list_filter = (OrderFilter, StandingFilter, OpenConflictsFilter, FatalFilter)
    keyset = ("id",)
    search_fields = ("=id",)
    search_help_text = "A project's id, or how it begins, or a part of its name"

    class Media:
        css = {"all": ["agentstate/project.css"]}

    def get_queryset(self, request: HttpRequest) -> QuerySet[Model]:
        # meta holds the chat.
        return Project.objects.only("id", "name", "created_at")

    def for_list(self, queryset: QuerySet[Any]) -> QuerySet[Any]:
        rows: QuerySet[Any] = queryset.only("id", "created_at").annotate(name_start=Left("name", LONGEST_NAME))
        return rows

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return ProjectChangeList

    @admin.display(description="id")
    def shown_id(self, project: Project) -> str:
        return _text(project.pk)

    @admin.display(description="name")
    def shown_name(self, project: Any) -> str:
        return _text(project.name_start)

    @admin.display(description="standing")
    def standing(self, project: Any) -> str:
        return self._figure(project, "standing")

    @admin.display(description="score")
    def score(self, project: Any) -> str:
        return self._figure(project, "score")

    @admin.display(description="open conflicts")
    def open_conflicts(self, project: Any) -> str:
        return self._figure(project, "open_conflicts")

    @admin.display(description="fatal items")
    def fatal(self, project: Any) -> str:
        return self._figure(project, "fatal")

    @admin.display(description="last change")
    def last_change(self, project: Any) -> str:
        return render_to_string(
            "admin/agentstate/includes/moment.html", {"when": project.figures and project.figures.last_change}
        )

    def _figure(self, project: Any, name: str) -> str:
        value = getattr(project.figures, name, None)  # None: the project was deleted meanwhile
        context = {"name": name, "value": value, "figures": project.figures}
        return render_to_string("admin/agentstate/project/figure.html", context)

    @admin.display(description="created")
    def created(self, project: Project) -> str:
        return render_to_string("admin/agentstate/includes/moment.html", {"when": project.created_at})

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Model], search_term: str
    ) -> tuple[QuerySet[Model], bool]:
        return queryset, False  # ProjectChangeList finds them

    def get_urls(self) -> list[URLPattern]:
        def named(address: str, view: Callable[..., HttpResponse], name: str) -> URLPattern:
            return path(
                f"<path:object_id>/{address}", self.admin_site.admin_view(view), name=f"agentstate_project_{name}"
            )

        return [
            named("moment/", self.moment_view, "moment"),
            named("document/<str:key>/", self.document_view, "document"),
            *super().get_urls(),
        ]

    @_not_found_once_it_is_gone
    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """Show a project's page."""
        if request.method not in ("GET", "HEAD"):
            raise PermissionDenied
        project = self._project(request, object_id)
        state = self._state(request, project)
        documents = state["homes"]
        context = {
            **state,
            **_activity(request, project, documents.run_id),
            "where": standing_summary(documents),
            "differing": differing(documents),
            **_dispute(request, project, documents),
            **(extra_context or {}),
        }
        return self._respond(request, project, "change_form", context)

    @_not_found_once_it_is_gone
    def moment_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Return the part of a project's page that the time slider replaces."""
        return require_safe(self._moment)(request, object_id)

    def _moment(self, request: HttpRequest, object_id: str) -> HttpResponse:
        project = self._project(request, object_id)
        return self._respond(request, project, "moment", self._state(request, project))

    @_not_found_once_it_is_gone
    def document_view(self, request: HttpRequest, object_id: str, key: str) -> HttpResponse:
        """Return a whole document as JSON, of a home or of a moment: indented, unless it is large."""
        project, key = self._project(request, object_id), unquote(key)
        home = request.GET.get("home")
        if "\0" in key or home not in (None, "legacy", "snapshot"):
            raise Http404("There is no such document.")
        moment = None if home else position(project.pk, request.GET).moment
        place, at = ("chosen", moment.at) if moment else (home, None)
        text = document_text(project.pk, request, key, place=place, chosen=at)
        if text is None:
            raise Http404("There is no such document.")
        shown = text if len(text) > LARGEST else indented(text)
        return HttpResponse(shown, content_type="application/json; charset=utf-8")

    def _project(self, request: HttpRequest, object_id: str) -> Project:
        project: Project | None = self.get_object(request, unquote(object_id))
        if not self.has_view_permission(request, project):
            raise PermissionDenied
        if project is None:
            raise Http404("There is no such project.")
        return project

    def _state(self, request: HttpRequest, project: Project) -> dict[str, Any]:
        """Return the context of the part that the time slider replaces."""
        place = position(project.pk, request.GET)
        chosen, before = (moment.at if moment else None for moment in (place.moment, place.before))
        compares = request.GET.get("compare") == "1"
        documents = read_documents(project.pk, request, chosen=chosen, before=before, compares=compares)
        context = {"homes": documents, "place": place, **panels_at(project.pk, place, documents)}
        if place.moment is None and can_decide():
            context |= {
                "conflict_url": reverse("admin:agentstate_project_conflict", args=[quote(project.pk)]),
                "eligibility_url": reverse("admin:agentstate_project_eligibility", args=[quote(project.pk)]),
                "may_decide": request.user.has_perm(CHANGE),
            }
        if place.moment and documents.has_columns and request.user.has_perm(RESTORE):
            context["restore_url"] = address_of(project.pk, Choice.RESTORE, place.at_text)
        return context

    def _respond(self, request: HttpRequest, project: Project, template: str, context: dict[str, Any]) -> HttpResponse:
        context = {
            **self.admin_site.each_context(request),
            "title": project.name or project.pk,
            "opts": self.opts,
            "project": project,
            "media": self.media,
            "sees_runs": may_see(AgentWorkflowRun, request.user),
            "sees_sessions": may_see(AgentSession, request.user),
            "page_url": reverse("admin:agentstate_project_change", args=[quote(project.pk)]),
            "moment_url": reverse("admin:agentstate_project_moment", args=[quote(project.pk)]),
            **context,
        }
        return TemplateResponse(request, f"admin/agentstate/project/{template}.html", context)


def _text(text: str) -> str:
    return render_to_string("admin/agentstate/includes/link.html", {"text": Truncator(text).chars(LONGEST_NAME)})


def _dispute(request: HttpRequest, project: Project, documents: ProjectDocuments) -> dict[str, Any]:
    """Return the context of what an operator can decide, where the homes contradict each other."""
    is_emptied = documents.has_columns and not documents.legacy and bool(documents.snapshot)
    is_known_unequal = documents.is_same_by_clocks and unequal_projects().filter(project_id=project.pk).exists()
    if not (standing_summary(documents).is_bad or is_emptied or is_known_unequal):
        return {}
    dispute = dispute_of(project.pk)
    if dispute is None or not dispute.kind:
        return {}
    return {
        # More than the clocks say.
        **({"where": StandingSummary(dispute.kind, documents)} if dispute.kind in (UNEQUAL, EMPTIED) else {}),
        "dispute": dispute,
        "dispute_why": why(dispute),
        "offers": offers(project.pk, dispute, request.user),
    }


def _activity(request: HttpRequest, project: Project, newest_run: str | None) -> dict[str, Any]:
    """Return the context of a project's newest runs and sessions, as far as the user may view them."""
    found: dict[str, Any] = {}
    by_project = urlencode({"q": project.pk})
    if may_see(AgentWorkflowRun, request.user):
        runs = AgentWorkflowRun.objects.of_project(project.pk).defer("input", "result", "error")
        found["runs"] = runs.order_by("-started_at", "-id")[:NAMED]
        found["all_runs_url"] = f"{reverse('admin:agentstate_agentworkflowrun_changelist')}?{by_project}"
        types = _event_types(newest_run)
        is_more = types.total() > COUNTED
        found["events"] = f"{COUNTED:,}+" if is_more else f"{types.total():,}"
        found["event_types"] = [] if is_more else list(islice(types.items(), NAMED))
    if may_see(AgentSession, request.user):
        sessions = AgentSession.objects.filter(project=project).only("id", "agent_run_id", "created_at", "updated_at")
        found["sessions"] = sessions.order_by("-updated_at", "-id")[:NAMED]
        found["all_sessions_url"] = f"{reverse('admin:agentstate_agentsession_changelist')}?{by_project}"
    return found


def _event_types(run_id: str | None) -> Counter[str]:
    """Count a run's first events by type, in the order of first occurrence."""
    events = AgentWorkflowRunEvent.objects.filter(run=run_id).order_by("created_at")
    return Counter(events.values_list(Left("type", LONGEST_TYPE), flat=True)[: COUNTED + 1] if run_id else [])
