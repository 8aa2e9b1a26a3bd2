"""Read an agent's stream as ChatKit's events, and leave no task behind."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from chatkit.agents import AgentContext, stream_agent_response

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from agents import RunResultStreaming, StreamEvent
    from chatkit.types import ThreadStreamEvent


class Reading:
    """Reads a stream once.

    ChatKit reads the agent's events, and those that tools send beside, in tasks of their own. When the answer fails or
    is canceled it forgets both, and asyncio reports an error for each.
    """

    def __init__(self) -> None:
        self._own = asyncio.current_task()  # which reads what is left at the end
        self._tasks: set[asyncio.Task[Any]] = set()

    async def events(self, context: AgentContext[Any], result: RunResultStreaming) -> AsyncIterator[ThreadStreamEvent]:
        """Yield ChatKit's events of an agent's stream."""
        context._events = _Queue(self)
        async for event in stream_agent_response(context, _Result(self, result)):  # type: ignore[arg-type]
            yield event

    def end(self) -> None:
        """Cancel the tasks that ChatKit left."""
        for task in list(self._tasks):
            task.cancel()

    def begin_task(self) -> None:
        task = asyncio.current_task()
        if task is not None and task is not self._own:
            self._tasks.add(task)
            task.add_done_callback(self._end_task)

    def _end_task(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # marks it as retrieved


class _Queue(asyncio.Queue[Any]):
    def __init__(self, reading: Reading) -> None:
        super().__init__()
        self._reading = reading

    async def get(self) -> Any:
        self._reading.begin_task()
        return await super().get()


class _Result:
    def __init__(self, reading: Reading, result: RunResultStreaming) -> None:
        self._reading, self._events = reading, result.stream_events()

    def stream_events(self) -> _Result:
        return self

    async def __anext__(self) -> StreamEvent:
        self._reading.begin_task()
        return await anext(self._events)
