"""The whole run in one strip: how many events happened when, where the failures are, and where a page is.

It counts a run's events by their index alone. That takes a while for a very long run, so the page of the run does not
wait for it: the browser fetches it afterwards.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

from agentstate.admin.shared.time_limit import TookTooLong, time_limit
from agentstate.models.expressions import IS_FAILURE
from agentstate.recording.following import place_of

if TYPE_CHECKING:
    from collections.abc import Sequence

BUCKETS, SECONDS = 100, 2.0
# The height of the strip, of the band of failures at its top, and of the lowest bar.
HEIGHT, BAND, LOWEST = 40, 10, 2

# Times beyond these cannot be subtracted from each other. No run of ours has one.
_DATED = "created_at BETWEEN '0002-01-01 00:00+00' AND '9998-01-01 00:00+00'"
_BUCKETS = f"""
    WITH ends AS MATERIALIZED (
        SELECT min(created_at) AS first, max(created_at) AS last FROM "AgentWorkflowRunEvent"
        WHERE run_id = %(run)s AND {_DATED}
    ), bucket AS MATERIALIZED (
        SELECT first + n * (last - first) / {BUCKETS} AS start,
            CASE n WHEN {BUCKETS} - 1 THEN last + interval '1 microsecond'
                   ELSE first + (n + 1) * (last - first) / {BUCKETS} END AS stop
        FROM ends, generate_series(0, {BUCKETS} - 1) n WHERE first IS NOT NULL
    )
    SELECT start, stop,
        (SELECT count(*) FROM "AgentWorkflowRunEvent"
         WHERE run_id = %(run)s AND created_at >= start AND created_at < stop),
        (SELECT count(*) FROM "AgentWorkflowRunEvent"
         WHERE run_id = %(run)s AND created_at >= start AND created_at < stop AND {IS_FAILURE})
    FROM bucket ORDER BY start"""
_BEFORE = """
    SELECT count(*) FROM "AgentWorkflowRunEvent" WHERE run_id = %(run)s AND created_at < %(first)s"""


class Bucket(NamedTuple):
    """A hundredth of the run's time."""

    start: datetime
    events: int
    failures: int
    x: str
    height: int

    @property
    def y(self) -> int:
        return HEIGHT - self.height

    @property
    def place(self) -> int:
        """The place before its first event."""
        return place_of(self.start) - 1


class Window(NamedTuple):
    """Where a page is: its first and last moment, and how many events it shows; 0 if a filter picked them."""

    first: datetime
    last: datetime
    number: int


@dataclass(frozen=True)
class Overview:
    """The strip of a run, and the position of a page in it.

    Attributes:
        total: how many events the run has.
        first, last: the numbers of the page's first and last event; 0 if a filter picked its events.
        x, width: where the page is on the strip, in percent.
        start, end: the times that the strip shows.
    """

    buckets: list[Bucket]
    total: int
    first: int
    last: int
    x: str
    width: str
    start: datetime
    end: datetime


def overview_of(run_id: str, window: Window | None) -> Overview | None:
    """Return the strip of a run; None if it has no events, or there was not enough time to count them."""
    try:
        with time_limit(SECONDS) as cursor:
            cursor.execute(_BUCKETS, {"run": run_id})
            counts: list[tuple[datetime, datetime, int, int]] = cursor.fetchall()
            before = 0
            if window and window.number:
                cursor.execute(_BEFORE, {"run": run_id, "first": window.first})
                (before,) = cursor.fetchone()
    except TookTooLong:
        return None
    if not counts:
        return None
    total = sum(events for _, _, events, _ in counts)
    first = before + 1 if window and window.number else 0
    last = min(before + window.number, total) if window and window.number else 0
    start, end = counts[0][0], counts[-1][1]
    left, width = _span(start, end, window)
    return Overview(_bars(counts), total, first, last, f"{left:.2f}%", f"{width:.2f}%", start, end)


def _bars(counts: Sequence[tuple[datetime, datetime, int, int]]) -> list[Bucket]:
    most = max((events for _, _, events, _ in counts), default=0) or 1
    return [
        Bucket(start, events, failures, f"{place:.0f}%", max(LOWEST, round((HEIGHT - BAND) * events / most)))
        for place, (start, _, events, failures) in enumerate(counts)
        if events
    ]


def _span(start: datetime, end: datetime, window: Window | None) -> tuple[float, float]:
    """Return where a page is on the strip, and its width there, in percent."""
    if window is None:
        return 0.0, 100.0
    left, right = (100 * min(max((at - start) / (end - start), 0.0), 1.0) for at in (window.first, window.last))
    return min(left, 99.5), max(right - left, 0.5)
