"""The conflicts panel: differences between two versions of the call, and their resolutions."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from agentstate.admin.project.panels.reading import Members, Odd, entries, number_or_text, presence
from agentstate.admin.shared.passages import span_of

if TYPE_CHECKING:
    from decimal import Decimal


@dataclass(frozen=True)
class Provenance:
    """Where something comes from."""

    source_upload_id: str | None
    version: str | None
    release_date: str | None
    confidence: Decimal | None
    odd: dict[str, Any]
    value: str | None = None
    quote: str | None = None
    page: Decimal | None = None
    span: tuple[int, int] | None = None

    @property
    def name(self) -> str:
        """The shortest that tells it from another."""
        return self.version or self.release_date or self.source_upload_id or "?"


@dataclass(frozen=True)
class Conflict:
    type: str | None
    key: str | None
    previous: Provenance | None
    next: Provenance | None
    resolved: str | None
    is_open: bool
    odd: dict[str, Any]
    label: str | None = None
    change: str | None = None

    @property
    def address(self) -> str | None:
        """What names it among the others, None where nothing does."""
        return f"{self.type}:{self.key}" if self.type and self.key else None


@dataclass(frozen=True)
class Conflicts:
    """What the conflict log says; open conflicts first."""

    presence: str
    conflicts: list[Conflict] = field(default_factory=list)
    odd: list[Odd] = field(default_factory=list)

    @property
    def open(self) -> int:
        return sum(conflict.is_open for conflict in self.conflicts)

    @property
    def resolved(self) -> int:
        return len(self.conflicts) - self.open


def conflicts(document: Any) -> Conflicts:
    """Take a conflict log apart; a single object is a log of one conflict."""
    found = presence(document)
    if found != "there":
        return Conflicts(found)
    if isinstance(document, dict):
        return Conflicts(found, [conflict(Members(document))])
    if not isinstance(document, list):
        return Conflicts(found, odd=[Odd("conflictLog", document)])
    entered, odd = entries(document, "conflictLog", conflict)
    return Conflicts(found, sorted(entered, key=lambda entry: not entry.is_open), odd)


def conflict(members: Members) -> Conflict:
    resolved = members.rest.get("resolved")
    return Conflict(
        type=members.text("type"),
        key=members.text("key"),
        previous=provenance(members.object("previous")),
        next=provenance(members.object("next")),
        resolved=members.text("resolved"),
        label=members.text("label"),
        change=members.text("change"),
        is_open=resolved is None or resolved is False,
        odd=members.rest,
    )


def provenance(members: Members | None) -> Provenance | None:
    if members is None:
        return None
    return Provenance(
        source_upload_id=members.text("source_upload_id"),
        version=members.text("version"),
        release_date=members.text("release_date"),
        confidence=members.take("confidence", number_or_text),
        value=members.text("value"),
        quote=members.text("quote"),
        page=members.number("page"),
        span=members.take("offsets", span_of),
        odd=members.rest,
    )
