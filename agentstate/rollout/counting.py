"""Counting in the background: the figures behind "may I advance?", kept in the database for all processes.

A count takes as long as ``verify_agentkit_state``, so no request waits for its end. One count runs at a time on a
database: its lock belongs to the transaction that counts, and ends with the process. A count whose process died leaves
a row without an end, which the next one removes.
"""

from __future__ import annotations

import logging
import threading
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from django.db import DatabaseError, connection
from psycopg import errors

from agentstate.actors import actor
from agentstate.background import in_background
from agentstate.isolation import read_committed
from agentstate.lock_spaces import COUNTS
from agentstate.models import BackfillPass, FlagChange, KeptVerification, StepRequest, UnequalProject
from agentstate.models.runs import ClockTimestamp
from agentstate.rollout.figures import Figures
from agentstate.rollout.waiting import server_time

if TYPE_CHECKING:
    from datetime import datetime

    from django.db.backends.utils import CursorWrapper

logger = logging.getLogger(__name__)

_LOCK, _KEEPING = (COUNTS, 0), (COUNTS, 1)
# A count is repeated after this time, or after ten times what it took.
FRESH, TIMES_AS_LONG = timedelta(minutes=5), 10
RETRY_AFTER = timedelta(minutes=1)  # where the last count failed
TO_BEGIN = 5.0  # seconds that a request waits for a count to begin
BEGINS_WITHIN = timedelta(seconds=10)  # a count need not hold its lock until then
UNEQUAL_AT_ONCE = 5_000
_MAY_ONLY_READ = (errors.InsufficientPrivilege, errors.ReadOnlySqlTransaction, errors.UndefinedTable)

# While it counts it holds one of the two locks, while it keeps the figures the other.
_IS_COUNTING = """
    SELECT EXISTS (
        SELECT FROM pg_locks WHERE locktype = 'advisory' AND granted AND objsubid = 2 AND classid = %s
            AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))"""


class AlreadyCounting(Exception):
    """Another process is counting on this database."""


@dataclass(frozen=True)
class Counted:
    """What is known, and what is being counted.

    Attributes:
        kept: the newest verification that has figures.
        figures: its figures.
        running: the count that some process is making now.
        failed: the newest count, if it failed.
    """

    kept: KeptVerification | None
    figures: Figures | None
    running: KeptVerification | None
    failed: KeptVerification | None

    @classmethod
    def read(cls) -> Counted:
        """Read the newest rows. Figures that another version of agentstate kept in another shape count as none."""
        kept, figures = KeptVerification.objects.newest(), None
        if kept:
            with suppress(KeyError, TypeError, ValueError):
                figures = Figures.from_json(kept.figures)
        last = KeptVerification.objects.order_by("-started_at", "-pk").first()
        return cls(
            kept if figures else None,
            figures,
            last if last and last.ended_at is None and (_has_just_begun(last) or _is_counting()) else None,
            last if last and last.error else None,
        )

    @property
    def behind(self) -> timedelta:
        """How far the replica was behind that was counted on; nothing for the primary."""
        return timedelta(seconds=self.figures.seconds_behind if self.figures else 0)

    @property
    def is_due(self) -> bool:
        """Whether a new count is needed: the kept one is too old, or what it depends on changed after it."""
        if self.running:
            return False
        now = server_time()
        if self.failed and now - self.failed.started_at < RETRY_AFTER:
            return False
        if self.kept is None or now - self.kept.started_at > max(FRESH, TIMES_AS_LONG * self.kept.lasted):
            return True
        return _has_changed_since(self.kept.started_at)


def _has_changed_since(moment: datetime) -> bool:
    """Return whether a flag changed, a pass ended, or a step was refused, which then counted other figures."""
    newest_change = FlagChange.objects.order_by("-pk").first()
    if newest_change and newest_change.changed_at > moment:
        return True
    refused = StepRequest.objects.filter(outcome=StepRequest.Outcome.REFUSED, ended_at__gt=moment)
    return BackfillPass.objects.filter(ended_at__gt=moment).exists() or refused.exists()


def count_in_background(wait: float) -> None:
    """Count in a thread of its own, and wait so many seconds for its end: a small database is counted by then.

    It has begun before this returns, so that a page can say so.
    """
    begun = threading.Event()
    thread = in_background("rollout count", lambda: _count_and_log(begun))
    begun.wait(TO_BEGIN)
    thread.join(wait)


def count_now(begun: threading.Event | None = None) -> bool:
    """Count, and keep the figures. Return whether this process did: another one may be counting.

    Args:
        begun: set once others can see that it is being counted.

    Raises:
        Exception: whatever counting, or keeping the figures, raises; the row keeps it.
    """
    row = KeptVerification.objects.create(started_at=server_time(), requested_by=actor())
    if begun:
        begun.set()
    try:
        _keep(row, Figures.count(_claim))
    except AlreadyCounting:
        row.delete()
        return False
    except Exception as error:
        KeptVerification.objects.filter(pk=row.pk).update(
            ended_at=ClockTimestamp(), error=f"{type(error).__name__}: {error}"
        )
        raise
    return True


def keep(figures: Figures, started_at: datetime) -> None:
    """Keep figures that another count made, for the page of the rollout. A role that may only read keeps none."""
    try:
        with read_committed():
            _keep(KeptVerification.objects.create(started_at=started_at, requested_by=actor()), figures)
    except DatabaseError as error:
        if not isinstance(error.__cause__, _MAY_ONLY_READ):
            raise


def _count_and_log(begun: threading.Event) -> None:
    try:
        count_now(begun)
    except Exception:  # the row has the error too
        logger.exception("The count for the rollout's page failed")
    finally:
        begun.set()


def _claim(cursor: CursorWrapper) -> None:
    cursor.execute("SELECT pg_try_advisory_xact_lock(%s, %s)", _LOCK)
    if not cursor.fetchone()[0]:
        raise AlreadyCounting


def _has_just_begun(row: KeptVerification) -> bool:
    return server_time() - row.started_at < BEGINS_WITHIN


def _is_counting() -> bool:
    with connection.cursor() as cursor:
        cursor.execute(_IS_COUNTING, [COUNTS])
        return bool(cursor.fetchone()[0])


def _keep(row: KeptVerification, figures: Figures) -> None:
    """Store the figures, and remove what they replace. A count that was replaced while it was made stores nothing."""
    with read_committed(), connection.cursor() as cursor:
        # Two that keep their figures at once would wait for each other's rows.
        cursor.execute("SELECT pg_advisory_xact_lock(%s, %s)", _KEEPING)
        if not KeptVerification.objects.filter(pk=row.pk).update(ended_at=ClockTimestamp(), figures=figures.as_json()):
            return
        UnequalProject.objects.bulk_create(
            (
                UnequalProject(verification=row, project_id=project)
                for project in figures.verification.unequal_projects
            ),
            batch_size=UNEQUAL_AT_ONCE,
        )
        replaced = KeptVerification.objects.filter(started_at__lt=row.started_at)
        UnequalProject.objects.filter(verification__in=replaced).delete()
        replaced.delete()
