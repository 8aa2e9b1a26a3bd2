"""The database that verification, the rollout's counts and the admin's lists read: a replica, where one is named."""

from __future__ import annotations

from django.conf import settings
from django.db import DEFAULT_DB_ALIAS


def read_alias() -> str:
    """Return the alias in ``DATABASES`` that ``AGENTSTATE_READ_DATABASE`` names, by default the primary's.

    What decides something, such as a step of the rollout, reads the primary: a replica is always a little behind.
    """
    return getattr(settings, "AGENTSTATE_READ_DATABASE", "") or DEFAULT_DB_ALIAS
