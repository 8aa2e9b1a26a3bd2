"""Run an asynchronous generator in a task of its own."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

T = TypeVar("T")


async def in_one_task(values: AsyncIterator[T]) -> AsyncGenerator[T, None]:
    """Yield the values of an iterator that runs in a task of its own, ahead of the reader.

    When the reader goes away, the task is canceled and its clean-up awaited. The iterator itself would be closed
    wherever it had stopped, which ChatKit does not notice: it stores the half of an answer, and that the user stopped
    it, only where its task is canceled.
    """
    queue: asyncio.Queue[tuple[T] | None] = asyncio.Queue()

    async def run() -> None:
        try:
            async for value in values:
                queue.put_nowait((value,))
        finally:
            queue.put_nowait(None)

    task = asyncio.ensure_future(run())
    try:
        while (item := await queue.get()) is not None:
            yield item[0]
    finally:
        if not task.done():
            task.cancel()
        await asyncio.wait([task])
    await task
