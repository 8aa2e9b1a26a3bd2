"""A ChatKit server whose answers are recorded runs."""

from __future__ import annotations

import logging
from abc import abstractmethod
from functools import cache
from inspect import isawaitable
from itertools import takewhile
from typing import TYPE_CHECKING, Any

from chatkit.agents import AgentContext, ThreadItemConverter
from chatkit.errors import CustomStreamError, ErrorCode
from chatkit.server import ChatKitServer, StreamingResult
from chatkit.store import NotFoundError
from chatkit.types import (
    ChatKitReq,
    ClientToolCallItem,
    ErrorEvent,
    NoticeEvent,
    StructuredInputItem,
    ThreadsAddClientToolOutputReq,
    ThreadsAddStructuredInputReq,
    ThreadsAddUserMessageReq,
    ThreadsCreateReq,
    ThreadsRetryAfterItemReq,
    UserMessageItem,
)
from pydantic import TypeAdapter

from agentstate.integrations.agents import DjangoSession, SessionBusy, stream_workflow
from agentstate.integrations.chatkit import threads
from agentstate.integrations.chatkit.context import ChatContext
from agentstate.integrations.chatkit.converter import RecordedConverter
from agentstate.integrations.chatkit.item_ids import unique_item_ids
from agentstate.integrations.chatkit.one_task import in_one_task
from agentstate.integrations.chatkit.reading import Reading
from agentstate.integrations.chatkit.store import DjangoStore
from agentstate.models import Project
from agentstate.models.fields import new_id
from agentstate.threads import in_database_thread, releasing_connections

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable

    from agents import Agent, TResponseInputItem
    from chatkit.server import NonStreamingResult
    from chatkit.store import AttachmentStore
    from chatkit.types import ThreadMetadata, ThreadStreamEvent

    from agentstate.integrations.agents import Outcome

logger = logging.getLogger(__name__)

# The requests that let the agent answer in a thread that exists.
ANSWERED = (
    ThreadsAddUserMessageReq,
    ThreadsAddClientToolOutputReq,
    ThreadsAddStructuredInputReq,
    ThreadsRetryAfterItemReq,
)
_ITEMS_LOOKED_AT = 20


