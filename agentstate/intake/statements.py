"""Cut a laid-out document into statements: sentences, items, rows, headings, each with its section."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

from agentstate.intake.dates import is_day_first
from agentstate.intake.documents import Classified, Span
from agentstate.intake.layout import HEAD, HEADING, PARAGRAPH, ROW, Block, Layout, is_title, lay_out
from agentstate.intake.words import Words, words_in

LONGEST = 3000  # characters of a sentence
TITLE = "title"  # words that head a paragraph in its first line: "Staffing Plan. The offeror …"

_ABBREVIATIONS = (
    r"e\.g|i\.e|etc|vs|cf|viz|no|nos|sec|st|mr|mrs|ms|dr|prof|inc|ltd|co|corp|art|para|approx|est|dept|fig"
    r"|ref|rev|vol"
    r"|pp|p|u\.s|u\.s\.c|c\.f\.r|jan|feb|mar|apr|jun|jul|aug|sept?|oct|nov|dec|a\.m|p\.m|al|ca|incl|max|min|attn|tel"
)
_ENDS = re.compile(r"[.!?]{1,6}[\"”’')\]]*(?=\s+[\"“‘'(\[]?[A-Z0-9•*–-]|\s*$)|[.!?][\"”’')\]]*\s*\n\s*\n")
_ABBREVIATED = re.compile(rf"(?:\b(?:{_ABBREVIATIONS})|\b[A-Z](?:\.[A-Z])*)\.$", re.IGNORECASE)


@dataclass(frozen=True)
class Statement:
    """One thing that a document says.

    Attributes:
        kind: ``heading``, ``title``, ``head``, ``row``, ``item`` or ``paragraph`` (a sentence of one).
        text: what it says, on one line, without markup.
        span: where it stands in the document's text.
        section: the titles above it, the highest first.
        block: the ordinal of its block; sentences of one paragraph share it.
        words: its words, normalized for comparison.
    """

    kind: str
    text: str
    span: Span
    section: tuple[str, ...]
    block: int
    words: Words = field(repr=False)

    @property
    def is_heading(self) -> bool:
        return self.kind in {HEADING, TITLE, HEAD}

    @property
    def title(self) -> str:
        """The nearest title above."""
        return self.section[-1] if self.section else ""


@dataclass(frozen=True)
class Section:
    """A heading with the statements below it, up to the next heading of any level."""

    heading: Statement
    level: int
    number: str
    span: Span
    statements: tuple[Statement, ...]

    @property
    def title(self) -> str:
        return self.heading.text

    @property
    def path(self) -> tuple[str, ...]:
        return (*self.heading.section, self.heading.text)

    @property
    def text(self) -> str:
        return " ".join(statement.text for statement in self.statements)


@dataclass(frozen=True, eq=False)
class Paper:
    """A classified document, taken apart."""

    classified: Classified
    layout: Layout = field(repr=False)
    statements: tuple[Statement, ...] = field(repr=False)

    @property
    def id(self) -> str:
        return self.classified.document.id

    @cached_property
    def sections(self) -> tuple[Section, ...]:
        return tuple(_sections(self))

    @cached_property
    def day_first(self) -> bool:
        """Whether dates such as 03/04/2025 have the day first in this document."""
        return is_day_first(self.layout.masked)

    def quote(self, start: int, end: int) -> str:
        return " ".join(self.layout.masked[start:end].split())


def take_apart(classified: Classified) -> Paper:
    """Lay a document out and cut it into statements."""
    layout = lay_out(classified.document.text)
    return Paper(classified, layout, tuple(_statements(layout)))


def statements_of(text: str) -> list[Statement]:
    return list(_statements(lay_out(text)))


def _statements(layout: Layout) -> Iterator[Statement]:
    path: list[tuple[int, str]] = []
    for ordinal, block in enumerate(layout.blocks):
        if block.kind == HEADING:
            title = layout.words_of(block)
            path = [entry for entry in path if entry[0] < block.level]
            yield from _said(layout, block, block.span, ordinal, path, HEADING)
            path.append((block.level, title))
        elif block.kind in {ROW, HEAD}:
            yield from _said(layout, block, block.span, ordinal, path, block.kind)
        else:
            if block.number[:1].strip("-–—*•▪◦●‣+·"):  # a numbered clause ends the one before
                path = [entry for entry in path if entry[0] < 7]
            for span in _sentences(layout.masked, block.span):
                text = " ".join(layout.masked[slice(*span)].split())
                goes_on = bool(layout.masked[span[1] : block.span[1]].strip())
                heads = span[0] == block.span[0] and goes_on and is_title(text.rstrip(".:"), 7)
                if heads and len(text) > 2:
                    path = [entry for entry in path if entry[0] < 7]
                    yield from _said(layout, block, span, ordinal, path, TITLE)
                    path.append((7, text.rstrip(".:")))
                else:
                    yield from _said(layout, block, span, ordinal, path, block.kind)


def _said(
    layout: Layout, block: Block, span: Span, ordinal: int, path: list[tuple[int, str]], kind: str
) -> Iterator[Statement]:
    words = words_in(layout.masked, *span)
    if not words.words:
        return
    raw = layout.masked[slice(*span)]
    start = span[0] + len(raw) - len(raw.lstrip())
    end = span[0] + len(raw.rstrip())
    text = " ".join(layout.masked[start:end].split())
    if kind in {ROW, HEAD}:
        text = " | ".join(cell for cell in (part.strip() for part in re.split(r"[|\t]", raw)) if cell)
        text = " ".join(text.split())
    yield Statement(kind, text, (start, end), tuple(title for _, title in path), ordinal, words)


def _sentences(masked: str, span: Span) -> Iterator[Span]:
    """Yield the sentences of a stretch. One that never ends, such as a list without marks, is cut at line ends."""
    for sentence in _whole_sentences(masked, span):
        start = sentence[0]
        while sentence[1] - start > LONGEST:
            cut = masked.rfind("\n", start + LONGEST // 2, start + LONGEST)
            cut = cut if cut > 0 else start + LONGEST
            yield (start, cut)
            start = cut
        if masked[start : sentence[1]].strip():
            yield (start, sentence[1])


def _whole_sentences(masked: str, span: Span) -> Iterator[Span]:
    start, end = span
    stretch = masked[start:end]
    begun = 0
    for found in _ENDS.finditer(stretch):
        head = stretch[begun : found.start() + 1]
        if stretch[found.start()] == "." and _ABBREVIATED.search(head[-12:]) and found.end() < len(stretch.rstrip()):
            continue
        if stretch[begun : found.end()].strip():
            yield (start + begun, start + found.end())
        begun = found.end()
    if stretch[begun:].strip():
        yield (start + begun, end)


def _sections(paper: Paper) -> Iterator[Section]:
    """Yield the sections under headings. What comes before the first heading belongs to none."""
    heading: Statement | None = None
    below: list[Statement] = []
    for statement in paper.statements:
        if statement.kind == HEADING:
            if heading is not None:
                yield _section(paper, heading, below)
            heading, below = statement, []
        else:
            below.append(statement)
    if heading is not None:
        yield _section(paper, heading, below)


def _section(paper: Paper, heading: Statement, below: list[Statement]) -> Section:
    block = paper.layout.blocks[heading.block]
    end = below[-1].span[1] if below else heading.span[1]
    return Section(heading, block.level, block.number, (heading.span[0], end), tuple(below))


__all__ = ["PARAGRAPH", "Paper", "Section", "Statement", "statements_of", "take_apart"]
