"""Filters and tags that the admin pages share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django import template
from django.apps import apps
from django.utils import dateformat

from agentstate.admin.shared import formats
from agentstate.admin.shared.links import link_to
from agentstate.distant_times import DistantTime

if TYPE_CHECKING:
    from datetime import datetime

register = template.Library()

register.filter("pretty_json", formats.pretty_json)
register.filter("indented_json", formats.indented)
register.filter("indented_if_json", formats.indented_if_json)
register.filter("length_of_time", formats.length_of_time)
register.filter("tick", formats.tick)


@register.filter
def since(moment: datetime, start: datetime) -> str:
    """Show a moment as its offset from a start."""
    return formats.offset(moment - start)


@register.filter(expects_localtime=True)
def exact(when: datetime) -> str:
    """Show a moment to the microsecond."""
    return when.text if isinstance(when, DistantTime) else dateformat.format(when, "Y-m-d H:i:s.u T")


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


@register.simple_tag(takes_context=True)
def page_link(context: template.Context, model: str, pk: Any, text: str) -> str:
    """Show a link to a row's page, or its text alone to those who may not follow it."""
    return link_to(apps.get_model("agentstate", model), pk, text, context["request"].user)
