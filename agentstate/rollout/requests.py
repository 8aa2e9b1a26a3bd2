"""Steps that were requested on a page: taken in a thread of the web process, with their progress in a table.

The thread runs what ``manage.py agentkit_rollout`` runs. A request is alive while its connection holds the lock of the
request's id. If the web process ends, the step stops at its next safe point; if it is killed, the server rolls the
running statement back. Either way, the same step can be requested again and continues.
"""

from __future__ import annotations

import atexit
import logging
import threading
import time
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import TYPE_CHECKING, NamedTuple

from django.db import InterfaceError, OperationalError, connection

from agentstate.actors import actor
from agentstate.backfill import BackfillError
from agentstate.backfill.locks import release
from agentstate.backfill.poolers import refuse_transaction_pooling
from agentstate.background import in_background
from agentstate.lock_spaces import REQUESTS
from agentstate.models import StepRequest
from agentstate.models.runs import ClockTimestamp
from agentstate.rollout.errors import Interrupted, RolloutError
from agentstate.rollout.stages import Position, Stage
from agentstate.rollout.steps import StepMonitor, advance, retreat
from agentstate.rollout.waiting import listed, server_time
from agentstate.row_security import RowsHidden

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from django.db.models import QuerySet

    from agentstate.backfill import Progress
    from agentstate.models import RolloutStep
    from agentstate.rollout.waiting import Transaction

logger = logging.getLogger(__name__)

REPORT_EVERY = 1.0  # seconds
BEGINS_WITHIN = timedelta(seconds=10)  # until then a request need not hold its lock
STORE_AGAIN_AFTER = (1, 2, 4, 8, 15, 30, 60)  # seconds between attempts to store an outcome
PATIENCE = 10.0  # seconds that an ending process waits for the next safe point

_ALIVE = """
    SELECT objid::bigint FROM pg_locks
    WHERE locktype = 'advisory' AND granted AND objsubid = 2 AND classid = %s
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"""

# The threads of this process, each with the event that stops its step.
_running: dict[threading.Thread, threading.Event] = {}


def take_in_background(request: StepRequest, wait: float) -> StepRequest:
    """Store a request, take its step in a thread, and wait so many seconds for its end.

    Returns:
        The stored request, as it is after that time.
    """
    request.requested_by, request.requested_at = actor(), server_time()
    request.save(force_insert=True)
    stop = threading.Event()
    thread = in_background("rollout step", _Taking(request, stop).run)
    for ended in [each for each in _running if not each.is_alive()]:
        del _running[ended]
    _running[thread] = stop
    thread.join(wait)
    request.refresh_from_db()
    return request


def newest_request() -> StepRequest | None:
    """Return the request whose step is being taken, or else the newest; those whose process died are marked first."""
    running = StepRequest.objects.filter(outcome=StepRequest.Outcome.RUNNING)
    if dead := _without_lock(running):
        # One of them may have ended after it was read.
        running.filter(pk__in=dead).update(outcome=StepRequest.Outcome.KILLED, ended_at=ClockTimestamp())
    return running.order_by("pk").first() or StepRequest.objects.order_by("-pk").first()


class _Ended(NamedTuple):
    """How a request ended: its outcome, what to say of it, and the step that was taken."""

    outcome: StepRequest.Outcome
    message: str = ""
    step: RolloutStep | None = None


def _failed(error: Exception) -> _Ended:
    return _Ended(StepRequest.Outcome.FAILED, f"{type(error).__name__}: {error}")


class _Taking:
    """A request whose step is being taken, in a thread of its own."""

    def __init__(self, request: StepRequest, stop: threading.Event) -> None:
        self._request, self._stop = request, stop
        self._reported_at = 0.0

    def run(self) -> None:
        """Take the step, and store how it ended."""
        ended: _Ended | None = None
        try:
            with _alive(self._request):
                ended = self._attempt()
                # Still under the lock: a running request without it counts as one whose process died.
                self._end(ended)
        except BackfillError as error:  # a pooler shares the connections
            self._end(_Ended(StepRequest.Outcome.REFUSED, str(error)))
        except Exception as error:
            logger.exception("The requested step failed, or its outcome could not be stored")
            self._end_later(ended or _failed(error))

    def _attempt(self) -> _Ended:
        """Take the step, and return how it ended."""
        try:
            return _Ended(StepRequest.Outcome.TAKEN, step=self._take())
        except Interrupted as error:
            return _Ended(StepRequest.Outcome.INTERRUPTED, str(error))
        except (RolloutError, BackfillError, RowsHidden) as error:
            return _Ended(StepRequest.Outcome.REFUSED, str(error))
        except Exception as error:
            logger.exception("The requested step failed")
            return _failed(error)

    def _take(self) -> RolloutStep:
        request = self._request
        monitor = StepMonitor(progress=self._progress, waiting=self._wait, stop=self._stop)
        seen = Position(Stage(request.stage), request.percent)
        if request.action == StepRequest.Action.RETREAT:
            return retreat(percent=request.to_percent, monitor=monitor, seen=seen)
        self._report("Checking the conditions.")
        override = request.reason if request.overrides else ""
        return advance(percent=request.to_percent, override=override, monitor=monitor, seen=seen)

    def _progress(self, progress: Progress) -> None:
        now = time.monotonic()
        if progress.total and (now - self._reported_at >= REPORT_EVERY or progress.done == progress.total):
            self._reported_at = now
            self._report(f"{progress.step}: {progress.done:,} of {progress.total:,} projects.")

    def _wait(self, transactions: Sequence[Transaction]) -> None:
        self._report(f"Waiting for older transactions to end ({len(transactions)}): {listed(transactions)}.")

    def _report(self, message: str) -> None:
        StepRequest.objects.filter(pk=self._request.pk).update(message=message)

    def _end_later(self, ended: _Ended) -> None:
        """Store the outcome on another connection: this one may be lost, and the lock with it.

        A server that restarts or fails over accepts none for a while. Until then others show the request as killed.
        """
        for pause in STORE_AGAIN_AFTER:
            connection.close()
            with suppress(OperationalError, InterfaceError):
                self._end(ended)
                return
            self._stop.wait(pause)
        connection.close()
        self._end(ended)

    def _end(self, ended: _Ended) -> None:
        StepRequest.objects.filter(pk=self._request.pk).update(**ended._asdict(), ended_at=ClockTimestamp())


@contextmanager
def _alive(request: StepRequest) -> Iterator[None]:
    refuse_transaction_pooling()
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(%s, %s)", [REQUESTS, request.pk])
    try:
        yield
    finally:
        release("pg_advisory_unlock", (REQUESTS, request.pk))


def _without_lock(running: QuerySet[StepRequest]) -> set[int]:
    """Return the ids of the running requests that hold no lock, though they had the time to take it."""
    # In this order: one that begins in between is not among those that were read.
    begun = set(running.filter(requested_at__lt=server_time() - BEGINS_WITHIN).values_list("pk", flat=True))
    if not begun:
        return begun
    with connection.cursor() as cursor:
        cursor.execute(_ALIVE, [REQUESTS])
        return begun - {pk for (pk,) in cursor.fetchall()}


@atexit.register
def _stop_at_a_safe_point() -> None:
    for stop in _running.values():
        stop.set()
    end = time.monotonic() + PATIENCE
    for thread in _running:
        thread.join(max(0.0, end - time.monotonic()))
