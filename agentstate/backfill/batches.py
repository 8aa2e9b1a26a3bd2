"""Batches: moved by one or more connections at the pass's pace, retried on a conflict, split on a failure."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

from django.db import DatabaseError, connection

from agentstate.backfill import locks
from agentstate.backfill.batch import Batch
from agentstate.backfill.counts import Counts, Failure
from agentstate.backfill.errors import concerns_rows, is_transient, timed_out, waited_for_lock
from agentstate.backfill.options import IN_BATCH
from agentstate.backfill.pace import BatchSize, Throttle
from agentstate.backfill.planning import Waiting
from agentstate.backfill.step import Step
from agentstate.backfill.transactions import BY_INDEX, TUNE, pass_transaction
from agentstate.state.columns import MOVES_STATE

# Of a batch that meets a deadlock or its like, which costs next to nothing.
ATTEMPTS = 10
# Of a batch that exceeds a time limit. Each further attempt is for half of it.
ATTEMPTS_IN_TIME = 3
# A batch that waits for one row's lock still holds the others.
LOCK_TIMEOUT = "SET LOCAL lock_timeout = '1s'"


class Moved(NamedTuple):
    """What a worker did with a batch: how many candidates it is done with, what it wrote, the seconds of work."""

    size: int
    counts: Counts
    seconds: float


class Mover:
    """Moves a step's batches with the options' number of connections.

    Args:
        step: what to do with a batch.
        progress: called after each batch, by one thread at a time.
        stop: set by the caller to end after the running batches.
        throttle: says when a batch may begin.
    """

    def __init__(
        self, step: Step, progress: Callable[[Moved], None], stop: threading.Event, throttle: Throttle
    ) -> None:
        self.step = step
        self.progress = progress
        self.stop = stop
        self.throttle = throttle
        self._size = BatchSize(step.options.batch_size, throttle.pacing.target_seconds)
        self._waiting = Waiting([], self._cut)
        self._failed = threading.Event()
        self._reporting = threading.Lock()

    def move_all(self, ranges: list[Batch]) -> None:
        """Move the candidates in these ranges.

        Raises:
            DatabaseError: the server failed; projects that were moved stay moved.
        """
        self._waiting = Waiting(ranges, self._cut)
        workers = min(self.step.options.workers, len(ranges))
        if workers <= 1:
            self._drain()
            return
        errors: list[BaseException] = []
        threads = [
            # Daemon threads: a second Ctrl-C exits at once, and the server rolls unfinished batches back.
            threading.Thread(target=self._work, args=(errors,), name=f"worker-{number}", daemon=True)
            for number in range(1, workers + 1)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if errors:
            raise errors[0]

    def _work(self, errors: list[BaseException]) -> None:
        try:
            with locks.shared_for(self.step.options):
                self._drain()
        except BaseException as error:
            self._failed.set()
            errors.append(error)
        finally:
            connection.close()

    def _drain(self) -> None:
        worked = self.throttle.unrested
        while not self._waiting.is_empty and self.throttle.admit(worked) and not self._failed.is_set():
            batch = self._waiting.take(self._size)
            if batch is None:
                return
            began = time.monotonic()
            size, counts = self._move(batch, ATTEMPTS_IN_TIME)
            self.throttle.unrested = worked = time.monotonic() - began
            if size == batch.size:
                self._size.learn(batch, worked, self.throttle.pacing.target_seconds)
            with self._reporting:
                self.progress(Moved(size, counts, worked))

    def _move(self, batch: Batch, attempts: int) -> tuple[int, Counts]:
        """Move a batch; if it exceeds a time limit, the half of it; if it fails for single projects, the others.

        Args:
            batch: its rest becomes the next batch if only its beginning is moved.
            attempts: how many attempts at it may exceed a time limit before it is split.

        Returns:
            How many candidates were dealt with, and what was written.
        """
        try:
            return batch.size, self._attempt(batch)
        except DatabaseError as error:
            if not (concerns_rows(error) or is_transient(error)):
                raise
            if timed_out(error) and attempts > 1 and not self.stop.is_set():
                self._size.halve(batch)
                self.stop.wait(random.uniform(0.5, 1) * 0.4 * 2 ** (ATTEMPTS_IN_TIME - attempts))
                half = self._waiting.take_first_of(batch, batch.size // 2) if batch.size > 1 else batch
                return self._move(half, attempts - 1)
            if waited_for_lock(error) and batch.size == 1:
                # Others go first. The pass comes back to it until the lock is free.
                self._waiting.put_last(batch)
                return 0, Counts()
            return self._move_parts(batch, error)

    def _attempt(self, batch: Batch) -> Counts:
        """Move a batch in one transaction. Retry on transient errors, but for time limits."""
        for attempt in range(1, ATTEMPTS + 1):
            try:
                with pass_transaction(TUNE, BY_INDEX, LOCK_TIMEOUT, MOVES_STATE) as cursor:
                    if self.step.options.dry_run:
                        cursor.execute("SET TRANSACTION READ ONLY")
                        return self.step.preview(cursor, self.step.parameters_of(batch))
                    return self.step.move(cursor, self.step.parameters_of(batch))
            except DatabaseError as error:
                if timed_out(error) or not is_transient(error) or attempt == ATTEMPTS:
                    raise
                time.sleep(random.uniform(0.5, 1) * min(2.0, 0.02 * 2**attempt))
        raise AssertionError("the loop returns or raises")

    def _move_parts(self, batch: Batch, error: DatabaseError) -> tuple[int, Counts]:
        """Split a failed batch until the project that it failed for has a batch of its own."""
        ids = self._ids(batch)
        if len(ids) == 1 and batch.size == 1:
            return 1, Counts(failures=[Failure(ids[0], type(error.__cause__).__name__, str(error).strip())])
        # What is no candidate any more needs no further look.
        done, counts = batch.size - len(ids), Counts()
        middle = len(ids) // 2
        parts = [Batch(batch.after, ids[middle - 1], middle)] if middle else []
        if ids:
            parts.append(Batch(ids[middle - 1] if middle else batch.after, ids[-1], len(ids) - middle))
        for part in parts:
            size, moved = self._move(part, 1)
            done, counts = done + size, counts.__iadd__(moved)
        return done, counts

    def _ids(self, batch: Batch) -> list[str]:
        """Return the ids of a batch's candidates; of all its projects if the conditions cannot read one of them."""
        try:
            with pass_transaction() as cursor:
                return self.step.find(cursor, self.step.parameters_of(batch))
        except DatabaseError as error:
            if not concerns_rows(error):
                raise
        with pass_transaction() as cursor:
            cursor.execute(
                f'SELECT p.id FROM "Project" p WHERE {IN_BATCH} ORDER BY p.id', self.step.parameters_of(batch)
            )
            return [project_id for (project_id,) in cursor.fetchall()]

    def _cut(self, batch: Batch, size: int) -> tuple[Batch, Batch | None]:
        """Return a batch of the first candidates of another, and the rest of it.

        A batch with a project that the conditions cannot read stays whole. It fails, and is split then.
        """
        try:
            with pass_transaction() as cursor:
                ids = self.step.find(cursor, {**self.step.parameters_of(batch), "limit": size})
        except DatabaseError as error:
            if not concerns_rows(error):
                raise
            return batch, None
        if not ids or ids[-1] == batch.upto:
            return batch, None
        weight = batch.weight * size // batch.size
        rest = Batch(ids[-1], batch.upto, batch.size - size, batch.weight - weight)
        return replace(batch, upto=ids[-1], size=size, weight=weight), rest
