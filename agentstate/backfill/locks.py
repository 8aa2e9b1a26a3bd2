"""Advisory locks: two passes of one direction may run side by side, the two directions may not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress

from django.db import OperationalError, connection

from agentstate.backfill.errors import OtherDirectionRunning
from agentstate.backfill.options import PassOptions
from agentstate.backfill.poolers import PooledConnection, refuse_transaction_pooling
from agentstate.lock_spaces import DIRECTIONS
from agentstate.models.passes import Direction

_KEYS = {Direction.FORWARD: 1, Direction.REVERSE: 2}
# Whether this session holds one direction's lock, and any session the other's.
_HELD = """
    SELECT bool_or(objid = %s AND pid = pg_backend_pid()), bool_or(objid = %s) FROM pg_locks
    WHERE locktype = 'advisory' AND granted AND objsubid = 2 AND classid = %s
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"""


def held_for(options: PassOptions) -> AbstractContextManager[None]:
    """Hold the lock that a pass needs; a dry run, which only reads, needs none."""
    return nullcontext() if options.dry_run else pass_lock(options.direction)


def shared_for(options: PassOptions) -> AbstractContextManager[None]:
    """Share the lock that a pass holds, on one more of its connections."""
    return nullcontext() if options.dry_run else sharing(options.direction)


@contextmanager
def pass_lock(direction: Direction) -> Iterator[None]:
    """Hold a direction's lock while no pass of the other direction does.

    Each direction takes its own lock before it looks for the other's. Of two that start at once, at least one
    therefore sees the other.

    Raises:
        OtherDirectionRunning: a pass of the other direction is running.
        PooledConnection: the connection goes through a pooler in transaction mode.
    """
    refuse_transaction_pooling()
    other = next(each for each in Direction if each != direction)
    with sharing(direction):
        with connection.cursor() as cursor:
            cursor.execute(_HELD, [_KEYS[direction], _KEYS[other], DIRECTIONS])
            is_ours, is_other_running = cursor.fetchone()
            if not is_ours:
                raise PooledConnection("the lock that it took is another session's a statement later")
            if is_other_running:
                raise OtherDirectionRunning(
                    f"A {other} pass is running on this database, so no {direction} pass can start. Nothing was "
                    "changed. Wait for its end, or interrupt it: what it has moved stays moved."
                )
        yield


@contextmanager
def sharing(direction: Direction) -> Iterator[None]:
    """Take this connection's share of a direction's lock, without a check of the other direction's.

    The lock is session-level and on each worker's connection. A killed process's batch can run on in the server for a
    while, and the lock stays with it until it has ended.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock_shared(%s, %s)", [DIRECTIONS, _KEYS[direction]])
    try:
        yield
    finally:
        release("pg_advisory_unlock_shared", (DIRECTIONS, _KEYS[direction]))


def release(unlock: str, key: tuple[int, int]) -> None:
    """Release a lock of this connection. A broken connection has lost it, and its first error says more."""
    with suppress(OperationalError), connection.cursor() as cursor:
        cursor.execute(f"SELECT {unlock}(%s, %s)", key)
