"""What passes, lists and the runtime cost as the database grows; the figures are kept as JSON and drawn."""

from __future__ import annotations

import json
import resource
import statistics
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import psycopg
from django.contrib.auth import get_user_model
from django.db import connection
from django.test import Client
from django.urls import reverse

from agentstate.backfill import PassOptions, run_pass
from agentstate.backfill.verification import verify
from agentstate.models import AgentWorkflowRun
from agentstate.models.passes import Direction
from agentstate.recording import record
from agentstate.samples import make_projects
from benchmarks.backfill import execute, forward, server, timed
from benchmarks.databases import benchmark_database
from benchmarks.pages import opened
from benchmarks.plots import draw
from benchmarks.runtime import PROJECTS, loads, recordings, saves
from benchmarks.runtime import timed as timed_work

if TYPE_CHECKING:
    from collections.abc import Sequence

SEED, VIEWS, REPEATS, ROUNDS = 2025, 15, 300, 7
RUNS_EACH, EVENTS_EACH = 10, 5
RESULTS = Path(__file__).parent / "results"
LISTS = {"list of runs": "agentworkflowrun", "list of projects": "project"}
WORKS = ("load by hand", "load, AgentKit home", "save by hand", "save, both homes", "event by hand", "event")

# Snapshots that no pass has brought into the columns.
MOVE_AHEAD = """UPDATE "AgentWorkflowRun" SET snapshot_at = snapshot_at + interval '1 second'"""
PRESENT = (
    """
    INSERT INTO "Project" (id, "userId", name, "coverageJson")
    SELECT 'present-' || i, 'user', 'Community garden ' || i, '{"score": 0.5}' FROM generate_series(1, %(projects)s) i
    """,
    """
    INSERT INTO "AgentWorkflowRun" (id, workflow_id, project_id, status, result, started_at, completed_at, snapshot_at,
                                    legacy_at)
    SELECT 'present-' || i || '-' || n, 'draft', 'present-' || i, 'succeeded',
        '{"state": {"coverage": {"score": 0.5}}}', moment, moment, moment, moment
    FROM generate_series(1, %(projects)s) i, generate_series(1, %(runs)s) n,
        LATERAL (SELECT now() - i * interval '1 s' - n * interval '1 day' AS moment) past
    """,
    """
    INSERT INTO "AgentWorkflowRunEvent" (id, run_id, type, payload, created_at)
    SELECT run.id || '-' || n, run.id, 'draft.progress',
        jsonb_build_object('step', n, 'text', 'Normalized the request'), run.started_at + n * interval '1 s'
    FROM "AgentWorkflowRun" run, generate_series(1, %(events)s) n WHERE run.id LIKE 'present-%%'
    """,
)


def run(sizes: Sequence[int], present: int, out: TextIO) -> None:
    """Measure in new databases, keep the figures in ``benchmarks/results/``, and draw them for docs/speed.md.

    Args:
        sizes: how many projects the passes and lists are measured with, each in a database of its own.
        present: with how many projects, each with 10 runs of 5 events, the runtime is measured beside an empty
            database; 0 leaves it out.
        out: where the figures go.
    """
    figures: dict[str, Any] = {"server": server(), "sizes": []}
    for size in sorted(sizes):
        figures["sizes"].append(_at_size(size, out))
    if present:
        figures["runtime"] = _runtime(present, out)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "growth.json").write_text(json.dumps(figures, indent=2) + "\n")
    draw()


def _at_size(size: int, out: TextIO) -> dict[str, float]:
    with benchmark_database():
        seconds = {"seeding": timed(lambda: make_projects(size, SEED))}
        execute('VACUUM ANALYZE "Project"')
        seconds["forward"] = timed(forward)
        execute("VACUUM ANALYZE")
        seconds["verification"] = timed(verify)
        execute(MOVE_AHEAD)
        execute("VACUUM ANALYZE")
        seconds["reverse"] = timed(lambda: run_pass(PassOptions(Direction.REVERSE, sessions=False)))
        execute("VACUUM ANALYZE")
        client = Client(SERVER_NAME="localhost")
        client.force_login(get_user_model().objects.create_superuser("benchmark"))
        pages = {name: reverse(f"admin:agentstate_{model}_changelist") for name, model in LISTS.items()}
        seconds |= opened(client, pages, VIEWS)
    figures = {"projects": size, **{name: round(value, 4) for name, value in seconds.items()}}
    figures["memory_mb"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)
    passes = ", ".join(
        f"{name} {seconds[name] / size * 1e6:.0f} µs" for name in ("forward", "reverse", "verification")
    )
    lists = ", ".join(f"{name} {seconds[name] * 1000:.0f} ms" for name in LISTS)
    share = seconds["verification"] / seconds["forward"]
    out.write(
        f"{size:,} projects: each {passes}; verification ÷ forward {share:.2f}; {lists}; "
        f"Python {figures['memory_mb']:.0f} MB at most\n"
    )
    out.flush()
    return figures


def _runtime(present: int, out: TextIO) -> dict[str, Any]:
    """Return the medians in milliseconds of the runtime's work, in an almost empty database and in a full one."""
    numbers = {"projects": present, "runs": RUNS_EACH, "events": EVENTS_EACH}
    with benchmark_database():
        make_projects(PROJECTS, SEED)
        forward()
        projects = list(AgentWorkflowRun.objects.exclude(snapshot_at=None).values_list("project_id", flat=True))
        execute("VACUUM ANALYZE")
        empty = _medians(projects)
        with connection.cursor() as cursor:
            for statement in PRESENT:
                cursor.execute(statement, numbers)
        execute("VACUUM ANALYZE")
        full = _medians(projects)
    out.writelines(
        f"{name:<24} {empty[name]:>8.3f} ms {full[name]:>8.3f} ms {full[name] / empty[name]:>8.2f}\n" for name in WORKS
    )
    counts = {"runs": present * RUNS_EACH, "events": present * RUNS_EACH * EVENTS_EACH}
    return {"projects": present, **counts, "empty_ms": empty, "full_ms": full}


def _medians(projects: list[str]) -> dict[str, float]:
    times: dict[str, list[float]] = defaultdict(list)
    with (
        psycopg.connect(**connection.get_connection_params(), autocommit=True) as bare,
        record("benchmark") as recorder,
    ):
        works = [*loads(bare, projects), *saves(bare, projects), *recordings(bare, recorder)]
        for _ in range(ROUNDS):
            for work in works:
                if work.name in WORKS:
                    times[work.name].append(timed_work(work, REPEATS))
    return {name: round(statistics.median(seconds) * 1000, 4) for name, seconds in times.items()}
