"""Call Django's synchronous database code from asynchronous code."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from asgiref.sync import sync_to_async

if TYPE_CHECKING:
    from collections.abc import Callable

P = ParamSpec("P")
T = TypeVar("T")


async def in_database_thread(act: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call a function in the thread that owns Django's connections, and wait for its end even if canceled.

    A running write cannot be taken back. The cancellation waits for it, so a run ends after its last write.
    """
    task = asyncio.ensure_future(sync_to_async(act, thread_sensitive=True)(*args, **kwargs))
    cancellation: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            cancellation = error
    if cancellation:
        if not task.cancelled():
            task.exception()  # marks it as retrieved, or asyncio logs it
        raise cancellation
    return task.result()
