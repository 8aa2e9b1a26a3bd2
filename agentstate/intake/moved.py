"""Find text that moved, or was cut into other sentences: the same words, left over in both versions."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from agentstate.intake.statements import Statement

MOVED = 4  # words in a row that count as moved text


@dataclass
class Side:
    """A statement with those of its words that the other version does not have."""

    statement: Statement
    words: list[str]
    left: set[int] = field(default_factory=set)

    @property
    def left_words(self) -> list[str]:
        return [self.words[place] for place in sorted(self.left)]


def runs_in(places: Iterable[int], left: set[int]) -> list[range]:
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


def runs_of(side: Side) -> list[range]:
    return runs_in(sorted(side.left), side.left)


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
            for run in runs_of(side):
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


def cancel_moved(before: list[Side], after: list[Side]) -> None:
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
