"""Kinds of events, their families (which share a mark), and their counts in a run."""

from __future__ import annotations

from typing import NamedTuple

from django.db import connection

# The two types of a tool call are one kind.
TOOL_KIND = "tool"
_TOOL_TYPES = ("tool.invocation", "tool.result")

# The beginning of a type that decides its family, the longest first where one begins another.
_FAMILIES = {
    "tool.": "tool",
    "coverage.": "coverage",
    "conflict.": "conflict",
    "eligibility.": "eligibility",
    "state.": "state",
    "snapshot.": "snapshot",
    "fork.": "fork",
    "draft.": "draft",
    "tighten.": "draft",
    "model.": "model",
    "agent.": "agent",
    "intake.": "agent",
    "guardrail.": "guardrail",
    "approval.": "approval",
    "run.": "run",
    "heartbeat": "run",
}

# Counts are shown exactly below this many, and are taken from so many events at either end of a run.
CAP, COUNTED = 1_000, 2_000

_COUNTS = """
    SELECT type, count(*) FROM (
        (SELECT type, created_at FROM "AgentWorkflowRunEvent" WHERE run_id = %(run)s
         ORDER BY created_at LIMIT %(some)s)
        UNION
        (SELECT type, created_at FROM "AgentWorkflowRunEvent" WHERE run_id = %(run)s
         ORDER BY created_at DESC LIMIT %(some)s)
    ) event
    GROUP BY type ORDER BY count(*) DESC, type"""


class Count(NamedTuple):
    """How many events of a kind a run has; ``is_exact`` is whether that is all."""

    kind: str
    number: int
    is_exact: bool

    def __str__(self) -> str:
        if self.number >= CAP:
            return f"{CAP:,}+"
        return f"{self.number}" if self.is_exact else f"{self.number}+"


def family_of(type_: str) -> str:
    """Return the family that an event's type belongs to."""
    return next((family for prefix, family in _FAMILIES.items() if type_.startswith(prefix)), "other")


def kind_of(type_: str) -> str:
    """Return an event's kind: its type, but for tools' events."""
    return TOOL_KIND if type_ in _TOOL_TYPES else type_


def types_of(kind: str) -> tuple[str, ...]:
    """Return the types of a kind."""
    return (kind, *_TOOL_TYPES) if kind == TOOL_KIND else (kind,)


def counts_of(run_id: str) -> list[Count]:
    """Return a run's kinds, the most frequent first, from its first and its last events.

    A run of more events than that has at least so many of each kind.
    """
    with connection.cursor() as cursor:
        cursor.execute(_COUNTS, {"run": run_id, "some": COUNTED})
        found = dict(cursor.fetchall())
    is_exact = sum(found.values()) < 2 * COUNTED
    calls = [found.pop(type_) for type_ in _TOOL_TYPES if type_ in found]
    counts = [Count(type_, number, is_exact) for type_, number in found.items()]
    if calls:
        counts.append(Count(TOOL_KIND, max(calls), is_exact))
    return sorted(counts, key=lambda count: (-count.number, count.kind))
