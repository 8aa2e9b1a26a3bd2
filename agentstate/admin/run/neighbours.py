"""The runs before and after one in the list that it was opened from, or else in its project."""

from __future__ import annotations

from copy import copy
from typing import TYPE_CHECKING, Any, NamedTuple

from django.contrib.admin.options import IncorrectLookupParameters
from django.core.exceptions import SuspiciousOperation
from django.http import QueryDict
from django.urls import reverse
from django.utils.http import urlencode

from agentstate.admin.run import timeline
from agentstate.admin.shared.keyset import Cursor, Keyset, Walk
from agentstate.admin.shared.links import address_of
from agentstate.admin.shared.paging import KeysetChangeList
from agentstate.admin.shared.time_limit import TookTooLong, list_time_limit
from agentstate.models import AgentWorkflowRun, AgentWorkflowRunEvent
from agentstate.read_database import despite_replica

if TYPE_CHECKING:
    from django.http import HttpRequest

    from agentstate.admin.run.listing import Question

    # The run, and the event where the list is of calls, on either side.
    Pair = tuple[dict[str, str] | None, dict[str, str] | None]

# What an address carries about the list; Django's own name for it.
CAME_FROM = "_changelist_filters"
LONGEST = 4_000
# How long a run's page looks for each of its neighbours where no index has the list.
SECONDS = 0.5


class Neighbours(NamedTuple):
    """The addresses of the runs beside one, empty where there is none, and what they are neighbours in.

    Attributes:
        list_url: the address of that list; empty where it is the project.
    """

    previous: str
    following: str
    where: str
    list_url: str = ""


def came_from(request: HttpRequest) -> str:
    """Return the filters of the list that led to this page, empty where none did."""
    return request.GET.get(CAME_FROM, "").replace("\0", "")[:LONGEST]


def neighbours_of(admin: Any, request: HttpRequest, run: timeline.RunHeader) -> Neighbours:
    """Return the neighbours of a run in the list that the request names, or else in its project."""
    filters = came_from(request)
    if filters:
        pair = despite_replica(lambda: _pair(admin, request, filters, run.id))
        if pair:
            kept = {CAME_FROM: filters}
            previous, following = (_address(request, found, kept) for found in pair)
            list_url = reverse("admin:agentstate_agentworkflowrun_changelist")
            return Neighbours(previous, following, "in the list", f"{list_url}?{filters}")
    previous, following = (
        _address(request, {"run": each} if each else None, {}) for each in timeline.neighbours_of(run)
    )
    return Neighbours(previous, following, "of the project")


def _pair(admin: Any, request: HttpRequest, filters: str, run_id: str) -> Pair | None:
    try:
        with list_time_limit(admin.seconds):
            return _in_list(admin.question(_list_of(admin, request, filters)), run_id)
    except (TookTooLong, IncorrectLookupParameters, SuspiciousOperation):
        return None


class _UnreadList(KeysetChangeList):
    """A list of which only the filters are wanted."""

    def get_results(self, request: HttpRequest) -> None:
        self.result_list, self.result_count = [], 0


def _list_of(admin: Any, request: HttpRequest, filters: str) -> KeysetChangeList:
    there = copy(request)
    there.GET = QueryDict(filters)
    return _UnreadList(
        there,
        admin.model,
        list(admin.list_display),
        admin.list_display_links,
        admin.get_list_filter(there),
        admin.date_hierarchy,
        admin.get_search_fields(there),
        admin.get_list_select_related(there),
        admin.list_per_page,
        admin.list_max_show_all,
        admin.list_editable,
        admin,
        admin.get_sortable_by(there),
        admin.search_help_text,
    )


def _in_list(question: Question, run_id: str) -> Pair | None:
    """Return the neighbours, None if the run has no place in the list."""
    listing = question.listing()
    keyset = Keyset(listing.order, 0)
    cursor = keyset.key_of(question.places([run_id]))
    if cursor is None or None in cursor.key:
        return None
    pks = []
    for is_before in (True, False):
        walk = listing.walk and Walk(listing.walk.matching, listing.walk.first_look, SECONDS)
        pks.append(keyset.next_to(listing.parts, Cursor(cursor.key, is_before), walk))
    if question.tool is None:
        previous, following = ({"run": pk} if pk else None for pk in pks)
    else:
        runs = dict(AgentWorkflowRunEvent.objects.filter(pk__in=pks).values_list("pk", "run"))
        previous, following = ({"run": runs[pk], "event": pk} if pk in runs else None for pk in pks)
    return previous, following


def _address(request: HttpRequest, found: dict[str, str] | None, kept: dict[str, str]) -> str:
    if found is None:
        return ""
    query = {**({"event": found["event"]} if "event" in found else {}), **kept}
    address = address_of(AgentWorkflowRun, found["run"], request.user)
    return f"{address}?{urlencode(query)}" if address and query else address
