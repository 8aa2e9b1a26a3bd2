"""What an agent's events happen inside: the call that it is part of, and the handoff that it took over with."""

from __future__ import annotations

from contextvars import Token
from typing import TYPE_CHECKING, Any

from agents import FunctionSpanData, get_current_span

if TYPE_CHECKING:
    from agents import RunContextWrapper, Span, Usage

    from agentstate.recording import ToolCall


class EventTree:
    """Finds the call that code is part of by the SDK's spans, which reach the hooks, the tools and what these run.

    The SDK runs hooks apart from the tools, so a context variable of ours would not reach from one to the other.
    """

    def __init__(self) -> None:
        self._event_of_span: dict[Span[Any], str] = {}
        self._resumed: list[ToolCall] = []
        # By what encloses the agents, and the SDK's count of their tokens: each Runner.run() has its own. It is kept
        # here, or another could get its id.
        self._handoffs: dict[tuple[str | None, int], tuple[str, Usage]] = {}

    def here(self) -> str | None:
        """Return the event of the innermost call that the caller is part of, None outside of calls."""
        span = get_current_span()
        while span is not None:
            if event_id := self._event_of_span.get(span) or self._event_of_resumed(span):
                return event_id
            span = _outer(span)
        return None

    def parent_of(self, context: RunContextWrapper[Any], enclosing: str | None) -> str | None:
        """Return the parent of what an agent does: its last handoff, else what encloses the agent."""
        handoff = self._handoffs.get((enclosing, id(context.usage)))
        return enclosing if handoff is None else handoff[0]

    def note_call(self, event_id: str) -> None:
        """Note the event that began the call whose span this is. Some kinds of tools have none without tracing."""
        span = get_current_span()
        if event_id and span is not None and isinstance(span.span_data, FunctionSpanData):
            self._event_of_span[span] = event_id

    def note_resumed(self, call: ToolCall) -> None:
        """Note a call that goes on after an interruption. The SDK opens a new span around it, and calls no hook."""
        self._resumed.append(call)

    def note_handoff(self, context: RunContextWrapper[Any], enclosing: str | None, written: list[str]) -> None:
        """Note the event of a handoff: what its agent does from now on happens inside it."""
        if written:
            self._handoffs[enclosing, id(context.usage)] = (written[-1], context.usage)

    def _event_of_resumed(self, span: Span[Any]) -> str | None:
        """Return the event of the resumed call that a span is of. Of two calls of one tool, none is known."""
        data = span.span_data
        if not self._resumed or not isinstance(data, FunctionSpanData):
            return None
        calls = [call for call in self._resumed if call.tool == data.name and not call.is_settled]
        return calls[0].event_id if len(calls) == 1 else None


def _outer(span: Span[Any]) -> Span[Any] | None:
    """Return the span that was the current one where this began. Without tracing, spans do not name their parents."""
    token: Token[Span[Any] | None] | None = getattr(span, "_prev_span_token", None)
    return None if token is None or token.old_value is Token.MISSING else token.old_value
