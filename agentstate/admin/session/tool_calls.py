"""The tool calls of a session's run, between the entries of its conversation."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from django.db.models.fields.json import KeyTextTransform
from django.db.models.functions import Left

from agentstate.admin.session.conversation import LETTERS, TranscriptEntry
from agentstate.admin.shared.time_limit import TookTooLong, time_limit
from agentstate.models import AgentWorkflowRunEvent

if TYPE_CHECKING:
    from collections.abc import Sequence

TYPES = ("tool.invocation", "tool.result")
CALLS, SECONDS = 200, 2.0


@dataclass(frozen=True)
class ToolEvent:
    """A call of a tool, or its result; ``status`` is empty where none is recorded."""

    event_id: str
    type: str
    tool: str
    status: str
    at: datetime


@dataclass(frozen=True)
class Interleaved:
    """Entries and tool events in the order of their times.

    Attributes:
        notice: why some are missing, empty if none is.
    """

    items: list[TranscriptEntry | ToolEvent]
    notice: str = ""


def interleave(
    run_id: str, entries: Sequence[TranscriptEntry], following: TranscriptEntry | None, *, is_first: bool
) -> Interleaved:
    """Return entries with the run's tool events between them.

    Args:
        following: the entry after them, at which the events of the next page begin.
        is_first: no entry is before them, so that earlier events belong here too.
    """
    times = [entry.at for entry in entries if isinstance(entry.at, datetime)]
    events = AgentWorkflowRunEvent.objects.filter(run=run_id, type__in=TYPES)
    if not is_first and times:
        events = events.filter(created_at__gte=times[0])
    if following and isinstance(following.at, datetime):
        events = events.filter(created_at__lt=following.at)
    tool, status = (Left(KeyTextTransform(name, "payload"), LETTERS) for name in ("tool", "status"))
    rows = events.order_by("created_at").values_list("id", "type", tool, status, "created_at")
    try:
        with time_limit(SECONDS):
            found = [
                ToolEvent(event_id, type_, name or "", word or "", at)
                for event_id, type_, name, word, at in rows[: CALLS + 1]
            ]
    except TookTooLong:
        return Interleaved(list(entries), "Finding the tool calls took too long. The run's page has them.")
    notice = f"Only the first {CALLS} of the tool calls are shown. The run's page has all." if found[CALLS:] else ""
    return Interleaved(_merged(entries, found[:CALLS]), notice)


def _merged(entries: Sequence[TranscriptEntry], events: list[ToolEvent]) -> list[TranscriptEntry | ToolEvent]:
    """Put each event before the first entry that is later. An entry without a time stays behind the one before it."""
    items: list[TranscriptEntry | ToolEvent] = []
    waiting = iter(events)
    event = next(waiting, None)
    for entry in entries:
        while event and isinstance(entry.at, datetime) and event.at < entry.at:
            items.append(event)
            event = next(waiting, None)
        items.append(entry)
    return [*items, *([event] if event else []), *waiting]
