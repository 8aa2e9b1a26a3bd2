"""The work of others that a pass gives way to: replicas that fall behind, and sessions that wait for locks."""

from __future__ import annotations

import time
from collections import deque

from django.db import connection

from agentstate.backfill.errors import BackfillError
from agentstate.lock_spaces import DIRECTIONS

TABLES = ("Project", "AgentWorkflowRun", "AgentWorkflowRunEvent", "AgentSession", "AgentSessionEntry")

# Sessions that wait for a lock and use one of our tables, but for those of passes.
_WAITING = """
    SELECT count(DISTINCT waiting.pid) FROM pg_locks waiting
    WHERE NOT waiting.granted AND EXISTS (
        SELECT FROM pg_locks used JOIN unnest(%s::text[]) name ON used.relation = to_regclass(quote_ident(name))
        WHERE used.pid = waiting.pid
            AND used.database = (SELECT oid FROM pg_database WHERE datname = current_database())
    ) AND NOT EXISTS (
        SELECT FROM pg_locks ours WHERE ours.pid = waiting.pid AND ours.locktype = 'advisory' AND ours.classid = %s
    )"""
# What each replica has replayed, and how long ago the server itself says that this was written.
_REPLICAS = """
    SELECT coalesce(nullif(application_name, ''), client_addr::text, pid::text), pg_current_wal_lsn() - '0/0',
        replay_lsn - '0/0', coalesce(extract(epoch FROM replay_lag), 0)
    FROM pg_stat_replication WHERE state IN ('streaming', 'catchup') AND replay_lsn IS NOT NULL"""


class ReplicasHidden(BackfillError):
    """This role cannot see how far the replicas are."""

    def __init__(self) -> None:
        super().__init__(
            "--max-lag reads pg_stat_replication, which hides the replicas from this role. Nothing was done. Run "
            "GRANT pg_read_all_stats TO the role, or leave --max-lag out."
        )


def refuse_hidden_replicas() -> None:
    """Check that this role sees how far the replicas are.

    Raises:
        ReplicasHidden: it does not.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_has_role('pg_read_all_stats', 'USAGE')")
        if cursor.fetchone() != (True,):
            raise ReplicasHidden


def count_waiting() -> int:
    """Return how many sessions of others wait for a lock and use one of our tables."""
    with connection.cursor() as cursor:
        cursor.execute(_WAITING, [list(TABLES), DIRECTIONS])
        (count,) = cursor.fetchone()
    return int(count)


class Replicas:
    """How many seconds the replicas are behind.

    The server's own ``replay_lag`` stands still while a replica replays nothing. So this remembers which position was
    written when, and dates what a replica has replayed by that.
    """

    def __init__(self) -> None:
        self._written: deque[tuple[float, int]] = deque(maxlen=10_000)

    def furthest_behind(self) -> tuple[str, float]:
        """Return the name and the lag of the replica that is furthest behind; no name and 0 without a replica."""
        with connection.cursor() as cursor:
            cursor.execute(_REPLICAS)
            replicas = cursor.fetchall()
        if not replicas:
            return "", 0.0
        now = time.monotonic()
        self._written.append((now, int(replicas[0][1])))
        lags = [(max(float(lag), self._age(int(replayed), now)), name) for name, _, replayed, lag in replicas]
        lag, name = max(lags)
        oldest = min(int(replayed) for _, _, replayed, _ in replicas)
        while len(self._written) > 1 and self._written[1][1] <= oldest:
            self._written.popleft()
        return name, lag

    def _age(self, replayed: int, now: float) -> float:
        """Return how long ago the first position was written that a replica has not replayed."""
        return next((now - at for at, position in self._written if position > replayed), 0.0)
