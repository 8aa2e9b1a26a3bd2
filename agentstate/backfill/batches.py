"""Batches: planned once, moved by one or more connections, retried on a conflict, split on a failure."""

from __future__ import annotations

import queue
import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from django.db import DatabaseError, connection

from agentstate.backfill import locks
from agentstate.backfill.errors import concerns_rows, is_transient, waited_for_lock
from agentstate.backfill.options import IN_BATCH, SELECTED, PassOptions
from agentstate.backfill.outcome import Counts, Failure
from agentstate.backfill.step import Step
from agentstate.backfill.transactions import TUNE, pass_transaction
from agentstate.state.columns import MOVES_STATE

ATTEMPTS = 10
# A batch that waits for one row's lock still holds the others. It times out after 1 s and is split until the blocked
# project has a batch of its own.
LOCK_TIMEOUT = "SET LOCAL lock_timeout = '1s'"


@dataclass(frozen=True)
class Batch:
    """The candidates with ids above ``after`` (None: from the first) up to and including ``upto``."""

    after: str | None
    upto: str
    size: int


def plan(steps: Sequence[Step]) -> list[list[Batch]]:
    """Find the candidates of steps that share a source, and cut each step's into batches, in one query.

    Only boundaries come to Python: its memory does not grow with the table. A project is a candidate of the first step
    whose condition it meets.
    """
    batches = _plan_range(steps, None, None)
    limit = steps[0].options.selection.limit
    return batches if limit is None else [_within(limit, each) for each in batches]


def _within(limit: int, batches: list[Batch]) -> list[Batch]:
    """Return the first batches, with as many candidates as the limit allows. The parts of a plan are limited each."""
    kept: list[Batch] = []
    for batch in batches:
        if limit > 0:
            kept.append(replace(batch, size=min(batch.size, limit)))
        limit -= batch.size
    return kept


def _plan_range(steps: Sequence[Step], after: str | None, upto: str | None) -> list[list[Batch]]:
    """Plan for the ids above ``after`` up to and including ``upto``.

    A row whose content the conditions cannot read gets a batch of its own, which will fail and leave it aside.
    """
    try:
        return _plan(steps, after, upto)
    except DatabaseError as error:
        if not concerns_rows(error):
            raise
        middle, last, count = _halve(steps[0].options, after, upto)
        if count == 1:
            return [[Batch(after, last, 1)], *([] for _ in steps[1:])]
        if not count:
            raise
        lower, upper = _plan_range(steps, after, middle), _plan_range(steps, middle, last)
        return [first + second for first, second in zip(lower, upper, strict=True)]


def _halve(options: PassOptions, after: str | None, upto: str | None) -> tuple[str, str, int]:
    """Return the id in the middle of a range, the last one, and how many projects the range has."""
    with pass_transaction() as cursor:
        cursor.execute(
            f"""
            SELECT (array_agg(id ORDER BY id))[(count(*) + 1) / 2], max(id), count(*) FROM "Project" p
            WHERE {SELECTED} AND {_IN_RANGE}
            """,
            {**options.selection.parameters, "after": after, "upto": upto},
        )
        middle, last, count = cursor.fetchone()
    return middle, last, count


# Either end can be open.
_IN_RANGE = "(%(after)s::text IS NULL OR p.id > %(after)s) AND (%(upto)s::text IS NULL OR p.id <= %(upto)s)"


def _plan(steps: Sequence[Step], after: str | None, upto: str | None) -> list[list[Batch]]:
    options, source = steps[0].options, steps[0].source
    conditions = " ".join(f"WHEN {step.condition} THEN {place}" for place, step in enumerate(steps))
    with pass_transaction(TUNE) as cursor:
        cursor.execute(
            f"""
            SELECT step, max(id), count(*) FROM (
                SELECT step, id, row_number() OVER (PARTITION BY step ORDER BY id) - 1 AS place FROM (
                    SELECT p.id, CASE {conditions} END AS step FROM {source}
                    WHERE {SELECTED} AND {_IN_RANGE}
                ) candidate
                WHERE step IS NOT NULL
            ) numbered
            WHERE %(limit)s::bigint IS NULL OR place < %(limit)s
            GROUP BY step, place / %(batch_size)s ORDER BY step, place / %(batch_size)s
            """,
            {
                **options.selection.parameters,
                **{name: value for step in steps for name, value in step.parameters.items()},
                "after": after,
                "upto": upto,
                "limit": options.selection.limit,
                "batch_size": options.batch_size,
            },
        )
        batches: list[list[Batch]] = [[] for _ in steps]
        for place, last, size in cursor.fetchall():
            before = batches[place]
            before.append(Batch(before[-1].upto if before else after, last, size))
    return batches


