"""The conflict log of a whole project: version after version, amendment after amendment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from agentstate.intake.amendments import changes_of
from agentstate.intake.classify import AMENDMENT, FAQ
from agentstate.intake.conflicts import Conflict, compare, conflicts_of, with_unique_keys
from agentstate.intake.contradictions import contradictions
from agentstate.intake.documents import Classified, Family
from agentstate.intake.passages import Said
from agentstate.intake.statements import Paper
from agentstate.intake.words import plain_words


@dataclass(frozen=True)
class Compared:
    """What comparing all documents of a project gave.

    Attributes:
        conflicts: the log, in the order of families and of the documents in them; keys are unique in their type.
        in_force: the papers that hold now: the newest version of each family, then the amendments and FAQs in order.
        amended: what amendments and FAQs in force changed, in the order in which they came; the log has the last of
            each alone.
    """

    conflicts: list[Conflict]
    in_force: list[Paper]
    amended: list[Conflict]


def compare_versions(families: Sequence[Family], papers: Mapping[str, Paper]) -> Compared:
    """Compare every family's versions in their order, then what amendments and FAQs change.

    Args:
        families: in the order in which the log shall have them; the call first.
        papers: the documents taken apart, by id.
    """
    newest = {family.name: papers[family.newest.document.id] for family in families if family.newest}
    log: list[Conflict] = []
    spoken: list[Paper] = []
    amended: list[Conflict] = []
    for family in families:
        others = [paper for name, paper in reversed(newest.items()) if name != family.name]
        read = _Log()
        for step in steps(family):
            read.take(papers[step.document.id], others)
        log += read.entries
        spoken += read.spoken
        amended += read.amended
    for paper in newest.values():
        log += contradictions(paper)
    first = next(iter(newest), None)
    return Compared(with_unique_keys(log, first), [*newest.values(), *spoken], amended)


class _Log:
    """A family's log, as its documents come."""

    def __init__(self) -> None:
        self.entries: list[Conflict] = []
        self.amended: list[Conflict] = []
        self.spoken: list[Paper] = []
        self.current: Paper | None = None

    def take(self, paper: Paper, others: list[Paper]) -> None:
        """Compare a document with what its family said before, and an amendment with the other families too."""
        if paper.classified.role in {AMENDMENT, FAQ}:
            current = [self.current] if self.current else []
            found = conflicts_of(changes_of(paper, [*others, *current, *self.spoken]))
            self.amended += found
            self.spoken.append(paper)
        else:
            found = compare(self.current, paper) if self.current else []
            self.current = paper
            # A new version contains the amendments before it.
            self.spoken = [other for other in self.spoken if other.classified.role == FAQ]
            self.amended = []
        self.entries = _continued(self.entries, found)


def steps(family: Family) -> list[Classified]:
    """Return a family's documents as they followed one another.

    Versions keep their order. An amendment with a date stands before the first version that is dated after it; without
    one it amends the newest version.
    """
    ordered = list(family.versions)
    for statement in sorted(family.statements, key=lambda one: one.role == FAQ):
        later = (place for place, one in enumerate(ordered) if place and _is_later(one, statement))
        ordered.insert(next(later, len(ordered)), statement)
    return ordered


def _is_later(one: Classified, statement: Classified) -> bool:
    """Tell whether a document is dated after an amendment or FAQ. Amendments among themselves go by their number."""
    if one.role == statement.role == AMENDMENT or not (one.released_on and statement.released_on):
        return False
    return one.released_on > statement.released_on


def _continued(entries: list[Conflict], found: list[Conflict]) -> list[Conflict]:
    """Add what a later document changed. What changes the same thing again takes the place of the earlier entry."""
    kept = list(entries)
    for conflict in found:
        place = next(
            (place for place, earlier in enumerate(kept[: len(entries)]) if _same_thing(earlier, conflict)), None
        )
        if place is None:
            kept.append(conflict)
        elif _same_value(kept[place].next, conflict.next):
            kept[place] = replace(kept[place], mentions=(*kept[place].mentions, conflict.newest))
        else:
            kept[place] = replace(conflict, key=kept[place].key)
    return kept


def _same_thing(earlier: Conflict, later: Conflict) -> bool:
    """Tell whether a later document changes what an earlier one changed: the same passage, date or limit."""
    if earlier.type != later.type:
        return False
    if earlier.next and later.previous and earlier.next.paper is later.previous.paper:
        ours, theirs = earlier.next.span, later.previous.span
        if ours[0] < theirs[1] and theirs[0] < ours[1]:
            return True
    return earlier.key == later.key and (
        earlier.type in {"date_conflict", "limit_conflict"} or _same_value(earlier.next, later.next)
    )


def _same_value(one: Said | None, other: Said | None) -> bool:
    if one is None or other is None:
        return one is other
    return plain_words(one.value) == plain_words(other.value)
