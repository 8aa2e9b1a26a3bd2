"""How a tool's call ended. The SDK hands most failures to the model as text, and shows them to no hook."""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING, Any, NamedTuple

from agents import FunctionSpanData, get_current_span
from agents.exceptions import ToolTimeoutError, UserError
from agents.tool import FunctionTool, default_tool_timeout_error_message

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agents import Tool

    from agentstate.recording import ToolCall

# What the SDK's default handler gives to the model, in all versions of the supported range.
_DEFAULT_TEXTS = (
    "An error occurred while running the tool. Please try again.",
    "An error occurred while parsing tool arguments. Please try again with valid JSON.",
)


class OpenCall(NamedTuple):
    """A call that has begun and not ended, and the context that the SDK passes to the hooks of both."""

    context: object
    tool: str
    call: ToolCall


def error_in(result: object, tool: Tool, noted: str | None) -> str | None:
    """Return the error of a call that ended with a result, None if it ended well.

    Args:
        noted: the error that the SDK reported by itself, as it does for tools with the default handler from 0.24 on.
    """
    if noted is not None:
        return noted
    if isinstance(result, str):
        if _is_timeout(result, tool):
            return result
        for text in _DEFAULT_TEXTS:
            if result.startswith(text):
                return result.removeprefix(text).removeprefix(" Error: ") or text
    return _error_of_span()


def failed_call(open_calls: Sequence[OpenCall], error: Exception) -> tuple[OpenCall, BaseException] | None:
    """Return the call whose failure ended the run, and that failure; None if another thing did.

    The SDK names only the tool. Of several open calls of one tool, the failure passed through the frames of one.
    """
    if isinstance(error, ToolTimeoutError):
        failure: BaseException = error
        named = [each for each in open_calls if each.tool == error.tool_name]
    elif isinstance(error, UserError):
        failure = error.__cause__ or error
        named = [each for each in open_calls if f"tool {each.tool}:" in str(error)]
    else:
        return None
    if len(named) > 1:
        frames = [frame for frame, _ in traceback.walk_tb(failure.__traceback__)]
        inside = [each for each in named if any(_holds(frame.f_locals, each.context) for frame in frames)]
        named = inside or named
    return (named[0], failure) if named else None


def _holds(variables: dict[str, Any], context: object) -> bool:
    return any(value is context for value in variables.values())


def _is_timeout(result: str, tool: Tool) -> bool:
    seconds = tool.timeout_seconds if isinstance(tool, FunctionTool) else None
    return seconds is not None and result == default_tool_timeout_error_message(
        tool_name=tool.name, timeout_seconds=seconds
    )


def _error_of_span() -> str | None:
    """Return the error of the tool's span: of a tool with a handler of its own, while tracing is on."""
    span = get_current_span()
    if span is None or not isinstance(span.span_data, FunctionSpanData) or not span.error:
        return None
    error = span.error
    details = (error.get("data") or {}).get("error")
    return str(details or error["message"])
