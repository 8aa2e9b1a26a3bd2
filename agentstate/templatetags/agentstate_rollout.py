"""Filters of the rollout's page."""

from __future__ import annotations

from django import template

register = template.Library()


@register.filter
def words(name: str) -> str:
    """Return a name of ours as people read it."""
    return name.replace("_", " ")
