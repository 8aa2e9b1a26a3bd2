"""The eligibility panel: items and overrides."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from agentstate.admin.project.panels.conflicts import Provenance, provenance
from agentstate.admin.project.panels.reading import Members, Odd, presence


@dataclass(frozen=True)
class Item:
    id: str | None
    text: str | None
    fatal: bool
    odd: dict[str, Any] = field(default_factory=dict)
    provenance: Provenance | None = None


@dataclass(frozen=True)
class Override:
    """A person's decision that an item does not exclude this applicant."""

    of: str
    by: str | None
    reason: str | None
    odd: dict[str, Any]


@dataclass(frozen=True)
class Eligibility:
    """What the eligibility document says; fatal items first."""

    presence: str
    items: list[Item] = field(default_factory=list)
    overrides: list[Override] = field(default_factory=list)
    odd: list[Odd] = field(default_factory=list)

    @property
    def fatal(self) -> int:
        return sum(item.fatal for item in self.items)

    @property
    def overridden(self) -> set[str]:
        """The ids of the items that were overridden."""
        return {override.of for override in self.overrides}


def eligibility(document: Any) -> Eligibility:
    """Take an eligibility document apart; a bare array is its items."""
    found = presence(document)
    if found != "there":
        return Eligibility(found)
    if isinstance(document, list):
        items, odd = _items(document, "eligibility")
        return Eligibility(found, items, odd=odd)
    if not isinstance(document, dict):
        return Eligibility(found, odd=[Odd("eligibility", document)])
    members = Members(document)
    items, odd = _items(members.array("items"), "eligibility.items")
    overrides, odd_overrides = _overrides(members.object("overrides"))
    return Eligibility(found, items, overrides, [*members.odd("eligibility"), *odd, *odd_overrides])


def _items(entries: list[Any], path: str) -> tuple[list[Item], list[Odd]]:
    items: list[Item] = []
    odd: list[Odd] = []
    for place, entry in enumerate(entries):
        if isinstance(entry, dict):
            items.append(_item(Members(entry)))
        elif isinstance(entry, str):
            items.append(Item(None, entry, fatal=False))
        else:
            odd.append(Odd(f"{path}[{place}]", entry))
    return sorted(items, key=lambda item: not item.fatal), odd


def _item(members: Members) -> Item:
    return Item(
        id=members.text("id"),
        text=members.text("text"),
        fatal=members.flag("fatal") or False,
        provenance=provenance(members.object("provenance")),
        odd=members.rest,
    )


def _overrides(members: Members | None) -> tuple[list[Override], list[Odd]]:
    if members is None:
        return [], []
    objects = {of: override for of in list(members.rest) if (override := members.object(of))}
    overrides = [
        Override(of, override.text("by"), override.text("reason"), override.rest) for of, override in objects.items()
    ]
    return overrides, members.odd("eligibility.overrides")
