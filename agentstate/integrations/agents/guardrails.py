"""A guardrail that stopped a run, as the payload of an event."""

from __future__ import annotations

from typing import Any

from agents.exceptions import (
    InputGuardrailTripwireTriggered,
    OutputGuardrailTripwireTriggered,
    ToolInputGuardrailTripwireTriggered,
    ToolOutputGuardrailTripwireTriggered,
)


def tripped_guardrail(error: Exception) -> dict[str, Any] | None:
    """Return which guardrail raised the error, and the information that it gave; None for other errors."""
    if isinstance(error, InputGuardrailTripwireTriggered):
        return _tripped("input", error.guardrail_result.guardrail, error.guardrail_result.output)
    if isinstance(error, OutputGuardrailTripwireTriggered):
        return _tripped("output", error.guardrail_result.guardrail, error.guardrail_result.output)
    if isinstance(error, ToolInputGuardrailTripwireTriggered):
        return _tripped("tool_input", error.guardrail, error.output)
    if isinstance(error, ToolOutputGuardrailTripwireTriggered):
        return _tripped("tool_output", error.guardrail, error.output)
    return None


def _tripped(kind: str, guardrail: Any, output: Any) -> dict[str, Any]:
    return {"guardrail": guardrail.get_name(), "kind": kind, "info": output.output_info}
