"""An agent that takes the steps of the intake: a model decides about their order, and what they find is the steps'.

The tools take no arguments, and their outputs are names and figures. So a model writes no state, and the text of the
documents does not leave the process. Needs the extra ``agents``, which is imported on first use.
"""

from __future__ import annotations

import asyncio
import logging
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from asgiref.sync import async_to_sync

from agentstate.intake.state import STEPS
from agentstate.integrations import AGENTS_MISSING
from agentstate.recording import RunFinished, RunNotFound
from agentstate.recording.storable import described

if TYPE_CHECKING:
    from agents import Agent, FunctionTool, Model

    from agentstate.intake.state import Findings, Step
    from agentstate.recording import Recorder

logger = logging.getLogger(__name__)

KEY = "OPENAI_API_KEY"
# A model may call a step too early now and then, or one at a time with a remark.
MOST_TURNS = 3 * len(STEPS)
INSTRUCTIONS = (
    "You take in the documents of a request for proposals. Call each tool once, in this order: "
    f"{', '.join(step.name for step in STEPS)}. Each works from what those before it found. Then say in one sentence "
    "what was found."
)


class AgentUnavailable(Exception):
    """No model can be asked: the extra ``agents`` or the key is missing. Nothing was read."""


@dataclass(frozen=True)
class Fallback:
    """What a model did not do.

    Attributes:
        steps: the names of the steps that it left out; empty if it failed after the last one.
        reason: why, in a line or more.
    """

    steps: tuple[str, ...]
    reason: str


def require(model: str | Model) -> None:
    """Refuse a model that cannot be asked.

    Raises:
        AgentUnavailable: the extra ``agents`` is missing; or the model is a name, and there is no key.
    """
    try:
        import agents  # noqa: F401
    except ModuleNotFoundError as error:
        raise AgentUnavailable(AGENTS_MISSING.format(error.name)) from error
    if isinstance(model, str) and not os.environ.get(KEY):
        raise AgentUnavailable(f"{KEY} is not set, which the model {model!r} needs. Set it, or omit the model.")


def name_of(model: str | Model) -> str:
    """Return a name for a model: its own, or its class."""
    return model if isinstance(model, str) else type(model).__name__


def rfp_intake_agent(findings: Findings, model: str | Model) -> Agent[Any]:
    """Return the agent whose tools are the steps of this intake."""
    from agents import Agent, ModelSettings

    lock = asyncio.Lock()
    return Agent(
        name="rfp_intake_agent",
        instructions=INSTRUCTIONS,
        model=model,
        model_settings=ModelSettings(parallel_tool_calls=False),
        tools=[_tool(step, findings, lock) for step in STEPS],
    )


def let_model_drive(findings: Findings, run: Recorder, model: str | Model) -> Fallback | None:
    """Let a model take the steps, recorded in the run; return what it did not do, which is recorded too.

    Raises:
        RunFinished, RunNotFound: the run was ended, or deleted, by another process.
    """
    reason = ""
    try:
        async_to_sync(_drive)(findings, run, model)
    except (RunFinished, RunNotFound):
        raise
    except Exception as error:
        logger.info("The model %s failed in run %s", name_of(model), run.run_id, exc_info=True)
        reason = described(error)
    left_out = tuple(step.name for step in findings.missing)
    if not reason and not left_out:
        return None
    fallback = Fallback(left_out, reason or "The model ended before the last step.")
    run.event("intake.fallback", {"steps": fallback.steps, "reason": fallback.reason})
    return fallback


async def _drive(findings: Findings, run: Recorder, model: str | Model) -> None:
    from agents import Runner

    from agentstate.integrations.agents import RunEventHooks
    from agentstate.integrations.agents.providers import with_provider

    async with with_provider(None, own_client=True) as config, RunEventHooks(run) as hooks:
        await Runner.run(
            rfp_intake_agent(findings, model),
            "Take the documents in.",
            hooks=hooks,
            run_config=hooks.configured(config),
            max_turns=MOST_TURNS,
        )


def _tool(step: Step, findings: Findings, lock: asyncio.Lock) -> FunctionTool:
    """Return the tool that takes a step. Calls that a model makes at once are taken in their order."""
    from agents import function_tool

    async def take() -> dict[str, Any]:
        async with lock:
            return await asyncio.to_thread(findings.take, step)

    return function_tool(take, name_override=step.name, description_override=step.purpose)
