"""Asynchronous code calls the database in a thread, and holds a connection no longer than it asks for."""

from __future__ import annotations

import asyncio
from contextlib import nullcontext

import pytest
from asgiref.sync import ThreadSensitiveContext, async_to_sync, sync_to_async
from django.db import connection, transaction

from agentstate.models import AgentWorkflowRun
from agentstate.recording import arecord
from agentstate.threads import in_database_thread, releasing_connections


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("releases", [True, False])
def test_waiting_streams_hold_no_connection_once_released(releases: bool) -> None:
    async def stream() -> bool:
        # As a request of an ASGI server has it: a thread of its own, and so a connection of its own.
        async with ThreadSensitiveContext():
            with releasing_connections() if releases else nullcontext():
                async with arecord("chat") as run:
                    await run.event("begins")
                    # In a task of its own, as the Agents SDK runs tools.
                    await asyncio.create_task(run.event("goes.on"))
                    holds = await sync_to_async(lambda: connection.connection is not None)()
            await in_database_thread(lambda: connection.close())
        return holds

    async def streams() -> list[bool]:
        return await asyncio.gather(stream(), stream())

    assert asyncio.run(streams()) == [not releases] * 2
    assert set(AgentWorkflowRun.objects.values_list("status", flat=True)) == {"succeeded"}


@pytest.mark.django_db(transaction=True)
def test_a_connection_is_kept_inside_a_transaction() -> None:
    async def stream() -> None:
        with releasing_connections():
            async with arecord("chat") as run:
                await run.event("begins")

    with transaction.atomic():
        async_to_sync(stream)()
        assert AgentWorkflowRun.objects.get().status == "succeeded"
        transaction.set_rollback(True)
    assert not AgentWorkflowRun.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_a_connection_is_released_after_an_error_too() -> None:
    def fail() -> None:
        connection.ensure_connection()
        raise ValueError("no page")

    async def work() -> None:
        with releasing_connections():
            await in_database_thread(fail)

    with pytest.raises(ValueError, match="no page"):
        async_to_sync(work)()
    assert connection.connection is None
