"""Filters and tags that the admin pages share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django import template
from django.apps import apps
from django.contrib.admin import ListFilter
from django.template.defaultfilters import capfirst, striptags
from django.template.loader import render_to_string
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import Truncator

from agentstate.admin.shared import formats
from agentstate.admin.shared.filters import FormFilter
from agentstate.admin.shared.links import link_to
from agentstate.admin.shared.paging import KeysetChangeList

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from django.contrib.admin.views.main import ChangeList

register = template.Library()

# The filters of a list that are seen at once; the others are in a fold, unless they are set.
FILTERS_AT_HAND = 4
# An index holds no longer id. One within a document may be of any length.
LONGEST_ID = 3_000
# What a cell without a value shows: ours, and Django's.
BLANK = ("", "\N{EN DASH}", "-")

register.filter("pretty_json", formats.pretty_json)
register.filter("indented_json", formats.indented)
register.filter("indented_if_json", formats.indented_if_json)
register.filter("length_of_time", formats.length_of_time)
register.filter("tick", formats.tick)
register.filter("to_second", formats.moment)
register.filter("moment_of_axis", formats.moment_of_axis)


@register.filter
def since(moment: datetime, start: datetime) -> str:
    """Show a moment as its offset from a start."""
    return formats.offset(moment - start)


@register.filter
def exact(when: datetime) -> str:
    """Show a moment to the microsecond."""
    return formats.moment(when, "microseconds")


@register.inclusion_tag("admin/agentstate/includes/moment.html")
def moment(when: datetime | None) -> dict[str, Any]:
    """Show a moment, and how long ago it was."""
    return {"when": when}


@register.inclusion_tag("admin/agentstate/includes/time.html")
def written_time(when: datetime, timespec: str = "seconds") -> dict[str, Any]:
    """Show a moment as precisely as asked, and to the microsecond on hover."""
    return {"when": when, "text": formats.moment(when, timespec), "exact": exact(when)}


@register.filter
def labelled(rows: Iterable[Iterable[SafeString]], headers: Sequence[dict[str, Any]]) -> list[list[SafeString]]:
    """Return the cells of a list's rows, as Django renders them, marked with the header of the column, or as blank."""
    return [[_labelled(cell, header["text"]) for cell, header in zip(row, headers, strict=True)] for row in rows]


@register.simple_tag
def column_sorting(changelist: ChangeList, column: str) -> dict[str, str] | None:
    """Return how a list is ordered by a column, None where it cannot be."""
    return changelist.sorting(column) if isinstance(changelist, KeysetChangeList) else None


@register.filter
def at_hand(changelist: ChangeList) -> list[Any]:
    """Return the filters of a list that are seen at once: the first ones, and those that are set."""
    specs = changelist.filter_specs
    chosen = set_filters(changelist)
    return [spec for spec in specs if spec in specs[:FILTERS_AT_HAND] or spec in chosen]


@register.filter
def set_filters(changelist: ChangeList) -> list[Any]:
    """Return the filters of a list that are set."""
    return [spec for spec in changelist.filter_specs if _is_set(changelist, spec)]


@register.filter
def folded_away(changelist: ChangeList) -> list[Any]:
    """Return the other filters of a list."""
    shown = at_hand(changelist)
    return [spec for spec in changelist.filter_specs if spec not in shown]


def _is_set(changelist: ChangeList, spec: Any) -> bool:
    if isinstance(spec, FormFilter):
        return any(spec.form.data.values())
    return any(name in changelist.filter_params for name in spec.expected_parameters())


@register.simple_tag
def list_filter(changelist: ChangeList, spec: Any) -> SafeString:
    """Show a filter of a list, Django's own in our layout."""
    is_plain = spec.template == ListFilter.template
    name = "admin/agentstate/filters/choices.html" if is_plain else spec.template
    values = {"title": spec.title, "choices": list(spec.choices(changelist)), "spec": spec}
    return SafeString(render_to_string(name, values))


def _labelled(cell: SafeString, label: str) -> SafeString:
    tag, rest = cell[:3], cell[3:]
    blank = SafeString(" data-blank" if striptags(cell).strip() in BLANK else "")
    return format_html('{} data-label="{}"{}{}', SafeString(tag), capfirst(striptags(label)), blank, SafeString(rest))


@register.inclusion_tag("admin/agentstate/includes/status.html")
def status(word: str) -> dict[str, str]:
    """Show a run's status as a coloured word."""
    return {"status": word}


@register.inclusion_tag("admin/agentstate/includes/json.html")
def folded_json(text: str, label: str = "JSON", is_open: bool = False) -> dict[str, Any]:
    """Show JSON text formatted and folded under its label."""
    return {"text": formats.indented(text), "label": label, "is_open": is_open}


@register.inclusion_tag("admin/agentstate/includes/id.html")
def shown_id(id: str, length: int, copies: bool = True, css_class: str = "") -> dict[str, Any]:  # noqa: A002
    """Show an id, or its beginning and all of it on hover, with a button that copies it."""
    id = str(id)  # noqa: A001
    whole = id if len(id) <= LONGEST_ID else ""
    return {"id": whole, "text": Truncator(id).chars(length), "copies": copies and whole, "css_class": css_class}


@register.simple_tag(takes_context=True)
def page_link(context: template.Context, model: str, pk: Any, text: str) -> str:
    """Show a link to a row's page, or its text alone to those who may not follow it."""
    return link_to(apps.get_model("agentstate", model), pk, text, context["request"].user)
