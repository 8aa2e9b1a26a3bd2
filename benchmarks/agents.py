"""What recording adds to a tool's call of an agent: the SDK's bare runner beside ``run_workflow``, in turns."""

from __future__ import annotations

import statistics
import time
from typing import TYPE_CHECKING, Any, TextIO

from agents import Agent, Runner, function_tool, set_trace_processors
from agents.testing import ScriptedModel, assistant_message, function_call
from asgiref.sync import async_to_sync

from agentstate.integrations.agents import run_workflow
from benchmarks.databases import benchmark_database

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

CALLS = 30  # of a run, each in a turn of its own


@function_tool
async def read_page(number: int) -> str:
    return f"page {number}"


def run(rounds: int, out: TextIO) -> None:
    """Measure in a new database, which is dropped at the end.

    Args:
        rounds: how often each is measured; medians count.
        out: where the figures go.
    """
    set_trace_processors([])
    bare: list[float] = []
    recorded: list[float] = []
    with benchmark_database():
        for each in range(rounds + 1):
            of_bare, of_recorded = async_to_sync(_timed)(_run_bare), async_to_sync(_timed)(_run_recorded)
            if each:  # the first warms up
                bare.append(of_bare)
                recorded.append(of_recorded)
    ours, theirs = statistics.median(recorded), statistics.median(bare)
    out.writelines(
        f"{name:<48} {figure}\n"
        for name, figure in (
            ("a tool's call, bare runner", f"{theirs * 1000:>8.2f} ms"),
            ("a tool's call, run_workflow", f"{ours * 1000:>8.2f} ms"),
            ("what recording adds, 3 events and a query", f"{(ours - theirs) * 1000:>8.2f} ms"),
            ("run_workflow / bare runner", f"{ours / theirs:>8.2f}"),
        )
    )


async def _timed(run_agent: Callable[[Agent[Any]], Awaitable[object]]) -> float:
    """Return the seconds that a call takes, with its share of the run."""
    steps = [[function_call("read_page", {"number": number}, call_id=f"c{number}")] for number in range(CALLS)]
    agent = Agent(name="Reader", model=ScriptedModel([*steps, [assistant_message("Read.")]]), tools=[read_page])
    started = time.perf_counter()
    await run_agent(agent)
    return (time.perf_counter() - started) / CALLS


async def _run_bare(agent: Agent[Any]) -> None:
    await Runner.run(agent, "Read.", max_turns=None)


async def _run_recorded(agent: Agent[Any]) -> None:
    outcome = await run_workflow(agent, "Read.", max_turns=None)
    if outcome.status != "succeeded" or outcome.lost_events:
        raise RuntimeError(f"The run is {outcome.status} and has lost {outcome.lost_events} events.")
