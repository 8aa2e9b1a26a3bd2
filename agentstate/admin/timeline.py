"""A run's page: its timeline."""

from __future__ import annotations

from agentstate.admin.read_only import ReadOnlyAdmin


class TimelinePages(ReadOnlyAdmin):
    """The pages of one run."""
