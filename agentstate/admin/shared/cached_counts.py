"""Counts that need a scan: cached with the time of counting, and abandoned at a time limit."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Generic, TypeVar

from django.core.cache import cache
from django.utils import timezone

from agentstate.admin.shared.time_limit import TookTooLong, deadline

if TYPE_CHECKING:
    from collections.abc import Callable

Value = TypeVar("Value")

# The time limits of a count for a page view, and for an operator who presses "Count again".
SECONDS_ON_VIEW, SECONDS_WHEN_ASKED = 2.0, 60.0
# A page view repeats a count that is older than FRESH. If that fails, the old count is shown until it expires.
FRESH, KEPT = timedelta(minutes=5), timedelta(hours=1)


@dataclass(frozen=True)
class CachedCount(Generic[Value]):
    """A count and its age.

    Attributes:
        value: None if no count has succeeded.
        at: when the value was counted.
        tried_at: when the last count started.
        gave_up_after: the time limit in seconds that the last count reached, 0 if it succeeded.
    """

    value: Value | None
    at: datetime | None
    tried_at: datetime
    gave_up_after: float = 0

    @property
    def seconds_when_asked(self) -> float:
        return SECONDS_WHEN_ASKED


def cached_counts(name: str, count: Callable[[], Value], *, again: bool = False) -> CachedCount[Value]:
    """Return a fresh count from the default cache, or count.

    Args:
        name: the cache key. Include what the count depends on.
        count: counts. Runs outside any transaction.
        again: ignore the cached count, and allow more time.
    """
    key, now = f"agentstate.counts.{name}", timezone.now()
    kept: CachedCount[Value] | None = cache.get(key)
    if kept and not again and now - kept.tried_at < FRESH:
        return kept
    seconds = SECONDS_WHEN_ASKED if again else SECONDS_ON_VIEW
    try:
        with deadline(seconds):
            found = CachedCount(count(), now, now)
    except TookTooLong:
        found = replace(kept or CachedCount(None, None, now), tried_at=now, gave_up_after=seconds)
    cache.set(key, found, KEPT.total_seconds())
    return found