class RecordedServer(ChatKitServer[ChatContext]):
    """A ChatKit server: implement :meth:`agent`. Each answer is a run of that agent.

    The agent remembers a thread in a session of its own, with its tool calls; the thread has what people see. Its
    tools get ChatKit's ``AgentContext``, and can save state and events of the run. One answer a thread at a time.

    Attributes:
        converter: makes the model's input of ChatKit's items.
        busy: what a user reads whose message comes while the one before is answered.
        waiting: what a user reads whose answer waits for an approval.
        stopped: what a user reads whose answer's run was ended by another process.
    """

    store: DjangoStore
    converter: ThreadItemConverter = RecordedConverter()
    busy = "The answer to your last message is not complete yet. Wait for it, then send this again."
    waiting = "The answer waits for an approval."
    stopped = "The answer was stopped."

    def __init__(
        self, store: DjangoStore | None = None, attachment_store: AttachmentStore[ChatContext] | None = None
    ) -> None:
        super().__init__(store or DjangoStore(), attachment_store)

    @abstractmethod
    def agent(self, thread: ThreadMetadata, context: ChatContext) -> Agent[Any] | Awaitable[Agent[Any]]:
        """Return the agent that answers in this thread."""

    def parse(self, request: str | bytes | bytearray) -> ChatKitReq:
        """Parse a request.

        Raises:
            ValidationError: it is not one of ChatKit's.
        """
        return _requests().validate_json(request)

    async def check(self, request: ChatKitReq, context: ChatContext) -> None:
        """Check that what a request names is the user's, before anything of the answer is sent.

        Raises:
            NotFoundError: it is not, or there is no such thing.
        """
        thread_id: str | None = getattr(request.params, "thread_id", None)
        item_id: str | None = getattr(request.params, "item_id", None)
        message = getattr(request.params, "input", None)
        if isinstance(request, ThreadsCreateReq):
            await in_database_thread(_require_project, context.project_id)
        if thread_id is not None:
            await self.store.load_thread(thread_id, context)
        if thread_id is not None and item_id is not None:
            await self.store.load_item(thread_id, item_id, context)
        for attachment_id in getattr(message, "attachments", []):
            await self.store.load_attachment(attachment_id, context)

    async def process(
        self, request: str | bytes | bytearray, context: ChatContext
    ) -> StreamingResult | NonStreamingResult:
        """Answer a request as ChatKit does, and keep two messages on one thread apart."""
        result = await super().process(request, context)
        if not isinstance(result, StreamingResult):
            return result
        parsed = self.parse(request)
        thread_id = parsed.params.thread_id if isinstance(parsed, ANSWERED) else None
        return StreamingResult(in_one_task(self._in_turn(thread_id, result, context)))

    async def respond(
        self, thread: ThreadMetadata, input_user_message: UserMessageItem | None, context: ChatContext
    ) -> AsyncIterator[ThreadStreamEvent]:
        """Answer with the agent, as a run that begins with what the agent remembers of the thread."""
        async for event in unique_item_ids(self._answer(thread, input_user_message, context)):
            yield event

    async def agent_input(
        self, thread: ThreadMetadata, message: UserMessageItem | None, context: ChatContext
    ) -> list[TResponseInputItem]:
        """Return what the agent is asked: the message.

        Without one, what a client tool or a form has brought since the user's last message. Override it for actions of
        widgets, which bring nothing by themselves.
        """
        if message is not None:
            return await self.converter.to_agent_input(message)
        page = await self.store.load_thread_items(thread.id, None, _ITEMS_LOOKED_AT, "desc", context)
        since = takewhile(lambda item: not isinstance(item, UserMessageItem), page.data)
        brought = (item for item in since if isinstance(item, ClientToolCallItem | StructuredInputItem))
        newest = next((item for item in brought if item.status != "pending"), None)
        return [] if newest is None else await self.converter.to_agent_input(newest)

    async def _answer(
        self, thread: ThreadMetadata, message: UserMessageItem | None, context: ChatContext
    ) -> AsyncIterator[ThreadStreamEvent]:
        agent = self.agent(thread, context)
        if isawaitable(agent):
            agent = await agent
        asked = await self.agent_input(thread, message, context)
        agent_context = AgentContext(thread=thread, store=self.store, request_context=context)
        reading = Reading()
        try:
            memory = await self._memory(thread, message, context)
            async with stream_workflow(
                agent, asked, project_id=context.project_id, session=memory, context=agent_context
            ) as stream:
                async for event in reading.events(agent_context, stream.result):
                    yield event
        except threads.ThreadBusy as error:
            raise CustomStreamError(self._busy(error), allow_retry=True) from error
        except SessionBusy as error:
            raise CustomStreamError(self.busy, allow_retry=True) from error
        finally:
            reading.end()
        for event in self._after(stream.outcome):
            yield event

    async def _memory(
        self, thread: ThreadMetadata, message: UserMessageItem | None, context: ChatContext
    ) -> DjangoSession:
        """Return what the agent remembers of the thread, without anything that came after the message, for a retry."""
        length = None
        if message is not None:
            length = await self.store.memory_length_before(thread.id, message.id, context)
        return DjangoSession(await in_database_thread(threads.open_memory, thread.id, length))

    def _after(self, outcome: Outcome | None) -> list[ThreadStreamEvent]:
        texts = {"pending": self.waiting, "canceled": self.stopped, "failed": self.stopped}
        text = None if outcome is None else texts.get(outcome.status)
        return [] if text is None else [NoticeEvent(level="info", message=text)]

    async def _in_turn(
        self, thread_id: str | None, result: StreamingResult, context: ChatContext
    ) -> AsyncIterator[bytes]:
        """Yield the answer's bytes while its message has the thread to itself; an error is one of them."""
        turn = new_id()
        with releasing_connections():
            try:
                if thread_id is not None:
                    await in_database_thread(threads.take_turn, thread_id, turn)
                async for event in result:
                    yield event
            except threads.ThreadBusy as error:
                yield self._error(ErrorEvent(message=self._busy(error), allow_retry=True))
            except Exception:
                logger.exception("A ChatKit request failed.")
                yield self._error(ErrorEvent(code=ErrorCode.STREAM_ERROR, allow_retry=True))
            finally:
                if thread_id is not None:
                    await in_database_thread(threads.end_turn, thread_id, turn)

    def _busy(self, error: threads.ThreadBusy) -> str:
        return self.waiting if error.is_waiting else self.busy

    def _error(self, event: ErrorEvent) -> bytes:
        return b"data: " + self._serialize(event) + b"\n\n"


@cache
def _requests() -> TypeAdapter[ChatKitReq]:
    return TypeAdapter(ChatKitReq)


def _require_project(project_id: str) -> None:
    if not Project.objects.filter(pk=project_id).exists():
        raise NotFoundError(f"No project has the id {project_id!r}.")
