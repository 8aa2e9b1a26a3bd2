"""Find which statements of two versions say the same thing. Similarity aligns them; it decides nothing.

Text that stands elsewhere, in another order, cut into other paragraphs or with letters lost is the same text. What is
left over on either side, word by word, is what the versions say differently.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from rapidfuzz.distance import Indel, LCSseq

from agentstate.intake.layout import ROW
from agentstate.intake.statements import Statement
from agentstate.intake.words import LIGHT, is_exact, loses_a_letter

# The similarity from which two statements are about the same: rows in one place of a table, in one place, elsewhere.
ROWS, NEAR, FAR = 0.25, 0.42, 0.66
SHORT = 8  # words below which the same words with a number may say something else in another section
MOVED = 4  # words in a row that count as moved text
MANY = 400  # left-over statements on a side beyond which only those in one place are held against one another


@dataclass
class Side:
    """A statement with those of its words that the other version does not have."""

    statement: Statement
    words: list[str]
    left: set[int] = field(default_factory=set)

    @property
    def left_words(self) -> list[str]:
        return [self.words[place] for place in sorted(self.left)]


@dataclass
class Pair:
    """A statement in both versions, and the stretches of words in which it differs."""

    old: Side
    new: Side
    hunks: list[tuple[range, range]] = field(default_factory=list)

    def gaps(self, hunk: tuple[range, range]) -> tuple[range, range]:
        """Return a stretch with its empty side at the place where the other side's words would stand."""
        old, new = hunk
        if not old:
            old = _empty_at(self.new.words, self.old.words, new)
        elif not new:
            new = _empty_at(self.old.words, self.new.words, old)
        return old, new


def _empty_at(words: list[str], others: list[str], places: range) -> range:
    """Return the empty range in ``others`` at which the words before ``places`` end."""
    matched = 0
    for step in LCSseq.opcodes(words, others):
        if step.tag == "equal" and step.src_start < places.start:
            matched = step.dest_start + min(step.src_end, places.start) - step.src_start
    return range(matched, matched)


@dataclass
class Alignment:
    """What two versions have and have not in common.

    Attributes:
        pairs: statements of both that differ in some word.
        removed, added: statements of one version alone, in order.
        kept: how many words are in both, by identity or pairing, of how many.
    """

    pairs: list[Pair] = field(default_factory=list)
    removed: list[Side] = field(default_factory=list)
    added: list[Side] = field(default_factory=list)
    kept: float = 1.0


def align(old: Sequence[Statement], new: Sequence[Statement]) -> Alignment:
    """Align the statements of two versions."""
    before = [Side(statement, list(statement.words.words)) for statement in old]
    after = [Side(statement, list(statement.words.words)) for statement in new]
    repair(before, after)
    anchors = _in_order(before, after)
    matched_old, matched_new = {one for one, _ in anchors}, {other for _, other in anchors}
    _elsewhere(before, after, matched_old, matched_new)
    rest_old = [place for place in range(len(before)) if place not in matched_old]
    rest_new = [place for place in range(len(after)) if place not in matched_new]
    paired = _paired(before, after, rest_old, rest_new, anchors)
    pairs = [_pair(before[one], after[other]) for one, other in paired]
    taken_old, taken_new = {one for one, _ in paired}, {other for _, other in paired}
    removed = [_whole(before[place]) for place in rest_old if place not in taken_old]
    added = [_whole(after[place]) for place in rest_new if place not in taken_new]
    _cancel_moved(before, after)
    _forget_said_again(removed, after)
    _forget_said_again(added, before)
    for pair in pairs:
        pair.hunks = [cut for hunk in pair.hunks for cut in _still_left(pair, hunk)]
    return Alignment(
        pairs=[pair for pair in pairs if pair.hunks],
        removed=[side for side in removed if side.left],
        added=[side for side in added if side.left],
        kept=_kept(before, after, removed, added),
    )


def similarity(one: Sequence[str], other: Sequence[str]) -> float:
    """Return how much of two statements' words is the same and in one order, from 0 to 1. Numbers count alike."""
    left = ["#" if word[:1].isdigit() else word for word in one if word not in LIGHT]
    right = ["#" if word[:1].isdigit() else word for word in other if word not in LIGHT]
    if not left or not right:
        return 1.0 if list(one) == list(other) else 0.0
    return float(Indel.normalized_similarity(left, right))


def repair(before: list[Side], after: list[Side]) -> None:
    """Put back lost letters: where the words beside agree, a word that lacks or has one letter more is the same."""
    old = [word for side in before for word in side.words]
    known: set[tuple[str, str, str]] = set(zip(["", *old], old, [*old[1:], ""], strict=False))
    following: dict[str, set[str]] = defaultdict(set)
    preceding: dict[str, set[str]] = defaultdict(set)
    for first, second in pairwise(old):
        following[first].add(second)
        preceding[second].add(first)
    last = ""
    for place, side in enumerate(after):
        beyond = after[place + 1].words[0] if place + 1 < len(after) else ""
        for index, word in enumerate(side.words):
            next_word = side.words[index + 1] if index + 1 < len(side.words) else beyond
            if (last, word, next_word) not in known:
                side.words[index] = _repaired(last, word, next_word, following, preceding)
            last = side.words[index]


