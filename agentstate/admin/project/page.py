"""What the page of a project shows: where it stands, its state at a moment, and both homes side by side."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote

from django.utils import timezone
from django.utils.dateparse import parse_datetime

from agentstate import state
from agentstate.admin.project import panels
from agentstate.admin.shared.distant_times import DistantTime
from agentstate.state import ABSENT
from agentstate.state.both_homes import BothHomes, both_homes
from agentstate.state.differences import Difference, differences
from agentstate.state.documents import decode
from agentstate.state.history import HistoryWindow, around
from agentstate.state.keys import STATE_KEYS
from agentstate.state.loading import Documents
from agentstate.state.scores import NEWEST, scores

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from agentstate.state import Moment, ProjectState

# How much of a document stands on the page, and how many places at which the homes differ.
BEGINNING, PATHS = 2_000, 100
UNEQUAL, COLUMNS_DROPPED = "unequal", "columns_dropped"

STANDINGS = {
    "empty": "Neither home holds anything.",
    "legacy_ahead": "The columns have changed since a snapshot took them in, or none has: the forward backfill will.",
    "in_sync": "Both homes hold the same state.",
    "agentkit_ahead": "Runs have saved since the columns were written: the reverse backfill brings them up.",
    "forked": "Both homes have changed since they were equal: a pass merges them by key, or a person decides.",
    UNEQUAL: "The clocks say in sync and the documents differ: somebody changed a row behind the trigger's back. "
    "No command repairs it unless a person names the home that is right.",
    COLUMNS_DROPPED: "The legacy columns have been dropped: the newest snapshot is the project's state.",
    "unknown": "The runs cannot be asked at present.",
}
SOURCES = {"agentkit": "newest snapshot", "legacy": "legacy columns", "none": "nothing is there"}
FELL_BACK = {
    "no_snapshot": "The gate names the snapshots, and this project has none.",
    "legacy_ahead": "The gate names the snapshots, and the columns are ahead of them.",
    "malformed": "The gate names the snapshots, and the newest one holds no state.",
    "error": "The gate names the snapshots, and the runs cannot be asked at present.",
}


class Where(NamedTuple):
    """A project's standing and where its state was read, in words."""

    word: str
    explanation: str
    source: str
    fell_back: str
    current: ProjectState
    homes: BothHomes

    @property
    def is_bad(self) -> bool:
        return self.word in ("forked", UNEQUAL)

    @property
    def name(self) -> str:
        return self.word.replace("_", " ")


def where(current: ProjectState, homes: BothHomes) -> Where:
    """Say where a project stands; the documents may tell more than the clocks."""
    word = str(current.standing or "unknown")
    if homes.is_unequal:
        word = UNEQUAL
    elif homes.run_id and not homes.has_columns:
        word = COLUMNS_DROPPED
    return Where(
        word, STANDINGS[word], SOURCES[current.source], FELL_BACK.get(current.fell_back or "", ""), current, homes
    )


@dataclass(frozen=True)
class Position:
    """A place on the time slider: a moment of the history by its number, or the present, which comes after them all.

    Attributes:
        moment: None for the present.
        before: the moment before it, None where there is none.
    """

    number: int
    stretch: HistoryWindow
    moment: Moment | None
    before: Moment | None

    @property
    def last(self) -> int:
        return self.stretch.total + 1

    @property
    def previous(self) -> int | None:
        return self.number - 1 if self.number > 1 else None

    @property
    def next(self) -> int | None:
        return self.number + 1 if self.moment else None

    @property
    def next_is_now(self) -> bool:
        return self.next == self.last

    @property
    def query(self) -> str:
        """The query that names this place for good, also when the history has grown."""
        if self.moment is None:
            return ""
        at = self.moment.at
        text = at.text if isinstance(at, DistantTime) else f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%fZ}"
        return f"?at={quote(text, safe=':')}"


