"""Agents that follow a script, and what is recorded of them."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Any

from agents import Agent, ModelResponse, Usage
from agents.testing import ScriptedModel, assistant_message, function_call

from agentstate import sessions
from agentstate.models import AgentWorkflowRun, AgentWorkflowRunEvent
from tests.factories import ProjectFactory
from tests.recording.recorded import events_of

if TYPE_CHECKING:
    from agentstate.models import AgentSession

_numbers = count(1)


def call(tool: str, call_id: str, arguments: Any = None, **named: Any) -> Any:
    """Return a call of a tool, as a model answers with."""
    return function_call(
        tool, named if arguments is None else arguments, call_id=call_id, item_id=f"fc_{next(_numbers)}"
    )


def says(text: str) -> Any:
    """Return a message of the model."""
    return assistant_message(text, item_id=f"msg_{next(_numbers)}")


def answers(*outputs: Any) -> Any:
    """Return a response of the model that has used 100 tokens of input and 10 of output."""
    usage = Usage(requests=1, input_tokens=100, output_tokens=10, total_tokens=110)
    return ModelResponse(output=list(outputs), usage=usage, response_id=f"resp_{next(_numbers)}")


def agent_of(*steps: Any, tools: Any = (), name: str = "Clerk", **more: Any) -> Agent[Any]:
    """Return an agent whose model answers by these steps: outputs, or an error."""
    script = [step if isinstance(step, Exception | ModelResponse) else answers(*step) for step in steps]
    return Agent(name=name, model=ScriptedModel(script), tools=list(tools), **more)


def a_session() -> AgentSession:
    return sessions.open_for(ProjectFactory().id, memory_id=f"memory-{next(_numbers)}")


def run_of(run_id: str) -> AgentWorkflowRun:
    return AgentWorkflowRun.objects.get(pk=run_id)


def newest_run() -> AgentWorkflowRun:
    return AgentWorkflowRun.objects.latest("started_at")


def types_of(run_id: str) -> list[str]:
    return [type_ for type_, _ in events_of(run_id)]


def payloads(run_id: str, *types: str) -> list[dict[str, Any]]:
    return [payload for type_, payload in events_of(run_id) if type_ in types]


def calls_of(run_id: str) -> dict[str, tuple[str, str]]:
    """Return the status and the error of each call that was settled; each must have its invocation before it."""
    open_, settled = set(), {}
    for type_, payload in events_of(run_id):
        if type_ == "tool.invocation":
            open_.add(payload["call_id"])
        elif type_ == "tool.result":
            open_.remove(payload["call_id"])
            settled[payload["call_id"]] = (payload["status"], payload["error"] or "")
    assert not open_, "invocations without a result"
    return settled


def tree_of(run_id: str) -> list[str]:
    """Return the events of a run with what each happened inside, but for the counts of tokens."""
    names, lines = {}, []
    for event in AgentWorkflowRunEvent.objects.filter(run=run_id).exclude(type="model.usage").order_by("created_at"):
        payload = event.payload
        label = payload.get("call_id") or payload.get("from") or payload.get("agent") or ""
        names[event.pk] = f"{event.type} {label}".strip()
        lines.append(names[event.pk] + (f" in {names[event.parent_id]}" if event.parent_id else ""))
    return lines
