"""Conditions that a run has a text somewhere."""

from __future__ import annotations

import json

from django.db.models import BooleanField, Exists, F, OuterRef, Q, Value

from agentstate.models import AgentWorkflowRunEvent
from agentstate.models.expressions import Sql

# What is looked into, by its name in the address; the empty one is errors.
DOCUMENTS, PAYLOADS, EVERYTHING = "documents", "payloads", "all"


def has_text(text: str, where: str = "") -> Q:
    """Return the condition that a run has a text, in any case.

    Args:
        where: in its error by default, in its input and output, in payloads of its events, or in all of these.
    """
    condition = Q()
    if where in ("", EVERYTHING):
        condition |= Q(error__icontains=text)
    if where in (DOCUMENTS, EVERYTHING):
        condition |= _in_json("{0}::text", "input", text) | _in_json("({0} -> 'output')::text", "result", text)
    if where in (PAYLOADS, EVERYTHING):
        events = AgentWorkflowRunEvent.objects.filter(_in_json("{0}::text", "payload", text), run=OuterRef("pk"))
        condition |= Q(Exists(events))
    return condition


def _in_json(template: str, field: str, text: str) -> Q:
    """Return the condition that JSON text has a text: as it is, or as it is escaped in a JSON string."""
    in_string = json.dumps(text, ensure_ascii=False)[1:-1]
    patterns = dict.fromkeys(f"%{_escaped(each)}%" for each in (text, in_string))
    condition = Q()
    for pattern in patterns:
        matches = Sql(
            F(field), Value(pattern), template=f"COALESCE({template} ILIKE {{1}}, false)", output_field=BooleanField()
        )
        condition |= Q(matches)
    return condition


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
