"""Tags of the app's own page in the admin."""

from __future__ import annotations

from typing import Any

from django import template

from agentstate.admin.landing import overview

register = template.Library()

register.filter("grouped", overview.grouped)


@register.simple_tag(takes_context=True)
def landing_overview(context: template.Context) -> dict[str, Any]:
    """Return the overview for the request's user."""
    return overview.overview(context["request"].user)
