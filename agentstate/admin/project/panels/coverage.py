"""The coverage panel: how many of the funder's requirements are covered."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from agentstate.admin.project.panels.reading import Members, Odd, entries, number_or_text, on_scale, presence

if TYPE_CHECKING:
    from decimal import Decimal

# Ordered by urgency.
STATUSES = ("missing", "stubbed", "evidenced", "drafted")
NO_STATUS = "no status"


@dataclass(frozen=True)
class Requirement:
    id: str | None
    source: str | None
    status: str | None
    weight: Decimal | None
    risk: str | None
    need_from_user: str | None
    evidence_rank: Decimal | None
    odd: dict[str, Any]
    title: str | None = None

    @property
    def status_path(self) -> str:
        """The path of its status, wherever it is in the list."""
        return f"coverage.requirements[id={json.dumps(self.id, ensure_ascii=False)}].status"


@dataclass(frozen=True)
class Suggestion:
    id: str | None
    requirement_id: str | None
    action: str | None
    label: str | None
    value_score: Decimal | None
    effort_score: Decimal | None
    ratio: Decimal | None
    odd: dict[str, Any]


@dataclass(frozen=True)
class Coverage:
    """What the coverage document says; requirements by status, what is missing first."""

    presence: str
    score: Decimal | None = None
    requirements: list[Requirement] = field(default_factory=list)
    suggestions: list[Suggestion] = field(default_factory=list)
    odd: list[Odd] = field(default_factory=list)

    @property
    def counts(self) -> list[tuple[str, int]]:
        """Each status, and how many requirements have it."""
        return list(Counter(requirement.status or NO_STATUS for requirement in self.requirements).items())

    @property
    def is_beyond_scale(self) -> bool:
        """Whether the score is not between 0 and 1."""
        return self.score is not None and not 0 <= self.score <= 1

    @property
    def filled(self) -> float:
        """How far a gauge is filled, 0 to 1."""
        return 0 if self.score is None else on_scale(self.score)


def coverage(document: Any) -> Coverage:
    """Take a coverage document apart."""
    found = presence(document)
    if found != "there":
        return Coverage(found)
    if not isinstance(document, dict):
        score = number_or_text(document)
        return Coverage(found, score, odd=[] if score is not None else [Odd("coverage", document)])
    members = Members(document)
    score = members.take("score", number_or_text)
    requirements, odd_requirements = entries(members.array("requirements"), "coverage.requirements", _requirement)
    suggestions, odd_suggestions = entries(members.array("suggestions"), "coverage.suggestions", _suggestion)
    return Coverage(
        found,
        score,
        sorted(requirements, key=lambda requirement: _urgency(requirement.status)),
        suggestions,
        [*members.odd("coverage"), *odd_requirements, *odd_suggestions],
    )


def score_of(document: Any) -> Decimal | None:
    """Return the score of a coverage document, whatever its shape, None where it has none."""
    return number_or_text(document.get("score") if isinstance(document, dict) else document)


def _urgency(status: str | None) -> int:
    return STATUSES.index(status) if status in STATUSES else len(STATUSES)


def _requirement(members: Members) -> Requirement:
    return Requirement(
        id=members.text("id"),
        source=members.text("source"),
        status=members.text("status"),
        weight=members.number("weight"),
        risk=members.text("risk"),
        need_from_user=members.text("need_from_user"),
        evidence_rank=members.number("evidence_rank"),
        title=members.text("title"),
        odd=members.rest,
    )


def _suggestion(members: Members) -> Suggestion:
    return Suggestion(
        id=members.text("id"),
        requirement_id=members.text("requirementId"),
        action=members.text("action"),
        label=members.text("label"),
        value_score=members.number("value_score"),
        effort_score=members.number("effort_score"),
        ratio=members.number("ratio"),
        odd=members.rest,
    )
