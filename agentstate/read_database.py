"""The database that verification, the rollout's counts and the admin's lists read: a replica, where one is named."""

from __future__ import annotations

import logging
import time
from contextvars import ContextVar
from typing import TYPE_CHECKING, TypeVar

from django.conf import settings
from django.db import DEFAULT_DB_ALIAS, InterfaceError, OperationalError, connections

if TYPE_CHECKING:
    from collections.abc import Callable

Result = TypeVar("Result")
logger = logging.getLogger(__name__)

TRY_AGAIN_AFTER = 10  # seconds

# Without a receiver, or while it replays nothing, a replica knows only how old the newest commit is that it has.
_BEHIND = """
    SELECT CASE
        WHEN NOT pg_is_in_recovery() THEN 0
        WHEN pg_last_wal_receive_lsn() <= pg_last_wal_replay_lsn() AND EXISTS (SELECT FROM pg_stat_wal_receiver) THEN 0
        ELSE greatest(0, extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp()))
    END"""
_failed: ContextVar[bool] = ContextVar("the replica failed", default=False)
_tried_again_at: dict[str, float] = {}


def read_alias() -> str:
    """Return the alias in ``DATABASES`` that ``AGENTSTATE_READ_DATABASE`` names, by default the primary's.

    What decides something, such as a step of the rollout, reads the primary: a replica is always a little behind.
    """
    return DEFAULT_DB_ALIAS if replica_failed() else replica() or DEFAULT_DB_ALIAS


def replica() -> str:
    """Return the alias that ``AGENTSTATE_READ_DATABASE`` names, empty where it names none."""
    return getattr(settings, "AGENTSTATE_READ_DATABASE", "")


def replica_failed() -> bool:
    """Return whether the primary is read because the replica failed, see :func:`despite_replica`."""
    return _failed.get()


def despite_replica(read: Callable[[], Result]) -> Result:
    """Read, and where the replica cannot be reached or cancels, read again from the primary.

    A standby cancels a query that needs rows which the primary has cleaned up. For a while after a failure, this
    process reads the primary at once: no reader waits for a server that is away. A read that fails there too says
    nothing of the replica.
    """
    alias = replica()
    if not alias:
        return read()
    if time.monotonic() < _tried_again_at.get(alias, 0):
        return _from_primary(read)
    try:
        return read()
    except (OperationalError, InterfaceError) as error:
        failure = error
    result = _from_primary(read)
    logger.warning("The replica %r could not be read, the primary is for %d s: %s", alias, TRY_AGAIN_AFTER, failure)
    _tried_again_at[alias] = time.monotonic() + TRY_AGAIN_AFTER
    return result


def _from_primary(read: Callable[[], Result]) -> Result:
    token = _failed.set(True)
    try:
        return read()
    finally:
        _failed.reset(token)


def seconds_behind(using: str) -> float:
    """Return how far a database is behind: 0 for the primary, and for a replica that replayed all it received."""
    if using == DEFAULT_DB_ALIAS:
        return 0.0
    with connections[using].cursor() as cursor:
        cursor.execute(_BEHIND)
        (seconds,) = cursor.fetchone()
    return float(seconds or 0)
