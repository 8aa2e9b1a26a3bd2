"""Failed runs grouped by error, newest first, as far back as a time budget reaches."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from django.core.exceptions import PermissionDenied
from django.db import connection
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils import timezone
from django.utils.http import urlencode

from agentstate.admin.run.filters import StartedFilter
from agentstate.admin.run.neighbours import CAME_FROM
from agentstate.admin.shared.links import address_of
from agentstate.admin.shared.read_only import ReadOnlyAdmin
from agentstate.admin.shared.time_limit import TookTooLong, time_limit
from agentstate.models import AgentWorkflowRun
from agentstate.models.expressions import error_pattern, status_and_snapshot

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse
    from django.urls import URLPattern

SECONDS = 2.0
FIRST_LOOK, LARGEST_LOOK = 500, 10_000
MOST_GROUPS, BUCKETS = 50, 24
DEFAULT, LONGEST_DEFAULT = "24h", timedelta(days=7)
# Earlier times of runs are mistakes.
FIRST = datetime(2000, 1, 1, tzinfo=UTC)
# The plot's size in its own units.
BAR, HEIGHT = 5, 24

_PATTERN = error_pattern().extra["template"].format("error")
_KIND = status_and_snapshot().extra["template"].format("workflow_id", "status", "snapshot_at")
_PLACE = "(started_at, hashtextextended(id, 0))"


def _failed(kind: str) -> str:
    """Return the SQL of the failed runs with or without a snapshot, as the index of the list has them."""
    return f"""(SELECT id, started_at, error FROM "AgentWorkflowRun"
        WHERE {_KIND} = '{kind}' AND started_at >= %(since)s AND {_PLACE} < (%(before)s, %(hash)s)
        ORDER BY started_at DESC, hashtextextended(id, 0) DESC LIMIT %(look)s)"""


_LOOK = f"""
    WITH failed AS (
        SELECT * FROM ({_failed("failed0")} UNION ALL {_failed("failed1")}) both_kinds
        ORDER BY started_at DESC, hashtextextended(id, 0) DESC LIMIT %(look)s
    ), grouped AS (
        SELECT {_PATTERN} AS pattern,
            least(width_bucket(started_at, %(edges)s::timestamptz[]), {BUCKETS}) AS bucket,
            count(*) AS number, min(started_at) AS first, max(started_at) AS last,
            (array_agg(id ORDER BY started_at DESC))[1] AS newest
        FROM failed GROUP BY 1, 2
    )
    SELECT pattern, bucket, number, first, last, newest,
        (SELECT array[started_at::text, hashtextextended(id, 0)::text] FROM failed
         ORDER BY started_at, hashtextextended(id, 0) LIMIT 1)
    FROM grouped"""
_FIRST_SEEN = f"""
    SELECT pattern, (SELECT started_at FROM "AgentWorkflowRun"
                     WHERE status = 'failed' AND {_PATTERN} = pattern ORDER BY started_at LIMIT 1)
    FROM unnest(%(patterns)s::text[]) pattern"""


class Bar(NamedTuple):
    """A bar of a plot, in the plot's units."""

    x: int
    y: float
    height: float


@dataclass
class Group:
    """The failed runs of one error.

    Attributes:
        first_seen: when the first run of all began that failed so.
        last_seen, newest: when the newest run that was looked at began, and its id.
        buckets: how many of them began in each part of the time.
    """

    pattern: str
    number: int
    last_seen: datetime
    newest: str
    first_seen: datetime | None = None
    buckets: list[int] = field(default_factory=lambda: [0] * BUCKETS)
    address: str = ""
    newest_address: str = ""

    @property
    def bars(self) -> list[Bar]:
        most = max(self.buckets)
        heights = ((number, max(2.0, HEIGHT * number / most)) for number in self.buckets)
        return [Bar(at * BAR, HEIGHT - high, high) for at, (number, high) in enumerate(heights) if number]


@dataclass
class Errors:
    """The errors of a time, the most frequent first.

    Attributes:
        looked_at: how many failed runs.
        reached: where the time budget ended, None if it did not.
    """

    groups: list[Group]
    looked_at: int = 0
    reached: datetime | None = None

    @property
    def shown(self) -> list[Group]:
        return self.groups[:MOST_GROUPS]

    @property
    def left_out(self) -> int:
        return len(self.groups[MOST_GROUPS:])


