"""The admin's pages, each at a small size and at a large one: what a page costs must not grow with the database."""

from __future__ import annotations

import html
import re
import statistics
import time
from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple, TextIO

from django.contrib.auth import get_user_model
from django.db import connection
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from agentstate.admin.run.timeline.filters import SECONDS
from agentstate.backfill import PassOptions, run_pass
from agentstate.models import AgentWorkflowRun
from agentstate.models.passes import Direction
from agentstate.samples import make_projects
from benchmarks.databases import benchmark_database

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

SEED, SAMPLES = 2025, 20
FEW_EVENTS = 100
FEW_MOMENTS, MANY_MOMENTS = 10, 2_000
# Entries of each of the five documents; the large ones have about 6 MB each.
FEW_ENTRIES, MANY_ENTRIES = 20, 30_000
RUNS_OF_A_PROJECT = 10
WARMING, OLDER = 3, 5
HELD, LARGE, SEARCHED = "at most 1.5", "at most 2", f"at most {SECONDS:g} s of searching"

# Four tool calls in ten events, then coverage, then a conflict or an eligibility item; a call in twelve fails.
EVENTS = """
    INSERT INTO "AgentWorkflowRunEvent" (id, run_id, type, payload, created_at)
    SELECT run.id || '-' || n, run.id, kind.type, kind.payload || jsonb_build_object('note', repeat(md5(n::text), 6)),
        run.started_at + n * interval '700 ms'
    FROM "AgentWorkflowRun" run, generate_series(0, %(number)s - 1) n, LATERAL (
        SELECT 'tool.invocation' AS type,
            jsonb_build_object('call_id', 'call-' || n, 'tool', 'normalize_rfp',
                               'arguments', jsonb_build_object('section', 'budget', 'page', n)) AS payload
        WHERE n %% 10 IN (0, 2, 4, 6)
        UNION ALL
        SELECT 'tool.result',
            jsonb_build_object('call_id', 'call-' || n - 1, 'tool', 'normalize_rfp',
                               'status', CASE n %% 30 WHEN 3 THEN 'error' ELSE 'ok' END,
                               'error', CASE n %% 30 WHEN 3 THEN 'The model gave no answer' END, 'output', n)
        WHERE n %% 10 IN (1, 3, 5, 7)
        UNION ALL
        SELECT 'coverage.delta', jsonb_build_object('from', n %% 100 / 100.0, 'to', (n %% 100 + 1) / 100.0)
        WHERE n %% 10 = 8
        UNION ALL
        SELECT 'conflict.found',
            jsonb_build_object('key', 'budget', 'previous', '{"version": 1}'::jsonb, 'next', '{"version": 2}'::jsonb)
        WHERE n %% 20 = 9
        UNION ALL
        SELECT 'eligibility.flag', jsonb_build_object('text', 'must be a 501(c)(3)', 'fatal', true)
        WHERE n %% 20 = 19
    ) kind WHERE run.id = %(run)s"""
PROJECTS = f"""
    INSERT INTO "Project" (id, "userId", name)
    SELECT 'project-' || i, 'user', 'Community garden ' || i
    FROM generate_series(%(first)s / {RUNS_OF_A_PROJECT}, %(last)s / {RUNS_OF_A_PROJECT}) i
    ON CONFLICT DO NOTHING"""
# The higher the number, the older the run: more of them leave the newest as they were.
RUNS = f"""
    INSERT INTO "AgentWorkflowRun" (id, workflow_id, project_id, status, input, result, error, started_at,
                                    completed_at, snapshot_at, legacy_at)
    SELECT 'run-' || i,
        (ARRAY['draft', 'tighten', 'normalize_rfp', 'eligibility', 'legacy_snapshot'])[i %% 5 + 1],
        'project-' || i / {RUNS_OF_A_PROJECT},
        CASE WHEN i %% 8 = 3 THEN 'failed' WHEN i %% 250 = 1 THEN 'running' WHEN i %% 100 = 7 THEN 'canceled'
             ELSE 'succeeded' END,
        jsonb_build_object('section', 'budget', 'number', i),
        CASE WHEN i %% 5 = 4 THEN jsonb_build_object('state', jsonb_build_object('coverage', i)) END,
        CASE WHEN i %% 8 = 3 THEN 'TimeoutError: the model gave no answer' END,
        at, CASE WHEN i %% 250 <> 1 THEN at + interval '40 s' END,
        CASE WHEN i %% 5 = 4 THEN at END, CASE WHEN i %% 5 = 4 THEN at END
    FROM generate_series(%(first)s, %(last)s) i, LATERAL (SELECT %(now)s - i * interval '1 min' AS at) moment"""
DOCUMENTS = """
    INSERT INTO "Project" (id, "userId", name, "rfpNormJson", "factsJson", "coverageJson", "conflictLogJson",
                           "eligibilityJson")
    SELECT 'documents-' || %(entries)s, 'user', 'Community garden', jsonb_build_object('sections', list),
        jsonb_build_object('facts', list), jsonb_build_object('score', 0.5, 'requirements', list), list,
        jsonb_build_object('items', list)
    FROM (
        SELECT jsonb_agg(jsonb_build_object('id', 'n' || n, 'key', md5(n::text), 'status', 'missing',
                                            'text', repeat(md5(n::text), 3))) AS list
        FROM generate_series(1, %(entries)s) n
    ) entries"""
