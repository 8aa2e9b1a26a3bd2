"""Record runs in asynchronous code: each method runs its counterpart with sync_to_async(thread_sensitive=True)."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from asgiref.sync import sync_to_async

from agentstate.models.fields import new_id
from agentstate.recording.recorder import Recorder, ToolCall, _logged, new_recorder, paused_recorder

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable

    from agentstate.models import AgentWorkflowRun
    from agentstate.state import Saved

P = ParamSpec("P")
T = TypeVar("T")


async def _in_thread(act: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call a function in the thread that owns Django's connections, and wait for its end even if canceled.

    A running write cannot be taken back. The cancellation waits for it, so the run ends after its last write.
    """
    task = asyncio.ensure_future(sync_to_async(act, thread_sensitive=True)(*args, **kwargs))
    cancellation: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            cancellation = error
    if cancellation:
        if not task.cancelled():
            task.exception()  # marks it as retrieved, or asyncio logs it
        raise cancellation
    return task.result()


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
        return await _in_thread(self._recorder.event, type, payload)

    async def events(self, items: Iterable[tuple[str, object]]) -> list[str]:
        """Write events in one transaction, and return their ids."""
        return await _in_thread(self._recorder.events, items)

    async def heartbeat(self) -> None:
        """Show during a long step that the run is alive."""
        await _in_thread(self._recorder.heartbeat)

    async def save(self, **documents: Any) -> Saved:
        """Save documents of the project's state as part of this run."""
        return await _in_thread(self._recorder.save, **documents)

    async def set_output(self, output: object) -> None:
        """Set the run's output now."""
        await _in_thread(self._recorder.set_output, output)

    async def interrupt(self) -> None:
        """Pause the run, for example until somebody approves it; :func:`aresume` resumes it."""
        await _in_thread(self.run.interrupt)

    @asynccontextmanager
    async def tool(self, name: str, arguments: object = None) -> AsyncIterator[ToolCall]:
        """Write ``tool.invocation`` before the block and ``tool.result`` after it."""
        call = ToolCall(new_id(), name)
        try:
            await _in_thread(self._recorder._invoke, call, arguments)
            yield call
        except BaseException as error:
            with _logged(self.run_id):
                await _in_thread(self._recorder._finish, call, error)
            raise
        await _in_thread(self._recorder._finish, call)


@asynccontextmanager
async def _ending(recorder: Recorder) -> AsyncIterator[None]:
    try:
        yield
    except BaseException as error:
        with _logged(recorder.run_id):
            await _in_thread(recorder._end, error)
        raise
    await _in_thread(recorder._end)


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
        await _in_thread(recorder._begin)
        yield AsyncRecorder(recorder)


@asynccontextmanager
async def aresume(run_id: str) -> AsyncIterator[AsyncRecorder]:
    """Resume a paused run, in asynchronous code; see :func:`agentstate.recording.resume`."""
    recorder = await _in_thread(paused_recorder, run_id)
    async with _ending(recorder):
        await _in_thread(recorder._resume)
        yield AsyncRecorder(recorder)
