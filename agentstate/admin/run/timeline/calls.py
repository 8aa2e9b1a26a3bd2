"""Rows of a timeline: one per event, and one per tool call with its invocation and result."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from django.utils.http import urlencode

from agentstate.admin.run.timeline.kinds import TOOL_KIND, family_of, kind_of
from agentstate.admin.run.timeline.summaries import number_of, short, summary

if TYPE_CHECKING:
    from collections.abc import Iterable

    from agentstate.admin.run.timeline.events import Event

# Ten years. A longer duration is wrong.
_LONGEST_CALL_MS = 10 * 365 * 86_400_000

# The beginning of a longer name is read; it filters nothing.
_LONGEST_TOOL = 200

_FAILED, _CANCELED = {"error", "failed", "failure"}, {"canceled", "cancelled"}


class Outcome(StrEnum):
    """The outcome of a row."""

    NONE = ""
    OK = "ok"
    ERROR = "failed"
    CANCELED = "canceled"
    UNDER_WAY = "running"
    LOST = "no result"


class Bar(NamedTuple):
    """A row's bar on the axis, in percent; a width of 0 is a moment."""

    x: str
    width: str
    is_open: bool = False

    @property
    def is_moment(self) -> bool:
        return float(self.width.rstrip("%")) == 0


@dataclass
class TimelineRow:
    """A line of the timeline.

    Attributes:
        event: what it shows, of a tool call the invocation where that is among the events.
        result: of a tool call that it shows whole, the result.
        half: of a tool call that it shows half of, what is elsewhere: ``invocation`` or ``result``.
        idle: how long nothing happened before it, where that is long.
        bar: on the time axis; None without an axis.
        is_chosen: whether a link led to it.
        is_picked: whether a search picked it, so that what is missing of it may be anywhere.
        depth: how many events it happened inside.
        has_inside: whether rows of the page happened inside it.
    """

    event: Event
    result: Event | None = None
    half: str = ""
    outcome: Outcome = Outcome.NONE
    idle: timedelta | None = None
    bar: Bar | None = None
    is_chosen: bool = False
    is_picked: bool = False
    depth: int = 0
    has_inside: bool = False

    @property
    def kind(self) -> str:
        return kind_of(self.event.type)

    @property
    def family(self) -> str:
        return family_of(self.event.type)

    @property
    def events(self) -> list[Event]:
        """The one or two events that it shows."""
        return [self.event] if self.result is None else [self.event, self.result]

    @property
    def last(self) -> Event:
        return self.result or self.event

    @property
    def tool(self) -> str:
        """The tool of a call, as far as it was read whole."""
        tool = self.event.get("tool") if self.kind == TOOL_KIND else None
        return tool if isinstance(tool, str) and len(tool) <= _LONGEST_TOOL else ""

    @property
    def only_tool(self) -> str:
        """The address of the calls of its tool."""
        return f"?{urlencode({'tool': self.tool})}"

    @property
    def is_open(self) -> bool:
        """Whether it shows a call whose end is missing or on a later page."""
        return self.outcome == Outcome.UNDER_WAY or (self.half == "result" and not self.is_picked)

    @property
    def version(self) -> str:
        """Changes when the row's content does."""
        return f"{self.event.place}-{self.last.place}-{self.outcome}-{self.half}"

    @property
    def is_late(self) -> bool:
        return self.event.is_late or self.last.is_late

    @property
    def summary(self) -> str:
        return summary(self.event)

    @property
    def error(self) -> str:
        """The error in one line."""
        error = self.last.get("error")
        return short(error) if error is not None and self.outcome in (Outcome.ERROR, Outcome.CANCELED) else ""

    @property
    def duration(self) -> timedelta | None:
        """How long a tool call took: as its result reports, else by the two times."""
        reported = number_of(self.last.get("duration_ms")) if self.last.type == "tool.result" else None
        if reported is not None and 0 <= reported < _LONGEST_CALL_MS:
            return timedelta(milliseconds=reported)
        return None if self.result is None else self.result.at - self.event.at

    @property
    def start(self) -> datetime:
        if self.event.type == "tool.result" and self.duration:
            return self.event.at - self.duration
        return self.event.at

    @property
    def end(self) -> datetime:
        return self.last.at


def rows_of(events: Iterable[Event], *, has_ended: bool, has_earlier: bool, has_later: bool) -> list[TimelineRow]:
    """Return the rows of events in order, each call's result with its invocation.

    Args:
        has_ended: whether the run writes no more, else the results that are missing may come.
        has_earlier, has_later: whether there are events before or after these, which the missing halves may be among.
    """
    rows: list[TimelineRow] = []
    open_calls: dict[str, TimelineRow] = {}
    for event in events:
        call = event.call_id
        if event.type == "tool.result" and call in open_calls:
            open_calls.pop(call).result = event
            continue
        row = TimelineRow(event)
        rows.append(row)
        if event.type == "tool.invocation" and call:
            open_calls[call] = row
        elif event.type == "tool.result" and call and has_earlier:
            row.half = "invocation"
    for row in open_calls.values():
        row.half = "result" if has_later else ""
        row.outcome = Outcome.NONE if has_later else Outcome.LOST if has_ended else Outcome.UNDER_WAY
    for row in rows:
        row.outcome = row.outcome or _outcome(row.last)
    return rows


def _outcome(event: Event) -> Outcome:
    status = event.get("status")
    word = status.lower() if isinstance(status, str) else ""
    if word in _FAILED or event.type.rpartition(".")[2] in {*_FAILED, "exception"}:
        return Outcome.ERROR
    if word in _CANCELED:
        return Outcome.CANCELED
    return Outcome.OK if event.type == "tool.result" else Outcome.NONE
