"""Stream an agent's run as a recorded run."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Literal

from agents import Runner

from agentstate.integrations.agents.frame import configured, keep_result, outcome_of, recorded_run
from agentstate.integrations.agents.hooks import RunEventHooks
from agentstate.integrations.agents.occupying import session_id_of
from agentstate.integrations.agents.providers import with_provider
from agentstate.integrations.agents.running import Input, beginning, recorder_and_input

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from agents import Agent, RunConfig, RunHooks, RunResultStreaming, StreamEvent
    from agents.memory import Session

    from agentstate.integrations.agents.outcome import Outcome


class StreamLeft(BaseException):
    """A stream was left before its end, which cancels its run."""


class WorkflowStream:
    """A running workflow to read events from.

    Attributes:
        run_id: the run's id.
        result: the SDK's own streaming result, for what takes one.
        outcome: what the workflow came to; None until the block of :func:`stream_workflow` has ended.
    """

    def __init__(self, run_id: str, result: RunResultStreaming) -> None:
        self.run_id, self.result = run_id, result
        self.outcome: Outcome | None = None

    def stream_events(self) -> AsyncIterator[StreamEvent]:
        """Return the SDK's events. They end when the agent has; an error of its run is raised."""
        return self.result.stream_events()

    def cancel(self, mode: Literal["immediate", "after_turn"] = "immediate") -> None:
        """Stop the agent, at once or after the turn. Read the events to their end after it; the run is canceled."""
        self.result.cancel(mode)


@asynccontextmanager
async def stream_workflow(
    agent: Agent[Any],
    input: Input | None = None,  # noqa: A002
    *,
    project_id: str | None = None,
    workflow_id: str | None = None,
    session: Session | None = None,
    run_id: str | None = None,
    run_config: RunConfig | dict[str, Any] | None = None,
    hooks: RunHooks[Any] | None = None,
    **runner_options: Any,
) -> AsyncIterator[WorkflowStream]:
    """Run an agent as a recorded run, and read its events as they come::

        async with stream_workflow(agent, "What is due?", session=session) as stream:
            async for event in stream.stream_events():
                ...
        stream.outcome.status

    Read to its end, the run is ``succeeded``, or ``pending`` if it waits for approvals. Left early, it is
    ``canceled``: by ``break``, by ``cancel()``, or because the client went away. It is ``failed`` if the block raises
    an ``Exception``, as ``stream_events()`` does when the agent fails. See :func:`run_workflow` for the arguments and
    for what else is raised.
    """
    async with with_provider(run_config) as config:
        recorder, first = await recorder_and_input(agent, input, project_id, workflow_id, run_id)
        record = RunEventHooks(recorder, hooks)
        session_id = session_id_of(session)
        stream = None
        try:
            async with recorded_run(recorder, beginning(recorder, session_id), record):
                options = {"session": session, "run_config": configured(record, config), **runner_options}
                result = Runner.run_streamed(agent, first, hooks=record, **options)
                record.stop = result.cancel
                stream = WorkflowStream(recorder.run_id, result)
                try:
                    yield stream
                finally:
                    is_whole = result.is_complete
                    await _stop(result)
                if record.ended_elsewhere is None:
                    _raise_unless_ended_well(result, is_whole=is_whole)
                    await keep_result(record, result, session_id)
        except StreamLeft:
            pass
        finally:
            if stream is not None:
                stream.outcome = outcome_of(record, stream.result)


async def _stop(result: RunResultStreaming) -> None:
    """Stop the SDK if it still runs, and wait until it has stopped."""
    if not result.is_complete:
        result.cancel()
    if result.run_loop_task is not None:
        await asyncio.wait([result.run_loop_task])


def _raise_unless_ended_well(result: RunResultStreaming, *, is_whole: bool) -> None:
    """Raise what the reader of the stream did not get to see.

    Raises:
        StreamLeft: the stream was left before its end.
        Exception: the agent failed.
    """
    if is_whole and result.run_loop_exception is not None:
        raise result.run_loop_exception
    was_stopped = result._cancel_mode != "none" and result.final_output is None and not result.interruptions
    if was_stopped or not is_whole:
        raise StreamLeft("The stream was left before its end.")
