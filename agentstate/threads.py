"""Call Django's synchronous database code from asynchronous code."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from asgiref.sync import sync_to_async
from django.db import connection

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

P = ParamSpec("P")
T = TypeVar("T")

_releases: ContextVar[bool] = ContextVar("agentstate_releases_connections", default=False)


async def in_database_thread(act: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call a function in the thread that owns Django's connections, and wait for its end even if canceled.

    A running write cannot be taken back. The cancellation waits for it, so a run ends after its last write.
    """
    call = sync_to_async(_then_released if _releases.get() else _called, thread_sensitive=True)
    task = asyncio.ensure_future(call(act, *args, **kwargs))
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


@contextmanager
def releasing_connections() -> Iterator[None]:
    """Hand the connection back after each call of :func:`in_database_thread` in the block, and in tasks begun there.

    For a stream: Django keeps a request's connection to the request's end, however long the stream waits in between.
    The connection is closed, or returned to its pool, and the next call opens another. Inside a transaction it stays.
    """
    token = _releases.set(True)
    try:
        yield
    finally:
        # A generator may be closed in another context than it began in.
        with suppress(ValueError):
            _releases.reset(token)


def _called(act: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    return act(*args, **kwargs)


def _then_released(act: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    try:
        return act(*args, **kwargs)
    finally:
        if connection.connection is not None and connection.get_autocommit():  # which is off inside a transaction
            connection.close()
