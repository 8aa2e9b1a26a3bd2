"""What a run, a streamed run and a resumed run have in common: they begin, their result is kept, and they end."""

from __future__ import annotations

import time
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from agentstate.approvals import REQUESTED
from agentstate.integrations.agents.outcome import Outcome
from agentstate.recording import IllegalStatusChange, RunFinished, RunNotFound
from agentstate.recording.blocks import end
from agentstate.recording.clean_up import logged
from agentstate.recording.current import as_current
from agentstate.threads import in_database_thread

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from agents import RunConfig, RunResult, RunResultStreaming

    from agentstate.integrations.agents.hooks import RunEventHooks
    from agentstate.recording import Recorder, ToolCall

# What a RunConfig has where the caller gives no name.
_NO_NAME = "Agent workflow"


@asynccontextmanager
async def recorded_run(recorder: Recorder, begin: Callable[[], None], hooks: RunEventHooks) -> AsyncIterator[None]:
    """Begin the run, and end it with the block's outcome, unless the block has interrupted it.

    A run that another process has ended stays as that process left it.

    Raises:
        RunNotFound: the run was deleted meanwhile.
    """
    try:
        await in_database_thread(begin)
        with as_current(recorder):
            async with hooks:
                yield
    except BaseException as error:
        with logged(recorder.run_id):
            await in_database_thread(_end, recorder, hooks, error)
        raise
    await in_database_thread(_end, recorder, hooks)


def _end(recorder: Recorder, hooks: RunEventHooks, error: BaseException | None = None) -> None:
    if isinstance(hooks.ended_elsewhere, RunNotFound):
        raise hooks.ended_elsewhere
    if hooks.ended_elsewhere is not None:
        recorder.run.refresh_from_db(fields=["status"])
    try:
        end(recorder, error)
    except IllegalStatusChange:  # another process ended it after its last event
        if error is not None:
            raise


def configured(hooks: RunEventHooks, run_config: RunConfig) -> RunConfig:
    """Return the caller's configuration with the hooks' error reports, and our run's names for the SDK's traces."""
    run = hooks.recorder.run
    return hooks.configured(
        replace(
            run_config,
            workflow_name=run.workflow_id if run_config.workflow_name == _NO_NAME else run_config.workflow_name,
            group_id=run_config.group_id or run.project_id,
            trace_metadata={**(run_config.trace_metadata or {}), "run_id": run.pk},
        )
    )


async def keep_result(hooks: RunEventHooks, result: RunResult | RunResultStreaming, session_id: str | None) -> None:
    """Keep the output of a result, or let the run wait for the approvals that the result asks for."""
    hooks.usage.watch(result.context_wrapper.usage)
    await hooks.record_usage()
    if result.interruptions:
        try:
            await in_database_thread(_interrupt, hooks, result, session_id)
        except (RunFinished, RunNotFound) as error:
            hooks.ended_elsewhere = error
    else:
        with hooks.forgiving("its output"):
            await hooks.write(hooks.recorder.set_output, result.final_output)


def outcome_of(hooks: RunEventHooks, result: RunResult | RunResultStreaming | None) -> Outcome:
    """Return what the run came to, once it has ended."""
    run = hooks.recorder.run
    return Outcome(
        run_id=run.pk,
        status=str(run.status),
        output=None if result is None else result.final_output,
        approvals=approvals_of(result) if run.status == run.Status.PENDING else [],
        result=result,
        lost_events=hooks.lost_events,
    )


def approvals_of(result: RunResult | RunResultStreaming | None) -> list[dict[str, Any]]:
    """Return the calls that a result asks approval for."""
    return [
        {"call_id": item.call_id, "tool": item.name, "agent": item.agent.name, "arguments": item.arguments}
        for item in (result.interruptions if result is not None else [])
    ]


def _interrupt(hooks: RunEventHooks, result: RunResult | RunResultStreaming, session_id: str | None) -> None:
    approvals = approvals_of(result)
    waiting = {
        # Text: as an object, what PostgreSQL refuses in it would be marked, and the SDK could not read it.
        # A context that is no dict is the caller's to make again: the SDK fails on a Pydantic model that is no JSON.
        "run_state": result.to_state().to_string(context_serializer=lambda context: {}),
        "session_id": session_id,
        "approvals": approvals,
        "open_calls": [_open_call(call) for call in hooks.open_calls()],
        "used_tokens": dict(hooks.usage.before),
    }
    hooks.recorder.interrupt(waiting, [(REQUESTED, approval) for approval in approvals])


def _open_call(call: ToolCall) -> dict[str, Any]:
    began = time.time() - (time.perf_counter() - call.started) if call.started is not None else None
    return {
        "call_id": call.call_id,
        "tool": call.tool,
        "more": call.more,
        "began": began,
        "event_id": call.event_id,
        "parent_id": call.parent_id,
    }
