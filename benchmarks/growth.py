"""What passes, lists and the runtime cost as the database grows; the figures are kept as JSON and drawn."""

from __future__ import annotations

import json
import resource
import statistics
from collections import defaultdict
from operator import itemgetter
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
from benchmarks.databases import benchmark_database, database
from benchmarks.pages import opened
from benchmarks.plots import PASSES, RESULTS, draw
from benchmarks.runtime import PROJECTS, loads, recordings, saves
from benchmarks.runtime import timed as timed_work

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

SEED, VIEWS, REPEATS, ROUNDS = 2025, 15, 300, 7
RUNS_EACH, EVENTS_EACH = 10, 5
FIGURES = RESULTS / "growth.json"
LISTS = {"list of runs": "agentworkflowrun", "list of projects": "project"}
LAST = "reverse"
WORKS = ("load by hand", "load, AgentKit home", "save by hand", "save, both homes", "event by hand", "event")

# A run of each project that saved a new score into the AgentKit home alone, and its event.
SAVE_EACH = """
    WITH saves AS (
        INSERT INTO "AgentWorkflowRun" (id, workflow_id, project_id, status, result, started_at, completed_at,
                                        snapshot_at, legacy_at)
        SELECT 'save-' || id, 'draft', project_id, 'succeeded',
            jsonb_set(result, '{state,coverage}', '{"score": 0.5}'), moment, moment, moment, legacy_at
        FROM "AgentWorkflowRun", LATERAL (SELECT snapshot_at + interval '1 s' AS moment) past
        WHERE snapshot_at IS NOT NULL
        RETURNING id, snapshot_at
    )
    INSERT INTO "AgentWorkflowRunEvent" (id, run_id, type, payload, created_at)
    SELECT id, id, 'state.changed', '{"coverage": {"score": 0.5}}', snapshot_at FROM saves"""
BYTES_A_ROW = """
    SELECT relname, (pg_total_relation_size(oid) / reltuples)::int FROM pg_class
    WHERE relname IN ('Project', 'AgentWorkflowRun', 'AgentWorkflowRunEvent') AND relkind = 'r'
    ORDER BY relname"""
# Ids that grow, as new ones do. The server checks no foreign key, which would take longer than to write the rows.
PRESENT = (
    "SET session_replication_role = replica",
    """
    INSERT INTO "Project" (id, "userId", name, "coverageJson")
    SELECT 'present-' || lpad(i::text, 9, '0'), 'user', 'Community garden ' || i, '{"score": 0.5}'
    FROM generate_series(1, %(projects)s) i
    """,
    """
    INSERT INTO "AgentWorkflowRun" (id, workflow_id, project_id, status, result, started_at, completed_at, snapshot_at,
                                    legacy_at)
    SELECT project.id || '-' || lpad(n::text, 2, '0'), 'draft', project.id, 'succeeded',
        '{"state": {"coverage": {"score": 0.5}}}', moment, moment, moment, moment
    FROM "Project" project, generate_series(1, %(runs)s) n,
        LATERAL (SELECT project."stateUpdatedAt" - n * interval '1 h' AS moment) past
    WHERE project.id LIKE 'present-%%'
    """,
    """
    INSERT INTO "AgentWorkflowRunEvent" (id, run_id, type, payload, created_at)
    SELECT run.id || '-' || n, run.id, 'draft.progress',
        jsonb_build_object('step', n, 'text', 'Normalized the request'), run.started_at + n * interval '1 s'
    FROM "AgentWorkflowRun" run, generate_series(1, %(events)s) n WHERE run.id LIKE 'present-%%'
    """,
    "RESET session_replication_role",
)


def run(sizes: Sequence[int], present: int, resume: bool, out: TextIO) -> None:
    """Measure in new databases, keep the figures in ``benchmarks/results/``, and draw them for docs/speed.md.

    Each figure is kept as soon as it is there. A size that was interrupted is measured again by a run that resumes.

    Args:
        sizes: how many projects the passes and lists are measured with, each in a database of its own.
        present: with how many projects, each with 10 runs of 5 events, the runtime is measured beside an empty
            database; 0 leaves it out.
        resume: whether to keep the figures of an earlier run and measure only what they lack.
        out: where the figures go.
    """
    figures: dict[str, Any] = json.loads(FIGURES.read_text()) if resume and FIGURES.exists() else {"sizes": []}
    figures["server"] = server()
    for size in sorted(sizes):
        if any(each["projects"] == size and LAST in each for each in figures["sizes"]):
            continue
        others = [each for each in figures["sizes"] if each["projects"] != size]
        for measured in _at_size(size):
            figures["sizes"] = sorted([*others, {"projects": size, **measured}], key=itemgetter("projects"))
            _keep(figures)
        _report(size, measured, out)
    if present and figures.get("runtime", {}).get("projects") != present:
        figures["runtime"] = _runtime(present, out)
        _keep(figures)
    draw()


