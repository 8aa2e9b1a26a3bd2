"""The facts of both generations: single statements, or what is known of the organization, the project and the team."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from agentstate.admin.project.panels.reading import Members, Odd, entries, number, presence

if TYPE_CHECKING:
    from decimal import Decimal

# The labels of what is text in the second generation.
_OF_ORGANIZATION = {"legal_name": "Name", "mission": "Mission", "track_record": "Track record", "ein": "EIN"}
_OF_PROJECT = {"title": "Title", "summary": "Summary", "milestones": "Milestones"}


@dataclass(frozen=True)
class Evidence:
    """What a fact rests on: a piece of an upload."""

    type: str | None
    value: str | None
    quote: str | None
    upload_id: str | None
    page: Decimal | None
    odd: dict[str, Any]


@dataclass(frozen=True)
class Fact:
    id: str | None
    text: str | None
    kind: str | None
    strength: str | None
    evidence: Evidence | None
    odd: dict[str, Any]


@dataclass(frozen=True)
class Person:
    name: str | None
    role: str | None
    highlights: str | None
    odd: dict[str, Any]


@dataclass(frozen=True)
class Facts:
    """What the facts document says: ``statements`` in the first generation, all the rest in the second.

    ``organization`` and ``project`` have their texts by label.
    """

    presence: str
    statements: list[Fact] = field(default_factory=list)
    organization: dict[str, str] = field(default_factory=dict)
    project: dict[str, str] = field(default_factory=dict)
    team: list[Person] = field(default_factory=list)
    evidence: list[Evidence] = field(default_factory=list)
    odd: list[Odd] = field(default_factory=list)


def facts(document: Any) -> Facts:
    """Take a facts document apart."""
    found = presence(document)
    if found != "there":
        return Facts(found)
    if isinstance(document, list):
        statements, odd = entries(document, "facts", _fact)
        return Facts(found, statements, odd=odd)
    if not isinstance(document, dict):
        return Facts(found, odd=[Odd("facts", document)])
    members = Members(document)
    organization, odd_organization = _texts(members, "org", _OF_ORGANIZATION)
    project, odd_project = _texts(members, "project", _OF_PROJECT)
    team, odd_team = entries(members.array("team"), "facts.team", _person)
    evidence, odd_evidence = entries(members.array("evidence"), "facts.evidence", _evidence)
    odd = [*members.odd("facts"), *odd_organization, *odd_project, *odd_team, *odd_evidence]
    return Facts(found, [], organization, project, team, evidence, odd)


def _texts(members: Members, name: str, labels: dict[str, str]) -> tuple[dict[str, str], list[Odd]]:
    inner = members.object(name)
    if inner is None:
        return {}, []
    texts = {label: inner.take(key, _text_or_lines) for key, label in labels.items()}
    return {label: text for label, text in texts.items() if text is not None}, inner.odd(f"facts.{name}")


def _text_or_lines(value: Any) -> str | None:
    """Return a text, or an array of texts as lines."""
    if isinstance(value, list) and value and all(isinstance(line, str) for line in value):
        return "\n".join(value)
    return value if isinstance(value, str) else None


def _fact(members: Members) -> Fact:
    evidence = members.object("evidence")
    return Fact(
        id=members.text("id"),
        text=members.text("text"),
        kind=members.text("kind"),
        strength=members.take("strength", _word_or_number),
        evidence=_evidence(evidence) if evidence else None,
        odd=members.rest,
    )


def _word_or_number(value: Any) -> str | None:
    if isinstance(value, str):
        return value
    found = number(value)
    return None if found is None else str(found)


def _evidence(members: Members) -> Evidence:
    return Evidence(
        type=members.text("type"),
        value=members.text("value"),
        quote=members.text("quote"),
        upload_id=members.text("uploadId"),
        page=members.number("page"),
        odd=members.rest,
    )


def _person(members: Members) -> Person:
    return Person(
        name=members.text("name"),
        role=members.text("role"),
        highlights=members.take("highlights", _text_or_lines),
        odd=members.rest,
    )
