"""Filters and tags of the pages of projects."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django import template

from agentstate.admin.project.moments import moment_text
from agentstate.admin.project.panels import short_number
from agentstate.admin.shared.formats import indented, pretty_json
from agentstate.state.documents import ABSENT, as_text

if TYPE_CHECKING:
    from decimal import Decimal

register = template.Library()

ELLIPSIS = "…"
LONGEST_JSON, LONGEST_VALUE, MOST = 4_000, 256, 50


@register.filter
def shortened(text: str | None, length: int = 400) -> str:
    """Return a text, or its beginning."""
    text = text or ""
    return text if len(text) <= length else text[:length] + ELLIPSIS


@register.filter
def most(entries: list[Any]) -> list[Any]:
    """Return as many entries as the page shows of one list."""
    return entries[:MOST]


@register.filter
def left_out(entries: list[Any]) -> int:
    """Return how many entries of a list the page does not show."""
    return len(entries[MOST:])


@register.filter
def short(number: Decimal | None) -> str:
    """Return a number as people read it."""
    return "" if number is None else short_number(number)


@register.filter
def json_beginning(document: Any) -> str:
    """Return a document as indented JSON, or the beginning of it."""
    return shortened(pretty_json(document), LONGEST_JSON)


@register.filter
def beginning(text: str) -> str:
    """Return JSON text that may have been cut, indented."""
    return indented(text)


@register.filter
def value(document: Any) -> str:
    """Return a document on one line, or the beginning of it."""
    return "absent" if document is ABSENT else shortened(as_text(document), LONGEST_VALUE)


register.filter("moment_text", moment_text)


@register.filter
def percent(share: float) -> str:
    """Return a share of one as the length of a line that is 100 long."""
    return f"{share * 100:.1f}"


@register.inclusion_tag("admin/agentstate/project/includes/provenance.html")
def provenance(origin: Any, label: str) -> dict[str, Any]:
    """Show where one side of a conflict comes from."""
    return {"origin": origin, "label": label}
