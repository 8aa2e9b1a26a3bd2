"""Calls of tools: what their two events hold, and which calls of a run are open."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from agentstate.models.fields import new_id
from agentstate.recording.errors import CallNotOpen
from agentstate.recording.storable import described

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agentstate.recording.events import NewEvent

INVOCATION, RESULT = "tool.invocation", "tool.result"

UNFINISHED = "The run ended before this call did."


class Status(StrEnum):
    """How a call ended."""

    OK = "ok"
    ERROR = "error"
    CANCELED = "canceled"


@dataclass(eq=False)
class ToolCall:
    """A call of a tool; set ``output`` to its result.

    Attributes:
        call_id: the id that its two events share.
        tool: the tool's name.
        output: the output that ``tool.result`` will have; None until it is set.
        more: further members of both events.
        is_settled: whether its result is written.
        event_id: the id of the event that began it; empty until that is written.
        parent_id: the id of the event that the call happened inside, if there is one.
    """

    call_id: str
    tool: str
    output: object = None
    more: dict[str, object] = field(default_factory=dict)
    is_settled: bool = False
    event_id: str = ""
    parent_id: str | None = None
    started: float | None = field(default=None, repr=False)

    def invocation(self, arguments: object) -> NewEvent:
        """Return the event that begins it."""
        members = {"call_id": self.call_id, "tool": self.tool, "arguments": {} if arguments is None else arguments}
        return INVOCATION, self.more | members

    def result(self, error: BaseException | str | None = None, status: str | None = None) -> NewEvent:
        """Return the event that ends it.

        Raises:
            ValueError: no call has this status.
        """
        return RESULT, self.more | {
            "call_id": self.call_id,
            "tool": self.tool,
            "status": _status_after(error) if status is None else Status(status),
            "output": self.output,
            "error": described(error) if isinstance(error, BaseException) else error,
            "duration_ms": None if self.started is None else round((time.perf_counter() - self.started) * 1000, 3),
        }


class OpenCalls:
    """The calls of a run that this recorder began and has not settled. Threads may share it."""

    def __init__(self) -> None:
        self._by_id: dict[str, ToolCall] = {}

    def __iter__(self) -> Iterator[ToolCall]:
        return iter(list(self._by_id.values()))

    def add(self, tool: str, call_id: str | None, more: dict[str, object]) -> ToolCall:
        """Return a new call. While another call of its id is open, its id gets a number: ``call_7#2``.

        So each result belongs to one invocation, even if a model uses an id again.
        """
        call = ToolCall(new_id() if call_id is None else call_id, tool, more=more)
        given, number = call.call_id, 1
        while self._by_id.setdefault(call.call_id, call) is not call:
            number += 1
            call.call_id = f"{given}#{number}"
        return call

    def find(self, run_id: str, call: ToolCall | str) -> ToolCall:
        """Return an open call.

        Raises:
            CallNotOpen: it is settled, or this recorder did not begin it.
        """
        found = self._by_id.get(call) if isinstance(call, str) else call
        if found is None or found.is_settled:
            raise CallNotOpen(run_id, call if isinstance(call, str) else call.call_id)
        return found

    def remove(self, call: ToolCall) -> None:
        """Forget a call that is settled, or whose invocation was not written."""
        self._by_id.pop(call.call_id, None)


def _status_after(error: BaseException | str | None) -> Status:
    if error is None:
        return Status.OK
    return Status.ERROR if isinstance(error, Exception | str) else Status.CANCELED
