"""The outline of the call for proposals: funder, deadline, requested sections."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from agentstate.admin.project.panels.conflicts import Provenance, provenance
from agentstate.admin.project.panels.reading import Members, Odd, entries, presence

if TYPE_CHECKING:
    from decimal import Decimal

_OF_META = {
    "title": "Title",
    "funder": "Funder",
    "program": "Program",
    "release_date": "Released",
    "deadline": "Deadline",
    "deadline_tz": "Time zone of the deadline",
    "url": "Address",
    "version": "Version",
}


@dataclass(frozen=True)
class Section:
    key: str | None
    title: str | None
    prompt: str | None
    required: bool | None
    word_limit: Decimal | None
    page_limit: Decimal | None
    ordering: Decimal | None
    subsections: list[str]
    provenance: Provenance | None
    odd: dict[str, Any]


@dataclass(frozen=True)
class Criterion:
    """What proposals are scored by."""

    criterion: str | None
    weight: Decimal | None
    odd: dict[str, Any]


@dataclass(frozen=True)
class Outline:
    """What the normalized call says; ``meta`` has its texts by label."""

    presence: str
    meta: dict[str, str] = field(default_factory=dict)
    sections: list[Section] = field(default_factory=list)
    scoring: list[Criterion] = field(default_factory=list)
    odd: list[Odd] = field(default_factory=list)


def outline(document: Any) -> Outline:
    """Take a normalized call for proposals apart."""
    found = presence(document)
    if found != "there":
        return Outline(found)
    if not isinstance(document, dict):
        return Outline(found, odd=[Odd("rfpNorm", document)])
    members = Members(document)
    meta, odd_meta = _meta(members.object("meta"))
    sections, odd_sections = entries(members.array("sections"), "rfpNorm.sections", _section)
    scoring, odd_scoring = entries(members.array("scoring"), "rfpNorm.scoring", _criterion)
    return Outline(found, meta, sections, scoring, [*odd_meta, *odd_sections, *odd_scoring, *members.odd("rfpNorm")])


def _meta(members: Members | None) -> tuple[dict[str, str], list[Odd]]:
    if members is None:
        return {}, []
    texts = {label: members.text(name) for name, label in _OF_META.items()}
    return {label: text for label, text in texts.items() if text is not None}, members.odd("rfpNorm.meta")


def _section(members: Members) -> Section:
    return Section(
        key=members.text("key"),
        title=members.text("title"),
        prompt=members.text("prompt"),
        required=members.flag("required"),
        word_limit=members.number("word_limit"),
        page_limit=members.number("page_limit"),
        ordering=members.number("ordering"),
        subsections=members.take("subsections", _titles) or [],
        provenance=provenance(members.object("provenance")),
        odd=members.rest,
    )


def _titles(value: Any) -> list[str] | None:
    """Return the titles of an array of titles, or of objects that have nothing else."""
    if not isinstance(value, list):
        return None
    titles = [item.get("title") if isinstance(item, dict) and len(item) == 1 else item for item in value]
    texts = [title for title in titles if isinstance(title, str)]
    return texts if len(texts) == len(titles) else None


def _criterion(members: Members) -> Criterion:
    return Criterion(criterion=members.text("criterion"), weight=members.number("weight"), odd=members.rest)
