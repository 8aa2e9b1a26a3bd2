"""The same for asynchronous code: each call is one of the recorder's, made in Django's thread for such code."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from asgiref.sync import sync_to_async

from agentstate.models.fields import new_id
from agentstate.recording.recorder import Recorder, ToolCall, _logged, new_recorder, waiting_recorder

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable

    from agentstate.models import AgentWorkflowRun
    from agentstate.state import Saved

P = ParamSpec("P")
T = TypeVar("T")


async def _in_thread(act: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Act on the database in the thread that Django's connections belong to, to the end even if canceled meanwhile.

    A write that is under way cannot be taken back, so that the cancellation waits for it. So the run's end comes after
    all that was written before it.
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
            task.exception()  # so that nobody misses it
        raise cancellation
    return task.result()


class AsyncRecorder:
    """A :class:`Recorder` whose calls are awaited. What each does, and what it raises, stands there.

    Attributes:
        run: the run. Its own verbs are for synchronous code; :meth:`interrupt` is here.
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
        """Write events in one statement, and return their ids."""
        return await _in_thread(self._recorder.events, items)

    async def heartbeat(self) -> None:
        """Give a sign of life."""
        await _in_thread(self._recorder.heartbeat)

    async def save(self, **documents: Any) -> Saved:
        """Save documents of the project's state as part of this run."""
        return await _in_thread(self._recorder.save, **documents)

    async def set_output(self, output: object) -> None:
        """Set the run's output at once."""
        await _in_thread(self._recorder.set_output, output)

    async def interrupt(self) -> None:
        """Let the run wait, for a person's approval say; :func:`aresume` goes on with it."""
        await _in_thread(self.run.interrupt)

    @asynccontextmanager
    async def tool(self, name: str, arguments: object = None) -> AsyncIterator[ToolCall]:
        """Leave ``tool.invocation`` before the block and ``tool.result`` after it."""
        call = ToolCall(new_id(), name)
        try:
            await _in_thread(self._recorder._invoke, call, arguments)
            yield call
        except BaseException as error:
            with _logged(self.run_id):
                await _in_thread(self._recorder._settle, call, error)
            raise
        await _in_thread(self._recorder._settle, call)


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

    A task that is canceled leaves a run that is ``canceled``: the cancellation goes on once that is written.
    """
    recorder = new_recorder(workflow_id, project_id, input)
    async with _ending(recorder):
        await _in_thread(recorder._begin)
        yield AsyncRecorder(recorder)


@asynccontextmanager
async def aresume(run_id: str) -> AsyncIterator[AsyncRecorder]:
    """Go on recording a run that waits, in asynchronous code; see :func:`agentstate.recording.resume`."""
    recorder = await _in_thread(waiting_recorder, run_id)
    async with _ending(recorder):
        await _in_thread(recorder._resume)
        yield AsyncRecorder(recorder)
