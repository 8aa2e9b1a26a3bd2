"""The plan of a step: its candidates, cut into small ranges of ids that batches are put together from."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from django.db import DatabaseError

from agentstate.backfill.batch import Batch
from agentstate.backfill.errors import concerns_rows
from agentstate.backfill.options import SELECTED, PassOptions
from agentstate.backfill.transactions import TUNE, pass_transaction

if TYPE_CHECKING:
    from collections.abc import Callable

    from agentstate.backfill.pace import BatchSize
    from agentstate.backfill.step import Step

# Candidates in a range of the plan. Batches are whole ranges, or a part of one.
RANGE = 250


class Waiting:
    """The batches of a step that no worker has taken yet. Safe for several threads.

    Args:
        ranges: of the plan, in the order of their ids.
        cut: returns the first candidates of a batch, as many as asked for, and the rest.
    """

    def __init__(self, ranges: list[Batch], cut: Callable[[Batch, int], tuple[Batch, Batch | None]]) -> None:
        self._ranges = deque(ranges)
        self._cut = cut
        self._lock = threading.Lock()

    @property
    def is_empty(self) -> bool:
        return not self._ranges

    def take(self, wanted: BatchSize) -> Batch | None:
        """Take the next batch: as many ranges as the wanted size has room for, or the beginning of one."""
        with self._lock:
            if not self._ranges:
                return None
            batch = self._ranges.popleft()
            while self._ranges and batch.upto == self._ranges[0].after:
                longer = batch + self._ranges[0]
                if not wanted.has_room_for(longer):
                    break
                batch = longer
                self._ranges.popleft()
        if batch.size > 1 and not wanted.has_room_for(batch):
            batch = self.take_first_of(batch, wanted.part_of(batch))
        return batch

    def take_first_of(self, batch: Batch, size: int) -> Batch:
        """Take a batch's first candidates. The rest is the next batch."""
        first, rest = self._cut(batch, size)
        if rest:
            with self._lock:
                self._ranges.appendleft(rest)
        return first

    def put_last(self, batch: Batch) -> None:
        """Put a batch behind all others."""
        with self._lock:
            self._ranges.append(batch)


def plan(steps: Sequence[Step], size: int = RANGE) -> list[list[Batch]]:
    """Find the candidates of steps that share a source, and cut each step's into ranges, in one query.

    Only boundaries come to Python, one for some hundred candidates. A project is a candidate of the first step whose
    condition it meets. The pass ends with the last id of the plan: rows that arrive behind it wait for the next pass.

    Args:
        size: how many candidates a range has.
    """
    batches = _plan_range(steps, None, None, size)
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


def _plan_range(steps: Sequence[Step], after: str | None, upto: str | None, size: int) -> list[list[Batch]]:
    """Plan for the ids above ``after`` up to and including ``upto``.

    A row whose content the conditions cannot read gets a batch of its own, which will fail and leave it aside.
    """
    try:
        return _plan(steps, after, upto, size)
    except DatabaseError as error:
        if not concerns_rows(error):
            raise
        middle, last, count = _halve(steps[0].options, after, upto)
        if count == 1:
            return [[Batch(after, last, 1)], *([] for _ in steps[1:])]
        if not count:
            raise
        lower, upper = _plan_range(steps, after, middle, size), _plan_range(steps, middle, last, size)
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


def _plan(steps: Sequence[Step], after: str | None, upto: str | None, size: int) -> list[list[Batch]]:
    options, source = steps[0].options, steps[0].source
    conditions = " ".join(f"WHEN {step.condition} THEN {place}" for place, step in enumerate(steps))
    with pass_transaction(TUNE) as cursor:
        cursor.execute(
            f"""
            SELECT step, max(id), count(*), coalesce(sum(weight), 0)::bigint FROM (
                SELECT step, id, weight, row_number() OVER (PARTITION BY step ORDER BY id) - 1 AS place FROM (
                    SELECT p.id, CASE {conditions} END AS step, {steps[0].weight} AS weight FROM {source}
                    WHERE {SELECTED} AND {_IN_RANGE}
                ) candidate
                WHERE step IS NOT NULL
            ) numbered
            WHERE %(limit)s::bigint IS NULL OR place < %(limit)s
            GROUP BY step, place / %(range)s ORDER BY step, place / %(range)s
            """,
            {
                **options.selection.parameters,
                **{name: value for step in steps for name, value in step.parameters.items()},
                "after": after,
                "upto": upto,
                "limit": options.selection.limit,
                "range": min(options.batch_size, size),
            },
        )
        batches: list[list[Batch]] = [[] for _ in steps]
        for place, last, size, weight in cursor.fetchall():
            before = batches[place]
            before.append(Batch(before[-1].upto if before else after, last, size, weight))
    return batches