def _repaired(
    last: str, word: str, next_word: str, following: dict[str, set[str]], preceding: dict[str, set[str]]
) -> str:
    after_last, before_next = following.get(last, set()), preceding.get(next_word, set())
    if word in after_last and word in before_next:
        return word
    for candidates in (
        after_last & before_next,
        after_last | before_next if word not in after_last | before_next else set(),
    ):
        same = sorted(candidate for candidate in candidates if loses_a_letter(word, candidate))
        if same:
            return same[0]
    return word


def _key(side: Side) -> tuple[object, ...]:
    """Return what makes two statements one. A short one with a number says something about its section."""
    words = tuple(side.words)
    if len(words) < SHORT and any(is_exact(word) for word in words):
        return (words, side.statement.title.casefold())
    return (words,)


def _in_order(before: list[Side], after: list[Side]) -> list[tuple[int, int]]:
    """Match equal statements in the order in which they stand in both."""
    numbers: dict[tuple[object, ...], int] = {}
    one = [numbers.setdefault(_key(side), len(numbers)) for side in before]
    other = [numbers.setdefault(_key(side), len(numbers)) for side in after]
    anchors: list[tuple[int, int]] = []
    for step in LCSseq.opcodes(one, other):
        if step.tag == "equal":
            anchors += zip(range(step.src_start, step.src_end), range(step.dest_start, step.dest_end), strict=True)
    return anchors


def _elsewhere(before: list[Side], after: list[Side], matched_old: set[int], matched_new: set[int]) -> None:
    """Match equal statements that moved."""
    waiting: dict[tuple[object, ...], list[int]] = defaultdict(list)
    for place, side in enumerate(before):
        if place not in matched_old:
            waiting[_key(side)].append(place)
    for place, side in enumerate(after):
        if place not in matched_new and (places := waiting.get(_key(side))):
            matched_old.add(places.pop(0))
            matched_new.add(place)


def _paired(
    before: list[Side], after: list[Side], rest_old: list[int], rest_new: list[int], anchors: list[tuple[int, int]]
) -> list[tuple[int, int]]:
    """Pair what is left by similarity, the most similar first; what stands in one place is preferred."""
    gap_old, gap_new = _gaps(rest_old, [one for one, _ in anchors]), _gaps(rest_new, [other for _, other in anchors])
    only_near = len(rest_old) > MANY and len(rest_new) > MANY
    scored = []
    for one in rest_old:
        for other in rest_new:
            near = gap_old[one] == gap_new[other]
            if only_near and not near:
                continue
            score = _score(before[one], after[other], near)
            if score:
                scored.append((-score, abs(gap_old[one] - gap_new[other]), one, other))
    taken_old: set[int] = set()
    taken_new: set[int] = set()
    paired = []
    for _, _, one, other in sorted(scored):
        if one not in taken_old and other not in taken_new:
            taken_old.add(one)
            taken_new.add(other)
            paired.append((one, other))
    return sorted(paired)


def _score(old: Side, new: Side, near: bool) -> float:
    """Return how well two statements pair, 0 where they don't."""
    if old.statement.is_heading != new.statement.is_heading:
        return 0.0
    lengths = sorted((len(old.words), len(new.words)))
    if 2 * lengths[0] / sum(lengths) < ROWS:
        return 0.0
    same = similarity(old.words, new.words)
    in_table = near and old.statement.kind == new.statement.kind == ROW
    if same < (ROWS if in_table else NEAR if near else FAR):
        return 0.0
    exact = [{word for word in side.words if is_exact(word)} for side in (old, new)]
    title = old.statement.title.casefold() == new.statement.title.casefold()
    return same + (0.06 if near else 0.0) + (0.08 if title else 0.0) + (0.02 if exact[0] == exact[1] else 0.0)


def _gaps(places: list[int], anchors: list[int]) -> dict[int, int]:
    """Return for each place how many anchors stand before it."""
    gaps, passed = {}, 0
    for place in places:
        while passed < len(anchors) and anchors[passed] < place:
            passed += 1
        gaps[place] = passed
    return gaps


def _pair(old: Side, new: Side) -> Pair:
    """Compare two statements word by word."""
    hunks: list[tuple[range, range]] = []
    for step in LCSseq.opcodes(old.words, new.words):
        if step.tag == "equal":
            continue
        one, other = range(step.src_start, step.src_end), range(step.dest_start, step.dest_end)
        if hunks and _only_light_between(hunks[-1], one, other, old.words):
            one, other = range(hunks[-1][0].start, one.stop), range(hunks[-1][1].start, other.stop)
            hunks.pop()
        hunks.append((one, other))
    old.left = {place for hunk in hunks for place in hunk[0]}
    new.left = {place for hunk in hunks for place in hunk[1]}
    return Pair(old, new, hunks)


