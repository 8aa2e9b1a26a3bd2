"""Pages of a run's events, of bounded size, with the positions of their neighbours."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from agentstate.admin.run.timeline.axis import Axis, lay_out
from agentstate.admin.run.timeline.calls import TimelineRow, rows_of
from agentstate.admin.run.timeline.events import Event, events_after, events_at, events_before, sides_of, time_of
from agentstate.admin.run.timeline.filters import Filter, Search, search
from agentstate.admin.run.timeline.overview import Window
from agentstate.admin.run.timeline.pairs import missing_halves
from agentstate.admin.run.timeline.tree import as_tree

if TYPE_CHECKING:
    from agentstate.admin.run.timeline.failures import Failures
    from agentstate.admin.run.timeline.header import RunHeader

SIZE = 100


class EventNotFound(LookupError):
    """The run has no event of this id."""


@dataclass(frozen=True)
class PagePosition:
    """The position of a page: after or before a moment, around an event, at the end, or at the beginning."""

    after: datetime | None = None
    before: datetime | None = None
    event: str = ""
    is_last: bool = False


@dataclass
class EventPage:
    """Rows of a timeline.

    Attributes:
        earlier: where to look for what comes before, as the ``before`` of a place; None where nothing does.
        later: the same for what comes after.
        search: what the search for them came to, where there was a filter.
    """

    rows: list[TimelineRow]
    axis: Axis | None = None
    earlier: datetime | None = None
    later: datetime | None = None
    search: Search | None = None
    place: PagePosition = field(default_factory=PagePosition)

    @property
    def window(self) -> Window | None:
        """Where it is in the run; None if it is empty."""
        events = [event for row in self.rows for event in row.events]
        if not events:
            return None
        moments = [event.at for event in events]
        return Window(min(moments), max(moments), 0 if self.search else len(events))


def opening_of(run: RunHeader, failures: Failures | None) -> PagePosition:
    """Return where a run opens: a running one at its end, a failed one around its last failure."""
    if run.status == "failed" and failures:
        return PagePosition(event=failures.last)
    return PagePosition(is_last=run.status in ("running", "failed"))


def page_of(run: RunHeader, place: PagePosition, wanted: Filter, size: int = SIZE) -> EventPage:
    """Return a page of a run's events.

    Raises:
        EventNotFound: the place is around an event that the run does not have.
    """
    if wanted and not place.event:
        return _searched_page(run, place, wanted, size)
    events = _events_at(run, place, size)
    if not events:
        return EventPage([], place=place, earlier=place.after, later=place.before)
    has_earlier, has_later = sides_of(run.id, events[0].at, events[-1].at)
    page = _laid_out(run, events, place, has_earlier=has_earlier, has_later=has_later)
    page.earlier = events[0].at if has_earlier else None
    page.later = events[-1].at if has_later else None
    return page


def _events_at(run: RunHeader, place: PagePosition, size: int) -> list[Event]:
    if place.event:
        return _events_around(run.id, place.event, size)
    if place.is_last or place.before:
        return events_before(run.id, place.before, size)
    return events_after(run.id, place.after, size)


def _events_around(run_id: str, event_id: str, size: int) -> list[Event]:
    """Return an event with those before and after it."""
    moment = time_of(run_id, event_id)
    if moment is None:
        raise EventNotFound(event_id)
    return [
        *events_before(run_id, moment, size // 2),
        *events_at(run_id, [moment]),
        *events_after(run_id, moment, size - size // 2 - 1),
    ]


def _searched_page(run: RunHeader, place: PagePosition, wanted: Filter, size: int) -> EventPage:
    backwards = place.is_last or place.before is not None
    start = place.before if backwards else place.after
    found = search(run.id, wanted, start=start, backwards=backwards, limit=size + 1)
    has_more = len(found.moments) > size
    moments = sorted(found.moments[:size])
    events = _with_other_halves(run.id, moments) if moments else []
    page = _laid_out(run, events, place, has_earlier=True, has_later=True, is_picked=True)
    page.search = found
    beyond = (moments[0] if backwards else moments[-1]) if has_more else found.reached if found.stopped else None
    if backwards:
        page.earlier, page.later = beyond, (moments[-1] if moments else start) if place.before else None
    else:
        page.earlier, page.later = (moments[0] if moments else start) if place.after else None, beyond
    return page


def _with_other_halves(run_id: str, moments: list[datetime]) -> list[Event]:
    """Return the events of these moments, and what belongs to the tool calls among them."""
    events = events_at(run_id, moments)
    if halves := missing_halves(run_id, events):
        events = sorted([*events, *events_at(run_id, halves)], key=lambda event: event.at)
    return events


def _laid_out(
    run: RunHeader,
    events: list[Event],
    place: PagePosition,
    *,
    has_earlier: bool,
    has_later: bool,
    is_picked: bool = False,
) -> EventPage:
    rows = rows_of(events, has_ended=run.has_ended, has_earlier=has_earlier, has_later=has_later)
    for row in rows:
        row.is_chosen = any(event.id == place.event for event in row.events)
        row.is_picked = is_picked
    axis = lay_out(rows, run.started_at) if rows else None
    return EventPage(as_tree(run.id, rows), axis, place=place)
