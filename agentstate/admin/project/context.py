"""The context of a project's page: its standing, its panels at a moment, and where its homes differ."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

from django.utils import timezone

from agentstate.admin.project import panels
from agentstate.admin.project.documents import digest_of, value_of
from agentstate.admin.shared.standings import STANDINGS
from agentstate.state import ABSENT
from agentstate.state.differences import Difference, differences
from agentstate.state.keys import STATE_KEYS
from agentstate.state.loading import Documents
from agentstate.state.scores import NEWEST, scores

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime

    from agentstate.admin.project.documents import Document, ProjectDocuments
    from agentstate.admin.project.moments import Position

# How many paths at which the homes differ a page lists.
PATHS = 100
UNEQUAL, EMPTIED, COLUMNS_DROPPED = "unequal", "emptied", "columns_dropped"

EXPLANATIONS: dict[str, str] = {
    **{standing.value: meaning for standing, meaning in STANDINGS.items()},
    UNEQUAL: "The clocks say in sync, but the documents differ: a write bypassed the trigger. "
    "No command repairs this unless an operator names the home that is right.",
    EMPTIED: "All five columns became SQL NULL over a snapshot with content. Every pass leaves this project aside.",
    COLUMNS_DROPPED: "The legacy columns have been dropped. The newest snapshot is the project's state.",
}
SOURCES = {"agentkit": "newest snapshot", "legacy": "legacy columns", "none": "neither home holds anything"}
FELL_BACK = {
    "no_snapshot": "agentkit_reads is on, but this project has no snapshot.",
    "legacy_ahead": "agentkit_reads is on, but the columns are newer than the newest snapshot.",
    "malformed": "agentkit_reads is on, but the newest snapshot holds no state.",
}


class StandingSummary(NamedTuple):
    """A project's standing, and the home that answers reads, in words."""

    word: str
    documents: ProjectDocuments

    @property
    def explanation(self) -> str:
        return EXPLANATIONS[self.word]

    @property
    def source(self) -> str:
        return SOURCES[self.documents.source]

    @property
    def fell_back(self) -> str:
        return FELL_BACK.get(self.documents.fell_back or "", "")

    @property
    def is_bad(self) -> bool:
        return self.word in ("forked", UNEQUAL, EMPTIED)

    @property
    def name(self) -> str:
        return self.word.replace("_", " ")


def standing_summary(documents: ProjectDocuments) -> StandingSummary:
    """Summarize a project's standing. The documents can contradict the clocks."""
    if documents.is_unequal:
        return StandingSummary(UNEQUAL, documents)
    if documents.run_id and not documents.has_columns:
        return StandingSummary(COLUMNS_DROPPED, documents)
    return StandingSummary(documents.standing.value, documents)


def panels_at(project_id: str, place: Position, documents: ProjectDocuments) -> dict[str, Any]:
    """Return the panels at a position of the slider, and what changed since the moment before."""
    shown = documents.chosen if place.moment else documents.current
    before = documents.before if place.before else {}
    if documents.is_large and not place.moment:
        before = shown  # equal in sync; in other standings the page says that it does not compare
    value = {key.name: value_of(shown.get(key.name)) for key in STATE_KEYS}
    return {
        "shown": shown,
        "coverage": panels.coverage(value["coverage"]),
        "conflicts": panels.conflicts(value["conflictLog"]),
        "eligibility": panels.eligibility(value["eligibility"]),
        "facts": panels.facts(value["facts"]),
        "outline": panels.outline(value["rfpNorm"]),
        "plot": _plot(project_id, place, documents.as_of, value["coverage"]),
        "plotted": f"the last {NEWEST} saves" if place.window.total > NEWEST else "",
        **_changes(project_id, before, shown),
        "is_uncompared": documents.is_large and not place.moment and not documents.is_same_by_clocks,
    }


def _changes(project_id: str, before: Mapping[str, Document], after: Mapping[str, Document]) -> dict[str, Any]:
    """Return how the documents changed. Large ones are compared by their digests alone."""
    pairs = {key.name: (before.get(key.name), after.get(key.name)) for key in STATE_KEYS}
    changed = {name: pair for name, pair in pairs.items() if digest_of(pair[0]) != digest_of(pair[1])}
    large = [name for name, pair in changed.items() if any(document and document.is_large for document in pair)]
    one, other = (
        Documents(
            project_id,
            **{
                key.attribute: value_of(pairs[key.name][side])
                if key.name in changed and key.name not in large
                else ABSENT
                for key in STATE_KEYS
            },
        )
        for side in (0, 1)
    )
    return {"changes": panels.changes(one, other), "large_changes": large}


def _plot(project_id: str, place: Position, as_of: datetime | None, coverage: Any) -> panels.Plot | None:
    """Return the score over time. The present is a point of its own if another writer has moved it."""
    points = [(at, panels.score_of(score)) for at, score in scores(project_id)]
    now = timezone.now()
    if not place.moment and as_of and points and as_of > points[-1][0]:
        points.append((as_of, panels.score_of(coverage)))
    end = points[-1][0] if points else now
    return panels.plot(points, until=end, mark=place.moment.at if place.moment else end)


class Differing(NamedTuple):
    """Where the two homes differ: the first paths, and whether there are more."""

    paths: list[tuple[str | None, Difference]]
    has_more: bool


def differing(documents: ProjectDocuments) -> Differing:
    """Return the JSON paths at which the homes differ, each with the legacy column; large documents have no paths."""
    if documents.run_id is None or not documents.has_columns:
        return Differing([], has_more=False)
    found = list(islice(_walk(documents), PATHS + 1))
    return Differing(found[:PATHS], len(found) > PATHS)


def _walk(documents: ProjectDocuments) -> Iterator[tuple[str | None, Difference]]:
    for pair in documents.pairs:
        if not pair.differs or any(document and document.is_large for document in (pair.legacy, pair.agentkit)):
            continue
        for difference in differences(value_of(pair.legacy), value_of(pair.agentkit), pair.key):
            column = pair.column and pair.column + difference.path.removeprefix(pair.key)
            yield column, difference
