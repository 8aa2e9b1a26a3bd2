"""The list of projects: its order, its filters, and how far a page looks for what no index finds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.contrib.humanize.templatetags.humanize import naturaltime
from django.db.models import Q

from agentstate.admin.project import listing
from agentstate.admin.shared.keyset import Keyset, KeysetPage, Walk
from agentstate.admin.shared.paging import NEWEST_FIRST, KeysetChangeList
from agentstate.models import AgentWorkflowRun, KeptVerification, Project
from agentstate.models.expressions import id_hash, is_snapshot_of_project
from agentstate.state.standing import Standing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.contrib.admin.views.main import ChangeList
    from django.db.models import QuerySet
    from django.db.models.expressions import RawSQL
    from django.http import HttpRequest

UNEQUAL, SNAPSHOT, COLUMNS = "unequal", "snapshot", "columns"
# How long one page looks for projects that match.
SECONDS = 2.0
KEYSETS = {
    None: ("id",),
    SNAPSHOT: ("-snapshot_at", "-id_hash"),
    COLUMNS: ("-state_updated_at", "-id"),
}


class _Filter(admin.SimpleListFilter):
    """A filter whose condition :class:`ProjectChangeList` looks for, since no index has it."""

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset

    def condition(self, project: str) -> RawSQL | None:
        """Return the condition on the project of an SQL expression, None for no condition."""
        return None


class StandingFilter(_Filter):
    """Filters by standing. Unequal projects are those that the last verification found."""

    title = parameter_name = "standing"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        newest = KeptVerification.objects.newest()
        age = f"verified {naturaltime(newest.started_at)}" if newest else "never verified"
        standings = [(standing.value, standing.replace("_", " ")) for standing in Standing]
        return [*standings, (UNEQUAL, f"unequal ({age})")]

    def condition(self, project: str) -> RawSQL | None:
        value = self.value()
        return None if value in (None, UNEQUAL) else listing.has_standing(project, value)


class OpenConflictsFilter(_Filter):
    title, parameter_name = "open conflicts", "conflicts"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("open", "Has open conflicts")]

    def condition(self, project: str) -> RawSQL | None:
        return listing.has_open_conflicts(project) if self.value() == "open" else None


class FatalFilter(_Filter):
    title, parameter_name = "eligibility", "eligibility"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("fatal", "Has fatal items")]

    def condition(self, project: str) -> RawSQL | None:
        return listing.has_fatal_items(project) if self.value() == "fatal" else None


class OrderFilter(_Filter):
    """The order of the list: each home has a clock of its own."""

    title = parameter_name = "order"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(SNAPSHOT, "Newest snapshot first"), (COLUMNS, "Last changed columns first")]

    def choices(self, changelist: ChangeList) -> Iterator[Any]:
        first, *others = super().choices(changelist)
        yield {**first, "display": "By id"}
        yield from others


class ProjectChangeList(KeysetChangeList):
    """A list of projects: most of its filters are conditions that no index has."""

    @property
    def words(self) -> dict[str, str]:
        return super().words if self._order is None else NEWEST_FIRST

    @property
    def _order(self) -> str | None:
        order = self.chosen(OrderFilter.parameter_name)
        return order if order in KEYSETS else None

    def _find(self, request: HttpRequest) -> None:
        keyset = Keyset(KEYSETS[self._order], self.list_per_page)
        rows, project = self._rows()
        rows, matches = self._searched(rows)
        matches &= self._conditions(project)
        self.page = self._page(keyset, rows, matches)
        projects = self._projects()
        found = self.model_admin.for_list(self.root_queryset.order_by()).in_bulk(projects)
        figures = listing.figures_of(projects)
        self.result_list = [found[each] for each in projects if each in found]
        for row in self.result_list:
            row.viewer, row.figures = request.user, figures.get(row.pk)
        # The planner cannot estimate how many rows match.
        is_part = self.page.before or self.page.after
        self.total = f"{len(self.result_list):,} on this page" if matches and is_part else self._total([rows])

    def _rows(self) -> tuple[QuerySet[Any], str]:
        """Return the rows that have the list's order, and the SQL of a row's project."""
        if self._order == SNAPSHOT:
            snapshots = AgentWorkflowRun.objects.using(self.root_queryset.db).filter(is_snapshot_of_project())
            rows, project = snapshots.alias(id_hash=id_hash()), '"AgentWorkflowRun".project_id'
            self._say("This order has the projects with a snapshot.")
        else:
            rows, project = self.queryset.order_by(), '"Project"."id"'
        if self.chosen(StandingFilter.parameter_name) == UNEQUAL:
            rows = rows.filter(**{f"{self._id}__in": listing.unequal_projects().values("project_id")})
        return rows, project

    @property
    def _id(self) -> str:
        """Return the name of a row's field that has the project's id."""
        return "project_id" if self._order == SNAPSHOT else "pk"

    def _projects(self) -> list[str]:
        """Return the ids of the page's projects, in order."""
        if self._order != SNAPSHOT:
            return self.page.pks
        runs = AgentWorkflowRun.objects.using(self.root_queryset.db).filter(pk__in=self.page.pks)
        projects = dict(runs.values_list("pk", "project_id"))
        return [projects[pk] for pk in self.page.pks if projects.get(pk)]

    def _searched(self, rows: QuerySet[Any]) -> tuple[QuerySet[Any], Q]:
        """Return the rows of the project whose id is searched for, or else what they must match."""
        term, words = self.query, self.query.strip()
        if not words:
            return rows, Q()
        exact = set(Project.objects.filter(pk__in=[term, words]).values_list("pk", flat=True))
        if exact:
            return rows.filter(**{self._id: term if term in exact else words}), Q()
        name = "project__name" if self._order == SNAPSHOT else "name"
        return rows, Q(**{f"{self._id}__startswith": words}) | Q(**{f"{name}__icontains": words})

    def _conditions(self, project: str) -> Q:
        """Return what the filters ask of a row's project."""
        conditions = Q(listing.is_newest_snapshot('"AgentWorkflowRun"')) if self._order == SNAPSHOT else Q()
        for spec in self.filter_specs:
            condition = spec.condition(project) if isinstance(spec, _Filter) else None
            if condition is not None:
                conditions &= Q(condition)
        return conditions

    def _page(self, keyset: Keyset, rows: QuerySet[Any], matches: Q) -> KeysetPage:
        cursor = self._cursor(keyset, rows)
        if self._order == COLUMNS or not matches:  # without an index, each step of a walk would read the whole table
            return keyset.page([rows.filter(matches)], cursor)

        def matching(pks: list[str]) -> set[str]:
            return set(rows.filter(matches, pk__in=pks).values_list("pk", flat=True))

        # One row first: its documents may be large.
        self.walk = Walk(matching, first_look=1, seconds=SECONDS)
        return keyset.page([rows], cursor, self.walk)
