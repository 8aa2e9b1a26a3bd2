"""Resume a run that waits for approvals, in any process, once."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Any

from agents import Runner, RunState

from agentstate.actors import actor
from agentstate.integrations.agents.deciding import NotInterrupted, decided_event, decisions_about
from agentstate.integrations.agents.frame import configured, keep_result, outcome_of, recorded_run
from agentstate.integrations.agents.hooks import RunEventHooks
from agentstate.integrations.agents.occupying import claim, session_id_of
from agentstate.integrations.agents.providers import with_provider
from agentstate.integrations.agents.running import in_own_loop, run_in_task
from agentstate.models import AgentWorkflowRun
from agentstate.models.runs import WAITING
from agentstate.recording import IllegalStatusChange, waiting_state
from agentstate.recording.blocks import claim_paused, pending_recorder
from agentstate.state.transactions import seeing_others
from agentstate.threads import in_database_thread

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agents import Agent, RunConfig, RunHooks
    from agents.memory import Session

    from agentstate.integrations.agents.deciding import Decision
    from agentstate.integrations.agents.outcome import Outcome
    from agentstate.recording import Recorder


async def resume_workflow(
    run_id: str,
    agent: Agent[Any],
    decisions: Mapping[str, Decision] | None = None,
    *,
    by: str | None = None,
    session: Session | None = None,
    context: Any = None,
    run_config: RunConfig | dict[str, Any] | None = None,
    hooks: RunHooks[Any] | None = None,
    **runner_options: Any,
) -> Outcome:
    """Resume a run that waits for approvals, with a decision for each of its calls::

        outcome = await resume_workflow(run_id, agent, {"call_7": True, "call_8": "Too expensive."}, by="ada")

    Of several processes that resume the run at once, one does. Nothing changes unless there is a decision for each
    call and the SDK can read the run's state: until then the run waits.

    Args:
        agent: built as it was when the run began; agents and tools are found by their names.
        decisions: by call id, True, False, or the reason for a rejection, which the model gets. Calls that it does
            not name have a recorded one, from the admin or :func:`agentstate.approvals.decide`.
        by: who gives these decisions; by default who is at work.
        session: instead of the one that the run had.
        context: instead of what the SDK stored of the run's context.
        run_config, hooks, runner_options: see :func:`run_workflow`.

    Raises:
        UndecidedCalls: a call has no decision. The run still waits.
        IllegalStatusChange: the run is not pending; another process may have resumed it.
        NotInterrupted: the run is pending, and no agent waits in it.
        NotWaiting, AlreadyDecided: a decision is given for a call that does not wait, or that has one.
        SessionNotFound: its session was deleted; the run still waits. Pass another one, or cancel the run.
        RunNotFound: no run has this id.
        agents.exceptions.UserError: this SDK cannot read the state, for example because a newer one wrote it, or an
            agent is missing. The run still waits.
    """
    waiting = await in_database_thread(_waiting, run_id)
    session = session if session is not None else _stored_session(waiting)
    state = await RunState.from_string(agent, waiting["run_state"], context_override=context)
    async with with_provider(run_config) as config:
        recorder = await in_database_thread(pending_recorder, run_id)
        record = RunEventHooks(recorder, hooks)
        record.usage.before.update(waiting.get("used_tokens", {}))
        session_id = session_id_of(session)
        resuming = _Resuming(waiting, decisions or {}, by)
        begin = partial(claim, recorder, resuming.begin, session_id)
        result = None
        async with recorded_run(recorder, begin, record):
            _reopen_calls(record, waiting)
            _apply(resuming.decided, state)
            options = {"session": session, "run_config": configured(record, config), **runner_options}
            result = await run_in_task(record, Runner.run(agent, state, hooks=record, **options))
            if result is not None:
                await keep_result(record, result, session_id)
        return outcome_of(record, result)


def resume_workflow_sync(
    run_id: str, agent: Agent[Any], decisions: Mapping[str, Decision] | None = None, **options: Any
) -> Outcome:
    """Resume a run in synchronous code; see :func:`resume_workflow`, and :func:`run_workflow_sync` for the client."""
    return in_own_loop(partial(resume_workflow, run_id, agent, decisions), **options)


def _waiting(run_id: str) -> dict[str, Any]:
    waiting = waiting_state(run_id)
    if isinstance(waiting, dict) and "run_state" in waiting:
        return waiting
    status = AgentWorkflowRun.objects.values_list("status", flat=True).get(pk=run_id)
    if status != AgentWorkflowRun.Status.PENDING:
        raise IllegalStatusChange(run_id, status, AgentWorkflowRun.Status.RUNNING)
    raise NotInterrupted(run_id)


def _stored_session(waiting: Mapping[str, Any]) -> Session | None:
    from agentstate.integrations.agents.session import DjangoSession

    return None if waiting["session_id"] is None else DjangoSession(waiting["session_id"])


class _Resuming:
    """Claims the run with its decisions, in one transaction."""

    def __init__(self, waiting: Mapping[str, Any], given: Mapping[str, Decision], by: str | None) -> None:
        self._waiting, self._given, self._by = waiting, given, by
        self.decided: dict[str, Decision] = {}

    def begin(self, recorder: Recorder) -> None:
        with seeing_others("A run cannot be resumed"):
            self._begin(recorder)

    def _begin(self, recorder: Recorder) -> None:
        # Decisions are recorded under the same lock. The run may have been resumed and have stopped again since.
        locked = AgentWorkflowRun.objects.select_for_update(no_key=True).filter(pk=recorder.run_id)
        row = locked.values_list("status", f"result__{WAITING}__run_state").first()
        if row is not None and row[1] != self._waiting["run_state"]:
            raise IllegalStatusChange(recorder.run_id, row[0], AgentWorkflowRun.Status.RUNNING)
        self.decided = decisions_about(recorder.run_id, self._given)
        claim_paused(recorder)
        by = self._by or actor()
        recorder.events(decided_event(call_id, decision, by) for call_id, decision in self._given.items())


def _apply(decisions: Mapping[str, Decision], state: RunState[Any, Any]) -> None:
    for item in state.get_interruptions():
        decision = decisions[str(item.call_id)]
        if decision is True:
            state.approve(item)
        else:
            state.reject(item, rejection_message=decision or None)


def _reopen_calls(hooks: RunEventHooks, waiting: Mapping[str, Any]) -> None:
    """Go on with the calls of nested agents that had begun when the run stopped."""
    for each in waiting.get("open_calls", []):
        call = hooks.recorder.new_call(each["tool"], each["call_id"], each["more"])
        call.event_id, call.parent_id = each.get("event_id", ""), each.get("parent_id")
        if each["began"] is not None:
            call.started = time.perf_counter() - (time.time() - each["began"])
        hooks.reopen(call)
