"""What the steps ask for, in the project's settings or else by default: ``.env.example`` says what each means."""

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
    """Return for how long nothing may have been found that speaks against a step."""
    return timedelta(hours=getattr(settings, "AGENTSTATE_ROLLOUT_HOURS", HOURS))
