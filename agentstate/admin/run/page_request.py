"""The query string of a run's page, and the links that it leads to."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple

from django.utils.http import urlencode

from agentstate.admin.run.timeline import EventPage, Filter, PagePosition, RunHeader, Window, event_near, moment_in
from agentstate.admin.run.timeline.kinds import Count
from agentstate.recording.following import moment_of, place_of

if TYPE_CHECKING:
    from datetime import datetime

    from django.http import QueryDict

LONGEST_TEXT, MOST_KINDS = 200, 50
FEW_KINDS = 10


class Choice(NamedTuple):
    """A filter that a link adds or removes."""

    name: str
    number: Count | str | None
    address: str
    is_chosen: bool


class Links(NamedTuple):
    """The links to other pages; empty if there is none."""

    first: str
    earlier: str
    later: str
    last: str


@dataclass(frozen=True)
class PageRequest:
    """The position and the filter that a query string names; ``problem`` reports an invalid part.

    Attributes:
        came_from: the filters of the list that led here; each link carries them on.
    """

    place: PagePosition = field(default_factory=PagePosition)
    wanted: Filter = field(default_factory=Filter)
    is_default: bool = True
    problem: str = ""
    came_from: str = ""

    def address(self, wanted: Filter | None = None, **place: str) -> str:
        """Return the address of a position, with the filter."""
        wanted = self.wanted if wanted is None else wanted
        pairs = [("kind", kind) for kind in wanted.kinds]
        pairs += [("failures", "1")] if wanted.failures else []
        pairs += [("tool", wanted.tool)] if wanted.tool else []
        pairs += [("q", wanted.text)] if wanted.text else []
        return f"?{urlencode([*pairs, *place.items(), *self._kept])}"

    @property
    def carried(self) -> str:
        """What the address of another position of the run ends with, to carry the filters of the list on."""
        return f"&{urlencode(self._kept)}" if self._kept else ""

    @property
    def unfiltered(self) -> str:
        """The address of the run's events without a filter."""
        return self.address(Filter())

    def links(self, page: EventPage) -> Links:
        """Return the links of a page."""
        earlier, later = page.earlier, page.later
        return Links(
            first=self.address(at="first") if earlier else "",
            earlier=self.address(before=str(place_of(earlier))) if earlier else "",
            later=self.address(after=str(place_of(later))) if later else "",
            last=self.address(at="last") if later else "",
        )

    def choices(self, counts: list[Count]) -> list[Choice]:
        """Return the kinds of the run, and the chosen ones that it lacks."""
        known = {count.kind: count for count in counts[:MOST_KINDS]}
        names = [*known, *(kind for kind in self.wanted.kinds if kind not in known)]
        return [Choice(name, known.get(name), self._toggled(name), name in self.wanted.kinds) for name in names]

    def failures(self, number: str) -> Choice:
        """Return the choice of failures only."""
        other = replace(self.wanted, failures=not self.wanted.failures)
        return Choice("Failures only", number, self.address(other), self.wanted.failures)

    @property
    def without_tool(self) -> str:
        """The address without the filter for a tool."""
        return self.address(replace(self.wanted, tool=""))

    @property
    def _kept(self) -> list[tuple[str, str]]:
        return [("_changelist_filters", self.came_from)] if self.came_from else []

    def _toggled(self, kind: str) -> str:
        kinds = self.wanted.kinds
        chosen = tuple(each for each in kinds if each != kind) if kind in kinds else (*kinds, kind)
        return self.address(replace(self.wanted, kinds=chosen))


def page_request(query: QueryDict, run: RunHeader) -> PageRequest:
    """Parse a query string. Invalid parts are ignored and reported in ``problem``."""
    if jump := query.get("to", "").strip():
        return _jump(jump, run)
    event = query.get("event", "")
    wanted = Filter() if event else _filter_of(query)
    after, before = query.get("after", ""), query.get("before", "")
    at = query.get("at", "")
    moments = [_moment(text) for text in (after, before)]
    problem = next(
        (
            f"“{text[:40]}” is not a valid position in a run."
            for text, moment in zip((after, before), moments, strict=True)
            if text and moment is None
        ),
        "",
    )
    place = PagePosition(after=moments[0], before=moments[1], event=_storable(event), is_last=at == "last")
    return PageRequest(place, wanted, is_default=place == PagePosition() and at != "first", problem=problem)


def _jump(text: str, run: RunHeader) -> PageRequest:
    moment = moment_in(text, run.started_at)
    if moment is None:
        problem = f"“{text[:40]}” is neither an offset such as +13:20 nor a date with a time."
        return PageRequest(problem=problem)
    place = PagePosition(event=event_near(run.id, moment))
    return PageRequest(place, is_default=not place.event)


def window_query(window: Window | None) -> str:
    """Return the query string that :func:`window_of` parses."""
    if window is None:
        return ""
    return urlencode({"first": place_of(window.first), "last": place_of(window.last), "number": window.number})


def window_of(query: QueryDict) -> Window | None:
    """Return where a page is in its run; None if the query string does not say so."""
    first, last = _moment(query.get("first", "")), _moment(query.get("last", ""))
    number = query.get("number", "0")
    if first is None or last is None or not (number.isascii() and number.isdigit() and len(number) < 6):
        return None
    return Window(first, last, int(number))


def _filter_of(query: QueryDict) -> Filter:
    kinds = dict.fromkeys(kind for kind in query.getlist("kind")[:MOST_KINDS] if "\0" not in kind)
    text = _storable(query.get("q", "")).strip()[:LONGEST_TEXT]
    tool = _storable(query.get("tool", ""))[:LONGEST_TEXT]
    return Filter(tuple(kinds), failures=query.get("failures") == "1", text=text, tool=tool)


def _storable(text: str) -> str:
    """Return the text without NUL, which PostgreSQL refuses."""
    return text.replace("\0", "")


def _moment(text: str) -> datetime | None:
    try:
        return moment_of(int(text))
    except (ValueError, OverflowError):
        return None
