"""Find which statements of two versions say the same thing. Similarity aligns them; it decides nothing.

Text that stands elsewhere, in another order, cut into other paragraphs or with letters lost is the same text. What is
left over on either side, word by word, is what the versions say differently.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise, product

from rapidfuzz.distance import Indel, LCSseq

from agentstate.intake.layout import ROW
from agentstate.intake.moved import MOVED, Side, cancel_moved, runs_in, runs_of
from agentstate.intake.statements import Statement
from agentstate.intake.words import LIGHT, is_exact, loses_a_letter

# The similarity from which two statements are about the same: rows in one place of a table, in one place, elsewhere.
ROWS, NEAR, FAR = 0.25, 0.42, 0.66
SHORT = 8  # words below which the same words with a number may say something else in another section
MATRIX = 2 * 10**9  # bits that the exact matching of statements may take
MANY = 400  # left-over statements on a side beyond which only those in one place are held against one another


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
    cancel_moved(before, after)
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
    if len(one) * len(other) > MATRIX:
        return _unique_in_order(one, other)
    anchors: list[tuple[int, int]] = []
    for step in LCSseq.opcodes(one, other):
        if step.tag == "equal":
            anchors += zip(range(step.src_start, step.src_end), range(step.dest_start, step.dest_end), strict=True)
    return anchors


def _unique_in_order(one: list[int], other: list[int]) -> list[tuple[int, int]]:
    """Match what stands once in both, in one order: the longest increasing run of places."""
    counts = [Counter(one), Counter(other)]
    places = {number: place for place, number in enumerate(other) if counts[1][number] == 1}
    pairs = [
        (place, places[number]) for place, number in enumerate(one) if counts[0][number] == 1 and number in places
    ]
    tails: list[int] = []  # of the best run of each length, its last place in the other
    ends: list[int] = []
    before: list[int] = []
    for index, (_, place) in enumerate(pairs):
        length = bisect_left(tails, place)
        tails[length : length + 1] = [place]
        ends[length : length + 1] = [index]
        before.append(ends[length - 1] if length else -1)
    run, index = [], ends[-1] if ends else -1
    while index >= 0:
        run.append(pairs[index])
        index = before[index]
    return run[::-1]


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
    scored = []
    for one, other in _candidates(rest_old, rest_new, gap_old, gap_new):
        score = _score(before[one], after[other], gap_old[one] == gap_new[other])
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


def _candidates(
    rest_old: list[int], rest_new: list[int], gap_old: dict[int, int], gap_new: dict[int, int]
) -> Iterator[tuple[int, int]]:
    """Yield what to hold against one another: all, or where there is much what stands in one place."""
    if len(rest_old) * len(rest_new) <= MANY * MANY:
        yield from product(rest_old, rest_new)
        return
    by_gap: dict[int, list[int]] = defaultdict(list)
    for other in rest_new:
        by_gap[gap_new[other]].append(other)
    sizes = Counter(gap_old[one] for one in rest_old)
    for one in rest_old:
        others = by_gap[gap_old[one]]
        if sizes[gap_old[one]] * len(others) <= MANY * MANY:
            yield from ((one, other) for other in others)


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
    old, new = runs_in(hunk[0], pair.old.left), runs_in(hunk[1], pair.new.left)
    if old and new:
        yield range(old[0].start, old[-1].stop), range(new[0].start, new[-1].stop)
    else:
        yield from ((run, range(0)) for run in old)
        yield from ((range(0), run) for run in new)


def _forget_said_again(sides: Iterable[Side], others: list[Side]) -> None:
    """Strike out statements which the other version makes too, within another one."""
    everything = f" {' '.join(word for side in others for word in side.words)} "
    for side in sides:
        for run in runs_of(side):
            words = [side.words[place] for place in run]
            if len(run) >= MOVED and f" {' '.join(words)} " in everything:
                side.left -= set(run)


def _kept(before: list[Side], after: list[Side], removed: list[Side], added: list[Side]) -> float:
    total = sum(len(side.words) for side in (*before, *after))
    return 1 - sum(len(side.left) for side in (*removed, *added)) / total if total else 1.0
