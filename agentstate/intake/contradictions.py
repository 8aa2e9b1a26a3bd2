"""Contradictions inside one document: a deadline or limit that is stated twice, differently."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from agentstate.intake.conflicts import CONTRADICTION, Conflict
from agentstate.intake.dates import Moment, moments
from agentstate.intake.layout import ROW
from agentstate.intake.passages import Said, context_of, plain
from agentstate.intake.quantities import Quantity, only_mentions, quantities
from agentstate.intake.questions import is_question
from agentstate.intake.statements import Paper, Statement
from agentstate.intake.subjects import key_of, stated_purpose, subject_of, telling
from agentstate.intake.words import plain_words

_SEVERAL = re.compile(
    r"\b(?:lots?|rounds?|cut-?offs?|cycles?|tranche|phases?|stages?|windows?|original(?:ly)?"
    r"|previous(?:ly)?|extended)\b",
    re.IGNORECASE,
)
_MINUTES = frozenset({"minutes", "hours"})


@dataclass(frozen=True)
class _Limit:
    statement: Statement
    quantity: Quantity
    subject: frozenset[str]
    topic: frozenset[str]


def contradictions(paper: Paper) -> list[Conflict]:
    """Return what a document says twice, differently; the first place is the previous side."""
    return [*_dates(paper), *_limits(paper)]


def _dates(paper: Paper) -> Iterator[Conflict]:
    """Yield deadlines that are stated twice with another day or time."""
    first: dict[str, tuple[Statement, Moment]] = {}
    day_first = paper.day_first
    for statement in paper.statements:
        if is_question(statement) or _SEVERAL.search(f"{statement.text} {statement.title}"):
            continue
        text = paper.layout.masked[slice(*statement.span)].replace("\n", " ")
        found = moments(text, day_first)
        for moment in found:
            purpose = stated_purpose(context_of(text, moment, found))
            if moment.day is None or not purpose:
                continue
            other = first.setdefault(purpose, (statement, moment))
            if _differ(other[1], moment):
                previous = Said(paper, other[0], other[0].span, other[1].said)
                said = Said(paper, statement, statement.span, moment.said)
                yield Conflict(
                    "date_conflict", f"{purpose}_twice", CONTRADICTION, previous, said, paper.classified.family
                )
                return


def _differ(one: Moment, other: Moment) -> bool:
    if one.day != other.day:
        return True
    return one.clock is not None and other.clock is not None and (one.clock, one.offset) != (other.clock, other.offset)


def _limits(paper: Paper) -> Iterator[Conflict]:
    """Yield ceilings on one thing that are stated twice with another number."""
    for first, other in _contradicting(list(_stated(paper))):
        key = key_of(*(subject_of(first.statement.text, 3) or ["limit"]), first.quantity.unit, "twice")
        previous = Said(paper, first.statement, first.statement.span, plain(first.quantity))
        said = Said(paper, other.statement, other.statement.span, plain(other.quantity))
        yield Conflict("limit_conflict", key, CONTRADICTION, previous, said, paper.classified.family)


def _contradicting(limits: list[_Limit]) -> Iterator[tuple[_Limit, _Limit]]:
    """Yield each limit with the first that it contradicts: of one subject, or of a row and a sentence about it."""
    lengths: dict[tuple[str, str, frozenset[str]], _Limit] = {}
    for other in limits:
        if other.quantity.is_length and len(other.subject) > 1:
            first = lengths.setdefault((other.quantity.unit, other.quantity.bound, other.subject), other)
            if first.quantity.number != other.quantity.number:
                yield first, other
    times = [limit for limit in limits if limit.quantity.unit in _MINUTES]
    rows = [limit for limit in times if limit.statement.kind == ROW and len(limit.topic) > 2]
    for row in rows:
        yield from ((row, limit) for limit in [limit for limit in times if _is_another(row, limit)][:1])


def _stated(paper: Paper) -> Iterator[_Limit]:
    for statement in paper.statements:
        found = quantities(statement.text)
        if statement.is_heading or is_question(statement) or len(found) != 1 or only_mentions(statement.text):
            continue
        if not (found[0].is_length and found[0].bound) and found[0].unit not in _MINUTES:
            continue
        words = plain_words(re.sub(r"\bQ\s?&\s?A\b", "questions", statement.text))
        topic = frozenset(word.rstrip("s") for word in telling(words)) - {
            "minute",
            "hour",
            "page",
            "needed",
            "necessary",
        }
        yield _Limit(statement, found[0], frozenset(subject_of(statement.text, 6)), topic)


def _is_another(row: _Limit, other: _Limit) -> bool:
    """Tell whether a sentence gives what a row names another time."""
    same_unit = row.quantity.unit == other.quantity.unit
    return (
        other.statement.kind != ROW
        and same_unit
        and row.quantity.number != other.quantity.number
        and row.topic <= other.topic
    )
