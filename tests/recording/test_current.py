"""The run that code below a block records into."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from typing import TYPE_CHECKING

import pytest
from asgiref.sync import async_to_sync

from agentstate.models import AgentWorkflowRun
from agentstate.recording import OutsideRun, acurrent, arecord, aresume, current, record, resume
from tests.recording.recorded import events_of

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.django_db


def test_the_innermost_block_is_the_current_run() -> None:
    with record("outer") as outer:
        with record("inner") as inner:
            assert current() is inner
        assert current() is outer
        outer.run.interrupt()
    with resume(outer.run_id) as resumed:
        assert current() is resumed
    with pytest.raises(OutsideRun, match=r"inside a block of record\(\)"):
        current()


def test_a_failed_block_is_not_current_afterwards() -> None:
    with pytest.raises(ValueError, match="no page"), record("intake"):
        raise ValueError("no page")
    with pytest.raises(LookupError):
        acurrent()


@pytest.mark.django_db(transaction=True)
def test_concurrent_runs_keep_apart_and_their_tasks_and_threads_inherit_them() -> None:
    async def tool(name: str) -> str:
        await acurrent().event(name)
        return await asyncio.to_thread(lambda: current().run_id)

    async def work(name: str) -> None:
        async with arecord(name) as run:
            assert await asyncio.gather(tool(name), tool(name)) == [run.run_id] * 2
            await run.interrupt()
        async with aresume(run.run_id):
            assert acurrent().run_id == run.run_id

    async def both() -> None:
        await asyncio.gather(work("a"), work("b"))

    async_to_sync(both)()
    for name in ("a", "b"):
        assert events_of(AgentWorkflowRun.objects.get(workflow_id=name).pk) == [(name, {})] * 2


def test_a_callers_own_thread_is_outside() -> None:
    seen: list[Exception] = []

    def look() -> None:
        try:
            current()
        except OutsideRun as error:
            seen.append(error)

    with record("intake"):
        thread = threading.Thread(target=look)
        thread.start()
        thread.join()
    assert len(seen) == 1


def test_a_generator_that_is_closed_in_another_context_ends_its_run() -> None:
    def work() -> Iterator[str]:
        with record("intake") as run:
            yield run.run_id

    generator = work()
    run_id = contextvars.copy_context().run(next, generator)
    generator.close()
    assert AgentWorkflowRun.objects.get(pk=run_id).status == "canceled"
