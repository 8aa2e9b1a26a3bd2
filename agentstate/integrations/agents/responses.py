"""A model's responses as payloads of events, and back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agents.models.default_models import get_default_model
from pydantic import BaseModel

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agents import Agent, ModelResponse, RunConfig, Usage

# Items of a response whose types end in "_call". The application executes these, and the SDK's hooks report them; the
# provider executes all others before it answers.
_LOCAL_CALLS = {
    "apply_patch_call",
    "computer_call",
    "custom_tool_call",
    "function_call",
    "local_shell_call",
    "shell_call",
}
_OUTPUTS = ("output", "outputs", "results", "result")
_NO_ARGUMENTS = {"type", "id", "status", "error", "name", *_OUTPUTS}


def response_payload(agent: Agent[Any], model: str, response: ModelResponse) -> dict[str, Any]:
    """Return the payload of ``model.response``. Its output is raw, so the response can be played again."""
    return {
        "agent": agent.name,
        "model": model,
        "response_id": response.response_id,
        "usage": tokens(response.usage),
        "output": [_plain(item) for item in response.output],
    }


def hosted_calls(agent: Agent[Any], response: ModelResponse) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the two events of each call that the provider executed, such as a web search."""
    for item in map(_plain, response.output):
        kind = str(item.get("type"))
        if not kind.endswith("_call") or kind in _LOCAL_CALLS:
            continue
        call = {
            "call_id": item.get("id"),
            "tool": item.get("name") or kind.removesuffix("_call"),
            "agent": agent.name,
            "hosted": True,
        }
        arguments = {name: value for name, value in item.items() if name not in _NO_ARGUMENTS and value is not None}
        error = item.get("error")
        yield "tool.invocation", {**call, "arguments": arguments.get("arguments", arguments)}
        yield (
            "tool.result",
            {
                **call,
                "status": "error" if error or item.get("status") in ("failed", "incomplete") else "ok",
                "output": next((item[name] for name in _OUTPUTS if item.get(name) is not None), None),
                "error": None if error is None else str(error),
                "duration_ms": None,
            },
        )


def model_name(agent: Agent[Any], run_config: RunConfig | None) -> str:
    """Return the name of the model that an agent uses in a run; a response does not name it."""
    model = (run_config and run_config.model) or agent.model or get_default_model()
    return model if isinstance(model, str) else str(getattr(model, "model", type(model).__name__))


def tokens(usage: Usage) -> dict[str, int]:
    """Return a usage as numbers by name."""
    return {
        "requests": usage.requests,
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "total_tokens": usage.total_tokens,
        "cached_tokens": getattr(usage.input_tokens_details, "cached_tokens", 0) or 0,
        "reasoning_tokens": getattr(usage.output_tokens_details, "reasoning_tokens", 0) or 0,
    }


def _plain(item: Any) -> dict[str, Any]:
    return item.model_dump(exclude_unset=True) if isinstance(item, BaseModel) else dict(item)