def position(project_id: str, asked: Mapping[str, str]) -> Position:
    """Return the place on the slider that an address names: the present, unless it names a moment well."""
    number, when = _number(asked.get("moment", "")), _time(asked.get("at", ""))
    stretch = around(project_id, number=number, when=when)
    is_now = number is None and when is None
    if stretch.total == 0 or is_now or (number or 0) > stretch.total:
        return Position(stretch.total + 1, stretch, None, stretch.moments.get(stretch.total))
    chosen = stretch.chosen
    return Position(chosen, stretch, stretch.moments[chosen], stretch.moments.get(chosen - 1))


def _number(text: str) -> int | None:
    return max(int(text), 1) if text.isascii() and text.isdecimal() and len(text) < 10 else None


def _time(text: str) -> datetime | None:
    try:
        when = DistantTime.parse(text) or parse_datetime(text)
        return when and (when.astimezone(UTC) if when.tzinfo else when.replace(tzinfo=UTC))
    except (ValueError, OverflowError):
        return None


def documents_at(project_id: str, place: Position, current: ProjectState) -> Documents:
    """Return the state at a place on the slider."""
    return state.at(project_id, place.moment.at) if place.moment else current


def panels_at(project_id: str, place: Position, current: ProjectState) -> dict[str, Any]:
    """Return the panels at a place on the slider, and what changed since the moment before."""
    documents = documents_at(project_id, place, current)
    before = state.at(project_id, place.before.at) if place.before else _nothing(project_id)
    return {
        "coverage": panels.coverage(documents.coverage),
        "conflicts": panels.conflicts(documents.conflict_log),
        "eligibility": panels.eligibility(documents.eligibility),
        "facts": panels.facts(documents.facts),
        "outline": panels.outline(documents.rfp_norm),
        "plot": _plot(project_id, place, current),
        "plotted": f"the last {NEWEST} saves" if place.stretch.total > NEWEST else "",
        "changes": panels.changes(before, documents),
    }


def _nothing(project_id: str) -> Documents:
    return Documents(project_id, **dict.fromkeys((key.attribute for key in STATE_KEYS), ABSENT))


def _plot(project_id: str, place: Position, current: ProjectState) -> panels.Plot | None:
    """Return the score over time; the present is a point of its own where other writers have moved it."""
    points = [(at, panels.score_of(score)) for at, score in scores(project_id)]
    now = timezone.now()
    if current.as_of and points and current.as_of > points[-1][0]:
        points.append((current.as_of, panels.score_of(current.coverage)))
    end = points[-1][0] if points else now
    return panels.plot(points, until=end, mark=place.moment.at if place.moment else end)


class Differing(NamedTuple):
    """Where the two homes differ: the first places, and whether there are more."""

    paths: list[tuple[str | None, Difference]]
    has_more: bool


def differing(project_id: str, homes: BothHomes) -> Differing:
    """Return the JSON paths at which the homes differ, each with the legacy column that it stands in."""
    keys = [pair.key for pair in homes.pairs if pair.differs]
    if not keys or homes.run_id is None or not homes.has_columns:
        return Differing([], has_more=False)
    found = list(islice(_walk(both_homes(project_id, keys=keys)), PATHS + 1))
    return Differing(found[:PATHS], len(found) > PATHS)


def _walk(homes: BothHomes) -> Iterator[tuple[str | None, Difference]]:
    for pair in homes.pairs:
        legacy, agentkit = (decode(held.text if held else None) for held in (pair.legacy, pair.agentkit))
        for difference in differences(legacy, agentkit, pair.key):
            column = pair.column and pair.column + difference.path.removeprefix(pair.key)
            yield column, difference


def document_text(project_id: str, key: str, home: str) -> str | None:
    """Return the whole text of a document in a home, ``legacy`` or ``snapshot``; None where it is not there."""
    for pair in both_homes(project_id, keys=[key]).pairs:
        held = pair.legacy if home == "legacy" else pair.agentkit
        return held.text if held else None
    return None
