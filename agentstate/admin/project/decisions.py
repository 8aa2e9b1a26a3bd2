"""Decisions about what an intake found: a conflict with both passages side by side, an eligibility item."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
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

from agentstate import state
from agentstate.actors import acting_as
from agentstate.admin.shared.passages import passage_of
from agentstate.admin.shared.read_only import ReadOnlyAdmin
from agentstate.models import Project
from agentstate.state import StateError

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.urls import URLPattern

CHANGE = "agentstate.change_project"


@cache
def can_decide() -> bool:
    """Tell whether the extra ``intake`` is installed, which works out what follows from a decision."""
    return find_spec("rapidfuzz") is not None


class OverrideForm(forms.Form):
    fatal = forms.ChoiceField(choices=[("yes", "Fatal"), ("no", "Not fatal")], widget=forms.RadioSelect)
    note = forms.CharField(
        help_text="Why. It is kept with your name.", widget=forms.Textarea(attrs={"rows": 4, "cols": 60})
    )


class DecisionPages(ReadOnlyAdmin):
    """Shows what an intake found to those who may view projects, and lets those decide who may change them."""

    def get_urls(self) -> list[URLPattern]:
        return [
            path(f"<path:object_id>/{name}/", self.admin_site.admin_view(view), name=f"agentstate_project_{name}")
            for name, view in (("conflict", self.conflict_view), ("eligibility", self.eligibility_view))
        ] + super().get_urls()

    @method_decorator(require_http_methods(["GET", "HEAD", "POST"]))
    def conflict_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Show the conflict ``?key=type:key`` with both passages; a POST resolves it."""
        project, current = self._current(request, object_id)
        key = request.GET.get("key", "")
        entry = _named(current.conflict_log, lambda one: f"{one.get('type')}:{one.get('key')}" == key)
        if request.method == "POST":
            from agentstate.orchestrator import resolve_conflict

            resolution = request.POST.get("resolution", "")
            return self._decide(
                request, project, lambda: resolve_conflict(project.pk, key, resolution), f"Resolved: {resolution}."
            )
        return self._page(
            request,
            project,
            "conflict",
            entry=entry,
            sides=[(name, entry.get(name), passage_of(project.pk, entry.get(name))) for name in ("previous", "next")],
        )

    @method_decorator(require_http_methods(["GET", "HEAD", "POST"]))
    def eligibility_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Show the eligibility item ``?id=…`` with its passage; a POST overrides it."""
        project, current = self._current(request, object_id)
        item_id = request.GET.get("id", "")
        document = current.eligibility
        items = document.get("items") if isinstance(document, dict) else document
        item = _named(items, lambda one: one.get("id") == item_id)
        form = OverrideForm(request.POST or None, initial={"fatal": "yes" if item.get("fatal") is True else "no"})
        if request.method == "POST" and form.is_valid():
            from agentstate.orchestrator import override_eligibility

            fatal, note = form.cleaned_data["fatal"] == "yes", form.cleaned_data["note"]
            return self._decide(
                request,
                project,
                lambda: override_eligibility(project.pk, item_id, fatal, note),
                "Overridden: fatal." if fatal else "Overridden: not fatal.",
            )
        return self._page(
            request,
            project,
            "eligibility_item",
            item=item,
            form=form,
            passage=passage_of(project.pk, item.get("provenance")),
        )

    def _current(self, request: HttpRequest, object_id: str) -> tuple[Project, state.ProjectState]:
        project: Project | None = self.get_object(request, unquote(object_id))
        if not self.has_view_permission(request, project):
            raise PermissionDenied
        if request.method == "POST" and not request.user.has_perm(CHANGE):
            raise PermissionDenied
        if project is None or not can_decide():
            raise Http404("There is no such project.")
        return project, state.load(project.pk, request, counts=False)

    def _decide(self, request: HttpRequest, project: Project, decide: Callable[[], object], done: str) -> HttpResponse:
        from agentstate.intake.decisions import UnknownDecision
        from agentstate.orchestrator.orchestrate import ProjectBusy

        try:
            with acting_as(request.user.get_username()):
                decide()
        except (StateError, UnknownDecision, ProjectBusy, ValueError) as error:
            self.message_user(request, str(error), messages.ERROR)
        else:
            self.message_user(request, done, messages.SUCCESS)
        return HttpResponseRedirect(_address_of(project))

    def _page(self, request: HttpRequest, project: Project, template: str, **context: Any) -> HttpResponse:
        context = {
            **self.admin_site.each_context(request),
            "title": project.name or project.pk,
            "opts": self.opts,
            "media": self.media,
            "project": project,
            "project_url": _address_of(project),
            "may_decide": request.user.has_perm(CHANGE),
            **context,
        }
        request.current_app = self.admin_site.name
        return TemplateResponse(request, f"admin/agentstate/project/{template}.html", context)


def _address_of(project: Project) -> str:
    return reverse("admin:agentstate_project_change", args=[quote(project.pk)])


def _named(entries: Any, is_it: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """Return the one entry of a list that is it.

    Raises:
        Http404: there is none.
    """
    for entry in entries if isinstance(entries, list) else ():
        if isinstance(entry, dict) and is_it(entry):
            return entry
    raise Http404("The project has no such entry now.")
