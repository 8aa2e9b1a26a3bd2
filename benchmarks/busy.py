"""A steady load of application writes: their latencies without a pass, beside one, and beside a throttled one."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import statistics
import threading
import time
from typing import TYPE_CHECKING, NamedTuple

from django.db import connection

from agentstate.backfill import Pacing, PassOptions, run_pass
from agentstate.models import AgentWorkflowRun
from agentstate.models.passes import Direction
from agentstate.samples import make_projects
from benchmarks.backfill import empty_tables, execute, server
from benchmarks.databases import benchmark_database

if TYPE_CHECKING:
    from typing import TextIO

WRITERS = 4
A_SECOND = 25  # writes of each writer
MEASURED = 20.0  # seconds
PASSES = {
    "alone": None,
    "pass": Pacing(),
    "throttled": Pacing(target_seconds=0.1, sleep_ratio=2),
}
FORK = multiprocessing.get_context("fork")


def run(count: int, rounds: int, out: TextIO) -> None:
    """Measure in a new database, which is dropped at the end.

    Args:
        count: how many sample projects. The pass should take longer than the measurement.
        rounds: how often each is measured, in turns; medians count.
        out: where the figures go.
    """
    with benchmark_database():
        make_projects(count, 2025)
        execute('VACUUM ANALYZE "Project"')
        out.write(
            f"{server()}, {count:,} projects, {WRITERS} writers of {A_SECOND} writes a second, {rounds} rounds\n"
        )
        found: dict[str, list[Measured]] = {name: [] for name in PASSES}
        for _ in range(rounds):
            for name, pacing in PASSES.items():
                found[name].append(measure(pacing))
        for name, figures in found.items():
            median, p99, moved = (statistics.median(each) for each in zip(*figures, strict=True))
            ratio = statistics.median(
                figure.p99 / alone.p99 for figure, alone in zip(figures, found["alone"], strict=True)
            )
            bound = "at most 1.5" if name == "throttled" else ""
            out.write(
                f"{name:<10} p50 {median * 1000:6.1f} ms, p99 {p99 * 1000:6.1f} ms, {ratio:5.2f} times alone, "
                f"{moved:6,.0f} projects a second   {bound}\n"
            )


class Measured(NamedTuple):
    """The writes' latencies in seconds, and how many projects the pass moved in a second."""

    median: float
    p99: float
    moved: float


def measure(pacing: Pacing | None) -> Measured:
    """Write for a while beside a pass, or without one."""
    empty_tables()
    execute("CHECKPOINT")
    connection.close()  # a forked process would share it
    latencies: list[float] = []
    ended = threading.Event()
    mover = FORK.Process(target=move, args=(pacing,)) if pacing else None
    if mover:
        mover.start()
    threads = [threading.Thread(target=write, args=(number, latencies, ended)) for number in range(WRITERS)]
    for thread in threads:
        thread.start()
    time.sleep(MEASURED)
    ended.set()
    for thread in threads:
        thread.join()
    if mover:
        if not mover.is_alive():
            raise RuntimeError("The pass ended before the measurement: take more projects with --count.")
        mover.terminate()
        mover.join()
    moved = AgentWorkflowRun.objects.count() / MEASURED
    return Measured(statistics.median(latencies), statistics.quantiles(latencies, n=100)[98], moved)


def move(pacing: Pacing) -> None:
    """Run a forward pass, in a process of its own as an operator does."""
    keep_to(max(os.sched_getaffinity(0)))
    run_pass(PassOptions(Direction.FORWARD, sessions=False, pacing=pacing))


def keep_to(core: int) -> None:
    """Keep this thread, and the process of a local server that works for it, to one core.

    A server with cores to spare runs a write at once. On two cores it waits now and then until the kernel interrupts
    the pass, which would hide what the pass itself does to it.
    """
    connection.ensure_connection()
    os.sched_setaffinity(0, {core})
    if connection.connection.info.host.startswith("/"):
        os.sched_setaffinity(connection.connection.info.backend_pid, {core})


def write(number: int, latencies: list[float], ended: threading.Event) -> None:
    """Change a column of one project after the other. A late write does not delay the next ones.

    They are due at random moments, as `pgbench --rate` does it: writers that keep step would wait for each other.
    """
    try:
        keep_to(min(os.sched_getaffinity(0)))
        with connection.cursor() as cursor:
            cursor.execute('SELECT id FROM "Project" WHERE hashtext(id) %% 97 = %s ORDER BY md5(id)', [number])
            projects = [project for (project,) in cursor.fetchall()]
            chance, due, done = random.Random(number), time.perf_counter(), 0
            while not ended.is_set():
                due += chance.expovariate(A_SECOND)
                time.sleep(max(0.0, due - time.perf_counter()))
                cursor.execute(
                    'UPDATE "Project" SET "coverageJson" = %s WHERE id = %s',
                    [json.dumps({"score": done % 100}), projects[done % len(projects)]],
                )
                # From when it was due: what a user waits, also behind a slow write.
                latencies.append(time.perf_counter() - due)
                done += 1
    finally:
        connection.close()
