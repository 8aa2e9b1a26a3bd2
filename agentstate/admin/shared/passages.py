"""Windows of a document's text, with a passage highlighted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.db.models.functions import Length, Substr

from agentstate.models import AgentDocument

if TYPE_CHECKING:
    pass

# Characters of one page here, and around a passage that is compared with another.
WINDOW, CONTEXT = 20_000, 400
# No document is longer; PostgreSQL counts characters of text in 32 bits.
MOST = 2**31 - 1


@dataclass(frozen=True)
class Passage:
    """A part of a document's text around a passage.

    Attributes:
        before, marked, after: the text; ``marked`` is empty where nothing is highlighted.
        start: where ``before`` begins, in characters from the document's beginning.
        length: of the whole document, in characters.
    """

    document: AgentDocument
    before: str
    marked: str
    after: str
    start: int
    length: int

    @property
    def end(self) -> int:
        return self.start + len(self.before) + len(self.marked) + len(self.after)

    @property
    def earlier(self) -> int | None:
        """Where the window before this one begins."""
        return max(0, self.start - WINDOW) if self.start else None

    @property
    def later(self) -> int | None:
        """Where the window after this one begins."""
        return self.end if self.end < self.length else None


def window_of(document: AgentDocument, start: int, span: tuple[int, int] | None = None) -> Passage:
    """Return a window of a document's text; with a span, the one that has it."""
    if span is not None:
        start = max(0, span[0] - CONTEXT)
    return _cut(document, start, start + WINDOW, span)


def passage_of(project_id: str, side: Any) -> Passage | None:
    """Return the passage that a side of a conflict quotes, None where the document or the place is not known."""
    if not isinstance(side, dict) or not isinstance(side.get("source_upload_id"), str):
        return None
    span = span_of(side.get("offsets"))
    document = AgentDocument.objects.filter(project_id=project_id, pk=side["source_upload_id"]).defer("text").first()
    if document is None or span is None:
        return None
    return _cut(document, max(0, span[0] - CONTEXT), span[1] + CONTEXT, span)


def span_of(offsets: Any) -> tuple[int, int] | None:
    """Return offsets as a span, None where they are none."""
    if not (isinstance(offsets, list) and len(offsets) == 2 and all(type(each) is int for each in offsets)):
        return None
    first, last = offsets
    return (first, last) if 0 <= first < last <= MOST else None


def _cut(document: AgentDocument, start: int, end: int, span: tuple[int, int] | None) -> Passage:
    """Read a part of the text; the database sends no more."""
    text, length = (
        AgentDocument.objects.filter(pk=document.pk)
        .annotate(part=Substr("text", min(start, MOST - 1) + 1, min(end, MOST) - min(start, MOST - 1)))
        .values_list("part", Length("text"))
        .get()
    )
    first, last = (span[0] - start, span[1] - start) if span else (len(text), len(text))
    first, last = max(0, min(first, len(text))), max(0, min(last, len(text)))
    return Passage(document, text[:first], text[first:last], text[last:], start, length)
