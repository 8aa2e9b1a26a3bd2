"""Run an agent as a recorded run."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any

from agents import Runner
from asgiref.sync import async_to_sync

from agentstate.integrations.agents.frame import configured, keep_result, outcome_of, recorded_run
from agentstate.integrations.agents.hooks import RunEventHooks
from agentstate.integrations.agents.occupying import claim, session_id_of
from agentstate.integrations.agents.providers import with_provider
from agentstate.recording.blocks import begin, claim_queued, new_recorder, pending_recorder
from agentstate.threads import in_database_thread

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from agents import Agent, RunConfig, RunHooks, RunResult, TResponseInputItem
    from agents.memory import Session

    from agentstate.integrations.agents.outcome import Outcome
    from agentstate.recording import Recorder

Input = str | list["TResponseInputItem"]


async def run_workflow(
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
) -> Outcome:
    """Run an agent to its end as a recorded run::

        outcome = await run_workflow(agent, "What is due?", project_id=project_id, session=DjangoSession(session_id))

    The run is ``succeeded`` with the agent's output, ``failed`` if the agent's run raises, and ``canceled`` if the
    task is; what was raised is raised again. If a tool needs approval, the run waits as ``pending``, see
    :func:`resume_workflow`. If another process ends the run, the agent stops at its next event, and the outcome has
    the status that the run then has.

    There is no transaction around a run: each event is visible at once. Inside a transaction of the caller's, all of
    it commits or is rolled back with that.

    After a failure the session has the user's message already. To retry, run again with ``input=[]``, which adds
    nothing to the conversation.

    Args:
        input: the user's message, or items of the SDK. A queued run brings its own.
        project_id: the run's project; by default the session's.
        workflow_id: the workflow's name; the agent's by default.
        session: a session of the SDK. A :class:`DjangoSession` takes one unfinished run at a time.
        run_id: the id of a queued run to start, see :func:`agentstate.recording.enqueue`.
        run_config: the SDK's; its other settings stay.
        hooks: hooks of the caller's, called after ours.
        runner_options: other arguments of ``Runner.run()``, such as ``context`` and ``max_turns``.

    Raises:
        SessionBusy: the session has another unfinished run. No run was begun.
        ProjectNotFound, SessionNotFound, RunNotFound: there is no such row.
        IllegalStatusChange: the queued run was started or canceled already.
    """
    async with with_provider(run_config) as config:
        recorder, first = await recorder_and_input(agent, input, project_id, workflow_id, run_id)
        record = RunEventHooks(recorder, hooks)
        session_id = session_id_of(session)
        result = None
        async with recorded_run(recorder, beginning(recorder, session_id), record):
            options = {"session": session, "run_config": configured(record, config), **runner_options}
            result = await run_in_task(record, Runner.run(agent, first, hooks=record, **options))
            if result is not None:
                await keep_result(record, result, session_id)
        return outcome_of(record, result)


def run_workflow_sync(agent: Agent[Any], input: Input | None = None, **options: Any) -> Outcome:  # noqa: A002
    """Run an agent to its end in synchronous code; see :func:`run_workflow` for the arguments.

    The database is used in the caller's thread, on its connection and in its transaction. Each run has an HTTP client
    of its own, unless ``run_config`` names a provider or the application set the SDK's default client.
    """
    return in_own_loop(partial(run_workflow, agent, input), **options)


def in_own_loop(
    run: Callable[..., Coroutine[Any, Any, Outcome]],
    *,
    run_config: RunConfig | dict[str, Any] | None = None,
    **options: Any,
) -> Outcome:
    """Run a workflow in an event loop of its own, with an HTTP client of its own."""

    async def with_own_client() -> Outcome:
        async with with_provider(run_config, own_client=True) as config:
            return await run(run_config=config, **options)

    return async_to_sync(with_own_client)()


async def recorder_and_input(
    agent: Agent[Any], given: Input | None, project_id: str | None, workflow_id: str | None, run_id: str | None
) -> tuple[Recorder, Any]:
    """Return the recorder of a new run, or of a queued one, and the input that the agent gets.

    Raises:
        RunNotFound: no run has this id.
        ValueError: the arguments do not fit together.
    """
    if run_id is None:
        if given is None:
            raise ValueError("A new run needs an input.")
        return new_recorder(workflow_id or agent.name, project_id, given), given
    if project_id is not None or workflow_id is not None:
        raise ValueError(f"Run {run_id} is queued: its project and its workflow are fixed.")
    recorder = await in_database_thread(pending_recorder, run_id)
    if given is None:
        given = await in_database_thread(lambda: recorder.run.input)
    return recorder, given


def beginning(recorder: Recorder, session_id: str | None) -> Callable[[], None]:
    """Return what begins the run, or starts it if it is queued, on its session."""
    start = begin if recorder.run._state.adding else claim_queued
    return partial(claim, recorder, start, session_id)


async def run_in_task(hooks: RunEventHooks, running: Coroutine[Any, Any, RunResult]) -> RunResult | None:
    """Run the SDK in a task of its own, which the hooks can cancel; None if they did."""
    task = asyncio.ensure_future(running)
    hooks.stop = task.cancel
    try:
        return await task
    except asyncio.CancelledError:
        this = asyncio.current_task()
        if hooks.ended_elsewhere is None or (this is not None and this.cancelling()):
            raise
        return None
