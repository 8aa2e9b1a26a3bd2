"""The findings of reads in the last two days, by the hour."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from agentstate.admin.rollout.presentation import projects_that_are
from agentstate.models import ReadCount
from agentstate.rollout.waiting import server_time
from agentstate.state.standing import Standing

HOURS = 48
HOUR = timedelta(hours=1)
HEIGHT, LOWEST = 40.0, 2.0  # of a plot, and of a bar that counts anything at all
GAP = 0.15  # between bars, in hours
ROOM = 8  # for the text at an end of the axis, in hours

Finding = ReadCount.Finding
# The plot's rows. Findings that block the next step come first.
TITLES = {
    Finding.DIFFERENCE: "Differences",
    Finding.LAG: "Lags",
    Finding.FALLBACK: "Fallbacks",
    Finding.COMPARED: "Compared",
}


@dataclass(frozen=True)
class HourBar:
    """A bar: percents of the plot's width, the height in pixels, and what it counts."""

    x: str
    y: str
    width: str
    height: str
    hour: datetime
    count: int


class FindingRow(NamedTuple):
    """A row of the plot, on a scale of its own."""

    finding: str
    title: str
    meaning: str
    total: int
    most: int
    bars: list[HourBar]


@dataclass(frozen=True)
class Reason:
    """A reason of a finding: its count, its last hour, and the address of the projects concerned."""

    title: str
    reason: str
    count: int
    last: datetime
    address: str


class Midnight(NamedTuple):
    """A midnight on the plot's axis; unlabelled near the labels at the ends."""

    x: str
    at: datetime
    is_labelled: bool


class Reads(NamedTuple):
    """The plot and the table beside it; ``since`` is when the first hour began."""

    since: datetime
    rows: list[FindingRow]
    reasons: list[Reason]
    ticks: list[Midnight]

    @property
    def found_something(self) -> bool:
        return any(row.total for row in self.rows)


def reads() -> Reads:
    """Return the findings of the current hour and the 47 before it."""
    this_hour = server_time().astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    since = this_hour - (HOURS - 1) * HOUR
    hours = [since + number * HOUR for number in range(HOURS)]
    counts = list(ReadCount.objects.filter(hour__gte=since).order_by("hour"))
    return Reads(
        since,
        [_row(finding, hours, counts) for finding in TITLES],
        _reasons(counts),
        [
            Midnight(_percent(number), hour, ROOM <= number <= HOURS - ROOM)
            for number, hour in enumerate(hours)
            if hour.hour == 0
        ],
    )


def _row(finding: Finding, hours: list[datetime], counts: list[ReadCount]) -> FindingRow:
    by_hour: Counter[datetime] = Counter()
    for each in counts:
        if each.finding == finding:
            by_hour[each.hour] += each.count
    most = max(by_hour.values(), default=0)
    bars = [_bar(number, hour, by_hour[hour], most) for number, hour in enumerate(hours) if by_hour[hour]]
    return FindingRow(finding.value, TITLES[finding], finding.label, by_hour.total(), most, bars)


def _bar(number: int, hour: datetime, count: int, most: int) -> HourBar:
    height = max(LOWEST, HEIGHT * count / most)
    return HourBar(
        _percent(number + GAP / 2), f"{HEIGHT - height:.1f}", _percent(1 - GAP), f"{height:.1f}", hour, count
    )


def _percent(hours: float) -> str:
    return f"{hours / HOURS * 100:.3f}%"


def _reasons(counts: list[ReadCount]) -> list[Reason]:
    """Sum up by reason, in the order of the plot's rows, the most frequent first."""
    sums: Counter[tuple[str, str]] = Counter()
    last = {}
    for each in counts:
        sums[each.finding, each.reason] += each.count
        last[each.finding, each.reason] = each.hour
    return [
        Reason(TITLES[finding], reason, count, last[finding, reason], _behind(finding, reason))
        for finding in TITLES
        for (found, reason), count in sums.most_common()
        if found == finding
    ]


def _behind(finding: str, reason: str) -> str:
    """Return where to see the projects that are now as the reason says: a list, or a position on the page."""
    if finding == Finding.DIFFERENCE:
        return "#agentstate-differences"
    if reason == ReadCount.GIVEN_UP:
        return "#agentstate-left-aside"
    return projects_that_are(Standing(reason)) if reason in set(Standing) else ""