class Mover:
    """Moves a step's batches with the options' number of connections.

    Args:
        step: what to do with a batch.
        progress: called after each batch, by one thread at a time, with the batch's size and counts.
        stop: set by the caller to end after the running batches.
    """

    def __init__(self, step: Step, progress: Callable[[int, Counts], None], stop: threading.Event) -> None:
        self.step = step
        self.progress = progress
        self.stop = stop
        self._failed = threading.Event()
        self._reporting = threading.Lock()

    def move_all(self, batches: list[Batch]) -> None:
        """Move the batches.

        Raises:
            DatabaseError: the server failed; projects that were moved stay moved.
        """
        waiting: queue.SimpleQueue[Batch] = queue.SimpleQueue()
        for batch in batches:
            waiting.put(batch)
        workers = min(self.step.options.workers, len(batches))
        if workers <= 1:
            self._drain(waiting)
            return
        errors: list[BaseException] = []
        threads = [
            # Daemon threads: a second Ctrl-C exits at once, and the server rolls unfinished batches back.
            threading.Thread(target=self._work, args=(waiting, errors), name=f"worker-{number}", daemon=True)
            for number in range(1, workers + 1)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if errors:
            raise errors[0]

    def _work(self, waiting: queue.SimpleQueue[Batch], errors: list[BaseException]) -> None:
        try:
            with locks.shared_for(self.step.options):
                self._drain(waiting)
        except BaseException as error:
            self._failed.set()
            errors.append(error)
        finally:
            connection.close()

    def _drain(self, waiting: queue.SimpleQueue[Batch]) -> None:
        while not (self.stop.is_set() or self._failed.is_set()):
            try:
                batch = waiting.get_nowait()
            except queue.Empty:
                return
            counts = self._move(batch)
            with self._reporting:
                self.progress(batch.size, counts)

    def _move(self, batch: Batch) -> Counts:
        """Move a batch; if it fails for single projects, move the others."""
        try:
            return self._attempt(batch)
        except DatabaseError as error:
            if not (concerns_rows(error) or is_transient(error)):
                raise
            return self._move_parts(batch, error)

    def _attempt(self, batch: Batch) -> Counts:
        """Move a batch in one transaction. Retry on transient errors."""
        settings = (TUNE, LOCK_TIMEOUT, MOVES_STATE) if batch.size > 1 else (TUNE, MOVES_STATE)
        for attempt in range(1, ATTEMPTS + 1):
            try:
                with pass_transaction(*settings) as cursor:
                    if self.step.options.dry_run:
                        cursor.execute("SET TRANSACTION READ ONLY")
                        return self.step.preview(cursor, self._parameters(batch))
                    return self.step.move(cursor, self._parameters(batch))
            except DatabaseError as error:
                is_split = batch.size > 1 and waited_for_lock(error)
                if is_split or not is_transient(error) or attempt == ATTEMPTS:
                    raise
                time.sleep(random.uniform(0.5, 1) * min(2.0, 0.02 * 2**attempt))
        raise AssertionError("the loop returns or raises")

    def _move_parts(self, batch: Batch, error: DatabaseError) -> Counts:
        """Split a failed batch until the project that it failed for has a batch of its own."""
        ids = self._ids(batch)
        if len(ids) == 1 and batch.size == 1:
            return Counts(failures=[Failure(ids[0], type(error.__cause__).__name__, str(error).strip())])
        counts = Counts()
        middle = len(ids) // 2
        if middle:
            counts += self._move(Batch(batch.after, ids[middle - 1], middle))
        if ids:
            counts += self._move(Batch(ids[middle - 1] if middle else batch.after, ids[-1], len(ids) - middle))
        return counts

    def _ids(self, batch: Batch) -> list[str]:
        """Return the ids of a batch's candidates; of all its projects if the conditions cannot read one of them."""
        try:
            with pass_transaction() as cursor:
                return self.step.find(cursor, self._parameters(batch))
        except DatabaseError as error:
            if not concerns_rows(error):
                raise
        with pass_transaction() as cursor:
            cursor.execute(f'SELECT p.id FROM "Project" p WHERE {IN_BATCH} ORDER BY p.id', self._parameters(batch))
            return [project_id for (project_id,) in cursor.fetchall()]

    def _parameters(self, batch: Batch) -> dict[str, Any]:
        selection = self.step.options.selection
        return {
            **selection.parameters,
            **self.step.parameters,
            "after": batch.after,
            "upto": batch.upto,
            # With a limit, projects that became candidates after planning wait for the next pass.
            "limit": batch.size if selection.limit is not None else None,
        }
