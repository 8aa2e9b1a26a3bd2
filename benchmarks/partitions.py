"""The events in one table, beside the same rows in a table that is partitioned by a hash of their run."""

from __future__ import annotations

import json
import statistics
import time
from collections import defaultdict
from random import Random
from typing import TYPE_CHECKING, NamedTuple, TextIO

from django.db import connection

from benchmarks.backfill import execute, server
from benchmarks.databases import benchmark_database
from benchmarks.plots import RESULTS

if TYPE_CHECKING:
    from collections.abc import Iterator

SEED = 2025
PLAIN, HASHED, PARTITIONS = "plain", "hashed", 16
TABLES = (PLAIN, HASHED)
EVENTS_A_RUN, PAGE, BULK, PRUNED_RUNS = 50, 20, 1_000, 500
# The same columns and indexes. A partitioned table's primary key must contain the run.
MAKE = (
    f'CREATE TABLE {PLAIN} (LIKE "AgentWorkflowRunEvent" INCLUDING DEFAULTS, PRIMARY KEY (id))',
    f"""
    CREATE TABLE {HASHED} (LIKE "AgentWorkflowRunEvent" INCLUDING DEFAULTS, PRIMARY KEY (id, run_id))
    PARTITION BY HASH (run_id)""",
    *(
        f"""
        CREATE TABLE {HASHED}_{number} PARTITION OF {HASHED}
        FOR VALUES WITH (MODULUS {PARTITIONS}, REMAINDER {number})"""
        for number in range(PARTITIONS)
    ),
)
OTHER_INDEXES = """
    SELECT replace(pg_get_indexdef(indexrelid), quote_ident(relname) || ' ON', 'ON') FROM pg_index
    JOIN pg_class ON pg_class.oid = indexrelid
    WHERE indrelid = '"AgentWorkflowRunEvent"'::regclass AND NOT indisprimary"""


def an_id(number: str) -> str:
    """Return the SQL of an id. As new ids do, those of runs and of events grow with time."""
    return f"'c' || lpad(({number})::text, 12, '0') || substr(md5(({number})::text), 1, 12)"


WRITE = f"""
    INSERT INTO {{table}} (id, run_id, type, payload, created_at)
    SELECT {an_id("n")}, {an_id(f"n / {EVENTS_A_RUN}")}, 'draft.progress',
        jsonb_build_object('step', n, 'text', 'Normalized the request for proposals'),
        timestamptz '2025-01-01' + n * interval '10 ms'
    FROM generate_series(%(first)s::bigint, %(last)s::bigint) n"""
PAGE_OF_RUN = f"""
    SELECT * FROM {{table}} WHERE run_id = {an_id("%(first)s::bigint")} ORDER BY created_at {{order}} LIMIT {PAGE}"""
PRUNE = f"""
    DELETE FROM {{table}} WHERE run_id = ANY (ARRAY(
        SELECT {an_id("n")} FROM generate_series(%(first)s::bigint, %(last)s::bigint) n))"""


class Work(NamedTuple):
    """A thing to measure: a statement, and the first and last number of each of its executions."""

    name: str
    statement: str
    numbers: list[tuple[int, int]]


def run(events: int, repeats: int, rounds: int, out: TextIO) -> None:
    """Measure in a new database, which is dropped at the end, and keep the figures in ``benchmarks/results/``.

    Args:
        events: how many each table has, 50 a run.
        repeats: how often each small thing is done in a round.
        rounds: in each, both tables take turns; medians count.
        out: where the figures go.
    """
    seconds: dict[str, dict[str, float]] = {}
    with benchmark_database():
        for statement in (*MAKE, *_other_indexes()):
            execute(statement)
        fill = Work("fill", WRITE, [(0, events - 1)])
        seconds["fill, an event"] = {table: _timed(fill, table) / events for table in TABLES}
        execute(f"VACUUM ANALYZE {PLAIN}, {HASHED}")
        times: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
        for number, works in enumerate(_rounds(events, repeats, rounds)):
            for work in works:
                for table in TABLES if number % 2 else reversed(TABLES):
                    times[work.name][table].append(_timed(work, table))
        for name, by_table in times.items():
            seconds[name] = {table: statistics.median(each) for table, each in by_table.items()}
    figures = {name: {table: round(each[table] * 1000, 5) for table in TABLES} for name, each in seconds.items()}
    RESULTS.mkdir(exist_ok=True)
    kept = {"server": server(), "events": events, "partitions": PARTITIONS, "milliseconds": figures}
    (RESULTS / "partitions.json").write_text(json.dumps(kept, indent=2) + "\n")
    out.write(f"{server()}, {events:,} events, {PARTITIONS} partitions\n")
    out.writelines(
        f"{name:<20} {each[PLAIN]:>10.4f} ms {each[HASHED]:>10.4f} ms   ÷ plain {each[HASHED] / each[PLAIN]:.2f}\n"
        for name, each in figures.items()
    )


def _other_indexes() -> Iterator[str]:
    with connection.cursor() as cursor:
        cursor.execute(OTHER_INDEXES)
        definitions = [definition for (definition,) in cursor.fetchall()]
    for table in TABLES:
        for definition in definitions:
            yield definition.replace('public."AgentWorkflowRunEvent"', table)


def _rounds(events: int, repeats: int, rounds: int) -> Iterator[list[Work]]:
    """Yield what each round does: it writes new events, reads random runs and deletes the oldest."""
    chance, runs = Random(SEED), events // EVENTS_A_RUN
    bulks, batches = max(1, repeats // 20), max(1, repeats // 100)
    for number in range(rounds):
        new = events + number * (repeats + bulks * BULK)
        old = number * batches * PRUNED_RUNS
        pages = [(chance.randrange(rounds * batches * PRUNED_RUNS, runs), 0) for _ in range(repeats)]
        yield [
            Work("write one", WRITE, [(each, each) for each in range(new, new + repeats)]),
            Work(f"write {BULK:,}", WRITE, _spans(new + repeats, bulks, BULK)),
            Work("a run's first page", PAGE_OF_RUN.format(table="{table}", order="ASC"), pages),
            Work("a run's last page", PAGE_OF_RUN.format(table="{table}", order="DESC"), pages),
            Work(f"prune {PRUNED_RUNS} runs", PRUNE, _spans(old, batches, PRUNED_RUNS)),
        ]


def _spans(start: int, number: int, length: int) -> list[tuple[int, int]]:
    """Return the first and last of consecutive numbers, ``length`` of them at a time."""
    return [(first, first + length - 1) for first in range(start, start + number * length, length)]


def _timed(work: Work, table: str) -> float:
    """Return the seconds that one execution takes."""
    statement = work.statement.format(table=table)
    with connection.cursor() as cursor:
        started = time.perf_counter()
        for first, last in work.numbers:
            cursor.execute(statement, {"first": first, "last": last})
            if cursor.description:
                cursor.fetchall()
        return (time.perf_counter() - started) / len(work.numbers)
