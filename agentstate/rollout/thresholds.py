"""The thresholds of the conditions: from the settings, or the defaults. ``.env.example`` explains each."""

from __future__ import annotations

from datetime import timedelta

from django.conf import settings

LAG_MINUTES, COMPARED, HOURS = 5, 1_000, 24.0


def lag() -> timedelta:
    """Return how long columns may wait to be taken in."""
    return timedelta(minutes=getattr(settings, "AGENTSTATE_ROLLOUT_LAG_MINUTES", LAG_MINUTES))


def compared() -> int:
    """Return how many shadow reads must have compared both homes."""
    return int(getattr(settings, "AGENTSTATE_ROLLOUT_COMPARED", COMPARED))


def time_without() -> timedelta:
    """Return how long a step needs evidence without a difference, fallback or bypassing write."""
    return timedelta(hours=getattr(settings, "AGENTSTATE_ROLLOUT_HOURS", HOURS))
