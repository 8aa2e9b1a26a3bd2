"""Processes that record and die, and the closing of their runs beside ones that live."""

from __future__ import annotations

import os
import signal
import threading
from datetime import timedelta

import pytest
from django.db import OperationalError, connection

from agentstate.models import AgentWorkflowRun
from agentstate.recording import close_stale_runs, record
from tests.faults.processes import database_url, others_on_the_server, run, wait_until
from tests.forked import Forked
from tests.recording.recorded import silence
from tests.sql import one, scalar, sql

pytestmark = pytest.mark.django_db(transaction=True)

AGENT = """
from agentstate.recording import record

with record("agent") as recorder:
    while True:
        with recorder.tool("count") as call:
            call.output = 1
"""

ASYNCHRONOUS_AGENT = """
import asyncio, warnings
from agentstate.recording import arecord

warnings.simplefilter("ignore", ResourceWarning)  # as Python does by itself

async def work():
    async with arecord("agent") as recorder:
        while True:
            async with recorder.tool("count") as call:
                call.output = 1

asyncio.run(work())
"""


class Agent:
    """A process that records a run without end."""

    def __init__(self, program: str) -> None:
        environment = {
            "PATH": os.environ["PATH"],
            "DATABASE_URL": database_url(),
            "SECRET_KEY": "a key for tests only",
        }
        self.process = Forked(environment=environment, program=program)

    def signal(self, number: signal.Signals) -> str:
        """Send a signal once it has recorded something, wait for the end, and return its errors."""
        try:
            wait_until(lambda: scalar('SELECT count(*) FROM "AgentWorkflowRunEvent"') > 5 or self.process.poll())
            self.process.send_signal(number)
            return self.process.communicate(timeout=60)[1]
        finally:
            self.process.kill()


# Several times, since most of the time it is in the middle of some statement, but not of the same.
@pytest.mark.parametrize("attempt", range(5))
@pytest.mark.parametrize("program", [AGENT, ASYNCHRONOUS_AGENT], ids=["synchronous", "asynchronous"])
def test_an_agent_that_is_interrupted_cancels_its_run(program: str, attempt: int) -> None:
    errors = Agent(program).signal(signal.SIGINT)
    assert errors.strip().splitlines()[-1].startswith("KeyboardInterrupt")
    run = AgentWorkflowRun.objects.get()
    assert (run.status, run.completed_at is not None) == ("canceled", True)
    assert run.error in {"KeyboardInterrupt", "CancelledError"}
    calls = sql("""SELECT count(*) FROM "AgentWorkflowRunEvent" GROUP BY payload ->> 'call_id'""")
    assert sum(events == 1 for (events,) in calls) <= 1  # the one that was interrupted while it wrote


def test_a_connection_that_breaks_fails_the_run_on_another() -> None:
    with pytest.raises(OperationalError), record("agent") as recorder, recorder.tool("query"):
        sql("SELECT pg_terminate_backend(pg_backend_pid())")
    run = AgentWorkflowRun.objects.get()
    assert run.status == "failed"
    assert run.error.startswith("OperationalError: ")
    assert sql("""SELECT payload ->> 'status' FROM "AgentWorkflowRunEvent" WHERE type = 'tool.result'""") == [
        ("error",)
    ]


def test_an_agent_that_was_killed_leaves_whole_events_and_a_run_to_close() -> None:
    agent = Agent(AGENT)
    agent.signal(signal.SIGKILL)
    assert agent.process.returncode == -signal.SIGKILL
    wait_until(lambda: not others_on_the_server())
    (run_id,) = AgentWorkflowRun.objects.filter(status="running").values_list("pk", flat=True)
    assert close_stale_runs(timedelta(hours=1)) == []

    silence(run_id, 2)
    command = run("close_stale_runs", "--older-than", "1h")

    assert command.process.returncode == 0, command.stderr
    first, last = command.stdout.splitlines()
    assert first.startswith(f"{run_id}: agent, no project, last sign of life ")
    assert last == "1 run closed as stale."
    assert AgentWorkflowRun.objects.get().status == "failed"


def test_a_run_that_keeps_writing_is_never_closed() -> None:
    """However short the time: between the look and the end of a run there is no moment for an event."""
    errors: list[BaseException] = []
    stop = threading.Event()
    patience = timedelta(milliseconds=300)

    def close() -> None:
        try:
            while not stop.is_set():
                close_stale_runs(patience)
        except BaseException as error:
            errors.append(error)
        finally:
            connection.close()

    closers = [threading.Thread(target=close) for _ in range(3)]
    for closer in closers:
        closer.start()
    try:
        with record("agent") as recorder:
            for _ in range(300):
                recorder.event("step")
    finally:
        stop.set()
        for closer in closers:
            closer.join(60)
    assert errors == []
    late = scalar("""SELECT count(*) FROM "AgentWorkflowRunEvent" WHERE payload ? '$late'""")
    run = AgentWorkflowRun.objects.get()
    if run.status == "failed":  # a pause of the machine outlasted the patience; what came after it is marked
        (silence,) = one("""
            SELECT completed_at - greatest(started_at, (
                SELECT max(created_at) FROM "AgentWorkflowRunEvent" WHERE NOT payload ? '$late'))
            FROM "AgentWorkflowRun"
            """)
        assert silence > patience
    else:
        assert (run.status, late) == ("succeeded", 0)
    assert scalar("""SELECT count(*) FROM "AgentWorkflowRunEvent" WHERE type = 'step'""") == 300


def test_an_event_before_the_lock_keeps_its_run_open() -> None:
    """Races of closers and writers: no event without a mark is in a run that was closed before it."""
    for _ in range(20):
        AgentWorkflowRun.objects.all().delete()
        with record("agent") as recorder:
            sql("""UPDATE "AgentWorkflowRun" SET started_at = started_at - interval '2 hours'""")
            barrier = threading.Barrier(2)

            def close(barrier: threading.Barrier = barrier) -> None:
                try:
                    barrier.wait()
                    close_stale_runs(timedelta(hours=1))
                finally:
                    connection.close()

            closer = threading.Thread(target=close)
            closer.start()
            barrier.wait()
            recorder.event("step")
            closer.join(60)
            late = scalar("""SELECT payload ? '$late' FROM "AgentWorkflowRunEvent" WHERE type = 'step'""")
            assert scalar('SELECT status FROM "AgentWorkflowRun"') == ("failed" if late else "running")
