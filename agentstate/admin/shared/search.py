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
        ids = list(self.model._default_manager.filter(pk__in=[term, term.strip()]).values_list("pk", flat=True))
        if ids:
            return [Q(pk=term if term in ids else ids[0])], ""
        projects = find_projects(term)
        notice = ""
        if len(projects) > MOST_PROJECTS:
            notice = f"More than {MOST_PROJECTS} projects match. Rows of {MOST_PROJECTS} are shown: narrow it down."
        return [self.of_project(project) for project in projects[:MOST_PROJECTS]], notice

    def of_project(self, project_id: str) -> Q:
        """Return the condition that a row is a project's."""
        return Q(project=project_id)


def find_projects(term: str) -> list[str]:
    """Return the project with this id, or else projects whose id begins so or whose name has it, a few at most.

    An id may begin or end with spaces. The second reads the table until it has found as many, so it belongs under a
    time limit.
    """
    words = term.strip()
    exact = set(Project.objects.filter(pk__in=[term, words]).values_list("pk", flat=True))
    if exact:
        return [term if term in exact else words]
    alike = Project.objects.filter(Q(pk__startswith=words) | Q(name__icontains=words)).values_list("pk", flat=True)
    return list(alike[: MOST_PROJECTS + 1])
