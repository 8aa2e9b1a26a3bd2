"""What amendments and answers change in what was said before. They may change or sharpen; they never remove."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from agentstate.intake.alignment import align, similarity
from agentstate.intake.classify import FAQ
from agentstate.intake.dates import Moment, moments
from agentstate.intake.differences import differences_in
from agentstate.intake.passages import ADDED, CHANGED, DATE, LIMIT, REMOVED, WORDS, Difference, Said, context_of, plain
from agentstate.intake.quantities import Quantity, quantities
from agentstate.intake.questions import answered, is_question
from agentstate.intake.statements import Paper, Statement
from agentstate.intake.subjects import ELIGIBLE, purpose_of, telling
from agentstate.intake.words import LIGHT, MODALS, plain_words

RAREST = 8  # words by which statements are looked up
ALIKE = 0.66  # similarity from which a statement rewords an earlier one
SURELY_ABOUT = 0.8
ABOUT = 0.5  # share of its telling words from which a limit is about the same as another
_BOILERPLATE = re.compile(
    r"purpose of this (?:amendment|addendum|modification)|all other (?:terms|provisions|conditions"
    r"|requirements|information)|remains? (?:unchanged|in (?:full )?force|the same)"
    r"|acknowledge (?:receipt|this)|hereby (?:incorporated|made part)|this (?:amendment|addendum"
    r"|modification) (?:is|forms|will|shall|must|answers|provides|contains|does)"
    r"|(?:see|refer to) (?:the )?(?:attached|question)|thank you|previously (?:issued|published)"
    r"|is (?:amended|revised|modified|changed) as follows",
    re.IGNORECASE,
)
_TITLE = re.compile(
    r"\b(?:amendment|addendum|modification|corrigendum|erratum)\b[\s:-]*(?:no\.?|number)?\s*\d*", re.IGNORECASE
)
_QUOTED = r"[\"“”'‘]([^\"“”]{1,400})[\"“”'’]"
_REPLACED = (
    re.compile(
        rf"(?:replace|delete|strike|remove|change)s?\b[^\"“”]{{0,80}}{_QUOTED}[^\"“”]{{0,60}}\b(?:with|by|to"
        rf"|insert|substitut\w+|read)\b[^\"“”]{{0,40}}{_QUOTED}", re.IGNORECASE),
    re.compile(
        rf"{_QUOTED}[^\"“”]{{0,60}}\b(?:replaced|deleted|changed|amended|revised"
        rf"|corrected)\b[^\"“”]{{0,60}}\b(?:with|by|to|insert\w*|read)\b[^\"“”]{{0,40}}{_QUOTED}", re.IGNORECASE),
)  # fmt: skip
_FROM_TO = re.compile(r"\bfrom\s+(.{2,80}?)\s+to\s+(.{2,80}?)(?=[.;]\s|[.;]?$|,\s(?:and|to|so))", re.IGNORECASE)
_INSTEAD = re.compile(r"\b(?:instead of|rather than|not|in lieu of|replacing|previously)\s+$", re.IGNORECASE)


@dataclass(frozen=True)
class _Stated:
    """A date or quantity with the statement that has it."""

    paper: Paper
    statement: Statement
    span: tuple[int, int]
    value: str
    fact: Moment | Quantity
    about: str

    @property
    def said(self) -> Said:
        return Said(self.paper, self.statement, self.statement.span, self.value)


class _InForce:
    """What was said before, with its dates, limits and words looked up once."""

    def __init__(self, papers: Sequence[Paper]) -> None:
        self.papers = papers
        self.statements = [
            (place, paper, statement)
            for place, paper in enumerate(papers)
            for statement in paper.statements
            if not is_question(statement)
        ]
        self.words = [
            f" {' '.join(word for one in paper.statements for word in one.words.words)} " for paper in papers
        ]

    @cached_property
    def places(self) -> dict[str, list[int]]:
        """Where each word stands, as places in ``statements``."""
        places: dict[str, list[int]] = defaultdict(list)
        for number, (_, _, statement) in enumerate(self.statements):
            for word in {*statement.words.words} - LIGHT:
                places[word].append(number)
        return places

    def like(self, statement: Statement) -> Iterator[tuple[int, Paper, Statement]]:
        """Yield the statements that share two of the rarest words of a statement."""
        known = sorted(
            {word for word in statement.words.words if word in self.places},
            key=lambda word: (len(self.places[word]), word),
        )
        shared = Counter(number for word in known[:RAREST] for number in self.places[word])
        for number, count in sorted(shared.items()):
            if count > 1 and not self.statements[number][2].is_heading:
                yield self.statements[number]

    @cached_property
    def dates(self) -> list[_Stated]:
        return [stated for _, paper, statement in self.statements for stated in _moments_of(paper, statement)]

    @cached_property
    def limits(self) -> list[tuple[int, set[str], _Stated]]:
        return [
            (place, _topic(f"{one.text} {one.title}"), _Stated(paper, one, one.span, plain(counted), counted, ""))
            for place, paper, one in self.statements
            if not one.is_heading
            for counted in quantities(one.text)
        ]


def changes_of(paper: Paper, before: Sequence[Paper]) -> list[Difference]:
    """Return what an amendment or FAQ changes.

    Args:
        paper: the amendment or FAQ.
        before: what is in force, the oldest first: the newest version of each family, then earlier amendments.
    """
    is_faq = paper.classified.role == FAQ
    speaking = _speaking(paper, is_faq)
    in_force = _InForce(before)
    return [found for statement in speaking for found in _of_statement(paper, statement, in_force, is_faq)]


def _speaking(paper: Paper, is_faq: bool) -> list[Statement]:
    """Return the statements that count: of a FAQ its answers, of an amendment all but titles and questions."""
    pairs = answered(paper)
    answers = [statement for pair in pairs for statement in pair.answers]
    if is_faq:
        return answers
    kept = {id(statement) for statement in answers}
    return [
        statement
        for statement in paper.statements
        if not (statement.is_heading or is_question(statement) or _names_itself(statement))
        and (id(statement) in kept or not any(pair.span[0] <= statement.span[0] < pair.span[1] for pair in pairs))
    ]


def _names_itself(statement: Statement) -> bool:
    """Tell whether a line of the head only names the amendment."""
    return statement.block < 6 and len(statement.words.words) < 15 and bool(_TITLE.search(statement.text))


def _of_statement(paper: Paper, statement: Statement, before: _InForce, is_faq: bool) -> list[Difference]:
    if replaced := _replaced(paper, statement, before):
        return replaced
    dates = list(_dates(paper, statement, before))
    limits = list(_limits(paper, statement, before)) if not dates else []
    if dates or limits:
        return dates + limits
    if is_faq or _BOILERPLATE.search(statement.text) or _said_before(statement, before):
        return []
    if alike := _most_alike(statement, before):
        other, counterpart = alike
        return _in_words(counterpart, statement, other, paper)
    return _new_rule(paper, statement)


# What the amendment says outright


def _replaced(paper: Paper, statement: Statement, before: _InForce) -> list[Difference]:
    """Read "replace … with …" and "from … to …"."""
    for pattern in (*_REPLACED, _FROM_TO):
        found = pattern.search(statement.text)
        if found is None:
            continue
        old, new = found.group(1).strip(), found.group(2).strip()
        if pattern is _FROM_TO and not _comparable(old, new):
            continue
        what, unit = _what(old, new)
        previous = _place_of(old, statement, before)
        if previous is None and pattern is _FROM_TO:
            previous = Said(paper, statement, statement.span, old)
        if previous is not None:
            previous = Said(previous.paper, previous.statement, previous.span, old)
        change = CHANGED if previous else ADDED
        return [
            Difference(
                what,
                change,
                previous,
                Said(paper, statement, statement.span, new),
                unit,
                tuple(plain_words(new)),
                statement.text,
            )
        ]
    return []


def _comparable(old: str, new: str) -> bool:
    return (
        bool(moments(old) and moments(new))
        or bool((ours := quantities(old)) and (theirs := quantities(new)) and ours[0].unit == theirs[0].unit)
        or bool(re.fullmatch(r"\d+", old) and quantities(new))
    )


def _what(old: str, new: str) -> tuple[str, str]:
    if moments(new) and moments(old):
        return DATE, ""
    counted = quantities(new)
    return (LIMIT, counted[0].unit) if counted else (WORDS, "")


def _place_of(words: str, near: Statement, before: _InForce) -> Said | None:
    """Find where the replaced words stand; the statement most like the amendment's counts."""
    sought = f" {' '.join(plain_words(words))} "
    found = [
        (similarity(near.words.words, statement.words.words), place, paper, statement)
        for place, paper, statement in before.statements
        if sought in f" {' '.join(statement.words.words)} "
    ]
    if not found:
        return None
    _, _, paper, statement = max(found, key=lambda one: one[:2])
    return Said(paper, statement, statement.span, words)


