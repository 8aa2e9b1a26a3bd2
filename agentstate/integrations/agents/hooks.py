"""Hooks that record what happens in an agent's run as events."""

from __future__ import annotations

import asyncio
import logging
from contextlib import ExitStack, contextmanager, suppress
from contextvars import ContextVar
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, ParamSpec, Self, TypeVar

from agents import RunHooks
from django.db import Error as DatabaseError
from django.db import InterfaceError, OperationalError

from agentstate.enclosing import enclosing_event, found_by
from agentstate.integrations.agents.event_tree import EventTree
from agentstate.integrations.agents.guardrails import tripped_guardrail
from agentstate.integrations.agents.responses import hosted_calls, model_name, response_payload
from agentstate.integrations.agents.tokens import UsageOfRun
from agentstate.integrations.agents.tool_errors import OpenCall, error_in, failed_call
from agentstate.models import AgentWorkflowRun
from agentstate.recording import AsyncRecorder, RunFinished, RunNotFound
from agentstate.recording.clean_up import cause, drop_broken_connection
from agentstate.recording.events import refusal
from agentstate.recording.storable import described
from agentstate.threads import in_database_thread

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType

    from agents import Agent, AgentHookContext, ModelResponse, RunConfig, RunContextWrapper, Tool, TResponseInputItem
    from agents.run_config import ToolErrorFormatterArgs

    from agentstate.recording import Recorder, ToolCall

logger = logging.getLogger(__name__)

P = ParamSpec("P")
Result = TypeVar("Result")


class CurrentRun(NamedTuple):
    """The agent's run that code is called from; its recorder is :func:`agentstate.recording.current`.

    Attributes:
        hooks: those of the run.
        loop: the event loop that the SDK runs it in.
    """

    hooks: RunEventHooks
    loop: asyncio.AbstractEventLoop


# It reaches async tools, sync tools in their threads and nested agents, and keeps concurrent runs apart.
current_run: ContextVar[CurrentRun | None] = ContextVar("agentstate_current_run", default=None)


