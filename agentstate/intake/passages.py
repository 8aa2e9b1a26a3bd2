"""What one version says in a passage, and the difference that two passages make."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from agentstate.intake.dates import Moment, moments
from agentstate.intake.documents import Span
from agentstate.intake.layout import ROW
from agentstate.intake.moved import Side
from agentstate.intake.quantities import Quantity, quantities
from agentstate.intake.statements import Paper, Statement

DATE, LIMIT, WORDS, SECTION = "date", "limit", "words", "section"
CHANGED, ADDED, REMOVED = "changed", "added", "removed"


@dataclass(frozen=True)
class Said:
    """What one version says: the statement, and what of it differs."""

    paper: Paper
    statement: Statement
    span: Span
    value: str

    @property
    def quote(self) -> str:
        if self.span == self.statement.span:
            return self.statement.text
        return self.paper.quote(*self.span)


@dataclass(frozen=True)
class Difference:
    """One thing that two versions say differently.

    Attributes:
        what: ``date``, ``limit``, ``words`` or ``section``.
        change: ``changed``, ``added`` or ``removed``.
        old, new: what each says, None where it says nothing.
        unit: of a limit.
        words: those that differ, normalized.
        context: of a date, the words that say what it is for.
    """

    what: str
    change: str
    old: Said | None
    new: Said | None
    unit: str = ""
    words: tuple[str, ...] = field(default=(), repr=False)
    context: str = ""

    @property
    def newest(self) -> Said:
        said = self.new or self.old
        assert said is not None  # noqa: S101 - one side always speaks
        return said


class Facts:
    """The dates and quantities of a statement, and to which of them its words belong."""

    def __init__(self, side: Side, paper: Paper) -> None:
        self.side, self.paper = side, paper
        self.start, end = side.statement.span
        self.text = paper.layout.masked[self.start : end].replace("\n", " ")
        self.moments = moments(self.text, paper.day_first)
        taken = [moment.span for moment in self.moments]
        self.quantities = [one for one in quantities(self.text) if not any(overlap(one.span, span) for span in taken)]

    def span_of(self, places: range) -> Span | None:
        if not places:
            return None
        words = self.side.statement.words
        return words.starts[places.start] - self.start, words.ends[places.stop - 1] - self.start

    def in_moment(self, places: range) -> bool:
        span = self.span_of(places)
        return span is not None and any(overlap(span, moment.span) for moment in self.moments)

    def in_quantity(self, places: range) -> bool:
        span = self.span_of(places)
        return span is not None and any(overlap(span, one.span) for one in self.quantities)

    def passage(self, stretches: list[range]) -> Span:
        """Return what is quoted for some words: their cells of a row, or their sentence without what follows."""
        spans = [span for stretch in stretches if (span := self.span_of(stretch))]
        if not spans:
            return 0, len(self.text)
        start, end = spans[0][0], spans[-1][1]
        if self.side.statement.kind == ROW and "|" in self.text:
            return _widen_to_cells(self.text, start, end)
        tail = re.search(r"[,;]\s+(?=(?:[^,;]*\b(?:shall|must|will|should|may)\b))", self.text[end:])
        return 0, end + tail.start() if tail and end > 40 else len(self.text)

    def said(self, span: Span | None = None, value: str | None = None) -> Said:
        whole = self.side.statement.span
        place = whole if span is None else (self.start + span[0], min(self.start + span[1], whole[1]))
        return Said(self.paper, self.side.statement, place, value or self.side.statement.text)


def _widen_to_cells(text: str, start: int, end: int) -> Span:
    cell, close = text.rfind("|", 0, start + 1) + 1, text.find("|", end)
    if not text[:cell].strip(" |").count("|"):
        cell = 0  # the label of the row belongs to the cell beside it
    stretch = text[cell : close if close >= 0 else len(text)]
    return cell + len(stretch) - len(stretch.lstrip()), cell + len(stretch.rstrip())


def overlap(one: Span, other: Span) -> bool:
    return one[0] < other[1] and other[0] < one[1]


def clause_of(facts: Facts, moment: Moment) -> Span:
    """Return the moment with the words before it, as far as they have no other number and no address."""
    before = facts.text[: moment.span[0]]
    cuts = [found.end() for found in re.finditer(r"\S*[\d/@]\S*\s*|[.;]\s", before)]
    start = cuts[-1] if cuts else 0
    start += len(facts.text[start : moment.span[0]]) - len(facts.text[start : moment.span[0]].lstrip(" ,;)|"))
    return min(start, moment.span[0]), moment.span[1]


def context_of(text: str, moment: Moment | None, others: Sequence[Moment]) -> str:
    """Return the words that belong to a moment: those since the moment before it in its sentence."""
    if moment is None:
        return text
    last = max((other.span[1] for other in others if other.span[1] <= moment.span[0]), default=0)
    return text[last : moment.span[1]]


def plain(quantity: Quantity) -> str:
    """Return a quantity as it is shown: "15 pages"."""
    said = re.sub(r"\s*[-–]\s*(?=[A-Za-z])", " ", quantity.said)
    if (
        quantity.is_length
        and said.split()[-1].casefold() in {"page", "word", "character", "slide"}
        and quantity.number != "1"
    ):
        said += "s"
    return said
