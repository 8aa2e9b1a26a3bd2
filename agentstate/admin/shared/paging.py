"""Lists that stay fast at any size: keyset pagination, estimated totals, queries with a time limit."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from django.contrib.admin.options import ShowFacets
from django.contrib.admin.views.main import ALL_VAR, ORDER_VAR, SEARCH_VAR, ChangeList
from django.db import DataError
from django.db.models import Q

from agentstate.admin.shared.formats import length_of_time
from agentstate.admin.shared.keyset import BadCursor, Keyset, KeysetPage, Walk, estimated_rows, in_round_figures
from agentstate.admin.shared.read_only import ReadOnlyAdmin
from agentstate.admin.shared.time_limit import TookTooLong, list_time_limit
from agentstate.read_database import despite_replica, read_alias, replica, replica_failed, seconds_behind

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager

    from django.contrib.admin import ListFilter
    from django.db.models import Model, QuerySet
    from django.db.models.expressions import Combinable
    from django.http import HttpRequest, HttpResponse

    from agentstate.admin.shared.keyset import Cursor

Spec = TypeVar("Spec", bound="ListFilter")

SHOWS = 2  # seconds that a replica may be behind without a word
# The parameters of an address: the rows after, or before, a place.
AFTER, BEFORE = "after", "before"

# What the links to other pages say, by the order of the rows.
NEWEST_FIRST = {"first": "Newest", "before": "Newer", "after": "Older"}
OLDEST_FIRST = {"first": "Oldest", "before": "Older", "after": "Newer"}
ANY_ORDER = {"first": "First", "before": "Previous", "after": "Next"}


@dataclass(frozen=True)
class Listing:
    """What a list is made of.

    Attributes:
        parts: querysets that have no row in common, and that an index has in this order.
        order: see :class:`~agentstate.admin.shared.keyset.Keyset`.
        walk: chooses of their rows, where there are conditions that no index serves.
        notice: what the viewer should know.
        words: what the links to its other pages say; by default, that of the model admin's order.
        is_by_column: whether the order is that of a column of the list.
    """

    parts: Sequence[QuerySet[Any, Any]]
    order: tuple[str, ...]
    walk: Walk | None = None
    notice: str = ""
    words: dict[str, str] | None = None
    is_by_column: bool = True


class KeysetChangeList(ChangeList):
    """A change list without COUNT and OFFSET, whose queries have a time limit."""

    model_admin: KeysetPages
    page = KeysetPage([])
    listing: Listing | None = None
    walk: Walk | None = None
    notices: tuple[str, ...] = ()
    behind = ""
    filter_specs: list[ListFilter] = []  # until the filters have been asked

    def get_queryset(
        self, request: HttpRequest, exclude_parameters: list[str | None] | None = None
    ) -> QuerySet[Model]:
        # Links to other filters must not lead into the middle of what they find.
        self.places = {name: self.params.pop(name, "") for name in (AFTER, BEFORE, ORDER_VAR, ALL_VAR)}
        for name in self.places:
            self.filter_params.pop(name, None)
        if self.model_admin.reads_replica:
            self.root_queryset = self.root_queryset.using(read_alias())
        try:
            with self._time_limit():
                return super().get_queryset(request, exclude_parameters)
        except TookTooLong as error:
            self._say(_too_long(error))
            return self.root_queryset.none()

    def get_ordering(self, request: HttpRequest, queryset: QuerySet[Model]) -> list[str | Combinable]:
        return list(self.model_admin.keyset)

    def get_results(self, request: HttpRequest) -> None:
        self.result_list, self.total = [], ""
        try:
            if not self.notices:  # else a filter took too long
                with self._time_limit():
                    self._find(request)
                    self.behind = self._behind()
        except TookTooLong as error:
            self._say(_too_long(error))
        except DataError:
            self._say("The database cannot hold such a value. Change the filter.")
        self.result_count = self.full_result_count = len(self.result_list)
        self.show_full_result_count = self.can_show_all = self.multi_page = False
        self.show_admin_actions = bool(self.result_list)

    def chosen(self, parameter: str) -> str | None:
        """Return what a filter with one parameter is set to, if it is."""
        values = (spec.used_parameters.get(parameter) for spec in self.filter_specs)
        return next((str(value) for value in values if value is not None), None)

    def spec(self, kind: type[Spec]) -> Spec:
        """Return the filter of a class."""
        return next(spec for spec in self.filter_specs if isinstance(spec, kind))

    @property
    def newer_link(self) -> str:
        return self.get_query_string({BEFORE: self.page.before}) if self.page.before else ""

    @property
    def older_link(self) -> str:
        return self.get_query_string({AFTER: self.page.after}) if self.page.after else ""

    @property
    def first_link(self) -> str:
        return self.get_query_string() if self.places[AFTER] or self.places[BEFORE] else ""

    @property
    def looked(self) -> dict[str, Any]:
        """Return how far a list got whose time was over: how many rows it looked at, and when the last one began."""
        if self.walk is None or not self.walk.stopped:
            return {}
        reached = self.walk.reached
        return {
            "at": self.walk.looked_at,
            "seconds": self.walk.seconds,
            "reached": reached and isinstance(reached[0], datetime) and reached[0],
            "skipped": self.walk.skipped,
            "onwards": self.newer_link if self.places[BEFORE] else self.older_link,
        }

    @property
    def words(self) -> dict[str, str]:
        """Return what the links to other pages say."""
        if self.listing and self.listing.words:
            return self.listing.words
        return NEWEST_FIRST if self.model_admin.keyset[0].startswith("-") else ANY_ORDER

    def sorting(self, column: str) -> dict[str, str] | None:
        """Return how the list is ordered by a column, as ``aria-sort`` has it, and the address of the other order."""
        orders = self.model_admin.column_orders
        if column not in orders:
            return None
        parameter, descending, ascending = orders[column]
        chosen = self.chosen(parameter)
        if not any(chosen in values for _, *values in orders.values()):
            chosen = None  # another value is the default order too
        direction = {descending: "descending", ascending: "ascending"}.get(chosen, "")
        other = ascending if direction == "descending" else descending
        if self.listing and not self.listing.is_by_column:
            direction = ""
        return {"direction": direction, "address": self.get_query_string({parameter: other})}

    @property
    def without_search_link(self) -> str:
        return self.get_query_string({SEARCH_VAR: None})

    def _find(self, request: HttpRequest) -> None:
        """Find the page's rows, and about how many there are."""
        self.listing = listing = self.model_admin.listing(self)
        self._say(listing.notice)
        keyset, self.walk = Keyset(listing.order, self.list_per_page), listing.walk
        parts = listing.parts
        if self.model_admin.reads_replica:
            parts = [each.using(read_alias()) for each in parts]
        cursor = self._cursor(keyset, next(iter(parts), self.queryset))
        self.page = keyset.page(parts, cursor, listing.walk)
        self.result_list = self.model_admin.rows(self, self.page.pks)
        for row in self.result_list:
            row.viewer = request.user
        self.total = self._total(parts)

    def _behind(self) -> str:
        """Say that the replica failed, or how far it is behind, if that may show."""
        if not self.model_admin.reads_replica:
            return ""
        if replica_failed():
            return f"The replica {replica()!r} could not be read, so this list is from the primary server."
        behind = seconds_behind(read_alias())
        if behind < SHOWS:
            return ""
        return f"This list is from a replica that is {length_of_time(timedelta(seconds=behind))} behind."

    def _cursor(self, keyset: Keyset, rows: QuerySet[Any, Any]) -> Cursor | None:
        for name in (BEFORE, AFTER):
            if text := self.places[name]:
                try:
                    return keyset.cursor(text, rows, is_before=name == BEFORE)
                except BadCursor:
                    self._say("This address names no page of the list. This is the first page.")
                    self.places[name] = ""
        return None

    def _total(self, parts: Sequence[QuerySet[Model]]) -> str:
        shown = len(self.result_list)
        names = self.opts.verbose_name if shown == 1 else self.opts.verbose_name_plural
        if self.walk or not (self.page.before or self.page.after):
            return f"{shown:,} {names}"
        return f"about {in_round_figures(max(shown + 1, estimated_rows(parts))):,} {names}"

    def _time_limit(self) -> AbstractContextManager[None]:
        return list_time_limit(self.model_admin.seconds, reads_replica=self.model_admin.reads_replica)

    def _say(self, notice: str) -> None:
        self.notices += (notice,) if notice else ()