class RunEventHooks(RunHooks[Any]):
    """Records the events of an agent's run. :func:`run_workflow` uses it; alone it is used around a run of the SDK::

        async with arecord("intake", project_id) as recorder, RunEventHooks(recorder) as hooks:
            await Runner.run(agent, "…", hooks=hooks, run_config=hooks.configured(RunConfig()))

    An error while an event is written is logged and counted, and the agent's run goes on. If another process
    has ended the recorded run, the next event stops the agent's.

    Attributes:
        recorder: what writes the events.
        lost_events: how many events could not be written.
        ended_elsewhere: the error that said that another process ended the run, or deleted it.
        stop: set it to what stops the agent's run. Without it the hook raises, which fails the agent's run.
    """

    def __init__(self, recorder: Recorder | AsyncRecorder, also: RunHooks[Any] | None = None) -> None:
        """
        Args:
            also: hooks of the caller's, called after these. What they raise fails the run, as without these.
        """
        self.recorder = recorder._recorder if isinstance(recorder, AsyncRecorder) else recorder
        self.stop: Callable[[], object] | None = None
        self.lost_events = 0
        self.ended_elsewhere: RunFinished | RunNotFound | None = None
        self.usage = UsageOfRun()
        self._also = also or RunHooks[Any]()
        self._open: list[OpenCall] = []
        self._noted_errors: dict[str, str] = {}
        self.tree = EventTree()
        self._run_config: RunConfig | None = None
        self._has_ended = False
        self._blocks = ExitStack()

    async def __aenter__(self) -> Self:
        self._blocks.enter_context(_as_current(CurrentRun(self, asyncio.get_running_loop())))
        self._blocks.enter_context(found_by(self.recorder.run_id, self.tree.here))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._has_ended = True
        try:
            await self._write_end(error)
        finally:
            self._blocks.close()

    def configured(self, run_config: RunConfig) -> RunConfig:
        """Return a copy that also reports the errors of tools here; the model is named from it."""
        theirs = run_config.tool_error_formatter

        def note_error(args: ToolErrorFormatterArgs[Any]) -> Any:
            error = getattr(args, "error", None)
            if error is not None:
                self._noted_errors[args.call_id] = described(error)
            return theirs(args) if theirs else None

        self._run_config = replace(run_config, tool_error_formatter=note_error)
        return self._run_config

    async def record_usage(self) -> None:
        """Add the tokens that were used since the last call to the run's usage."""
        with self.forgiving("its usage"):
            await self.write(self.usage.record, self.recorder)

    def open_calls(self) -> list[ToolCall]:
        """Return the calls that have begun and not ended."""
        return [each.call for each in self._open]

    def reopen(self, call: ToolCall) -> None:
        """Go on with a call that began before an interruption: of a nested agent that waited for an approval."""
        self._open.append(OpenCall(None, call.tool, call))
        self.tree.note_resumed(call)

    # -- the SDK's callbacks

    async def on_agent_start(self, context: AgentHookContext[Any], agent: Agent[Any]) -> None:
        self.usage.watch(context.usage)
        await self._also.on_agent_start(context, agent)

    async def on_agent_end(self, context: AgentHookContext[Any], agent: Agent[Any], output: Any) -> None:
        await self._also.on_agent_end(context, agent, output)

    async def on_llm_start(
        self,
        context: RunContextWrapper[Any],
        agent: Agent[Any],
        system_prompt: str | None,
        input_items: list[TResponseInputItem],
    ) -> None:
        self.usage.watch(context.usage)
        # A canceled run still takes the results of its tools, so these do not say that it has ended.
        with self.forgiving("its status", events=0):
            await self.write(self._require_unfinished)
        await self._also.on_llm_start(context, agent, system_prompt, input_items)

    async def on_llm_end(self, context: RunContextWrapper[Any], agent: Agent[Any], response: ModelResponse) -> None:
        events: list[tuple[str, object]] = []
        with self.forgiving():
            model = model_name(agent, self._run_config)
            self.usage.add(model, response)
            events = [("model.response", response_payload(agent, model, response)), *hosted_calls(agent, response)]
        if events:
            with self.recorder.inside(self._parent_in(context)):
                await self._write_events(events)
        await self._also.on_llm_end(context, agent, response)

    async def on_tool_start(self, context: RunContextWrapper[Any], agent: Agent[Any], tool: Tool) -> None:
        with self.forgiving():
            # Open before the write, since a cancellation is raised after it.
            call = self.recorder.new_call(tool.name, getattr(context, "tool_call_id", None), {"agent": agent.name})
            self._open.append(OpenCall(context, tool.name, call))
            with self.recorder.inside(self._parent_in(context)):
                await self.write(self.recorder.write_invocation, call, getattr(context, "tool_arguments", None))
            self.tree.note_call(call.event_id)
        await self._also.on_tool_start(context, agent, tool)

    async def on_tool_end(
        self, context: RunContextWrapper[Any], agent: Agent[Any], tool: Tool, result: object
    ) -> None:
        with self.forgiving():
            call_id = getattr(context, "tool_call_id", None)
            call = self._ended_call(context, tool.name, call_id)
            if call is None:
                call = self.recorder.new_call(tool.name, call_id, {"agent": agent.name})
            error = error_in(result, tool, self._noted_errors.pop(call_id or "", None))
            await self.write(partial(self.recorder.settle, call, output=result, error=error))
        await self._also.on_tool_end(context, agent, tool, result)

    async def on_handoff(self, context: RunContextWrapper[Any], from_agent: Agent[Any], to_agent: Agent[Any]) -> None:
        handoff = {"from": from_agent.name, "to": to_agent.name}
        enclosing = self._enclosing()
        written = await self._write_events([("agent.handoff", handoff)])
        self.tree.note_handoff(context, enclosing, written)
        await self._also.on_handoff(context=context, from_agent=from_agent, to_agent=to_agent)

    # --

    def _enclosing(self) -> str | None:
        return enclosing_event(self.recorder.run_id)

    def _parent_in(self, context: RunContextWrapper[Any]) -> str | None:
        """Return the parent of what the agent of this context does."""
        return self.tree.parent_of(context, self._enclosing())

    def _ended_call(self, context: object, tool: str, call_id: str | None) -> ToolCall | None:
        """Forget the call that has ended, and return it."""
        for each in self._open:
            same_context = each.context is context if each.context is not None else each.call.call_id == call_id
            if same_context and each.tool == tool:
                self._open.remove(each)
                return each.call
        return None

    async def _write_end(self, error: BaseException | None) -> None:
        """Write how the run ended: the call that failed, the guardrail that tripped, the tokens."""
        if isinstance(error, Exception) and (failed := failed_call(self._open, error)):
            opened, cause = failed
            self._open.remove(opened)
            with self.forgiving():
                await self.write(partial(self.recorder.settle, opened.call, error=cause))
        if isinstance(error, Exception) and (tripped := tripped_guardrail(error)):
            await self._write_events([("guardrail.tripped", tripped)])
        await self.record_usage()

    async def _write_events(self, events: list[tuple[str, object]]) -> list[str]:
        """Write events, and return their ids; none if they could not be written."""
        with self.forgiving(f"{len(events)} event{'s' * (len(events) > 1)}", events=len(events)):
            return await self.write(self.recorder.events, events)
        return []

    async def write(self, act: Callable[P, Result], *args: P.args, **kwargs: P.kwargs) -> Result:
        return await in_database_thread(_reconnecting, partial(act, *args, **kwargs))

    @contextmanager
    def forgiving(self, what: str = "an event", *, events: int = 1) -> Iterator[None]:
        """Log an error of the block, and count so many events as lost. It never fails the agent's run."""
        try:
            yield
        except (RunFinished, RunNotFound) as error:
            self._end_elsewhere(error)
        except (InterfaceError, OperationalError) as failure:
            self.lost_events += events
            logger.error("Run %s goes on without %s: %s", self.recorder.run_id, what, cause(failure))
        except Exception:
            self.lost_events += events
            logger.exception("Run %s goes on without %s", self.recorder.run_id, what)

    def _require_unfinished(self) -> None:
        run_id = self.recorder.run_id
        row = AgentWorkflowRun.objects.filter(pk=run_id).values_list("status", "closed_as_stale").first()
        if row is None:
            raise RunNotFound(run_id)
        if row[0] != AgentWorkflowRun.Status.RUNNING and not row[1]:
            raise refusal(run_id, row[0])

    def _end_elsewhere(self, error: RunFinished | RunNotFound) -> None:
        self.ended_elsewhere = error
        if self._has_ended:
            return
        if self.stop is None:
            raise error
        self.stop()


