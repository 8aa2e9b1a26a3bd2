"""The chat's server and its agent."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

from agents import Agent, RunContextWrapper, function_tool
from agents.testing import ModelStep, ScriptedModel, assistant_message, function_call
from chatkit.agents import AgentContext

from agentstate import state
from agentstate.integrations.chatkit import ChatContext, DjangoAttachments, RecordedServer
from agentstate.threads import in_database_thread

if TYPE_CHECKING:
    from agents.testing import ModelCall
    from chatkit.types import ThreadMetadata


class Assistant(RecordedServer):
    def agent(self, thread: ThreadMetadata, context: ChatContext) -> Agent[Any]:
        return Agent(
            name="proposal-assistant",
            instructions="Answer questions about a proposal. Look up its state first.",
            model=os.environ.get("CHAT_MODEL") or without_network(),
            tools=[coverage],
        )


@function_tool
async def coverage(context: RunContextWrapper[AgentContext[ChatContext]]) -> str:
    """Return how far the proposal covers what is asked for."""
    project_id = context.context.request_context.project_id
    loaded = await in_database_thread(state.load, project_id)
    return f"The coverage is {json.dumps(loaded.coverage, default=str)}."


def without_network() -> ScriptedModel:
    """Return a model for one answer: it calls the tool, and repeats what that returns."""
    return ScriptedModel([[function_call("coverage", {}, call_id="call_coverage")], ModelStep.respond(_repeat)])


def _repeat(call: ModelCall) -> list[Any]:
    return [assistant_message(call.input[-1]["output"])]


server = Assistant(attachment_store=DjangoAttachments())
