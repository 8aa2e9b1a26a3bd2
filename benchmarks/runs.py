"""What the list of runs is asked, with few runs and with many, ten events each: an answer must not grow dearer."""

from __future__ import annotations

from typing import TYPE_CHECKING, TextIO

from django.contrib.auth import get_user_model
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from benchmarks.databases import benchmark_database
from benchmarks.pages import PROJECTS, RUNS_OF_A_PROJECT, Pair, execute, older, opened, report

if TYPE_CHECKING:
    from collections.abc import Mapping

FEW_RUNS = 1_000
HELD = "at most 1.3"
LIST = "admin:agentstate_agentworkflowrun_changelist"
ERRORS = "admin:agentstate_agentworkflowrun_errors"

# The higher the number, the older the run: more of them leave the newest as they were. One in five is backfilled.
RUNS = f"""
    INSERT INTO "AgentWorkflowRun" (id, workflow_id, project_id, status, input, result, error, started_at,
                                    completed_at, snapshot_at, legacy_at)
    SELECT 'run-' || lpad(i::text, 9, '0'),
        (ARRAY['draft', 'tighten', 'normalize_rfp', 'eligibility', 'legacy_snapshot'])[i %% 5 + 1],
        'project-' || i / {RUNS_OF_A_PROJECT}, status,
        jsonb_build_object('section', 'budget', 'number', i),
        CASE WHEN i %% 5 = 4 THEN jsonb_build_object('state', jsonb_build_object('coverage', i)) END,
        CASE WHEN status = 'failed' THEN (ARRAY['TimeoutError: call ' || i || ' took 30.5 s',
                                               'ValueError: no section ' || md5(i::text)])[i %% 2 + 1] END,
        at, CASE WHEN status <> 'running' THEN at + (i * 7919::bigint) %% 600 * interval '1 s' END,
        CASE WHEN i %% 5 = 4 THEN at END, CASE WHEN i %% 5 = 4 THEN at END
    FROM generate_series(%(first)s, %(last)s) i, LATERAL (
        SELECT %(now)s - i * interval '1 min' AS at,
            CASE WHEN i %% 5 = 4 THEN 'succeeded' WHEN i %% 8 IN (3, 6) THEN 'failed' WHEN i %% 250 = 1 THEN 'running'
                 WHEN i %% 100 = 7 THEN 'canceled' ELSE 'succeeded' END AS status) run"""
# Four calls in ten events. The last one of a failed run fails; one run in 500 calls a rare tool.
EVENTS = """
    INSERT INTO "AgentWorkflowRunEvent" (id, run_id, type, payload, created_at)
    SELECT run.id || '-' || n, run.id,
        CASE WHEN n IN (0, 2, 4, 6) THEN 'tool.invocation' WHEN n IN (1, 3, 5, 7) THEN 'tool.result'
             ELSE 'coverage.delta' END,
        CASE WHEN n < 8 THEN jsonb_build_object(
            'call_id', 'call-' || n / 2,
            'tool', CASE WHEN number %% 500 = 5 THEN 'rare_tool' ELSE 'normalize_rfp' END,
            'status', CASE WHEN n = 7 AND status = 'failed' THEN 'error' ELSE 'ok' END, 'output', md5(n::text))
        ELSE jsonb_build_object('from', n / 100.0, 'to', 1) END,
        run.started_at + n * interval '700 ms'
    FROM (SELECT *, substr(id, 5)::integer AS number FROM "AgentWorkflowRun"
          WHERE id BETWEEN 'run-' || lpad(%(first)s::text, 9, '0') AND 'run-' || lpad(%(last)s::text, 9, '0')) run,
        generate_series(0, 9) n"""
SESSIONS = """
    INSERT INTO "AgentSession" (id, project_id, agent_run_id, memory_id, transcript_json, metadata, created_at,
                                updated_at)
    SELECT 'session-' || lpad(i::text, 9, '0'), 'project-' || i / 10, 'run-' || lpad(i::text, 9, '0'),
        'memory-' || lpad(i::text, 9, '0'), '[]', '{}', %(now)s, %(now)s
    FROM generate_series(%(first)s, %(last)s) i WHERE i %% 10 = 1"""


def run(views: int, large: int, out: TextIO) -> None:
    """Measure in a new database, which is dropped at the end.

    Args:
        views: how often each page is opened; medians count.
        large: the number of runs.
        out: where the figures go.
    """
    with benchmark_database():
        client = Client(SERVER_NAME="localhost")
        client.force_login(get_user_model().objects.create_superuser("benchmark"))
        median: dict[str, float] = {}
        now, first = timezone.now(), 1
        for size in (FEW_RUNS, large):
            for statement in (PROJECTS, RUNS, EVENTS, SESSIONS):
                execute(statement, first=first, last=size, now=now)
            execute('VACUUM ANALYZE "Project", "AgentWorkflowRun", "AgentWorkflowRunEvent", "AgentSession"')
            pages = questions(client)
            median |= opened(client, {f"{name}, of {size:,}": page for name, page in pages.items()}, views)
            first = size + 1
    report([Pair(f"{name}, of {FEW_RUNS:,}", f"{name}, of {large:,}", HELD) for name in pages], median, out)


def questions(client: Client) -> Mapping[str, str]:
    """Return the addresses of what the list is asked."""
    page = reverse(LIST)
    hour = "started_at-within=1h"
    return {
        "newest runs": page,
        "older runs": older(client, page),
        "with backfilled ones": f"{page}?backfilled=with",
        "of the last hour": f"{page}?{hour}",
        "failed runs": f"{page}?status=failed",
        "a workflow's runs": f"{page}?workflow=draft",
        "a project's runs": f"{page}?q=project-7",
        "called a tool": f"{page}?tool=normalize_rfp",
        "called a rare tool": f"{page}?tool=rare_tool&started_at-within=24h",
        "a tool failed": f"{page}?tool=normalize_rfp&call=failed",
        "a tool failed in the last hour": f"{page}?tool=normalize_rfp&call=failed&{hour}",
        "one error": f"{page}?error=ValueError%3A%20no%20section%20%23",
        "errors of an hour": f"{reverse(ERRORS)}?{hour}",
        "oldest first": f"{page}?order=oldest",
        "longest first": f"{page}?order=duration",
        "shortest first": f"{page}?order=shortest",
        "longer than 5 min": f"{page}?longer=300",
        "a text in payloads of an hour": f"{page}?text=nowhere&where=all&{hour}",
        "a run's beginning": f"{page}?q=run-0000009",
        "a session's beginning": f"{page}?q=session-0000009",
        "a memory": f"{page}?q=memory-0000009",
        "a workflow's beginning": f"{page}?q=tigh",
    }