class KeysetPages(ReadOnlyAdmin):
    """Pages of a model whose list may have any number of rows.

    Attributes:
        keyset: the list's fixed order, see :class:`~agentstate.admin.shared.keyset.Keyset`. An index should have it
            too.
        seconds: how long each of the list's queries may take.
        column_orders: the columns by which the list can be ordered, by their titles: the parameter of a filter, its
            value for the descending order, and that for the ascending one. None is the default order.

    A row of the list has ``viewer``, the user who looks at it, so that a column may show each what they may see.
    """

    keyset: tuple[str, ...] = ("-id",)
    seconds: float = 5
    column_orders: dict[str, tuple[str, str | None, str | None]] = {}
    change_list_template = "admin/agentstate/keyset_list.html"
    # The lists of large tables may be a little behind. What operators act on may not.
    reads_replica = True
    show_facets = ShowFacets.NEVER  # they are counts
    sortable_by = ()
    preserve_filters = False

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return KeysetChangeList

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        view = super().changelist_view
        if not self.reads_replica:
            return view(request, extra_context)
        return despite_replica(lambda: view(request, extra_context))

    def all_parts(self, changelist: KeysetChangeList) -> Sequence[Q]:
        """Return conditions of which each row of the list meets one and no other.

        An index should have the rows of each part in the list's order.
        """
        return [Q()]

    def parts(self, term: str) -> tuple[Sequence[Q], str]:
        """Return such conditions for a list in which something is searched for, and a notice.

        The term is as it was given: spaces around it may be part of an id.
        A model that finds it here has ``get_search_results`` leave the rows alone.
        """
        return [Q()], ""

    def listing(self, changelist: KeysetChangeList) -> Listing:
        """Return what the list is made of: by default the parts that are searched for, or all."""
        if changelist.query.strip():
            conditions, notice = self.parts(changelist.query)
        else:
            conditions, notice = self.all_parts(changelist), ""
        return Listing([changelist.queryset.filter(each) for each in conditions], self.keyset, notice=notice)

    def rows(self, changelist: KeysetChangeList, pks: Sequence[Any]) -> list[Any]:
        """Return the rows of a page in their order."""
        rows = self.for_list(changelist.root_queryset.order_by()).in_bulk(pks)
        return [rows[pk] for pk in pks if pk in rows]

    def for_list(self, queryset: QuerySet[Model]) -> QuerySet[Model]:
        """Annotate the queryset with what the columns need. Called for the rows of one page."""
        return queryset


def _too_long(error: TookTooLong) -> str:
    return f"This search took longer than {error.seconds:g} s. Narrow it down."
