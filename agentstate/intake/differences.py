"""Decide which words that two versions do not share are differences, and of what: a date, a limit, a rule."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from agentstate.intake.alignment import Alignment, Pair, align
from agentstate.intake.dates import Moment, moments
from agentstate.intake.layout import ITEM, ROW
from agentstate.intake.moved import Side
from agentstate.intake.noise import is_address, is_noise
from agentstate.intake.passages import (
    ADDED,
    CHANGED,
    DATE,
    LIMIT,
    REMOVED,
    WORDS,
    Difference,
    Facts,
    Said,
    clause_of,
    context_of,
    plain,
)
from agentstate.intake.quantities import Quantity, bound_of
from agentstate.intake.rewritten import take_rewritten
from agentstate.intake.statements import Paper
from agentstate.intake.subjects import purpose_of
from agentstate.intake.words import COMPARATORS, LIGHT, MODALS

CLAUSE = 5  # words from which an inserted stretch is a statement of its own
SENTENCE = 4  # words below which a new sentence says too little to report, unless it has a number or a modal verb
_PAGE = re.compile(r"^\W*(?:page\s+)?\d{1,4}(?:\s+of\s+\d{1,4})?\W*$", re.IGNORECASE)
_ENDING = re.compile(r"^\W*end of (?:section|clause|provision|document|part|page)", re.IGNORECASE)


# What one version alone says, with its words.
_Alone = tuple[Said, tuple[str, ...]]


def differences(old: Paper, new: Paper) -> list[Difference]:
    """Return what two versions say differently, in the order of the newer one."""
    alignment = align(old.statements, new.statements)
    return differences_in(alignment, old, new)


def differences_in(alignment: Alignment, old: Paper, new: Paper) -> list[Difference]:
    found, alignment = take_rewritten(alignment, old, new)
    for pair in alignment.pairs:
        found += _of_pair(pair, old, new)
    gone, come = list(_alone(alignment.removed, old)), list(_alone(alignment.added, new))
    found += _document_dates(gone, come)
    found += [Difference(WORDS, REMOVED, said, None, words=words) for said, words in gone]
    found += [Difference(WORDS, ADDED, None, said, words=words) for said, words in come]
    return sorted(found, key=lambda difference: (difference.new is None, difference.newest.span))


# A statement in both


def _of_pair(pair: Pair, old: Paper, new: Paper) -> Iterator[Difference]:
    hunks = [hunk for hunk in pair.hunks if not is_noise(pair, hunk)]
    if not hunks:
        return
    one, other = Facts(pair.old, old), Facts(pair.new, new)
    dated = [hunk for hunk in hunks if one.in_moment(hunk[0]) or other.in_moment(hunk[1])]
    if dated:
        yield from _dates(one, other)
    rest = [hunk for hunk in hunks if hunk not in dated]
    counted = [hunk for hunk in rest if _is_counted(hunk, pair, one, other)]
    if counted:
        yield _limit(pair, one, other)
    words = [hunk for hunk in rest if hunk not in counted]
    if pair.new.statement.is_heading:
        return
    clauses = [hunk for hunk in words if _content(pair, hunk) >= (3 if dated else CLAUSE) or _changes_duty(pair, hunk)]
    if words and not counted and (not dated or clauses):
        yield _reworded(pair, words, one, other)
    elif counted and clauses and pair.new.statement.kind != ROW:
        yield _reworded(pair, clauses, one, other)


def _changes_duty(pair: Pair, hunk: tuple[range, range]) -> bool:
    """Tell whether a stretch changes a modal verb or a negation."""
    old = {pair.old.words[place] for place in hunk[0]} & MODALS
    return old != {pair.new.words[place] for place in hunk[1]} & MODALS


def _dates(one: Facts, other: Facts) -> Iterator[Difference]:
    """Yield the dates that changed, each with the clause around it."""
    olds, news = list(one.moments), list(other.moments)
    for same in [(old, new) for old in olds for new in news if _is_same_moment(old, new)]:
        if same[0] in olds and same[1] in news:
            olds.remove(same[0])
            news.remove(same[1])
    for old, new in _paired_moments(one, olds, other, news):
        yield Difference(
            DATE,
            REMOVED if new is None else ADDED if old is None else CHANGED,
            one.said(clause_of(one, old), old.said) if old else None,
            other.said(clause_of(other, new), new.said) if new else None,
            context=context_of(other.text, new, other.moments) if new else context_of(one.text, old, one.moments),
        )


def _paired_moments(
    one: Facts, olds: list[Moment], other: Facts, news: list[Moment]
) -> Iterator[tuple[Moment | None, Moment | None]]:
    """Pair dates that are for the same, then the others in their order."""
    left = list(olds)
    pairs: dict[Moment, Moment] = {}
    for way in (True, False):
        for new in news:
            purpose = purpose_of(context_of(other.text, new, other.moments))
            match = next(
                (old for old in left if not way or purpose_of(context_of(one.text, old, one.moments)) == purpose), None
            )
            if new not in pairs and match is not None:
                pairs[new] = match
                left.remove(match)
    yield from ((pairs.get(new), new) for new in news)
    yield from ((old, None) for old in left)


def _is_same_moment(old: Moment, new: Moment) -> bool:
    if old.is_gap or new.is_gap:
        return old.said.casefold() == new.said.casefold()
    if old.day is None and new.day is None and old.clock is None:
        return old.said.casefold() == new.said.casefold()
    zones = [(moment.zone or "").casefold() for moment in (old, new)]
    return (old.day, old.clock) == (new.day, new.clock) and zones[0] == zones[1]


def _is_counted(hunk: tuple[range, range], pair: Pair, one: Facts, other: Facts) -> bool:
    """Tell whether a stretch changes a quantity: its number, its unit, or what bounds it."""
    if not one.quantities and not other.quantities:
        return False
    words = [pair.old.words[place] for place in hunk[0]] + [pair.new.words[place] for place in hunk[1]]
    if one.in_quantity(hunk[0]) or other.in_quantity(hunk[1]):
        return True
    return any(word in COMPARATORS for word in words) and bool(
        _bounds(one.quantities) != _bounds(other.quantities) or bound_of(one.text) != bound_of(other.text)
    )


def _bounds(found: Sequence[Quantity]) -> list[str]:
    return [quantity.bound for quantity in found]


def _limit(pair: Pair, one: Facts, other: Facts) -> Difference:
    """Return the difference in a statement's quantities. The values are those that changed, with their bounds."""
    olds, news = list(one.quantities), list(other.quantities)
    for old in list(olds):
        same = next((new for new in news if _is_same_quantity(old, new)), None)
        if same is not None:
            olds.remove(old)
            news.remove(same)
    bounded = {(quantity.number, quantity.unit) for quantity in olds} == {(new.number, new.unit) for new in news}
    bare = {quantity.qualifier for quantity in olds} == {quantity.qualifier for quantity in news}
    unit = next((quantity.unit for quantity in (*news, *olds)), "")
    return Difference(
        LIMIT,
        CHANGED,
        one.said(value=_values(olds, bounded and bare)),
        other.said(value=_values(news, bounded and bare)),
        unit=unit,
    )


