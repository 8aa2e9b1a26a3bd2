"""Loading, saving and recording, beside bare psycopg statements that do the same to the same rows."""

from __future__ import annotations

import json
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import count
from typing import Any, TextIO

import psycopg
from django.db import connection

from agentstate import state
from agentstate.backfill import PassOptions, run_pass
from agentstate.models import AgentWorkflowRun, Flag
from agentstate.models.fields import new_id
from agentstate.models.passes import Direction
from agentstate.recording import Recorder, record
from agentstate.samples import make_projects
from benchmarks.databases import benchmark_database

SEED = 2025
PROJECTS = 200
BULK = 1_000
PAYLOAD = {"step": 7, "text": "Normalized the request for proposals", "sections": ["need", "budget", "evaluation"]}

NEWEST = """
    SELECT result -> 'state' FROM "AgentWorkflowRun" WHERE project_id = %s AND snapshot_at IS NOT NULL
    ORDER BY snapshot_at DESC LIMIT 1"""
EVENT = """
    INSERT INTO "AgentWorkflowRunEvent" (id, run_id, type, payload, created_at)
    VALUES (%s, %s, 'draft.progress', %s, clock_timestamp())"""
SET_COLUMN = """
    UPDATE "Project" SET "coverageJson" = %s WHERE id = %s"""
SNAPSHOT = """
    INSERT INTO "AgentWorkflowRun"
        (id, workflow_id, project_id, status, result, started_at, completed_at, snapshot_at, legacy_at)
    SELECT %s, 'by_hand', id, 'succeeded', jsonb_build_object('state', jsonb_build_object(
            'rfpNorm', "rfpNormJson", 'facts', "factsJson", 'coverage', "coverageJson",
            'conflictLog', "conflictLogJson", 'eligibility', "eligibilityJson")),
        "stateUpdatedAt", "stateUpdatedAt", "stateUpdatedAt", "stateUpdatedAt"
    FROM "Project" WHERE id = %s"""


@dataclass(frozen=True)
class Work:
    """A thing to measure: what is done again and again, given how often it was done before."""

    name: str
    do: Callable[[int], object]
    share: float = 1  # of the repeats, where a thing is large
    gates: dict[str, bool] = field(default_factory=dict)


def run(repeats: int, rounds: int, out: TextIO) -> None:
    """Measure on sample projects in a new database, which is dropped at the end.

    Args:
        repeats: how often each thing is done in a round.
        rounds: how often each thing is measured, in turns; medians count.
        out: where the figures go.
    """
    with benchmark_database(), ExitStack() as stack:
        bare = stack.enter_context(psycopg.connect(**connection.get_connection_params(), autocommit=True))
        make_projects(PROJECTS, SEED)
        run_pass(PassOptions(Direction.FORWARD, sessions=False))
        projects = list(
            AgentWorkflowRun.objects.exclude(snapshot_at=None).order_by("project").values_list("project_id", flat=True)
        )
        recorder = stack.enter_context(record("benchmark"))
        works = [*loads(bare, projects), *saves(bare, projects), *recordings(bare, recorder)]
        seconds: dict[str, list[float]] = defaultdict(list)
        for _ in range(rounds):
            for work in works:
                seconds[work.name].append(timed(work, repeats))
        report({name: statistics.median(times) for name, times in seconds.items()}, out)


def loads(bare: psycopg.Connection[Any], projects: list[str]) -> Iterator[Work]:
    """Load projects in turns: by a bare query of the snapshot, and from each home."""

    def by_hand(number: int) -> None:
        bare.execute(NEWEST, [projects[number % len(projects)]]).fetchone()

    def load(number: int) -> None:
        state.load(projects[number % len(projects)])

    yield Work("load by hand", by_hand)
    yield Work("load, AgentKit home", load, gates={"agentkit_reads": True, "agentkit_shadow_reads": False})
    yield Work("load, legacy home", load, gates={"agentkit_reads": False})
    yield Work("load, shadowed", load, gates={"agentkit_reads": True, "agentkit_shadow_reads": True})


def saves(bare: psycopg.Connection[Any], projects: list[str]) -> Iterator[Work]:
    """Save another score in projects in turns: in both homes by two bare statements, and by a save."""
    scores = (number / 7 for number in count())

    def by_hand(number: int) -> None:
        project = projects[number % len(projects)]
        with bare.transaction():
            bare.execute(SET_COLUMN, [json.dumps({"score": next(scores)}), project])
            bare.execute(SNAPSHOT, [new_id(), project])

    def save(number: int) -> None:
        state.save(projects[number % len(projects)], coverage={"score": next(scores)})

    yield Work("save by hand", by_hand)
    yield Work("save, both homes", save, gates={"agentkit_writes": True, "legacy_writes": True})


def recordings(bare: psycopg.Connection[Any], recorder: Recorder) -> Iterator[Work]:
    """Record events one by one and a thousand at a time: by bare inserts with ids of the same kind, and in a run."""
    by_hand_run = AgentWorkflowRun.objects.get(pk=recorder.run_id)
    by_hand_run.pk = new_id()
    by_hand_run.save(force_insert=True)
    ids = [new_id() for _ in range(BULK)]

    def row(event_id: str) -> tuple[str, str, str]:
        return event_id, by_hand_run.pk, json.dumps(PAYLOAD)

    def one(number: int) -> None:
        bare.execute(EVENT, row(new_id()))

    def many(number: int) -> None:
        with bare.cursor() as cursor:
            cursor.executemany(EVENT, [row(new_id()) for _ in range(BULK)])

    def many_with_ids(number: int) -> None:
        with bare.cursor() as cursor:
            cursor.executemany(EVENT, [row(f"{event_id}{time.monotonic_ns()}") for event_id in ids])

    yield Work("event by hand", one)
    yield Work("event", lambda number: recorder.event("draft.progress", PAYLOAD))
    bulk = 1 / 50
    yield Work("events by hand", many, bulk)
    yield Work("events by hand, cheap ids", many_with_ids, bulk)
    yield Work("events in bulk", lambda number: recorder.events([("draft.progress", PAYLOAD)] * BULK), bulk)


def timed(work: Work, repeats: int) -> float:
    """Return the seconds that a thing takes once, over its share of the repeats."""
    for name, is_open in work.gates.items():
        flag = Flag.objects.get(name=name)
        flag.everyone = is_open
        flag.save()
    times = max(1, int(repeats * work.share))
    work.do(times)  # what is made once is made now
    started = time.perf_counter()
    for number in range(times):
        work.do(number)
    return (time.perf_counter() - started) / times


def report(median: dict[str, float], out: TextIO) -> None:
    """Print the medians and the ratios that they are held to."""
    out.writelines(f"{name:<26} {seconds * 1000:>10.3f} ms\n" for name, seconds in median.items())
    ratios = (
        ("load, AgentKit home", "load by hand", "at most 1.6"),
        ("load, AgentKit home", "load, legacy home", "at most 1.5"),
        ("load, shadowed", "load, AgentKit home", ""),
        ("save, both homes", "save by hand", "at most 2.5"),
        ("event", "event by hand", "at most 1.4"),
        ("events in bulk", "events by hand", "at most 1"),
        ("events in bulk", "events by hand, cheap ids", ""),
    )
    out.writelines(
        f"{f'{ours} / {other}':<48} {median[ours] / median[other]:>8.2f}   {bound}".rstrip() + "\n"
        for ours, other, bound in ratios
    )