def _only_light_between(last: tuple[range, range], one: range, other: range, words: list[str]) -> bool:
    between = words[last[0].stop : one.start]
    return len(between) == other.start - last[1].stop and len(between) <= 2 and all(word in LIGHT for word in between)


def _whole(side: Side) -> Side:
    side.left = set(range(len(side.words)))
    return side


def _still_left(pair: Pair, hunk: tuple[range, range]) -> Iterator[tuple[range, range]]:
    """Yield what of a stretch is still left. Where only one side has words left, each run of them is one stretch."""
    old, new = _runs_in(hunk[0], pair.old.left), _runs_in(hunk[1], pair.new.left)
    if old and new:
        yield range(old[0].start, old[-1].stop), range(new[0].start, new[-1].stop)
    else:
        yield from ((run, range(0)) for run in old)
        yield from ((range(0), run) for run in new)


def _runs_in(places: Iterable[int], left: set[int]) -> list[range]:
    """Return the words that are left among some places, as stretches in a row."""
    runs: list[range] = []
    for place in places:
        if place not in left:
            continue
        if runs and runs[-1].stop == place:
            runs[-1] = range(runs[-1].start, place + 1)
        else:
            runs.append(range(place, place + 1))
    return runs


def _runs(side: Side) -> list[range]:
    return _runs_in(sorted(side.left), side.left)


class _Stream:
    """All words of a version in a row, with those that are left: statements are cut differently in another layout."""

    def __init__(self, sides: list[Side]) -> None:
        self.sides = sides
        self.words = [word for side in sides for word in side.words]
        self.left = [place in side.left for side in sides for place in range(len(side.words))]

    def runs(self) -> Iterator[range]:
        """Yield the stretches of words that are left, also across statements."""
        start = None
        for place, left in enumerate([*self.left, False]):
            if left and start is None:
                start = place
            elif not left and start is not None:
                yield range(start, place)
                start = None

    def within(self) -> Iterator[tuple[range, Side]]:
        """Yield the stretches of words that are left inside each statement."""
        first = 0
        for side in self.sides:
            for run in _runs(side):
                yield range(first + run.start, first + run.stop), side
            first += len(side.words)

    def strike(self, start: int, length: int) -> None:
        self.left[start : start + length] = [False] * length

    def hand_back(self) -> None:
        """Tell the statements what is left of them."""
        first = 0
        for side in self.sides:
            side.left = {place for place in side.left if self.left[first + place]}
            first += len(side.words)


def _cancel_moved(before: list[Side], after: list[Side]) -> None:
    """Strike out what is left on both sides in the same words: it moved, or was cut into other sentences."""
    old, new = _Stream(before), _Stream(after)
    _cancel_long(old, new)
    for stream in (old, new):
        stream.hand_back()
    _cancel_short(old, new)
    for stream in (old, new):
        stream.hand_back()


def _cancel_long(old: _Stream, new: _Stream) -> None:
    index: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for run in old.runs():
        for place in range(run.start, run.stop - MOVED + 1):
            index[tuple(old.words[place : place + MOVED])].append(place)
    for run in new.runs():
        place = run.start
        while place <= run.stop - MOVED:
            starts = index.get(tuple(new.words[place : place + MOVED]), ())
            best = max(((_common(new, place, old, start), -start) for start in starts), default=(0, 0))
            if best[0] >= MOVED:
                new.strike(place, best[0])
                old.strike(-best[1], best[0])
            place += max(best[0], 1)


def _common(new: _Stream, place: int, old: _Stream, start: int) -> int:
    length = 0
    while (
        place + length < len(new.words)
        and start + length < len(old.words)
        and new.left[place + length]
        and old.left[start + length]
        and new.words[place + length] == old.words[start + length]
    ):
        length += 1
    return length


def _cancel_short(old: _Stream, new: _Stream) -> None:
    """Strike out shorter runs that are all that is left there on both sides: a title that is glued to a line."""
    index: dict[tuple[str, ...], list[tuple[range, Side]]] = defaultdict(list)
    for run, side in old.within():
        if len(run) < MOVED:
            index[tuple(old.words[run.start : run.stop])].append((run, side))
    for run, side in new.within():
        for other, counterpart in index.get(tuple(new.words[run.start : run.stop]), ()):
            title = any(one.statement.is_heading and len(one.words) == 1 for one in (side, counterpart))
            if old.left[other.start] and (len(run) > 1 or title):
                new.strike(run.start, len(run))
                old.strike(other.start, len(run))
                break


def _forget_said_again(sides: Iterable[Side], others: list[Side]) -> None:
    """Strike out statements which the other version makes too, within another one."""
    everything = f" {' '.join(word for side in others for word in side.words)} "
    for side in sides:
        for run in _runs(side):
            words = [side.words[place] for place in run]
            if len(run) >= MOVED and f" {' '.join(words)} " in everything:
                side.left -= set(run)


def _kept(before: list[Side], after: list[Side], removed: list[Side], added: list[Side]) -> float:
    total = sum(len(side.words) for side in (*before, *after))
    return 1 - sum(len(side.left) for side in (*removed, *added)) / total if total else 1.0