def _keep(figures: dict[str, Any]) -> None:
    RESULTS.mkdir(exist_ok=True)
    FIGURES.write_text(json.dumps(figures, indent=2) + "\n")


def _at_size(size: int) -> Iterator[dict[str, Any]]:
    """Yield the seconds of what was measured so far, the bytes of a row of each table, and Python's memory."""
    figures: dict[str, Any] = {}

    def keep(**seconds: float) -> dict[str, Any]:
        figures.update({name: round(value, 4) for name, value in seconds.items()})
        figures["memory_mb"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)
        return figures

    with benchmark_database():
        yield keep(seeding=timed(lambda: make_projects(size, SEED)))
        _settle()
        yield keep(forward=timed(forward))
        _settle()
        figures["bytes_a_row"] = _bytes_a_row()
        yield keep(verification=timed(verify))
        client = Client(SERVER_NAME="localhost")
        client.force_login(get_user_model().objects.create_superuser("benchmark"))
        pages = {name: reverse(f"admin:agentstate_{model}_changelist") for name, model in LISTS.items()}
        yield keep(**opened(client, pages, VIEWS))
        execute(SAVE_EACH)
        _settle()
        yield keep(**{LAST: timed(lambda: run_pass(PassOptions(Direction.REVERSE, sessions=False)))})


def _settle() -> None:
    """Leave the rows as on a server that has had time: what is measured is the first to change a page since then."""
    execute("VACUUM ANALYZE")
    execute("CHECKPOINT")


def _report(size: int, figures: dict[str, Any], out: TextIO) -> None:
    passes = ", ".join(f"{name} {figures[name] / size * 1e6:.0f} µs" for name in PASSES)
    lists = ", ".join(f"{name} {figures[name] * 1000:.0f} ms" for name in LISTS)
    share = figures["verification"] / figures["forward"]
    out.write(
        f"{size:,} projects: each {passes}; verification ÷ forward {share:.2f}; {lists}; "
        f"Python {figures['memory_mb']:.0f} MB at most; bytes a row {figures['bytes_a_row']}\n"
    )
    out.flush()


def _bytes_a_row() -> dict[str, int]:
    """Return how many bytes a row of each table takes, with its indexes and what is stored out of line."""
    with connection.cursor() as cursor:
        cursor.execute(BYTES_A_ROW)
        return dict(cursor.fetchall())


def _runtime(present: int, out: TextIO) -> dict[str, Any]:
    """Return the medians in milliseconds of the runtime's work, in turns in a nearly empty and a full database."""
    numbers = {"projects": present, "runs": RUNS_EACH, "events": EVENTS_EACH}
    seconds: dict[str, dict[str, list[float]]] = {each: defaultdict(list) for each in ("empty", "full")}
    with benchmark_database() as empty:
        _make_few()
        with benchmark_database() as full:
            projects = _make_few()
            with connection.cursor() as cursor:
                for statement in PRESENT:
                    cursor.execute(statement, numbers)
            _settle()
            stored = _bytes_a_row()
            for _ in range(ROUNDS):
                for name, times in zip((empty, full), seconds.values(), strict=True):
                    with database(name):
                        _measure(projects, times)
    medians = {
        which: {name: round(statistics.median(each) * 1000, 4) for name, each in times.items()}
        for which, times in seconds.items()
    }
    out.write(f"{'':<24} {'empty':>11} {present * RUNS_EACH * EVENTS_EACH:>15,} events\n")
    out.writelines(
        f"{name:<24} {empty_ms:>8.3f} ms {medians['full'][name]:>8.3f} ms {medians['full'][name] / empty_ms:>8.2f}\n"
        for name, empty_ms in medians["empty"].items()
    )
    out.write(f"bytes a row {stored}\n")
    out.flush()
    counts = {"runs": present * RUNS_EACH, "events": present * RUNS_EACH * EVENTS_EACH}
    return {
        "projects": present,
        **counts,
        "bytes_a_row": stored,
        "empty_ms": medians["empty"],
        "full_ms": medians["full"],
    }


def _make_few() -> list[str]:
    """Make sample projects, and return those that have a snapshot."""
    make_projects(PROJECTS, SEED)
    forward()
    execute("VACUUM ANALYZE")
    return list(AgentWorkflowRun.objects.exclude(snapshot_at=None).values_list("project_id", flat=True))


def _measure(projects: list[str], times: dict[str, list[float]]) -> None:
    """Measure each of the runtime's works once, and add the seconds that it takes."""
    with (
        psycopg.connect(**connection.get_connection_params(), autocommit=True) as bare,
        record("benchmark") as recorder,
    ):
        for work in (*loads(bare, projects), *saves(bare, projects), *recordings(bare, recorder)):
            if work.name in WORKS:
                times[work.name].append(timed_work(work, REPEATS))
