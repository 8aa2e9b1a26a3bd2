"""Record runs in asynchronous code: each method runs its counterpart with sync_to_async(thread_sensitive=True)."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from agentstate.recording.blocks import begin, claim_paused, claim_queued, end, enqueue, new_recorder, pending_recorder
from agentstate.recording.clean_up import logged
from agentstate.recording.current import as_current, current
from agentstate.recording.recorder import UNCHANGED
from agentstate.threads import in_database_thread

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable
    from contextlib import AbstractContextManager
    from decimal import Decimal

    from agentstate.models import AgentWorkflowRun
    from agentstate.recording.calls import ToolCall
    from agentstate.recording.recorder import Recorder
    from agentstate.state import Saved


class AsyncRecorder:
    """A :class:`Recorder` whose methods are awaited; see there for what each does and raises.

    Attributes:
        run: the run. Its own verbs are for synchronous code; use :meth:`interrupt` here.
    """

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder

    @property
    def run(self) -> AgentWorkflowRun:
        return self._recorder.run

    @property
    def run_id(self) -> str:
        """The run's id."""
        return self._recorder.run_id

    @property
    def project_id(self) -> str | None:
        """The id of the run's project, if it has one."""
        return self._recorder.project_id

    async def event(self, type: str, payload: object = None) -> str:  # noqa: A002
        """Write one event, and return its id."""
        return await in_database_thread(self._recorder.event, type, payload)

    async def events(self, items: Iterable[tuple[str, object]]) -> list[str]:
        """Write events in one transaction, and return their ids."""
        return await in_database_thread(self._recorder.events, items)

    async def heartbeat(self) -> None:
        """Show during a long step that the run is alive."""
        await in_database_thread(self._recorder.heartbeat)

    async def save(self, **documents: Any) -> Saved:
        """Save documents of the project's state as part of this run."""
        return await in_database_thread(self._recorder.save, **documents)

    async def usage(
        self,
        *,
        model: str,
        input_tokens: int = 0,
        output_tokens: int = 0,
        cached_tokens: int = 0,
        reasoning_tokens: int = 0,
        cost_usd: Decimal | float | None = None,
        requests: int = 1,
        **more: object,
    ) -> str:
        """Write the event ``model.usage``, and add to the run's ``usage``."""
        return await in_database_thread(
            self._recorder.usage,
            model=model,
            input_tokens=input_tokens,
            output_tokens=output_tokens,
            cached_tokens=cached_tokens,
            reasoning_tokens=reasoning_tokens,
            cost_usd=cost_usd,
            requests=requests,
            **more,
        )

    async def set_output(self, output: object) -> None:
        """Set the run's output now."""
        await in_database_thread(self._recorder.set_output, output)

    async def set_result(self, **members: object) -> None:
        """Set further members of the run's ``result``."""
        await in_database_thread(self._recorder.set_result, **members)

    async def interrupt(self, waiting: object = None, events: Iterable[tuple[str, object]] = ()) -> None:
        """Pause the run, for example until an operator approves its calls; :func:`aresume` resumes it."""
        await in_database_thread(self._recorder.interrupt, waiting, events)

    async def invoke(
        self, name: str, arguments: object = None, *, call_id: str | None = None, **more: object
    ) -> ToolCall:
        """Write ``tool.invocation``, and return the call to :meth:`settle`.

        A cancellation meanwhile settles the call, which the caller does not get.
        """
        call = self._recorder.new_call(name, call_id, more)
        try:
            await in_database_thread(self._recorder.write_invocation, call, arguments)
        except asyncio.CancelledError as cancellation:
            if call.started is not None:
                await self._settle_after(call, cancellation)
            raise
        return call

    async def settle(
        self,
        call: ToolCall | str,
        *,
        output: object = UNCHANGED,
        error: BaseException | str | None = None,
        status: str | None = None,
    ) -> None:
        """Write the ``tool.result`` of a call that :meth:`invoke` began."""
        await in_database_thread(self._recorder.settle, call, output=output, error=error, status=status)

    @asynccontextmanager
    async def tool(
        self, name: str, arguments: object = None, *, call_id: str | None = None, **more: object
    ) -> AsyncIterator[ToolCall]:
        """Write ``tool.invocation`` before the block and ``tool.result`` after it."""
        call = await self.invoke(name, arguments, call_id=call_id, **more)
        try:
            with self.inside(call.event_id):
                yield call
        except BaseException as error:
            await self._settle_after(call, error)
            raise
        await in_database_thread(self._recorder.settle_once, call)

    def inside(self, event_id: str | None) -> AbstractContextManager[None]:
        """Make an event of this run the parent of the events that the block writes: a ``with`` block, not awaited."""
        return self._recorder.inside(event_id)

    async def _settle_after(self, call: ToolCall, error: BaseException) -> None:
        with logged(self.run_id):
            await in_database_thread(self._recorder.settle_once, call, error)


def acurrent() -> AsyncRecorder:
    """Return the current run's recorder for asynchronous code; see :func:`agentstate.recording.current`.

    Raises:
        OutsideRun: no run is being recorded here.
    """
    return AsyncRecorder(current())


@asynccontextmanager
async def _ending(recorder: Recorder) -> AsyncIterator[None]:
    try:
        yield
    except BaseException as error:
        with logged(recorder.run_id):
            await in_database_thread(end, recorder, error)
        raise
    await in_database_thread(end, recorder)


@asynccontextmanager
async def arecord(
    workflow_id: str,
    project_id: str | None = None,
    input: object = None,  # noqa: A002
) -> AsyncIterator[AsyncRecorder]:
    """Record the block as a run, in asynchronous code; see :func:`agentstate.recording.record`.

    The run of a canceled task is ``canceled``. The cancellation is raised again once that is written.
    """
    recorder = new_recorder(workflow_id, project_id, input)
    async with _ending(recorder):
        await in_database_thread(begin, recorder)
        with as_current(recorder):
            yield AsyncRecorder(recorder)


async def aenqueue(workflow_id: str, project_id: str | None = None, input: object = None) -> str:  # noqa: A002
    """Write a pending run, and return its id; see :func:`agentstate.recording.enqueue`."""
    return await in_database_thread(enqueue, workflow_id, project_id, input)


@asynccontextmanager
async def astart(run_id: str) -> AsyncIterator[AsyncRecorder]:
    """Claim a run that was enqueued, in asynchronous code; see :func:`agentstate.recording.start`."""
    recorder = await in_database_thread(pending_recorder, run_id)
    async with _ending(recorder):
        await in_database_thread(claim_queued, recorder)
        with as_current(recorder):
            yield AsyncRecorder(recorder)


@asynccontextmanager
async def aresume(run_id: str) -> AsyncIterator[AsyncRecorder]:
    """Resume a paused run, in asynchronous code; see :func:`agentstate.recording.resume`."""
    recorder = await in_database_thread(pending_recorder, run_id)
    async with _ending(recorder):
        await in_database_thread(claim_paused, recorder)
        with as_current(recorder):
            yield AsyncRecorder(recorder)