class CurrentRunHooks(RunHooks[Any]):
    """Hooks for nested agents: their tools and responses land in the run whose tool calls them.

    For ``agent.as_tool(…, hooks=CurrentRunHooks())`` and for ``Runner.run()`` inside a tool: the SDK does not pass
    hooks on. Outside a recorded run they do nothing.
    """

    async def on_agent_start(self, context: AgentHookContext[Any], agent: Agent[Any]) -> None:
        await _current_hooks().on_agent_start(context, agent)

    async def on_agent_end(self, context: AgentHookContext[Any], agent: Agent[Any], output: Any) -> None:
        await _current_hooks().on_agent_end(context, agent, output)

    async def on_llm_start(
        self,
        context: RunContextWrapper[Any],
        agent: Agent[Any],
        system_prompt: str | None,
        input_items: list[TResponseInputItem],
    ) -> None:
        await _current_hooks().on_llm_start(context, agent, system_prompt, input_items)

    async def on_llm_end(self, context: RunContextWrapper[Any], agent: Agent[Any], response: ModelResponse) -> None:
        await _current_hooks().on_llm_end(context, agent, response)

    async def on_tool_start(self, context: RunContextWrapper[Any], agent: Agent[Any], tool: Tool) -> None:
        await _current_hooks().on_tool_start(context, agent, tool)

    async def on_tool_end(
        self, context: RunContextWrapper[Any], agent: Agent[Any], tool: Tool, result: object
    ) -> None:
        await _current_hooks().on_tool_end(context, agent, tool, result)

    async def on_handoff(self, context: RunContextWrapper[Any], from_agent: Agent[Any], to_agent: Agent[Any]) -> None:
        await _current_hooks().on_handoff(context=context, from_agent=from_agent, to_agent=to_agent)


@contextmanager
def _as_current(run: CurrentRun) -> Iterator[None]:
    token = current_run.set(run)
    try:
        yield
    finally:
        with suppress(ValueError):  # a generator may be closed in another context
            current_run.reset(token)


def _current_hooks() -> RunHooks[Any]:
    run = current_run.get()
    return run.hooks if run is not None else RunHooks[Any]()


def _reconnecting(write: Callable[[], Result]) -> Result:
    """Write, and let Django connect again for the next event if the connection is lost."""
    try:
        return write()
    except DatabaseError:
        drop_broken_connection()
        raise
