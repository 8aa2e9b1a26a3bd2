"""The runs that failed in the last 24 hours, by the hour."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.utils import timezone

from agentstate.admin.shared.time_limit import TookTooLong, time_limit
from agentstate.models import AgentWorkflowRun
from agentstate.models.expressions import status_and_snapshot

HOURS = 24
# The newest of each kind that are read, and how long that may take.
MOST, SECONDS = 5_000, 1.0
# The plot in pixels: from bar to bar, the height, and that of the lowest bar.
STEP, HEIGHT, LOWEST = 7, 28, 2


@dataclass(frozen=True)
class HourOfFailures:
    """A bar of the plot: the beginning of an hour, and how many runs that started in it failed."""

    x: int
    at: datetime
    count: int
    height: int

    @property
    def y(self) -> int:
        return HEIGHT - self.height


@dataclass(frozen=True)
class Failures:
    """How many there were, and when; ``is_cut``: there were more, and older ones are left out."""

    count: int
    hours: list[HourOfFailures]
    is_cut: bool


def recent_failures() -> Failures | None:
    """Read when the failed runs of the last 24 hours started, None if that takes too long."""
    since = timezone.now() - timedelta(hours=HOURS)
    failed = AgentWorkflowRun.objects.alias(kind=status_and_snapshot()).filter(started_at__gte=since)
    # Each kind by itself: in that order the index has them.
    newest = [
        failed.filter(kind=kind).order_by("-started_at").values_list("started_at", flat=True)[: MOST + 1]
        for kind in ("failed0", "failed1")
    ]
    try:
        with time_limit(SECONDS):
            parts = [list(each) for each in newest]
    except TookTooLong:
        return None
    starts = [start for part in parts for start in part[:MOST]]
    by_hour = Counter(min(HOURS - 1, (start - since) // timedelta(hours=1)) for start in starts)
    most = max(by_hour.values(), default=0)
    hours = [
        HourOfFailures(number * STEP, since + timedelta(hours=number), count, max(LOWEST, HEIGHT * count // most))
        for number, count in sorted(by_hour.items())
    ]
    return Failures(len(starts), hours, any(len(part) > MOST for part in parts))
