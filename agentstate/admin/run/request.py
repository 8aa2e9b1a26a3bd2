"""What the address of a run's page asks for, and the addresses that lead on from it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from django.utils.http import urlencode

from agentstate.admin.run.timeline import Filter, Page, Place, moment_of, place_of
from agentstate.admin.run.timeline.kinds import Count

if TYPE_CHECKING:
    from datetime import datetime

    from django.http import QueryDict

LONGEST_TEXT, MOST_KINDS = 200, 50
FEW_KINDS = 10


class Choice(NamedTuple):
    """A filter that a link sets or takes away."""

    name: str
    number: Count | None
    address: str
    is_chosen: bool


class Links(NamedTuple):
    """Where to go on from a page; empty where there is nothing."""

    first: str
    earlier: str
    later: str
    last: str


@dataclass(frozen=True)
class Asked:
    """The place and the filter that a page was asked for; ``problem`` says what of it could not be understood."""

    place: Place = field(default_factory=Place)
    wanted: Filter = field(default_factory=Filter)
    is_default: bool = True
    problem: str = ""

    def address(self, wanted: Filter | None = None, **place: str) -> str:
        """Return the address of a place, with the filter."""
        wanted = self.wanted if wanted is None else wanted
        pairs = [("kind", kind) for kind in wanted.kinds]
        pairs += [("failures", "1")] if wanted.failures else []
        pairs += [("q", wanted.text)] if wanted.text else []
        return f"?{urlencode([*pairs, *place.items()])}"

    def links(self, page: Page) -> Links:
        """Return where to go on from a page."""
        earlier, later = page.earlier, page.later
        return Links(
            first=self.address(at="first") if earlier else "",
            earlier=self.address(before=str(place_of(earlier))) if earlier else "",
            later=self.address(after=str(place_of(later))) if later else "",
            last=self.address(at="last") if later else "",
        )

    def choices(self, counts: list[Count]) -> list[Choice]:
        """Return the kinds to choose from: those that the run has, and those that are chosen anyway."""
        known = {count.kind: count for count in counts[:MOST_KINDS]}
        names = [*known, *(kind for kind in self.wanted.kinds if kind not in known)]
        return [Choice(name, known.get(name), self._toggled(name), name in self.wanted.kinds) for name in names]

    def failures(self) -> Choice:
        """Return the choice to see failures only."""
        other = Filter(self.wanted.kinds, not self.wanted.failures, self.wanted.text)
        return Choice("Failures only", None, self.address(other), self.wanted.failures)

    def _toggled(self, kind: str) -> str:
        kinds = self.wanted.kinds
        chosen = tuple(each for each in kinds if each != kind) if kind in kinds else (*kinds, kind)
        return self.address(Filter(chosen, self.wanted.failures, self.wanted.text))


def asked_for(query: QueryDict) -> Asked:
    """Return what an address asks for. What makes no sense is told, and left at that."""
    event = query.get("event", "")
    wanted = Filter() if event else _filter_of(query)
    after, before = query.get("after", ""), query.get("before", "")
    at = query.get("at", "")
    moments = [_moment(text) for text in (after, before)]
    problem = next(
        (
            f"“{text[:40]}” is no moment of a run."
            for text, moment in zip((after, before), moments, strict=True)
            if text and moment is None
        ),
        "",
    )
    place = Place(after=moments[0], before=moments[1], event=_storable(event), is_last=at == "last")
    return Asked(place, wanted, is_default=place == Place() and at != "first", problem=problem)


def _filter_of(query: QueryDict) -> Filter:
    kinds = dict.fromkeys(kind for kind in query.getlist("kind")[:MOST_KINDS] if "\0" not in kind)
    text = _storable(query.get("q", "")).strip()[:LONGEST_TEXT]
    return Filter(tuple(kinds), failures=query.get("failures") == "1", text=text)


def _storable(text: str) -> str:
    """Return the text without what PostgreSQL refuses, and so never holds."""
    return text.replace("\0", "")


def _moment(text: str) -> datetime | None:
    try:
        return moment_of(int(text))
    except (ValueError, OverflowError):
        return None
