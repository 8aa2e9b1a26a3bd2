"""Counts of projects by standing."""

from __future__ import annotations

from django.db import connection

from agentstate.state.homes import NEWEST, PROJECTS
from agentstate.state.standing import STANDING, Standing


def count_standings() -> dict[Standing, int]:
    """Count the projects of each standing. Scans all projects, but reads no document."""
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {STANDING} AS standing, count(*) FROM {PROJECTS} p {NEWEST} GROUP BY standing")
        counts = dict(cursor.fetchall())
    return {standing: counts.get(standing, 0) for standing in Standing}
