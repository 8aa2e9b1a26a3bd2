"""The time axis of a timeline's rows: to scale, with long idle gaps collapsed."""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from agentstate.admin.run.timeline.calls import Bar
from agentstate.distant_times import DistantTime

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agentstate.admin.run.timeline.calls import TimelineRow

# A gap is idle time if it is longer than this, and than this share of the whole.
IDLE, IDLE_SHARE = timedelta(seconds=5), 10
# Shorter runs have no axis: their times only show the order of writing.
SHORTEST = timedelta(milliseconds=1)

# In percent of the width: the margins, which keep marks inside, and what each collapsed gap takes.
_MARGIN, _GAP = 1.0, 4.0
_NARROWEST_BAR = 0.4
_TICKS, _LAST_TICK = 5, 96.0
# What the label of a moment takes, and of one that is days away.
_LABEL, _LABEL_WITH_DAYS = 14.0, 24.0

_STEPS = (
    *(timedelta(microseconds=factor * 10**power) for power in range(2, 6) for factor in (1, 2, 5)),
    *(timedelta(seconds=seconds) for seconds in (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800)),
    *(timedelta(hours=hours) for hours in (1, 2, 3, 6, 12, 24, 48, 168, 720, 2160, 8760, 87600)),
)


class Tick(NamedTuple):
    """A labelled moment of the axis."""

    x: str
    offset: timedelta


class Gap(NamedTuple):
    """A collapsed segment of idle time."""

    x: str
    width: str
    length: timedelta


@dataclass(frozen=True)
class _Segment:
    """A part of the axis that is to scale: its times, and its ends in percent."""

    start: datetime
    end: datetime
    left: float
    right: float


class Axis:
    """The axis of some rows; ``gaps`` are its idle gaps, ``ticks`` its labels."""

    def __init__(self, rows: Sequence[TimelineRow], origin: datetime) -> None:
        busy = sorted((row.start, row.end) for row in rows)
        self.start, self.end = busy[0][0], max(end for _, end in busy)
        # Between search results there may be other events, so gaps are not idle time.
        self._idle = [] if rows[0].is_picked else _idle_gaps(busy, self.end - self.start)
        self._segments = self._lay_out()
        self.gaps = [
            Gap(_percent(one.right), _percent(other.left - one.right), other.start - one.end)
            for one, other in pairwise(self._segments)
        ]
        self.ticks = self._label(origin)

    def _lay_out(self) -> list[_Segment]:
        edges = [self.start, *(moment for gap in self._idle for moment in gap), self.end]
        shown = [(edges[place], edges[place + 1]) for place in range(0, len(edges), 2)]
        total = sum((end - start for start, end in shown), timedelta(0)) or timedelta(microseconds=1)
        width = 100 - 2 * _MARGIN - _GAP * len(self._idle)
        segments, left = [], _MARGIN
        for start, end in shown:
            right = left + width * ((end - start) / total)
            segments.append(_Segment(start, end, left, right))
            left = right + _GAP
        return segments

    def place(self, moment: datetime) -> float:
        """Return the position of a moment in percent."""
        found = bisect_right(self._segments, moment, key=lambda segment: segment.start) - 1
        segment = self._segments[max(found, 0)]
        length = (segment.end - segment.start) or timedelta(microseconds=1)
        share = (moment - segment.start) / length
        return segment.left + (segment.right - segment.left) * min(max(share, 0.0), 1.0)

    def bar(self, row: TimelineRow) -> Bar:
        """Return a row's bar. A bar without an end reaches to the end of the axis."""
        left = self.place(max(row.start, self.start))
        if row.is_open:
            return Bar(_percent(left), _percent(100 - left), is_open=True)
        right = self.place(row.end)
        if row.kind != "tool" or (row.result is None and not row.duration):
            return Bar(_percent(right), "0%")
        return Bar(_percent(left), _percent(max(right - left, _NARROWEST_BAR)))

    def _label(self, origin: datetime) -> list[Tick]:
        """Return labels at round times, and one after each gap."""
        shown = sum((segment.end - segment.start for segment in self._segments), timedelta(0))
        step = next((step for step in _STEPS if shown / step <= _TICKS), _STEPS[-1])
        ticks: list[Tick] = []
        free_from = -math.inf
        for segment in self._segments:
            offset = segment.start - origin
            if segment is self._segments[0] or segment.left < free_from + _width(offset) / 2:
                offset = _next_multiple(offset, step)
            while origin + offset <= segment.end:
                x, half = self.place(origin + offset), _width(offset) / 2
                if free_from + half <= x <= _LAST_TICK:
                    ticks.append(Tick(_percent(x), offset))
                    free_from = x + half
                offset = _next_multiple(offset + timedelta(microseconds=1), step)
        return ticks


def _width(offset: timedelta) -> float:
    return _LABEL if abs(offset) < timedelta(days=1) else _LABEL_WITH_DAYS


def _next_multiple(offset: timedelta, step: timedelta) -> timedelta:
    return -(-offset // step) * step


def lay_out(rows: Sequence[TimelineRow], origin: datetime) -> Axis | None:
    """Set the bars and idle times of rows, and return their axis; None if the times are useless.

    Args:
        origin: the run's start, which offsets count from.
    """
    if len(rows) < 2 and not any(row.duration for row in rows):
        return None
    if any(isinstance(at, DistantTime) for at in (origin, *(event.at for row in rows for event in row.events))):
        return None
    axis = Axis(rows, origin)
    if axis.end - axis.start < SHORTEST:
        return None
    idle = {end: end - start for start, end in axis._idle}
    for row in rows:
        row.bar = axis.bar(row)
        row.idle = idle.get(row.start)
    return axis


def _idle_gaps(busy: list[tuple[datetime, datetime]], whole: timedelta) -> list[tuple[datetime, datetime]]:
    """Return the long times in which nothing happened, between the times of events and calls, the earliest first."""
    gaps, reached = [], busy[0][1]
    for start, end in busy[1:]:
        if start - reached > max(IDLE, whole / IDLE_SHARE):
            gaps.append((reached, start))
        reached = max(reached, end)
    return gaps


def _percent(place: float) -> str:
    return f"{place:.2f}%"
