"""What a pass expects before it begins, from its plan and a sample of it, and the outcome held against it."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, Self

from django.db import DatabaseError, connection

from agentstate.backfill.batch import Batch
from agentstate.backfill.counts import Counts
from agentstate.backfill.transactions import TUNE, pass_transaction
from agentstate.models.passes import BackfillPass

if TYPE_CHECKING:
    from agentstate.backfill.options import PassOptions
    from agentstate.backfill.step import Step

SAMPLES, SAMPLE_SIZE = 5, 20
# A row of a run or a session with its indexes, and one of an event, beside their documents.
BYTES_OF_RUN, BYTES_OF_EVENT = 700, 450
# How much longer it takes to write what a dry run only counts.
TIMES_SLOWER = (1.5, 8.0)
TABLES = ("Project", "AgentWorkflowRun", "AgentWorkflowRunEvent", "AgentSession")
# Passes that moved fewer projects than this say nothing about the rate.
TELLING = 1000


class Made(Protocol):
    """What a pass has done so far, as its outcome or its entry in the ledger counts it."""

    written: int
    merged: int
    runs: int
    events: int
    sessions: int


class Compared(NamedTuple):
    """A figure of an expectation, and what became of it."""

    name: str
    expected: int
    happened: int


@dataclass
class Expectation:
    """What a pass will probably write.

    Attributes:
        projects: its candidates, counted.
        runs, events, sessions: estimated from a sample.
        bytes: of the documents as stored, which PostgreSQL knows.
        disk: the bytes that the tables and their indexes will probably grow by.
        free: the bytes that are free where the server keeps its data; None where this process cannot see that.
        seconds: the shortest and the longest probable time, without the time that it waits for others. Of a shared
            pass the work of all its workers.
        used: the bytes of the tables and their indexes before.
        grown, took: by how many bytes they grew, and the seconds that it worked; None until the end.
    """

    projects: int = 0
    runs: int = 0
    events: int = 0
    sessions: int = 0
    bytes: int = 0
    disk: int = 0
    free: int | None = None
    seconds: tuple[float, float] = (0.0, 0.0)
    used: int = 0
    grown: int | None = None
    took: float | None = None

    @property
    def is_nothing(self) -> bool:
        return not (self.projects or self.sessions)

    @classmethod
    def recorded(cls, expected: Any) -> Self | None:
        """Return the expectation as an entry of the ledger has it; None where it has none, or one of another shape."""
        try:
            low, high = expected["seconds"]
            numbers = {name: expected[name] for name in (*_COUNTS, *_UNKNOWN, "took")}
        except (KeyError, TypeError, ValueError):
            return None
        counts = [numbers[name] for name in (*_COUNTS, *_UNKNOWN) if name in _COUNTS or numbers[name] is not None]
        times = (low, high, 0 if numbers["took"] is None else numbers["took"])
        is_sound = all(type(each) is int for each in counts) and all(map(_is_time, times))
        return cls(seconds=(low, high), **numbers) if is_sound else None

    def as_json(self) -> dict[str, Any]:
        """Return it as the ledger keeps it."""
        return asdict(self) | {"seconds": [round(each, 1) for each in self.seconds]}

    def hold_against(self, seconds: float) -> None:
        """Note by how much the tables have grown, and how long the pass worked."""
        self.grown, self.took = disk_used() - self.used, seconds

    def compared(self, made: Made) -> list[Compared]:
        """Return what was expected of a pass and what it made."""
        return [
            Compared("projects", self.projects, made.written + made.merged),
            Compared("runs", self.runs, made.runs),
            Compared("events", self.events, made.events),
            Compared("sessions", self.sessions, made.sessions),
        ]


_COUNTS = ("projects", "runs", "events", "sessions", "bytes", "disk", "used")
_UNKNOWN = ("free", "grown")  # may be
_LONGEST = 1e10  # seconds


def _is_time(seconds: Any) -> bool:
    return type(seconds) in (int, float) and 0 <= seconds < _LONGEST


def expect(options: PassOptions, planned: list[tuple[Step, list[Batch]]]) -> Expectation:
    """Look at a sample of what was planned, without changing anything."""
    expected, seconds = Expectation(free=_free_disk(), used=disk_used()), 0.0
    for step, ranges in planned:
        size = sum(batch.size for batch in ranges)
        if not size:
            continue
        counts, sampled, took = _sample(step, ranges)
        share = size / sampled if sampled else 0.0
        expected.projects += size if step.moves_state else 0
        expected.runs += round(counts.runs * share)
        expected.events += round(counts.events * share)
        expected.sessions += round(counts.sessions * share)
        expected.bytes += sum(batch.weight for batch in ranges)
        seconds += took * share / min(options.workers, len(ranges))
    rows = (expected.runs + expected.sessions) * BYTES_OF_RUN + expected.events * BYTES_OF_EVENT
    expected.disk = expected.bytes + rows
    expected.seconds = _seconds(options, expected.projects) or (seconds * TIMES_SLOWER[0], seconds * TIMES_SLOWER[1])
    return expected


def _sample(step: Step, ranges: list[Batch]) -> tuple[Counts, int, float]:
    """Preview the first candidates of some ranges; return what they would write, their number and the seconds.

    The time to find them is left out: it is the same for a whole batch.
    """
    counts, sampled, took = Counts(), 0, 0.0
    for batch in ranges[:: max(1, len(ranges) // SAMPLES)][:SAMPLES]:
        size = min(batch.size, SAMPLE_SIZE)
        with suppress(DatabaseError), pass_transaction(TUNE) as cursor:
            cursor.execute("SET TRANSACTION READ ONLY")
            ids = step.find(cursor, {**step.parameters_of(batch), "limit": size})
            if ids:
                began = time.monotonic()
                counts += step.preview(cursor, step.parameters_of(Batch(batch.after, ids[-1], len(ids))))
                sampled += len(ids)
                took += time.monotonic() - began
    return counts, sampled, took


def _seconds(options: PassOptions, projects: int) -> tuple[float, float] | None:
    """Return the time by the rates of former passes with as many workers; None if the ledger has none."""
    former = BackfillPass.objects.filter(
        direction=options.direction,
        outcome=BackfillPass.Outcome.FINISHED,
        ranges=None,
        options__workers=options.workers,
        options__sessions=options.sessions,
        written__gte=TELLING,
    ).order_by("-pk")[:5]
    rates = [entry.rate for entry in former if entry.rate]
    return (0.8 * projects / max(rates), 1.25 * projects / min(rates)) if rates else None


def _free_disk() -> int | None:
    """Return the free bytes where the server keeps its data, if it runs on this machine and this role may ask."""
    host = str(connection.get_connection_params().get("host") or "")
    if not (host.startswith("/") or host in ("", "localhost", "127.0.0.1", "::1")):
        return None
    with suppress(DatabaseError, OSError), pass_transaction() as cursor:
        cursor.execute("SHOW data_directory")
        (folder,) = cursor.fetchone()
        state = os.statvfs(folder)
        return state.f_bavail * state.f_frsize
    return None


def disk_used() -> int:
    """Return the bytes of the tables that a pass writes, with their indexes and what is stored out of line."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT coalesce(sum(pg_total_relation_size(to_regclass(quote_ident(name)))), 0) "
            "FROM unnest(%s::text[]) name",
            [list(TABLES)],
        )
        (size,) = cursor.fetchone()
    return int(size)
