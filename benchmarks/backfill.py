"""The forward pass, its second run and verification, beside what one would write by hand."""

from __future__ import annotations

import statistics
import time
from collections import defaultdict
from collections.abc import Callable
from typing import TextIO

from django.db import connection

from agentstate.backfill import PassOptions, run_pass
from agentstate.backfill.verification import verify
from agentstate.models.passes import Direction
from agentstate.samples import make_projects
from benchmarks.by_hand import one_shot, orm_loop
from benchmarks.databases import benchmark_database

SEED = 2025
JSONB = {
    "AgentWorkflowRun": ("input", "result"),
    "AgentWorkflowRunEvent": ("payload",),
}


def run(count: int, rounds: int, orm_count: int, out: TextIO) -> None:
    """Measure everything on sample projects in a new database, which is dropped at the end.

    Args:
        count: how many sample projects.
        rounds: how often each thing is measured, in turns; medians count.
        orm_count: the size of the slice that the ORM loop writes.
        out: where the figures go.
    """
    with benchmark_database():
        make_projects(count, SEED)
        execute('VACUUM ANALYZE "Project"')
        lz4 = has_lz4()
        out.write(f"{server()}, {count:,} sample projects, medians of {rounds}, lz4 {'on' if lz4 else 'not there'}\n")
        seconds: dict[str, list[float]] = defaultdict(list)
        for number in range(1, rounds + 1):
            measure_round(seconds, lz4, out if number == 1 else None)
            out.write(f"round {number}: {', '.join(f'{name} {times[-1]:.2f} s' for name, times in seconds.items())}\n")
            out.flush()
        empty_tables()
        seconds["ORM loop, each project"].append(timed(lambda: orm_loop(orm_count)) / orm_count)
        report({name: statistics.median(times) for name, times in seconds.items()}, count, out)


def measure_round(seconds: dict[str, list[float]], lz4: bool, out: TextIO | None) -> None:
    """Measure each thing once; in the first round, hold our rows against those of the one-shot statement."""
    empty_tables()
    seconds["one shot"].append(timed(one_shot))
    by_hand = checksum() if out else None
    empty_tables()
    seconds["one worker"].append(timed(forward))
    if out and by_hand:
        same = checksum() == by_hand
        out.write(f"rows of the one-shot statement and of the pass: {'the same' if same else 'DIFFERENT'}\n")
    seconds["second pass"].append(timed(forward))
    seconds["verification"].append(timed(verify))
    empty_tables()
    seconds["two workers"].append(timed(lambda: forward(workers=2)))
    if lz4:
        compress("pglz")
        empty_tables()
        seconds["one worker, pglz"].append(timed(forward))
        compress("default")


def report(median: dict[str, float], count: int, out: TextIO) -> None:
    """Print the medians and the ratios that they are held to."""
    one_worker = median["one worker"]
    loop = median["ORM loop, each project"] * count
    out.writelines(f"{name:<24} {seconds:>10.4f} s\n" for name, seconds in median.items())
    ratios = [
        ("one shot / one worker", median["one shot"] / one_worker, "at least 0.9"),
        ("one worker / two workers", one_worker / median["two workers"], "at least 1.5"),
        ("ORM loop / one worker", loop / one_worker, "at least 20"),
        ("second pass / one worker", median["second pass"] / one_worker, "at most 0.02"),
        ("verification / one worker", median["verification"] / one_worker, "at most 0.5"),
    ]
    if "one worker, pglz" in median:
        ratios.append(("pglz / lz4", median["one worker, pglz"] / one_worker, "what lz4 brings"))
    out.writelines(f"{name:<26} {ratio:>8.3f}   {bound}\n" for name, ratio, bound in ratios)


def forward(workers: int = 1) -> None:
    """Run the forward pass without sessions."""
    run_pass(PassOptions(Direction.FORWARD, workers=workers, sessions=False))


def timed(work: Callable[[], object]) -> float:
    """Return the seconds that a piece of work takes, started on a server that has nothing left to write."""
    execute("CHECKPOINT")
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def empty_tables() -> None:
    """Take the runs and their events away."""
    execute('TRUNCATE "AgentWorkflowRun" CASCADE')
    execute('VACUUM ANALYZE "AgentWorkflowRun", "AgentWorkflowRunEvent", "AgentSession"')


def compress(method: str) -> None:
    """Set the compression of the jsonb columns."""
    for table, columns in JSONB.items():
        for column in columns:
            execute(f'ALTER TABLE "{table}" ALTER COLUMN {column} SET COMPRESSION {method}')


def has_lz4() -> bool:
    """Return whether the server was built with lz4, which the passes then use."""
    return bool(value("SELECT 'lz4' = ANY (enumvals) FROM pg_settings WHERE name = 'default_toast_compression'"))


def server() -> str:
    """Return the server's name and version."""
    return f"PostgreSQL {value('SHOW server_version')}"


def checksum() -> object:
    """Return a checksum of all runs and events."""
    return value(
        """
        SELECT (SELECT md5(string_agg(md5(r::text), '' ORDER BY id)) FROM "AgentWorkflowRun" r),
               (SELECT md5(string_agg(md5(e::text), '' ORDER BY id)) FROM "AgentWorkflowRunEvent" e)
        """,
        whole_row=True,
    )


def execute(sql: str) -> None:
    """Run a statement."""
    with connection.cursor() as cursor:
        cursor.execute(sql)


def value(sql: str, *, whole_row: bool = False) -> object:
    """Return a query's only value, or its only row."""
    with connection.cursor() as cursor:
        cursor.execute(sql)
        row: tuple[object, ...] = cursor.fetchone()
    return row if whole_row else row[0]
