"""What the steps of an intake hand to one another: documents, passages and where they stand."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import date
from typing import Any

# An index into a document's text: from, to.
Span = tuple[int, int]

PAGE_BREAK = "\f"


@dataclass(frozen=True)
class Document:
    """A document's extracted text, as the table of documents keeps it.

    Attributes:
        id: names the document in provenance; any text.
        name: the file's name, without its folder.
        text: pages separated by form feeds; offsets everywhere count its characters.
        batch: the ordinal of the intake that brought it, from 0. Documents of one batch count as uploaded at once,
            and are ordered by name, so that the order on the command line means nothing.
    """

    id: str
    name: str
    text: str
    batch: int = 0

    def page(self, offset: int) -> int:
        """Return the number of the page, from 1, on which the offset stands."""
        return self.text.count(PAGE_BREAK, 0, offset) + 1

    @property
    def pages(self) -> int:
        return self.text.count(PAGE_BREAK) + 1


@dataclass(frozen=True)
class Reason:
    """Why a document was classified so: what was concluded, and from what ("name", "first page: Amendment 002")."""

    what: str
    because: str


@dataclass(frozen=True)
class Classified:
    """A document with its place among the others.

    Attributes:
        document: the document.
        family: which documents it is a version of or speaks about: "rfq", "pws", "pricing", …
        role: ``base``, ``version``, ``amendment``, ``faq`` or ``template``.
        number: the amendment's or version's number, for the order; None where none is stated.
        version: the version as it is shown ("v2", "Amendment 002"); None where none is stated.
        released_on: the document's own date.
        reasons: one for each of the above that was concluded.
    """

    document: Document
    family: str
    role: str
    number: float | None = None
    version: str | None = None
    released_on: date | None = None
    reasons: tuple[Reason, ...] = ()

    @property
    def order(self) -> tuple[Any, ...]:
        """The total order: number, then date, then batch; name and text decide ties, which are reported."""
        return (*self.stated_order, self.document.batch, natural(self.document.name), self.document.text)

    @property
    def stated_order(self) -> tuple[float, date]:
        """What the documents themselves say about their order. One without a number counts as the first."""
        return (1.0 if self.number is None else self.number, self.released_on or date.min)

    def provenance(self, span: Span | None = None) -> dict[str, Any]:
        """Return where something stands, in the shape of the legacy documents and more."""
        place: dict[str, Any] = {"source_upload_id": self.document.id}
        if self.version is not None:
            place["version"] = self.version
        if self.released_on is not None:
            place["release_date"] = self.released_on.isoformat()
        if span is not None:
            place["offsets"] = list(span)
            if self.document.pages > 1:
                place["page"] = self.document.page(span[0])
        return place


@dataclass(frozen=True)
class Family:
    """The documents of one family, in their order.

    Attributes:
        name: the family.
        versions: the base and its versions; each is compared with the one before as a whole.
        statements: amendments and FAQs, which change or sharpen what the versions say and never remove anything.
        templates: forms to fill in, which are not compared.
        ties: names of documents between which only the upload decides.
    """

    name: str
    versions: tuple[Classified, ...] = ()
    statements: tuple[Classified, ...] = ()
    templates: tuple[Classified, ...] = ()
    ties: tuple[tuple[str, str], ...] = field(default=())

    @property
    def newest(self) -> Classified | None:
        return self.versions[-1] if self.versions else None


def natural(name: str) -> tuple[tuple[int, str], ...]:
    """Return a sort key that puts "a 9" before "a 10"."""
    parts = re.split(r"(\d+)", name.casefold())
    # By length and digits, since a name may have more digits than an integer may be read from.
    return tuple((len(part.lstrip("0")), part.lstrip("0")) if part.isdecimal() else (-1, part) for part in parts)
