"""Count what reads of both homes show: by the hour, with samples of the differences.

Each process counts in memory. A thread of its own adds the counts to the tables once a second, on its own connection.
A read therefore never waits for the counts, nor shares a transaction with them. A killed process loses the counts of
its last second.
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

    from agentstate.state.shadowing import DocumentDifference, Reading

    Counted = tuple[str, str, str]  # a finding, its reason, and the project that fell back
    Sample = tuple[datetime, str, DocumentDifference]

SAMPLES = 100  # kept of each state key
SECONDS = 1.0
PATIENCE = 5.0  # seconds that an ending process waits for its last counts to be written

_ACCEPTED_REASONS = ("no_snapshot", "legacy_ahead")

DISPATCH_UID = "agentstate.read_counts"

logger = logging.getLogger(__name__)

# In one order for all processes: two that add to the same counts would deadlock otherwise.
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
    """The counts that are not in the tables yet."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[Counted] = Counter()
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
        """Add the counts to the tables. Return whether that succeeded; otherwise they are kept for the next time."""
        with self._lock:
            counts, self._counts = self._counts, Counter()
            samples, self._samples = self._samples, _no_samples()
        if not counts:
            return True
        try:
            _write(counts, [sample for kept in samples.values() for sample in kept])
        except Exception as error:  # counting must survive any error
            self._take_back(counts, samples)
            if not self._fails:
                logger.warning("The counts of reads cannot be written for now: %s", error)
            self._fails = True
        else:
            self._fails = False
        return not self._fails

    def _take_back(self, counts: Counter[Counted], samples: dict[str, deque[Sample]]) -> None:
        with self._lock:
            self._counts.update(counts)
            for key, kept in samples.items():
                kept.extend(self._samples[key])
                self._samples[key] = kept


def _no_samples() -> defaultdict[str, deque[Sample]]:
    return defaultdict(lambda: deque(maxlen=SAMPLES))


class Counting:
    """Counts readings. A thread writes the counts once a second."""

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
        """Start empty in a forked process: the parent writes the counts from before."""
        self._begin()

    def stop(self) -> None:
        """Write the last counts, and end the thread."""
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
        self._counts.flush()  # readings that arrived during the last write
        close_old_connections()


def _findings(reading: Reading) -> Iterator[Counted]:
    if reading.fell_back:
        yield ReadCount.Finding.FALLBACK.value, reading.fell_back, reading.project_id
    if reading.lag:
        yield ReadCount.Finding.LAG.value, reading.lag, ""
    if reading.differences is not None:
        yield ReadCount.Finding.COMPARED.value, "", ""
        for difference in reading.differences:
            yield ReadCount.Finding.DIFFERENCE.value, difference.key, ""


def _by_reason(counts: Counter[Counted]) -> Counter[tuple[str, str]]:
    """Return the counts without the projects. Fallbacks of projects that an operator gave up count as accepted."""
    fell_back = {project for _, _, project in counts if project}
    given_up = with_accepted_columns(fell_back)
    by_reason: Counter[tuple[str, str]] = Counter()
    for (finding, reason, project), count in counts.items():
        is_accepted = project in given_up and reason in _ACCEPTED_REASONS
        by_reason[finding, ReadCount.GIVEN_UP if is_accepted else reason] += count
    return by_reason


def _write(counts: Counter[Counted], samples: list[Sample]) -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        by_reason = _by_reason(counts)
        findings, reasons = zip(*by_reason, strict=True)
        cursor.execute(
            _ADD, {"findings": list(findings), "reasons": list(reasons), "counts": list(by_reason.values())}
        )
        if samples:
            cursor.executemany(
                _KEEP,
                [(at, project_id, *difference) for at, project_id, difference in samples],
            )
            cursor.execute(_FORGET)


counting = Counting()


def start_counting() -> None:
    """Start counting the reads of this process."""
    readings_made.connect(counting.note, dispatch_uid=DISPATCH_UID)
    atexit.register(counting.stop)
    os.register_at_fork(after_in_child=counting.forget_in_child)
