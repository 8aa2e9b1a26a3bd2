"""The small pieces that our admin pages share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django import template

from agentstate.admin import formats

if TYPE_CHECKING:
    from datetime import datetime

register = template.Library()

register.filter("pretty_json", formats.pretty_json)
register.filter("indented_json", formats.indented)
register.filter("length_of_time", formats.length_of_time)


@register.inclusion_tag("admin/agentstate/includes/moment.html")
def moment(when: datetime | None) -> dict[str, Any]:
    """Show a moment as people say it, and exactly on hover."""
    return {"when": when}


@register.inclusion_tag("admin/agentstate/includes/status.html")
def status(word: str) -> dict[str, str]:
    """Show a run's status as a coloured word."""
    return {"status": word}


@register.inclusion_tag("admin/agentstate/includes/json.html")
def folded_json(text: str, label: str = "JSON", is_open: bool = False) -> dict[str, Any]:
    """Show JSON text formatted and folded under its label."""
    return {"text": formats.indented(text), "label": label, "is_open": is_open}
