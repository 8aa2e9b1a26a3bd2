"""A site with a chat, whose agent does what a test scripts."""

from __future__ import annotations

import asyncio
import queue
from typing import TYPE_CHECKING, Any

from agents import Agent, RunContextWrapper, function_tool
from agents.testing import ScriptedModel
from chatkit.agents import AgentContext, ClientToolCall
from chatkit.types import SyncCustomActionResponse
from django.urls import include, path
from django.views.decorators.csrf import csrf_exempt

from agentstate.integrations.chatkit import (
    ChatContext,
    DjangoAttachments,
    RecordedServer,
    attachment_view,
    chatkit_view,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from chatkit.actions import Action
    from chatkit.types import ThreadMetadata, ThreadStreamEvent, WidgetItem
    from django.http import HttpRequest

LARGEST = 1_000  # bytes of an attachment
CONTEXT = RunContextWrapper[AgentContext[ChatContext]]


class Scene:
    """What the next answers do, and who waits in them."""

    def __init__(self) -> None:
        self.models: list[ScriptedModel] = []
        self.arrivals: queue.SimpleQueue[asyncio.AbstractEventLoop] = queue.SimpleQueue()
        self.gate = asyncio.Event()

    def answer(self, *steps: Any) -> ScriptedModel:
        """Script the next answer."""
        model = ScriptedModel(steps)
        self.models.append(model)
        return model

    def arrived(self) -> asyncio.AbstractEventLoop:
        """Wait until an answer waits in its tool."""
        return self.arrivals.get(timeout=60)

    def open(self, loop: asyncio.AbstractEventLoop) -> None:
        """Let the answers go on."""
        loop.call_soon_threadsafe(self.gate.set)

    async def wait(self) -> None:
        self.arrivals.put(asyncio.get_running_loop())
        await self.gate.wait()


scene = Scene()


@function_tool
async def look() -> str:
    """Wait until the test opens the gate."""
    await scene.wait()
    return "seen"


@function_tool(needs_approval=True)
def send_mail() -> str:
    return "sent"


@function_tool
def pick_color(context: CONTEXT) -> str:
    context.context.client_tool_call = ClientToolCall(name="pick_color", arguments={"of": "sky"})
    return "asked"


class Server(RecordedServer):
    async def agent(self, thread: ThreadMetadata, context: ChatContext) -> Agent[Any]:
        tools = [look, send_mail, pick_color]
        behavior = {"stop_at_tool_names": ["pick_color"]}
        return Agent(name="helper", model=scene.models.pop(0), tools=tools, tool_use_behavior=behavior)

    async def action(
        self, thread: ThreadMetadata, action: Action[str, Any], sender: WidgetItem | None, context: ChatContext
    ) -> AsyncIterator[ThreadStreamEvent]:
        async for event in self.respond(thread, None, context):
            yield event

    async def sync_action(
        self, thread: ThreadMetadata, action: Action[str, Any], sender: WidgetItem | None, context: ChatContext
    ) -> SyncCustomActionResponse:
        return SyncCustomActionResponse(updated_item=sender)


def context_of(request: HttpRequest) -> ChatContext | None:
    user = request.headers.get("X-User")
    return ChatContext(request.headers["X-Project"], user, request) if user else None


server = Server(attachment_store=DjangoAttachments(largest=LARGEST))
urlpatterns = [
    path("chat/", csrf_exempt(chatkit_view("tests.integrations.chatkit.site.server", context_of))),
    path("guarded/", chatkit_view("tests.integrations.chatkit.site.server", context_of)),
    path("files/<attachment_id>/", csrf_exempt(attachment_view(context_of, LARGEST)), name="chatkit-attachment"),
    path("", include("project.urls")),
]