SAVES = """
    INSERT INTO "AgentWorkflowRunEvent" (id, run_id, type, payload, created_at)
    SELECT 'save-' || n, id, 'state.changed', jsonb_build_object('coverage', jsonb_build_object('score', n %% 100)),
        started_at - n * interval '1 s'
    FROM "AgentWorkflowRun", generate_series(%(first)s, %(last)s) n WHERE id = %(run)s"""


class Pair(NamedTuple):
    """A page's names at both sizes, and what the large one is held to: in times of the small one, or of itself."""

    small: str
    large: str
    bound: str = HELD


def run(views: int, large_events: int, out: TextIO) -> None:
    """Measure in a new database, which is dropped at the end.

    Args:
        views: how often each page is opened; medians count.
        large_events: of the long run.
        out: where the figures go.
    """
    with benchmark_database():
        client = Client(SERVER_NAME="localhost")
        client.force_login(get_user_model().objects.create_superuser("benchmark"))
        median: dict[str, float] = {}
        pairs = [
            *project_pages(client, views, median),
            *large_documents(client, views, median),
            *timelines(client, views, large_events, median),
        ]
    report(pairs, median, out)


def project_pages(client: Client, views: int, median: dict[str, float]) -> list[Pair]:
    """Open a project's page, its history being short and then long; the plot of its scores has more points then."""
    make_projects(SAMPLES, SEED)
    run_pass(PassOptions(Direction.FORWARD, sessions=False))
    snapshot = AgentWorkflowRun.objects.filter(result__state__has_key="coverage").order_by("id")[0]
    address = reverse("admin:agentstate_project_change", args=[snapshot.project_id])
    first = 2  # the snapshot itself is a moment
    for size in (FEW_MOMENTS, MANY_MOMENTS):
        execute(SAVES, run=snapshot.pk, first=first, last=size)
        vacuum()
        median |= opened(client, {f"project, {size:,} moments": address}, views)
        first = size + 1
    return [Pair(f"project, {FEW_MOMENTS:,} moments", f"project, {MANY_MOMENTS:,} moments", bound="")]


def large_documents(client: Client, views: int, median: dict[str, float]) -> list[Pair]:
    """Open the page of a project with small documents, and of one with five documents of 6 MB."""
    addresses: dict[str, str] = {}
    for entries in (FEW_ENTRIES, MANY_ENTRIES):
        execute(DOCUMENTS, entries=entries)
        page = reverse("admin:agentstate_project_change", args=[f"documents-{entries}"])
        addresses[f"project, {entries:,} entries a document"] = page
    run_pass(PassOptions(Direction.FORWARD, sessions=False))
    vacuum()
    median |= opened(client, addresses, views)
    small, large = addresses
    return [Pair(small, large, LARGE)]


def timelines(client: Client, views: int, large: int, median: dict[str, float]) -> list[Pair]:
    """Open the pages of a short run and of a long one in turns."""
    execute(PROJECTS, first=0, last=1)
    execute(RUNS, first=0, last=1, now=timezone.now())
    held = {"first page": "?at=first", "last page": "?at=last", "two kinds": "?kind=tool&kind=coverage.delta"}
    # A short run has a few failures to show where a long one has a page of them, and what is found nowhere is looked
    # for everywhere: these have a time budget.
    searched = {"failures only": "?failures=1", "a kind in vain": "?kind=heartbeat", "a text in vain": "?q=nowhere"}
    pages = held | searched
    addresses: dict[str, str] = {}
    for number, size in enumerate((FEW_EVENTS, large)):
        execute(EVENTS, run=f"run-{number}", number=size)
        page = reverse("admin:agentstate_agentworkflowrun_change", args=[f"run-{number}"])
        addresses |= {f"{name}, {size:,} events": page + query for name, query in pages.items()}
    vacuum()
    median |= opened(client, addresses, views)
    return [
        Pair(f"{name}, {FEW_EVENTS:,} events", f"{name}, {large:,} events", HELD if name in held else SEARCHED)
        for name in pages
    ]


def older(client: Client, address: str, query: str = "") -> str:
    """Return the address of a page some pages on, as the list's own links lead there."""
    page = address + query
    for _ in range(OLDER):
        found = re.search(r'<a href="([^"]*)" rel="next">', client.get(page).text)
        if found is None:
            raise ValueError(f"The list {page} names no older page: it has too few rows.")
        page = address + html.unescape(found[1])
    return page


def opened(client: Client, addresses: Mapping[str, str], views: int) -> dict[str, float]:
    """Return the median seconds that each page takes, opened in turns."""
    seconds: dict[str, list[float]] = defaultdict(list)
    for number in range(WARMING + views):
        for name, address in addresses.items():
            started = time.perf_counter()
            response = client.get(address)
            took = time.perf_counter() - started
            if response.status_code != 200:
                raise ValueError(f"The page {address} answered {response.status_code}.")
            if number >= WARMING:
                seconds[name].append(took)
    return {name: statistics.median(times) for name, times in seconds.items()}


def execute(sql: str, **parameters: str | int | datetime) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters or None)


def vacuum() -> None:
    """Leave the tables as autovacuum does in time."""
    execute('VACUUM ANALYZE "Project", "AgentWorkflowRun", "AgentWorkflowRunEvent"')


def report(pairs: list[Pair], median: dict[str, float], out: TextIO) -> None:
    """Print the medians and the ratios that they are held to."""
    out.writelines(f"{name:<38} {seconds * 1000:>10.3f} ms\n" for name, seconds in median.items())
    out.writelines(
        f"{f'{large} / {small}':<72} {median[large] / median[small]:>6.2f}   {bound}".rstrip() + "\n"
        for small, large, bound in pairs
    )
