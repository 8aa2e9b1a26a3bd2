"""The whole run in one strip: how many events happened when, where the failures are, and where a page is.

It counts a run's events by their index alone. That takes a while for a very long run, so the page of the run does not
wait for it: the browser fetches it afterwards. Where there is not enough time to count, it estimates from samples.
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

BUCKETS = 100
# For the count, and for the estimate where that is not enough.
SECONDS, ESTIMATE_SECONDS = 2.0, 2.0
# The estimate reads so many events at the beginning of each part of a bucket.
PARTS, SAMPLE = 4, 50
# The height of the strip, of the band of failures at its top, and of the lowest bar.
HEIGHT, BAND, LOWEST = 40, 10, 2

# Times beyond these cannot be subtracted from each other. No run of ours has one.
_DATED = "created_at BETWEEN '0002-01-01 00:00+00' AND '9998-01-01 00:00+00'"
_SPANS = f"""
    WITH ends AS MATERIALIZED (
        SELECT min(created_at) AS first, max(created_at) AS last FROM "AgentWorkflowRunEvent"
        WHERE run_id = %(run)s AND {_DATED}
    ), bucket AS MATERIALIZED (
        SELECT first + n * (last - first) / {BUCKETS} AS start,
            CASE n WHEN {BUCKETS} - 1 THEN last + interval '1 microsecond'
                   ELSE first + (n + 1) * (last - first) / {BUCKETS} END AS stop
        FROM ends, generate_series(0, {BUCKETS} - 1) n WHERE first IS NOT NULL
    )"""
_BUCKETS = f"""{_SPANS}
    SELECT start, stop,
        (SELECT count(*) FROM "AgentWorkflowRunEvent"
         WHERE run_id = %(run)s AND created_at >= start AND created_at < stop),
        (SELECT count(*) FROM "AgentWorkflowRunEvent"
         WHERE run_id = %(run)s AND created_at >= start AND created_at < stop AND {IS_FAILURE})
    FROM bucket ORDER BY start"""
# As many events as a part would have if all of it were as dense as its beginning: the time that the sample takes.
_SAMPLES = f"""{_SPANS}
    SELECT start, stop, round(sum(CASE WHEN number < {SAMPLE} THEN number
            ELSE number * (extract(epoch FROM ends - begins) / extract(epoch FROM last - begins)) END))::bigint,
        (SELECT count(*) FROM (
            SELECT FROM "AgentWorkflowRunEvent"
            WHERE run_id = %(run)s AND created_at >= start AND created_at < stop AND {IS_FAILURE}
            LIMIT {SAMPLE}) failed)
    FROM bucket, generate_series(0, {PARTS} - 1) part,
        LATERAL (SELECT start + part * (stop - start) / {PARTS} AS begins,
                        start + (part + 1) * (stop - start) / {PARTS} AS ends) span,
        LATERAL (SELECT count(*) AS number, max(created_at) AS last FROM (
            SELECT created_at FROM "AgentWorkflowRunEvent"
            WHERE run_id = %(run)s AND created_at >= begins AND created_at < ends
            ORDER BY created_at LIMIT {SAMPLE}) sample) sample
    GROUP BY start, stop ORDER BY start"""
_BEFORE = """
    SELECT count(*) FROM "AgentWorkflowRunEvent" WHERE run_id = %(run)s AND created_at < %(first)s"""


# A bucket's beginning and end, its events, and its failures.
Counts = tuple[datetime, datetime, int, int]


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
        is_estimate: there was not enough time to count; the numbers of events are estimates, and the page has none.
    """

    buckets: list[Bucket]
    total: int
    first: int
    last: int
    x: str
    width: str
    start: datetime
    end: datetime
    is_estimate: bool = False


def overview_of(run_id: str, window: Window | None) -> Overview | None:
    """Return the strip of a run; None if it has no events, or there was not even enough time for an estimate."""
    try:
        return _counted(run_id, window)
    except TookTooLong:
        pass
    try:
        return _estimated(run_id, window)
    except TookTooLong:
        return None


def _counted(run_id: str, window: Window | None) -> Overview | None:
    with time_limit(SECONDS) as cursor:
        cursor.execute(_BUCKETS, {"run": run_id})
        counts: list[Counts] = cursor.fetchall()
        before = 0
        if window and window.number:
            cursor.execute(_BEFORE, {"run": run_id, "first": window.first})
            (before,) = cursor.fetchone()
    total = sum(events for _, _, events, _ in counts)
    numbers = (before + 1, min(before + window.number, total)) if window and window.number else (0, 0)
    return _strip(counts, window, numbers)


def _estimated(run_id: str, window: Window | None) -> Overview | None:
    with time_limit(ESTIMATE_SECONDS) as cursor:
        cursor.execute(_SAMPLES, {"run": run_id})
        counts: list[Counts] = cursor.fetchall()
    return _strip(counts, window, (0, 0), is_estimate=True)


def _strip(
    counts: Sequence[Counts], window: Window | None, numbers: tuple[int, int], *, is_estimate: bool = False
) -> Overview | None:
    if not counts:
        return None
    total = sum(events for _, _, events, _ in counts)
    start, end = counts[0][0], counts[-1][1]
    left, width = _span(start, end, window)
    return Overview(
        _bars(counts), total, *numbers, f"{left:.2f}%", f"{width:.2f}%", start, end, is_estimate=is_estimate
    )


def _bars(counts: Sequence[Counts]) -> list[Bucket]:
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
