"""The tokens and the cost of runs by workflow and day, newest first, as far back as a time budget reaches."""

from __future__ import annotations

import time
from dataclasses import dataclass, fields
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple

from django.urls import reverse
from django.utils import timezone
from django.utils.http import urlencode

from agentstate.admin.shared.formats import cost_in_words
from agentstate.admin.shared.names import MOST_NAMES, workflow_names
from agentstate.admin.shared.time_limit import TookTooLong, time_limit
from agentstate.models import AgentWorkflowRun
from agentstate.models.expressions import WORKFLOW_LETTERS
from agentstate.recording.usage import COUNTS, sum_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

# Days of one page, and the seconds after which a page ends earlier.
MOST_DAYS, SECONDS = 14, 3.0
# Earlier times of runs are mistakes.
FIRST = date(2000, 1, 1)
# The workflow of most runs, which calls no model.
BACKFILLED = "legacy_snapshot"

# A range of the index of the list of runs by workflow for each workflow, status, and with or without a snapshot. The
# planner would not always find these ranges by itself.
_RANGES = f"""
    FROM unnest(%(workflows)s::text[]) workflow (name), unnest(%(statuses)s::text[]) status (name),
        (VALUES (0), (1)) lacks (snapshot),
        LATERAL (
            SELECT started_at, usage FROM "AgentWorkflowRun" run
            WHERE left(workflow_id, {WORKFLOW_LETTERS}) = workflow.name AND run.status = status.name
                AND num_nulls(snapshot_at) = lacks.snapshot
                AND started_at >= %(start)s AND started_at < %(end)s
            ORDER BY started_at DESC LIMIT {{most}}) run"""
_NEWEST = f"SELECT max(started_at) {_RANGES.format(most=1)}"
_OF_DAY = f"""
    SELECT workflow.name, count(*), {", ".join(sum_of("usage", name) for name in COUNTS)},
        {sum_of("usage", "unpriced_requests")},
        {sum_of("usage", "cost_usd")} FILTER (WHERE jsonb_exists(usage, 'cost_usd'))
    {_RANGES.format(most="ALL")}
    WHERE jsonb_typeof(usage) = 'object' GROUP BY 1 ORDER BY 1"""


@dataclass(frozen=True)
class Used:
    """What runs used. ``cost_usd`` is None where no cost is known."""

    runs: int = 0
    requests: Decimal = Decimal(0)
    input_tokens: Decimal = Decimal(0)
    cached_tokens: Decimal = Decimal(0)
    output_tokens: Decimal = Decimal(0)
    reasoning_tokens: Decimal = Decimal(0)
    unpriced_requests: Decimal = Decimal(0)
    cost_usd: Decimal | None = None

    def __add__(self, other: Used) -> Used:
        values = ((getattr(self, each.name), getattr(other, each.name)) for each in fields(self))
        return Used(*(one if two is None else two if one is None else one + two for one, two in values))

    @property
    def cost(self) -> str:
        return cost_in_words(self.cost_usd, self.unpriced_requests)


class OfWorkflow(NamedTuple):
    """What the runs of a workflow used, and the list of them."""

    workflow: str
    used: Used
    address: str


class Day(NamedTuple):
    """A day in UTC. ``is_too_long`` says that its runs could not be added up in time."""

    day: date
    workflows: list[OfWorkflow]
    is_too_long: bool = False

    @property
    def total(self) -> Used:
        return total(each.used for each in self.workflows)


class Summary(NamedTuple):
    """A page: its days with usage, the last of the next page if there may be one, and how the page ended."""

    days: list[Day]
    next_until: date | None
    is_cut: bool
    has_more_workflows: bool

    @property
    def total(self) -> Used:
        return total(day.total for day in self.days)


def total(parts: Iterable[Used]) -> Used:
    return sum(parts, Used())


def summary(until: date, seconds: float | None = None) -> Summary:
    """Add up the days up to and including one, as many as a page has or the budget reaches.

    A day that alone takes longer than the whole budget is left out, and marked.
    """
    seconds = SECONDS if seconds is None else seconds
    end = time.monotonic() + seconds
    names = workflow_names()
    days: list[Day] = []
    day: date | None = until
    is_cut = False
    while day and len(days) < MOST_DAYS and not is_cut:
        left = seconds if day == until else end - time.monotonic()
        try:
            newest = _newest_day(names, day, left)
            if newest and (of_workflows := _of_day(names, newest, end - time.monotonic())):
                days.append(Day(newest, of_workflows))
            day = newest and newest - timedelta(days=1)
        except TookTooLong:
            is_cut = True
            if day == until:
                days.append(Day(day, [], is_too_long=True))
                day -= timedelta(days=1)
    return Summary(days, day, is_cut, len(names) == MOST_NAMES)


def _newest_day(names: Sequence[str], until: date, seconds: float) -> date | None:
    """Return the newest day up to one that has runs."""
    newest = _rows(_NEWEST, names, seconds, start=FIRST, end=until)[0][0]
    return newest.astimezone(UTC).date() if newest else None


def _of_day(names: Sequence[str], day: date, seconds: float) -> list[OfWorkflow]:
    return [
        OfWorkflow(workflow, Used(*numbers), _runs_of(workflow, day))
        for workflow, *numbers in _rows(_OF_DAY, names, seconds, start=day, end=day)
    ]


def _rows(statement: str, names: Sequence[str], seconds: float, start: date, end: date) -> list[Any]:
    """Query the runs of some workflows that started from a day to a day.

    Raises:
        TookTooLong: it took longer, or no time is left.
    """
    if seconds <= 0:
        raise TookTooLong(seconds)
    values: dict[str, Any] = {
        "workflows": [name for name in names if name != BACKFILLED],
        "statuses": AgentWorkflowRun.Status.values,
        "start": datetime.combine(start, datetime.min.time(), UTC),
        "end": datetime.combine(end + timedelta(days=1), datetime.min.time(), UTC),
    }
    with time_limit(seconds) as cursor:
        cursor.execute(statement, values)
        return list(cursor.fetchall())


def _runs_of(workflow: str, day: date) -> str:
    # The day is one in UTC; the list takes times in the current zone.
    since = timezone.localtime(datetime.combine(day, datetime.min.time(), UTC))
    until = since + timedelta(days=1, minutes=-1)
    bounds = {"started_at-since": f"{since:%Y-%m-%dT%H:%M}", "started_at-until": f"{until:%Y-%m-%dT%H:%M}"}
    query = urlencode({"workflow": workflow, **bounds})
    return f"{reverse('admin:agentstate_agentworkflowrun_changelist')}?{query}"
