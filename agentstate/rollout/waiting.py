"""Waiting until a toggle is effective: every process has seen it, and all older transactions have ended."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, NamedTuple

from django.db import connection

from agentstate.rollout.errors import NAMED, Interrupted

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Sequence
    from datetime import datetime

# A toggle reaches every process within two seconds.
SECONDS_UNTIL_SEEN = 2.5
LOOK_EVERY = 0.2

# The open transactions of this database, found as CREATE INDEX CONCURRENTLY finds them. Every role sees these locks,
# but not the start times of other roles' transactions: those count as old. So do transactions of the future, which
# began before the clock was set back. Autovacuum has no user, and saves no state.
_OPEN = """
    SELECT lock.virtualxid, lock.pid, coalesce(activity.usename, '?'), coalesce(activity.application_name, ''),
        activity.xact_start
    FROM pg_locks lock JOIN pg_stat_activity activity ON activity.pid = lock.pid
    WHERE lock.locktype = 'virtualxid' AND lock.mode = 'ExclusiveLock' AND lock.granted
      AND activity.datname = current_database() AND activity.usesysid IS NOT NULL AND lock.pid <> pg_backend_pid()
      AND (activity.xact_start IS NULL OR activity.xact_start < %s OR activity.xact_start > clock_timestamp())
    ORDER BY activity.xact_start, lock.pid"""


class Transaction(NamedTuple):
    """An open transaction of another session."""

    id: str
    pid: int
    role: str
    application: str
    began: datetime | None

    def __str__(self) -> str:
        name = f" {self.application}" if self.application else ""
        since = f", since {self.began:%Y-%m-%d %H:%M:%S}" if self.began else ""
        return f"process {self.pid} ({self.role}{name}{since})"


def wait_until_effective(
    toggled_at: datetime, report: Callable[[Sequence[Transaction]], None], stop: threading.Event
) -> None:
    """Wait until every process has seen a toggle, and all transactions older than that have ended.

    Args:
        report: called with the transactions that are waited for, each time that these change.

    Raises:
        Interrupted: ``stop`` was set.
    """
    now = server_time()
    # A toggle of the future was made before the clock was set back.
    seen_at = min(toggled_at, now) + timedelta(seconds=SECONDS_UNTIL_SEEN)
    left = (seen_at - now).total_seconds()
    if left > 0 and stop.wait(left):
        raise Interrupted("Interrupted while waiting until every process sees the toggle.")
    waited_for = _open_transactions(seen_at)
    reported: Sequence[Transaction] = ()
    while waited_for:
        if waited_for != reported:
            report(waited_for)
            reported = waited_for
        if stop.wait(LOOK_EVERY):
            raise Interrupted(f"Interrupted while waiting for older transactions to end: {listed(waited_for)}.")
        still_open = {each.id for each in _open_transactions(seen_at)}
        waited_for = [each for each in waited_for if each.id in still_open]


def listed(transactions: Sequence[Transaction]) -> str:
    """Name the first of some transactions."""
    return "; ".join(map(str, transactions[:NAMED])) + ("; …" if len(transactions) > NAMED else "")


def server_time() -> datetime:
    """Return the server's time. All times of the rollout are the server's."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        now: datetime = cursor.fetchone()[0]
    return now


def _open_transactions(before: datetime) -> list[Transaction]:
    with connection.cursor() as cursor:
        cursor.execute(_OPEN, [before])
        return [Transaction(*row) for row in cursor.fetchall()]