# Dates and limits that were said before


def _dates(paper: Paper, statement: Statement, before: _InForce) -> Iterator[Difference]:
    for stated in _moments_of(paper, statement):
        if stated.about in {"date", "document_date"} or _INSTEAD.search(
            statement.text[: statement.text.find(stated.value)] or " "
        ):
            continue
        earlier = _last_said(stated.about, before)
        if earlier is None or _says(earlier, stated, before):
            continue
        context = context_of(statement.text, None, [])
        yield Difference(DATE, CHANGED, earlier.said, stated.said, context=context)


def _moments_of(paper: Paper, statement: Statement) -> list[_Stated]:
    """Return the complete dates of a statement and the placeholders, each with its purpose."""
    text = statement.text
    found = moments(text, paper.day_first)
    return [
        _Stated(
            paper, statement, statement.span, moment.said, moment,
            purpose_of(context_of(text, moment, found), statement.text, statement.title),
        )
        for moment in found
        if moment.day is not None or moment.is_gap
    ]  # fmt: skip


def _last_said(purpose: str, before: _InForce) -> _Stated | None:
    """Return the newest date for a purpose; the first in its document, which is where it is set."""
    for paper in reversed(before.papers):
        stated = next((one for one in before.dates if one.paper is paper and one.about == purpose), None)
        if stated is not None:
            return stated
    return None


