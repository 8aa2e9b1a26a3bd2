"""A small step plot of the score over time."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, NamedTuple

from agentstate.admin.project.panels.reading import on_scale

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from decimal import Decimal

WIDTH, HEIGHT, MARGIN = 300, 64, 5
# How many of the newest points are links.
LINKED = 40


class Point(NamedTuple):
    """A score that differs from the one before it."""

    x: float
    y: float
    at: datetime
    score: Decimal


@dataclass(frozen=True)
class Plot:
    """The geometry of a plot in a box of ``WIDTH`` by ``HEIGHT``.

    Attributes:
        line: the steps, as the data of an SVG path.
        points: the newest scores that differ from the one before.
        mark: the score at the chosen moment.
        first, last: what the horizontal axis begins and ends with.
    """

    line: str
    points: list[Point]
    mark: tuple[float, float] | None
    first: datetime
    last: datetime

    @property
    def timespec(self) -> str:
        """How precisely to write both ends, so that they differ."""
        length = self.last - self.first
        if length > timedelta(days=2):
            return "minutes"
        return "seconds" if length > timedelta(seconds=1) else "microseconds"

    width = WIDTH
    height = HEIGHT
    top = MARGIN
    bottom = HEIGHT - MARGIN


def plot(scores: Sequence[tuple[datetime, Decimal | None]], until: datetime, mark: datetime) -> Plot | None:
    """Return the plot of at least two scores, the oldest first, None of fewer.

    Args:
        scores: when a score was saved, and what it was; None leaves a gap until the next.
        until: where the axis ends.
        mark: the chosen moment.
    """
    if sum(score is not None for _, score in scores) < 2:
        return None
    first = scores[0][0]
    last = max(until, scores[-1][0])
    length = (last - first).total_seconds() or 1
    line: list[str] = []
    points: list[Point] = []
    chosen = None
    for place, (at, score) in enumerate(scores):
        end = scores[place + 1][0] if place + 1 < len(scores) else last
        if score is None:
            continue
        x, y = _across((at - first).total_seconds() / length), _up(score)
        if not points or points[-1].score != score:
            points.append(Point(x, y, at, score))
        goes_on = place and scores[place - 1][1] is not None
        line.append(f"{'L' if goes_on else 'M'}{x} {y}H{_across((end - first).total_seconds() / length)}")
        if at <= mark and (mark < end or place + 1 == len(scores)):
            chosen = (_across((min(mark, last) - first).total_seconds() / length), y)
    return Plot("".join(line), points[-LINKED:], chosen, first, last)


def _across(share: float) -> float:
    return round(MARGIN + share * (WIDTH - 2 * MARGIN), 1)


def _up(score: Decimal) -> float:
    """Return the height of a score, limited to the scale."""
    return round(HEIGHT - MARGIN - on_scale(score) * (HEIGHT - 2 * MARGIN), 1)
