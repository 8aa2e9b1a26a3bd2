"""Numbers that need a scan: kept for a while with the time they were counted at, and given up where they take long."""

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

# A page that is only looked at waits so long for a number, and whoever asks to count again so long.
SECONDS_ON_VIEW, SECONDS_WHEN_ASKED = 2.0, 60.0
# Counted anew when it is looked at after this; until it is forgotten, an old number is better than none.
FRESH, KEPT = timedelta(minutes=5), timedelta(hours=1)


@dataclass(frozen=True)
class Counted(Generic[Value]):
    """What was counted, and when.

    Attributes:
        value: None where it has not been counted.
        at: when that was counted.
        tried_at: when somebody last tried to.
        gave_up_after: the seconds after which that try ended without an answer, 0 where it had one.
    """

    value: Value | None
    at: datetime | None
    tried_at: datetime
    gave_up_after: float = 0

    @property
    def seconds_when_asked(self) -> float:
        return SECONDS_WHEN_ASKED


def counted(name: str, count: Callable[[], Value], *, anew: bool = False) -> Counted[Value]:
    """Return what was counted lately, or count.

    Each process keeps its own numbers, unless the default cache is one that they share.

    Args:
        name: of the number, and of what it depends on: another name is another number.
        count: does it, outside of any transaction.
        anew: count whatever is known, and take the time.
    """
    key, now = f"agentstate.counted.{name}", timezone.now()
    kept: Counted[Value] | None = cache.get(key)
    if kept and not anew and now - kept.tried_at < FRESH:
        return kept
    seconds = SECONDS_WHEN_ASKED if anew else SECONDS_ON_VIEW
    try:
        with deadline(seconds):
            found = Counted(count(), now, now)
    except TookTooLong:
        found = replace(kept or Counted(None, None, now), tried_at=now, gave_up_after=seconds)
    cache.set(key, found, KEPT.total_seconds())
    return found