def _says(earlier: _Stated, stated: _Stated, before: _InForce) -> bool:
    """Tell whether a date was in force already: the newest document that has one says the same somewhere."""
    assert isinstance(stated.fact, Moment)  # noqa: S101 - only dates come here
    return any(
        other.paper is earlier.paper and other.about == stated.about
        and isinstance(other.fact, Moment) and _agrees(other.fact, stated.fact)
        for other in before.dates
    )  # fmt: skip


def _agrees(old: Moment, new: Moment) -> bool:
    """Tell whether a date says nothing other than an earlier one. A date alone leaves the time as it was."""
    if old.day != new.day or old.is_gap != new.is_gap:
        return False
    return new.clock is None or (
        old.clock == new.clock and (new.zone is None or old.zone is None or new.zone == old.zone)
    )


def _limits(paper: Paper, statement: Statement, before: _InForce) -> Iterator[Difference]:
    for quantity in quantities(statement.text):
        # A number without a bound may be any number: it must be about the same in nearly all words.
        bounded = bool(quantity.bound) or quantity.is_length
        earlier = _last_limit(statement, quantity, before, ABOUT if bounded else SURELY_ABOUT)
        if earlier is None:
            continue
        old = earlier.fact
        assert isinstance(old, Quantity)  # noqa: S101 - only quantities come here
        if (old.number, old.qualifier) != (quantity.number, quantity.qualifier):
            said = Said(paper, statement, statement.span, plain(quantity))
            yield Difference(LIMIT, CHANGED, earlier.said, said, quantity.unit)


def _last_limit(statement: Statement, quantity: Quantity, before: _InForce, least: float) -> _Stated | None:
    """Return the newest limit in the same unit that is about the same."""
    best: tuple[float, int, _Stated] | None = None
    about = _topic(statement.text)
    for place, theirs, stated in before.limits:
        counted = stated.fact
        assert isinstance(counted, Quantity)  # noqa: S101 - only quantities are kept here
        if counted.unit != quantity.unit or (quantity.bound and counted.bound and quantity.bound != counted.bound):
            continue
        share = len(about & theirs) / min(len(about), len(theirs)) if about and theirs else 0.0
        if share >= least and (best is None or (share, place) > best[:2]):
            best = (share, place, stated)
    return best[2] if best else None


def _topic(text: str) -> set[str]:
    return {word.rstrip("s") for word in telling(plain_words(text))} - {"page", "word", "limit", "day", "section"}


# Other words


def _said_before(statement: Statement, before: _InForce) -> bool:
    words = f" {' '.join(statement.words.words)} "
    return any(words in everything for everything in before.words)


def _most_alike(statement: Statement, before: _InForce) -> tuple[Paper, Statement] | None:
    if len(statement.words.words) < 5:
        return None
    scored = [
        (similarity(other.words.words, statement.words.words), place, paper, other)
        for place, paper, other in before.like(statement)
    ]
    best = max(scored, key=lambda one: one[:2], default=None)
    return (best[2], best[3]) if best and best[0] >= ALIKE else None


def _in_words(old: Statement, new: Statement, before: Paper, paper: Paper) -> list[Difference]:
    """Compare two statements. What the amendment leaves out stays in force."""
    found = differences_in(align([old], [new]), before, paper)
    return [difference for difference in found if difference.change != REMOVED]


def _new_rule(paper: Paper, statement: Statement) -> list[Difference]:
    """Return a statement of duty that was not made before."""
    words = statement.words.words
    if len(words) < 5 or not (any(word in MODALS for word in words) or ELIGIBLE.search(statement.text)):
        return []
    said = Said(paper, statement, statement.span, statement.text)
    return [Difference(WORDS, ADDED, None, said, words=tuple(words))]
