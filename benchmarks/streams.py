"""Answers of a ChatKit server streamed at once, and the database connections that they hold while they wait."""

from __future__ import annotations

import asyncio
import json
import statistics
import time
from typing import TYPE_CHECKING, Any, TextIO

from agents import Agent, function_tool, set_trace_processors
from agents.testing import ScriptedModel, assistant_message, function_call
from asgiref.sync import ThreadSensitiveContext, async_to_sync
from django.db import connection

from agentstate.integrations.chatkit import ChatContext, RecordedServer
from agentstate.models import Project
from benchmarks.databases import benchmark_database

if TYPE_CHECKING:
    from chatkit.types import ThreadMetadata

STREAMS = (1, 8, 32)
QUESTION = {"content": [{"type": "input_text", "text": "Hm?"}], "attachments": [], "inference_options": {}}
REQUEST = json.dumps({"type": "threads.create", "params": {"input": QUESTION}})
OTHERS = """
    SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"""


class Waiting(RecordedServer):
    """Its agent calls a tool that waits until all answers have come so far."""

    def __init__(self, streams: int) -> None:
        super().__init__()
        self.all_wait = asyncio.Barrier(streams + 1)
        self.counted = asyncio.Event()

    def agent(self, thread: ThreadMetadata, context: ChatContext) -> Agent[Any]:
        @function_tool
        async def wait() -> str:
            await self.all_wait.wait()
            await self.counted.wait()
            return "waited"

        model = ScriptedModel([[function_call("wait", {}, call_id="c")], [assistant_message("Done.")]])
        return Agent(name="waiting", model=model, tools=[wait])


def run(rounds: int, out: TextIO) -> None:
    """Measure in a new database, which is dropped at the end.

    Args:
        rounds: how often each number of streams is measured; medians count.
        out: where the figures go.
    """
    set_trace_processors([])
    with benchmark_database():
        Project(id="p1", user_id="u", name="P").save()
        for streams in STREAMS:
            measured = [async_to_sync(_measured)(streams) for _ in range(rounds)]
            connections, first, waiting = (statistics.median(each) for each in zip(*measured, strict=True))
            out.write(
                f"{streams:>3} streams: {connections:>3.0f} connections while all wait; the first event of each after "
                f"{first * 1000:>6.0f} ms, all wait after {waiting * 1000:>6.0f} ms\n"
            )


async def _measured(streams: int) -> tuple[int, float, float]:
    """Return the connections while all streams wait, the median time to a first event, and the time until all wait."""
    server = Waiting(streams)
    started = time.perf_counter()
    answers = [asyncio.create_task(_answer(server)) for _ in range(streams)]
    await server.all_wait.wait()
    waiting = time.perf_counter() - started
    # In a thread of its own, with a connection of its own.
    connections = await asyncio.to_thread(_other_connections)
    server.counted.set()
    firsts = [first - started for first in await asyncio.gather(*answers)]
    return connections, statistics.median(firsts), waiting


async def _answer(server: Waiting) -> float:
    """Read an answer to its end, in a context as Django gives each request; return when its first event came."""
    async with ThreadSensitiveContext():
        result = await server.process(REQUEST, ChatContext("p1", "ada"))
        times = [time.perf_counter() async for _ in result]  # type: ignore[union-attr]
    return times[0]


def _other_connections() -> int:
    with connection.cursor() as cursor:
        cursor.execute(OTHERS)
        count: int = cursor.fetchone()[0]
    connection.close()
    return count
