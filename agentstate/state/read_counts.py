"""Counting what reads of both homes found: per hour, with samples of the differences.

Each process counts in memory, and its own thread adds the counts to the tables once a second, on a connection of its
own. So a read waits for nothing and shares no transaction with the counts; a process that is killed loses the last
second's.
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
from collections import Counter, defaultdict, deque
from typing import TYPE_CHECKING, Any

from django.db import close_old_connections, connection, transaction
from django.utils import timezone

from agentstate.models import ReadCount
from agentstate.state.acceptance import with_accepted_columns
from agentstate.state.shadowing import readings_made

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime

    from agentstate.state.shadowing import Difference, Reading

    Found = tuple[str, str, str]  # a finding, its reason, and the project that fell back
    Sample = tuple[datetime, str, Difference]

SAMPLES = 100  # kept of each state key
SECONDS = 1.0
PATIENCE = 5.0  # seconds that the end of a process waits for the last counts

_OF_WHAT_IS_NOT_MOVED = ("no_snapshot", "legacy_ahead")

DISPATCH_UID = "agentstate.read_counts"

logger = logging.getLogger(__name__)

# Ordered, so that two processes that add to the same counts wait for one another and don't deadlock.
_ADD = """
    INSERT INTO "AgentStateReadCount" AS kept (hour, finding, reason, count)
    SELECT date_trunc('hour', clock_timestamp(), 'UTC'), finding, reason, count
    FROM unnest(%(findings)s::text[], %(reasons)s::text[], %(counts)s::bigint[]) noted (finding, reason, count)
    ORDER BY finding, reason
    ON CONFLICT (hour, finding, reason) DO UPDATE SET count = kept.count + excluded.count"""
_KEEP = """
    INSERT INTO "AgentStateReadDifference" (at, project_id, state_key, path, legacy, agentkit)
    VALUES (%s, %s, %s, %s, %s, %s)"""
_FORGET = f"""
    DELETE FROM "AgentStateReadDifference" WHERE id IN (
        SELECT id FROM (
            SELECT id, row_number() OVER (PARTITION BY state_key ORDER BY id DESC) FROM "AgentStateReadDifference"
        ) sample WHERE row_number > {SAMPLES})"""


class ReadCounts:
    """What reads found and is not yet in the tables."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[Found] = Counter()
        self._samples: defaultdict[str, deque[Sample]] = _no_samples()
        self._fails = False

    def note(self, readings: Iterable[Reading], **kwargs: Any) -> None:
        """Count readings."""
        now = timezone.now()
        with self._lock:
            for reading in readings:
                self._counts.update(_findings(reading))
                for difference in reading.differences or ():
                    self._samples[difference.key].append((now, reading.project_id, difference))

    def flush(self) -> bool:
        """Add what was noted to the tables, and tell whether that worked; else it is kept for the next time."""
        with self._lock:
            counts, self._counts = self._counts, Counter()
            samples, self._samples = self._samples, _no_samples()
        if not counts:
            return True
        try:
            _write(counts, [sample for kept in samples.values() for sample in kept])
        except Exception as error:  # whatever it is: counting goes on
            self._take_back(counts, samples)
            if not self._fails:
                logger.warning("What reads found is not counted for now: %s", error)
            self._fails = True
        else:
            self._fails = False
        return not self._fails

    def _take_back(self, counts: Counter[Found], samples: dict[str, deque[Sample]]) -> None:
        with self._lock:
            self._counts.update(counts)
            for key, kept in samples.items():
                kept.extend(self._samples[key])
                self._samples[key] = kept


def _no_samples() -> defaultdict[str, deque[Sample]]:
    return defaultdict(lambda: deque(maxlen=SAMPLES))


class Counting:
    """Counts readings, and has a thread of its own write the counts once a second."""

    def __init__(self) -> None:
        self._begin()

    def _begin(self) -> None:
        self._counts = ReadCounts()
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None
        self._noted, self._ending = threading.Event(), threading.Event()

    def note(self, readings: Iterable[Reading], **kwargs: Any) -> None:
        """Count readings; they are in the tables within a second or so."""
        self._counts.note(readings)
        with self._starting:
            if self._thread is None:
                self._thread = threading.Thread(target=self._write, name="read counts", daemon=True)
                self._thread.start()
        self._noted.set()

    def forget_in_child(self) -> None:
        """Begin anew in a process that was forked: what was noted before, its parent writes."""
        self._begin()

    def stop(self) -> None:
        """Write what was noted, and end the thread."""
        self._ending.set()
        self._noted.set()
        if self._thread is not None:
            self._thread.join(PATIENCE)

    def _write(self) -> None:
        while not self._ending.is_set():
            self._noted.wait()
            self._noted.clear()
            self._ending.wait(SECONDS)
            if not self._counts.flush():
                self._noted.set()
            close_old_connections()
        self._counts.flush()  # what was noted while the last ones were written
        close_old_connections()


def _findings(reading: Reading) -> Iterator[Found]:
    if reading.fell_back:
        yield ReadCount.Finding.FALLBACK.value, reading.fell_back, reading.project_id
    if reading.lag:
        yield ReadCount.Finding.LAG.value, reading.lag, ""
    if reading.differences is not None:
        yield ReadCount.Finding.COMPARED.value, "", ""
        for difference in reading.differences:
            yield ReadCount.Finding.DIFFERENCE.value, difference.key, ""


def _by_reason(counts: Counter[Found]) -> Counter[tuple[str, str]]:
    """Return the counts without the projects: of those whose move was given up, a fallback is what was accepted."""
    fell_back = {project for _, _, project in counts if project}
    given_up = with_accepted_columns(fell_back)
    found: Counter[tuple[str, str]] = Counter()
    for (finding, reason, project), count in counts.items():
        is_accepted = project in given_up and reason in _OF_WHAT_IS_NOT_MOVED
        found[finding, ReadCount.GIVEN_UP if is_accepted else reason] += count
    return found


def _write(counts: Counter[Found], samples: list[Sample]) -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        found = _by_reason(counts)
        findings, reasons = zip(*found, strict=True)
        cursor.execute(_ADD, {"findings": list(findings), "reasons": list(reasons), "counts": list(found.values())})
        if samples:
            cursor.executemany(
                _KEEP,
                [
                    (at, project_id, found.key, found.path, found.legacy, found.agentkit)
                    for at, project_id, found in samples
                ],
            )
            cursor.execute(_FORGET)


counting = Counting()


def start_counting() -> None:
    """Count what the reads of this process find, from now on."""
    readings_made.connect(counting.note, dispatch_uid=DISPATCH_UID)
    atexit.register(counting.stop)
    os.register_at_fork(after_in_child=counting.forget_in_child)