def errors_between(since: datetime, until: datetime) -> Errors:
    """Group the runs that began between these moments and failed."""
    edges = [since + (until - since) * number / BUCKETS for number in range(BUCKETS)]
    groups: dict[str, Group] = {}
    place, look, looked_at, reached = (until.isoformat(), str(-(2**63))), FIRST_LOOK, 0, None
    end = time.monotonic() + SECONDS
    while True:
        left = end - time.monotonic()
        parameters: dict[str, Any] = {
            "since": since,
            "before": place[0],
            "hash": int(place[1]),
            "look": look,
            "edges": edges,
        }
        try:
            if left <= 0:
                raise TookTooLong(SECONDS)
            with time_limit(left) as cursor:
                cursor.execute(_LOOK, parameters)
                rows = cursor.fetchall()
        except TookTooLong:
            reached = datetime.fromisoformat(place[0])
            break
        for pattern, bucket, number, _, last, newest, _ in rows:
            group = groups.setdefault(pattern, Group(pattern, 0, last, newest))
            group.number += number
            group.buckets[bucket - 1] += number
            group.last_seen, group.newest = max((group.last_seen, group.newest), (last, newest))
        seen = sum(row[2] for row in rows)
        looked_at += seen
        if seen < look:
            break
        place, look = tuple(rows[0][-1]), min(look * 4, LARGEST_LOOK)
    found = Errors(sorted(groups.values(), key=lambda group: (-group.number, group.pattern)), looked_at, reached)
    _see_first(found.shown)
    return found


def _see_first(groups: list[Group]) -> None:
    with connection.cursor() as cursor:
        cursor.execute(_FIRST_SEEN, {"patterns": [group.pattern for group in groups]})
        first = dict(cursor.fetchall())
    for group in groups:
        group.first_seen = first.get(group.pattern)


class ErrorPages(ReadOnlyAdmin):
    """The page of failed runs by error."""

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.errors_view)
        return [path("errors/", view, name="agentstate_agentworkflowrun_errors"), *super().get_urls()]

    def errors_view(self, request: HttpRequest) -> HttpResponse:
        """Show the errors of a time, by default of the last day."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        times = _times(request, self)
        since, until = times.bounds()
        until = until or timezone.now()
        since = since or max(until, FIRST + LONGEST_DEFAULT) - LONGEST_DEFAULT
        asked = {name: value for name, value in times.form.data.items() if value}
        errors = errors_between(since, max(since, until))
        here, runs = request.path, reverse("admin:agentstate_agentworkflowrun_changelist")
        for group in errors.shown:
            filters = urlencode({"error": group.pattern, **asked})
            group.address = f"{runs}?{filters}"
            run = address_of(AgentWorkflowRun, group.newest, request.user)
            group.newest_address = run and f"{run}?{urlencode({CAME_FROM: filters})}"
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "media": self.media,
            "title": "Errors of runs",
            "errors": errors,
            "times": times,
            "presets": times.presets(lambda query: f"{here}?{urlencode(query)}"),
            "since": since,
            "until": until,
            "onwards": errors.reached and f"{here}?{urlencode(_until(times, since, errors.reached))}",
            "width": BUCKETS * BAR,
            "height": HEIGHT,
        }
        return TemplateResponse(request, "admin/agentstate/agentworkflowrun/errors.html", context)


def _times(request: HttpRequest, admin: Any) -> StartedFilter:
    params = {name: request.GET.getlist(name) for name in request.GET}
    names = StartedFilter.names()
    given = {name: params[name] for name in names if params.get(name) and params[name][-1]}
    return StartedFilter(request, given or {f"{StartedFilter.field}-within": [DEFAULT]}, AgentWorkflowRun, admin)


def _until(times: StartedFilter, since: datetime, reached: datetime) -> dict[str, str]:
    """Return the query of the time before a moment."""
    ends = (("since", since), ("until", reached))
    return {f"{times.field}-{end}": timezone.localtime(at).strftime("%Y-%m-%dT%H:%M") for end, at in ends}
