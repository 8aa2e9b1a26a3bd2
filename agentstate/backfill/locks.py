"""Advisory locks: two passes of one direction may run side by side, the two directions may not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress

from django.db import OperationalError, connection

from agentstate.backfill.errors import OtherDirectionRunning
from agentstate.backfill.options import PassOptions
from agentstate.models.passes import Direction

# Any number that other applications on the database are unlikely to take: "agst" in ASCII.
NAMESPACE = 0x61677374
_KEYS = {Direction.FORWARD: 1, Direction.REVERSE: 2}
_HELD = """
    EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND granted
            AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
            AND classid = %s AND objid = %s AND objsubid = 2)"""


def held_for(options: PassOptions) -> AbstractContextManager[None]:
    """Hold the lock that a pass needs; a dry run, which only reads, needs none."""
    return nullcontext() if options.dry_run else pass_lock(options.direction)


def shared_for(options: PassOptions) -> AbstractContextManager[None]:
    """Share the lock that a pass holds, on one more of its connections."""
    return nullcontext() if options.dry_run else sharing(options.direction)


@contextmanager
def pass_lock(direction: Direction) -> Iterator[None]:
    """Hold a direction's lock while no pass of the other direction does.

    Each side takes its own lock before it looks for the other's, so that of two that start at once at least one sees
    the other.

    Raises:
        OtherDirectionRunning: a pass of the other direction is under way.
    """
    other = next(each for each in Direction if each != direction)
    with sharing(direction):
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT {_HELD}", [NAMESPACE, _KEYS[other]])
            if cursor.fetchone()[0]:
                raise OtherDirectionRunning(
                    f"A {other} pass is running on this database, so no {direction} pass can start. Nothing was "
                    "changed. Wait for its end, or interrupt it: what it has moved stays moved."
                )
        yield


@contextmanager
def sharing(direction: Direction) -> Iterator[None]:
    """Take this connection's share of a direction's lock, whoever holds the other's: it may be about to be refused.

    Session-level, and on each worker's connection: a killed process's batch may run on in the server for a while, and
    the lock stays with it until it has ended.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock_shared(%s, %s)", [NAMESPACE, _KEYS[direction]])
    try:
        yield
    finally:
        release("pg_advisory_unlock_shared", (NAMESPACE, _KEYS[direction]))


def release(unlock: str, key: tuple[int, int]) -> None:
    """Give back a lock of this connection. A connection that broke took it along, and has an error that says more."""
    with suppress(OperationalError), connection.cursor() as cursor:
        cursor.execute(f"SELECT {unlock}(%s, %s)", key)