def _is_same_quantity(old: Quantity, new: Quantity) -> bool:
    return (old.number, old.unit, old.qualifier, old.bound, _numbers(old.said)) == (
        new.number, new.unit, new.qualifier, new.bound, _numbers(new.said)
    )  # fmt: skip


def _numbers(text: str) -> list[str]:
    return re.findall(r"\d+", text)


def _values(found: Sequence[Quantity], bounds: bool) -> str | None:
    words = {"ceiling": "at most ", "floor": "at least ", "": ""}
    return "; ".join(f"{words[one.bound] if bounds else ''}{plain(one)}" for one in found) or None


def _content(pair: Pair, hunk: tuple[range, range]) -> int:
    """Return how many words that count the longer side of a stretch has."""
    sides = ([pair.old.words[place] for place in hunk[0]], [pair.new.words[place] for place in hunk[1]])
    return max(sum(word not in LIGHT for word in side) for side in sides)


def _reworded(pair: Pair, hunks: list[tuple[range, range]], one: Facts, other: Facts) -> Difference:
    """Return the difference in a statement's words. A clause that is new or gone leaves the rest as it was."""
    changed = tuple(
        word for hunk in hunks for side, places in zip((pair.old, pair.new), hunk, strict=True)
        for word in (side.words[place] for place in places)
    )  # fmt: skip
    if not any(hunk[0] for hunk in hunks) and max(_content(pair, hunk) for hunk in hunks) >= CLAUSE:
        return Difference(
            WORDS, ADDED, None, other.said(value=_value(other, [hunk[1] for hunk in hunks])), words=changed
        )
    if not any(hunk[1] for hunk in hunks) and max(_content(pair, hunk) for hunk in hunks) >= CLAUSE:
        return Difference(
            WORDS, REMOVED, one.said(value=_value(one, [hunk[0] for hunk in hunks])), None, words=changed
        )
    wide = [_widened(hunk, pair) if not (hunk[0] and hunk[1]) else hunk for hunk in hunks]
    old = one.said(one.passage([hunk[0] for hunk in wide]), _value(one, [hunk[0] for hunk in wide]))
    new = other.said(other.passage([hunk[1] for hunk in wide]), _value(other, [hunk[1] for hunk in wide]))
    return Difference(WORDS, CHANGED, old, new, words=changed)


