"""What holds now, statement by statement: the newest versions with amendments worked in and resolutions respected."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from agentstate.intake.conflicts import CONTRADICTION, Conflict
from agentstate.intake.documents import Span
from agentstate.intake.history import Compared
from agentstate.intake.passages import ADDED, CHANGED, REMOVED, Said
from agentstate.intake.statements import Paper, Statement
from agentstate.intake.words import words_in

LATEST, PREVIOUS = "latest", "previous"


@dataclass(frozen=True)
class Held:
    """A statement that holds.

    Attributes:
        paper: the document that says it.
        statement: what it says.
        home: the document in whose order it stands; another one where an amendment changed a statement of it.
    """

    paper: Paper
    statement: Statement
    home: Paper

    def provenance(self, span: Span | None = None) -> dict[str, object]:
        return self.paper.classified.provenance(span or self.statement.span)


def holding(compared: Compared, resolved: Mapping[tuple[str, str], str]) -> list[Held]:
    """Return the statements that hold, in the order of the documents in force.

    Args:
        compared: the conflict log and the documents in force.
        resolved: how entries of the log were resolved, by type and key. ``previous`` puts the previous value back.
    """
    held = _Held(compared.in_force)
    refused = [entry for entry in compared.conflicts if resolved.get((entry.type, entry.key)) == PREVIOUS]
    for change in compared.amended:
        if not any(_is_same(change, entry) for entry in refused):
            held.work_in(change)
    for entry in refused:
        if entry.change != CONTRADICTION and not any(_is_same(entry, change) for change in compared.amended):
            held.put_back(entry)
        else:
            held.drop(entry.next)
    return held.statements


class _Held:
    """The slots of the statements in force. An amended statement keeps the slot of the one that it changes."""

    def __init__(self, papers: Iterable[Paper]) -> None:
        self.slots: list[Held | None] = []
        self.slot_of: dict[int, int] = {}
        for paper in papers:
            for statement in paper.statements:
                self.slot_of[id(statement)] = len(self.slots)
                self.slots.append(Held(paper, statement, paper))

    @property
    def statements(self) -> list[Held]:
        return [held for held in self.slots if held is not None]

    def work_in(self, change: Conflict) -> None:
        """Put what an amendment says in the place of what it changes."""
        if change.change != CHANGED or change.previous is None or change.next is None:
            return
        slot = self.slot_of.get(id(change.previous.statement))
        if slot is None or (held := self.slots[slot]) is None:
            return
        self.drop(change.next)
        self.slots[slot] = _with_value(held, change.previous.value, change.next)
        self.slot_of[id(change.next.statement)] = slot

    def put_back(self, entry: Conflict) -> None:
        """Put the previous value of an entry back."""
        if entry.change == ADDED:
            self.drop(entry.next)
        elif entry.change == REMOVED and entry.previous is not None:
            self.slots.append(Held(entry.previous.paper, entry.previous.statement, entry.previous.paper))
        elif entry.previous is not None and entry.next is not None:
            slot = self.slot_of.get(id(entry.next.statement))
            if slot is not None and (held := self.slots[slot]) is not None:
                self.slots[slot] = _with_value(held, entry.next.value, entry.previous)

    def drop(self, said: Said | None) -> None:
        slot = self.slot_of.get(id(said.statement)) if said else None
        if slot is not None:
            self.slots[slot] = None


def _with_value(held: Held, old: str, said: Said) -> Held:
    """Return a statement with a value replaced; the other statement itself where it does not stand literally there."""
    if old and held.statement.text.count(old) >= 1 and said.value != said.statement.text:
        text = held.statement.text.replace(old, said.value)
        statement = replace(held.statement, text=text, span=said.span, words=words_in(text))
        return Held(said.paper, statement, held.home)
    return Held(
        said.paper, replace(said.statement, section=held.statement.section, block=held.statement.block), held.home
    )


def _is_same(one: Conflict, other: Conflict) -> bool:
    return one.next is not None and other.next is not None and one.next.statement is other.next.statement
