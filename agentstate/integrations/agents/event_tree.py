"""What an agent's events happen inside: the call of the tool that it is, and the handoff that it took over with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agents import get_current_span

if TYPE_CHECKING:
    from agents import ModelResponse


class EventTree:
    """Finds the parent of an event by the ids of calls, since the SDK runs hooks apart from the tools.

    An agent as a tool runs with a context that names its call. A call that a response asks for happens where the
    response did.
    """

    def __init__(self) -> None:
        self._event_of_call: dict[str, str] = {}
        self._parent_of_call: dict[str, str | None] = {}
        self._handoffs: dict[str | None, str] = {}
        self._event_of_span: dict[object, str] = {}

    def enclosing(self, context: object) -> str | None:
        """Return the event of the call whose agent this context belongs to, None for the outermost agent."""
        return self._event_of_call.get(_call_id(context))

    def parent_of(self, context: object) -> str | None:
        """Return the parent of an event of an agent: its last handoff, else what encloses the agent."""
        enclosing = self.enclosing(context)
        return self._handoffs.get(enclosing, enclosing)

    def parent_of_call(self, context: object) -> str | None:
        """Return the parent of a tool's call."""
        return self._parent_of_call.get(_call_id(context))

    def here(self) -> str | None:
        """Return the event of the call whose tool the caller is part of. The SDK opens a span around each."""
        return self._event_of_span.get(get_current_span())

    def note_requests(self, context: object, response: ModelResponse) -> None:
        """Note where the calls that a response asks for will happen."""
        parent = self.parent_of(context)
        for item in response.output:
            call_id = item.get("call_id") if isinstance(item, dict) else getattr(item, "call_id", None)
            if isinstance(call_id, str):
                self._parent_of_call[call_id] = parent

    def note_call(self, context: object, event_id: str) -> None:
        """Note the event that began a call."""
        if (call_id := _call_id(context)) and event_id:
            self._event_of_call[call_id] = event_id
            if (span := get_current_span()) is not None:
                self._event_of_span[span] = event_id

    def note_handoff(self, context: object, written: list[str]) -> None:
        """Note the event of a handoff: what its agent does from now on happens inside it."""
        if written:
            self._handoffs[self.enclosing(context)] = written[-1]


def _call_id(context: object) -> str:
    call_id = getattr(context, "tool_call_id", None)
    return call_id if isinstance(call_id, str) else ""