def _widened(hunk: tuple[range, range], pair: Pair) -> tuple[range, range]:
    """Return an insertion or deletion with the word before and after it, so that both sides have a value."""
    old, new = pair.gaps(hunk)
    before = min(1, old.start, new.start)
    after = min(1, len(pair.old.words) - old.stop, len(pair.new.words) - new.stop)
    return range(old.start - before, old.stop + after), range(new.start - before, new.stop + after)


def _value(facts: Facts, stretches: list[range]) -> str | None:
    """Return the words that differ. Where they say nothing alone, the whole statement is the value."""
    spans = [span for stretch in stretches if (span := facts.span_of(stretch))]
    parts = [facts.paper.quote(facts.start + start, facts.start + end) for start, end in spans]
    return " … ".join(parts) if parts else None


# Statements of one version alone


def _alone(sides: list[Side], paper: Paper) -> Iterator[_Alone]:
    """Yield what only one version says; short items of one list that follow one another are one."""
    list_open: list[Side] = []
    for side in sides:
        if not _says_something(side):
            continue
        if list_open and side.statement.kind == ITEM and _is_short(side) and _follows(list_open[-1], side, paper):
            list_open.append(side)
            continue
        yield from _listed(list_open, paper)
        list_open = [side] if side.statement.kind == ITEM and _is_short(side) else []
        if not list_open:
            yield _said(side, paper), tuple(side.left_words)
    yield from _listed(list_open, paper)


def _document_dates(gone: list[_Alone], come: list[_Alone]) -> list[Difference]:
    """Take lines that only date the document out of what one version says alone."""
    dates = [[alone for alone in side if _only_dates(alone[0].quote)] for side in (gone, come)]
    for alone in dates[0][:1]:
        gone.remove(alone)
    for alone in dates[1][:1]:
        come.remove(alone)
    old, new = (next((alone[0] for alone in side), None) for side in dates)
    if old is None and new is None:
        return []
    change = ADDED if old is None else REMOVED if new is None else CHANGED
    return [Difference(DATE, change, old, new, context="document")]


def _only_dates(text: str) -> bool:
    stated = moments(text)
    if len(stated) != 1 or stated[0].clock is not None:
        return False
    start, end = stated[0].span
    return not re.sub(r"(?i)\b(?:date[ds]?|issue|release|version|of|on|as)\b", "", text[:start] + text[end:]).strip(
        " :.,()*"
    )


def _listed(sides: list[Side], paper: Paper) -> Iterator[_Alone]:
    if sides:
        span = (sides[0].statement.span[0], sides[-1].statement.span[1])
        value = "; ".join(side.statement.text.rstrip(".;,") for side in sides)
        words = tuple(word for side in sides for word in side.left_words)
        yield Said(paper, sides[0].statement, span, value), words


def _follows(last: Side, side: Side, paper: Paper) -> bool:
    between = paper.layout.masked[last.statement.span[1] : side.statement.span[0]]
    return not between.strip() and side.statement.block == last.statement.block + 1


def _is_short(side: Side) -> bool:
    return len(side.words) <= 8


def _says_something(side: Side) -> bool:
    """Tell whether what is left of a statement is worth an entry. Titles alone are not: they name, and say nothing."""
    statement, left = side.statement, side.left_words
    if statement.is_heading or _PAGE.match(statement.text) or (_ENDING.match(statement.text) and len(left) <= 5):
        return False
    heavy = [word for word in left if word not in LIGHT and not is_address(word)]
    if len(left) < 0.35 * len(side.words) and len(heavy) < CLAUSE:
        return False
    if statement.kind in {ITEM, ROW} and len(left) == len(side.words):
        return bool(heavy)
    return len(heavy) >= SENTENCE or any(word in MODALS or re.search(r"\d", word) for word in heavy)


def _said(side: Side, paper: Paper) -> Said:
    """Return what a statement says; if most of it stands in the other version too, only the rest."""
    statement = side.statement
    if len(side.left) >= 0.5 * len(side.words):
        return Said(paper, statement, statement.span, statement.text)
    places = sorted(side.left)
    span = (statement.words.starts[places[0]], statement.words.ends[places[-1]])
    return Said(paper, statement, span, paper.quote(*span))
