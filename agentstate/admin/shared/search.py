"""Searching lists by an id, or by the project that their rows belong to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db.models import Q

from agentstate.admin.shared.paging import KeysetPages
from agentstate.models import Project

if TYPE_CHECKING:
    from collections.abc import Sequence

    from django.db.models import Model, QuerySet
    from django.http import HttpRequest

# Each project found is a part of the list that is read by itself.
MOST_PROJECTS = 20


class FoundByProject(KeysetPages):
    """A list whose rows are found by their id, or by their project: by its id or how that begins, or in its name."""

    search_fields = ("=id",)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Model], search_term: str
    ) -> tuple[QuerySet[Model], bool]:
        return queryset, False  # parts finds them

    def parts(self, term: str) -> tuple[Sequence[Q], str]:
        this = with_this_id(self.model, term)
        if this is not None:
            return [Q(pk=this)], ""
        projects, notice = found_projects(term)
        return [self.of_project(project) for project in projects], notice

    def of_project(self, project_id: str) -> Q:
        """Return the condition that a row is a project's."""
        return Q(project=project_id)


def with_this_id(model: type[Model], term: str) -> str | None:
    """Return the id of the row that a term names, None where there is none. An id may begin or end with spaces."""
    words = term.strip()
    ids = set(model._default_manager.filter(pk__in=[term, words]).values_list("pk", flat=True))
    return None if not ids else term if term in ids else words


def found_projects(term: str) -> tuple[list[str], str]:
    """Return the ids of a few projects that a term finds, and a notice if there are more.

    It is the project with this id, or else those whose id begins so or whose name has it. The second reads the table
    until it has found as many, so it belongs under a time limit.
    """
    words = term.strip()
    exact = with_this_id(Project, term)
    if exact is not None:
        return [exact], ""
    alike = Project.objects.filter(Q(pk__startswith=words) | Q(name__icontains=words)).values_list("pk", flat=True)
    projects = list(alike[: MOST_PROJECTS + 1])
    some = f"More than {MOST_PROJECTS} projects match. Rows of {MOST_PROJECTS} are shown: narrow it down."
    return projects[:MOST_PROJECTS], some if len(projects) > MOST_PROJECTS else ""
