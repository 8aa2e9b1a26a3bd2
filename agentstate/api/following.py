"""One reader for all streams that an event loop has open.

A round asks once for the pulses of all runs that are followed, and reads the events of those that changed. It runs in
a thread of its own, over a connection that it closes at its end: streams that wait hold no connection.
"""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple
from weakref import WeakKeyDictionary

from django.db import DatabaseError, connections

from agentstate.recording.following import NewEvents, events_after, pulses_of

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop, Future
    from collections.abc import Callable, Sequence
    from datetime import datetime

logger = logging.getLogger(__name__)

# How long a change of a followed run may stay unseen.
SECONDS = 0.5


class NoLongerAllowed(Exception):
    """The token was revoked, or the session or its permission has ended."""


class Wish(NamedTuple):
    """What a stream waits for.

    Attributes:
        run_id: the run.
        after: the position behind which it reads.
        pulse: the run's pulse at the last read. None reads at once, whether anything has changed or not.
        is_allowed: asked before each read.
    """

    run_id: str
    after: datetime | None
    pulse: str | None
    is_allowed: Callable[[], bool]


class Unchanged(Enum):
    """The run has not changed since the last read."""

    UNCHANGED = "unchanged"


UNCHANGED = Unchanged.UNCHANGED
# None for a run that was deleted.
Answer = NewEvents | None | Exception | Unchanged


class Follower:
    """Reads for the streams of one event loop while there are any."""

    def __init__(self) -> None:
        self._wishes: dict[Future[NewEvents | None], Wish] = {}
        self._has_urgent = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, "agentstate-streams")
        self._serving: asyncio.Task[None] | None = None

    async def next(self, wish: Wish) -> NewEvents | None:
        """Return the next events once there are any or the status changes; None if the run was deleted.

        Raises:
            NoLongerAllowed: the caller may read no more.
            DatabaseError: the database is away.
        """
        answer: Future[NewEvents | None] = asyncio.get_running_loop().create_future()
        self._wishes[answer] = wish
        if wish.pulse is None:
            self._has_urgent.set()
        if self._serving is None or self._serving.done():
            self._serving = asyncio.create_task(self._serve())
        try:
            return await answer
        finally:
            self._wishes.pop(answer, None)

    async def _serve(self) -> None:
        loop = asyncio.get_running_loop()
        while self._wishes:
            self._has_urgent.clear()
            wishes = dict(self._wishes)
            answers = await loop.run_in_executor(self._thread, _round, [*wishes.values()])
            for future, answer in zip(wishes, answers, strict=True):
                if isinstance(answer, Unchanged) or future.done():
                    continue
                if isinstance(answer, Exception):
                    future.set_exception(answer)
                else:
                    future.set_result(answer)
                self._wishes.pop(future, None)
            with suppress(TimeoutError):
                async with asyncio.timeout(SECONDS):
                    await self._has_urgent.wait()


_followers: WeakKeyDictionary[AbstractEventLoop, Follower] = WeakKeyDictionary()


def follower() -> Follower:
    """Return the follower of the running event loop."""
    loop = asyncio.get_running_loop()
    if loop not in _followers:
        _followers[loop] = Follower()
    return _followers[loop]


def _round(wishes: Sequence[Wish]) -> Sequence[Answer]:
    """Return an answer to each wish, UNCHANGED where nothing has changed."""
    try:
        waiting = {wish.run_id for wish in wishes if wish.pulse is not None}
        pulses = pulses_of(waiting) if waiting else {}
        # Many streams may follow one run from one position.
        read: dict[tuple[str, datetime | None], NewEvents | None] = {}
        return [
            UNCHANGED if wish.pulse is not None and pulses.get(wish.run_id) == wish.pulse else _answer(wish, read)
            for wish in wishes
        ]
    except Exception as error:  # for the streams to raise; the loop goes on
        if not isinstance(error, DatabaseError):
            logger.exception("Reading for streams failed")
        return [error for _ in wishes]
    finally:
        connections.close_all()


def _answer(wish: Wish, read: dict[tuple[str, datetime | None], NewEvents | None]) -> Answer:
    if not wish.is_allowed():
        return NoLongerAllowed()
    place = wish.run_id, wish.after
    if place not in read:
        read[place] = events_after(wish.run_id, wish.after)
    return read[place]
