"""The list of runs at size: no page reads more than a few rows, whatever it is filtered by."""

from __future__ import annotations

import itertools
import re
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse as url_of
from django.utils import timezone

from agentstate.admin.shared.names import TOOLS, WORKFLOWS
from agentstate.models import AgentWorkflowRun
from tests import scenes
from tests.admin.viewers import superuser
from tests.sql import explained, tell_planner

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.test import Client

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("many")]

LIST = url_of("admin:agentstate_agentworkflowrun_changelist")
STATUSES = AgentWorkflowRun.Status.values
READ = {"AgentWorkflowRun", "AgentWorkflowRunEvent", "AgentSession"}
FILLED = ["Project", *sorted(READ)]


@pytest.fixture(scope="module")
def many(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    """60,000 runs of 600 projects: one workflow and some statuses are rare."""
    with django_db_blocker.unblock():
        scenes.run_sql(
            """
            -- Index pages of rows that are gone cost as any other, and would make another plan look cheaper.
            TRUNCATE "Project", "AgentWorkflowRun" CASCADE;
            INSERT INTO "Project" (id, "userId", name)
            SELECT 'many' || i, 'u', 'Project ' || i FROM generate_series(0, 599) i;
            ANALYZE "Project";  -- so that no foreign key is checked by a plan from when the table was empty
            INSERT INTO "AgentWorkflowRun" (id, workflow_id, project_id, status, started_at, result, snapshot_at,
                                            legacy_at, completed_at, error)
            SELECT 'many' || i,
                CASE WHEN i % 20000 = 7 THEN 'rare' WHEN i % 3 = 0 THEN 'draft' ELSE 'legacy_snapshot' END,
                'many' || i % 600,
                CASE WHEN i % 20000 = 7 THEN 'canceled' WHEN i % 5000 = 1 THEN 'running' WHEN i % 500 = 2 THEN 'failed'
                    ELSE 'succeeded' END,
                now() - i * interval '1 minute', CASE WHEN i % 3 > 0 THEN '{"state": {}}'::jsonb END,
                CASE WHEN i % 3 > 0 THEN now() - i * interval '1 minute' END, CASE WHEN i % 3 > 0 THEN now() END,
                now() - i * interval '1 minute' + CASE WHEN i % 3 = 0 THEN i % 1000 ELSE 0 END * interval '1 second',
                CASE WHEN i % 500 = 2
                    THEN 'TimeoutError: call ' || i || ' of ' || gen_random_uuid() || ' took 30.5 s' END
            FROM generate_series(1, 60000) i;
            ANALYZE "AgentWorkflowRun";
            INSERT INTO "AgentWorkflowRunEvent" (id, run_id, type, created_at, payload)
            SELECT 'many' || i || kind, 'many' || i, 'tool.' || kind, now() - i * interval '1 minute' + at,
                jsonb_build_object('tool', CASE WHEN i % 6000 = 3 THEN 'rare' ELSE 'search' END,
                                   'status', CASE WHEN i % 300 = 3 THEN 'error' ELSE 'ok' END)
            FROM generate_series(3, 60000, 3) i,
                (VALUES ('invocation', interval '0'), ('result', interval '1 second')) call (kind, at);
            INSERT INTO "AgentSession" (id, project_id, agent_run_id, memory_id, transcript_json, metadata, created_at,
                                        updated_at)
            SELECT 'session' || i, 'many' || i, 'many' || i, 'memory-' || i, '[]', '{}', now(), now()
            FROM generate_series(1, 500) i;
            """
        )
        # All rows are looked at, not a sample of them, and not again: each test gets the same plans each time.
        scenes.run_sql("SET default_statistics_target = 1000")
        for table in FILLED:
            scenes.run_sql(f'ALTER TABLE "{table}" SET (autovacuum_enabled = off)')
            # An index that has just been filled has a list of pages to look through yet.
            scenes.run_sql(f'VACUUM ANALYZE "{table}"')
        scenes.run_sql("RESET default_statistics_target")
        yield
        scenes.run_sql('TRUNCATE "Project", "AgentWorkflowRun" CASCADE')
        for table in FILLED:
            scenes.run_sql(f'ALTER TABLE "{table}" RESET (autovacuum_enabled)')
        tell_planner(*FILLED)


def indexes(scan: dict[str, Any]) -> set[str]:
    """Return the names of the indexes that a scan reads; a bitmap's are beneath it."""
    names = {scan["Index Name"]} if "Index Name" in scan else set()
    return names.union(*map(indexes, scan.get("Plans", [])))


def rows_read(scan: dict[str, Any]) -> float:
    """Return how many rows a scan read, those that it threw away too."""
    thrown_away = sum(value for name, value in scan.items() if name.startswith("Rows Removed by"))
    return float((scan["Actual Rows"] + thrown_away) * scan["Actual Loops"])


def scans(query: str) -> list[dict[str, Any]]:
    """Return the nodes of a query's plan that read our tables; what the planner saw to be empty never ran."""
    nodes = explained(query, None, "ANALYZE")
    return [node for node in nodes if node.get("Relation Name") in READ and node["Actual Loops"]]


def reading(client: Client, address: str) -> list[dict[str, Any]]:
    """Return the scans of our tables that a page makes."""
    with CaptureQueriesContext(connection) as queries:
        assert client.get(LIST + address).status_code == 200
    selects = [query["sql"] for query in queries if re.match(r"\s*(\(?SELECT|WITH)", query["sql"])]
    return [scan for sql in selects if any(table in sql for table in READ) for scan in scans(sql)]


def assert_few(found: list[dict[str, Any]]) -> None:
    assert found
    assert "Seq Scan" not in {scan["Node Type"] for scan in found}
    assert sum(map(rows_read, found)) < 300


def address_of(parameters: dict[str, str]) -> str:
    return "?" + "&".join(f"{name}={value}" for name, value in parameters.items())


FILTERS = {
    "all": {},
    **{f"status {status}": {"status": status} for status in STATUSES},
    **{f"workflow {workflow}": {"workflow": workflow} for workflow in ("draft", "rare", "none")},
    **{
        f"{status} {workflow}": {"status": status, "workflow": workflow}
        for status, workflow in itertools.product(STATUSES, ("draft", "rare", "legacy_snapshot"))
    },
    "with a snapshot": {"snapshot": "yes"},
    "without a snapshot": {"snapshot": "no"},
    "rare without a snapshot": {"workflow": "rare", "snapshot": "no"},
    "failed with a snapshot": {"status": "failed", "snapshot": "yes"},
    "waiting for approval": {"approval": "waits"},
    "waiting of one workflow": {"approval": "waits", "workflow": "draft"},
    "some days": {"started_at-since": "2000-01-01", "started_at-until": "2100-01-01"},
    "with backfilled runs": {"backfilled": "with"},
    "the last hour": {"started_at-within": "1h"},
    "days without runs": {"started_at-until": "2000-01-01"},
    "failed on days without runs": {"status": "failed", "started_at-until": "2000-01-01"},
    "a project": {"q": "many77"},
    "a run": {"q": "many7777"},
    "oldest first": {"order": "oldest"},
    "a project's oldest runs": {"q": "many77", "order": "oldest"},
    "a project's canceled runs": {"q": "many77", "status": "canceled"},
}


@pytest.mark.parametrize("parameters", FILTERS.values(), ids=FILTERS.keys())
def test_a_page_reads_a_few_rows_through_an_index(parameters: dict[str, str]) -> None:
    client = superuser()
    address = address_of(parameters)

    assert_few(reading(client, address))

    if older := client.get(LIST + address).context["cl"].older_link:
        assert_few(reading(client, older))


@pytest.mark.parametrize("parameters", [{}, {"workflow": "draft"}, {"snapshot": "yes"}], ids=str)
def test_a_late_page_reads_no_more(parameters: dict[str, str]) -> None:
    client = superuser()
    last_days = {"started_at-until": f"{timezone.now() - timedelta(minutes=58_000):%Y-%m-%d}"}
    place = client.get(LIST, parameters | last_days).context["cl"].page.after
    address = address_of({**parameters, "after": place})

    assert len(client.get(LIST + address).context["cl"].result_list) == 50
    assert_few(reading(client, address))


QUESTIONS = {
    "by status": ({"status": "failed"}, "AgentWorkflowRun_kind_idx"),
    "by workflow": ({"workflow": "draft"}, "AgentWorkflowRun_workflow_idx"),
    "by project": ({"q": "Project 77"}, "AgentWorkflowRun_started_idx"),
    "called a tool": ({"tool": "search"}, "AgentWorkflowRunEvent_call_idx"),
    "called a rare tool": ({"tool": "rare"}, "AgentWorkflowRunEvent_call_idx"),
    "a tool failed": ({"tool": "search", "call": "failed"}, "AgentWorkflowRunEvent_fail_idx"),
    "a rare tool failed": (
        {"tool": "rare", "call": "failed", "started_at-within": "7d"},
        "AgentWorkflowRunEvent_fail_idx",
    ),
    "one error": ({"error": "TimeoutError: call # of # took # s"}, "AgentWorkflowRun_error_idx"),
    "oldest first": ({"order": "oldest"}, "AgentWorkflowRun_kind_idx"),
    "oldest of a workflow": ({"order": "oldest", "workflow": "draft"}, "AgentWorkflowRun_workflow_idx"),
    "oldest calls of a tool": ({"order": "oldest", "tool": "search"}, "AgentWorkflowRunEvent_call_idx"),
    "shortest first": ({"order": "shortest"}, "AgentWorkflowRun_duration_idx"),
    "shortest over a time": ({"order": "shortest", "longer": "500"}, "AgentWorkflowRun_duration_idx"),
    "longest first": ({"order": "duration"}, "AgentWorkflowRun_duration_idx"),
    "longer than": ({"order": "duration", "longer": "500", "backfilled": "with"}, "AgentWorkflowRun_duration_idx"),
    "a run's beginning": ({"q": "many5999"}, "AgentWorkflowRun_beginning_idx"),
    "a session's beginning": ({"q": "session49"}, "AgentSession_beginning_idx"),
    "a memory": ({"q": "memory-49"}, "AgentSession_memory_idx"),
    "a workflow's beginning": ({"q": "dra"}, "AgentWorkflowRun_workflow_idx"),
}


@pytest.mark.parametrize(("parameters", "index"), QUESTIONS.values(), ids=QUESTIONS.keys())
def test_each_question_has_an_index(parameters: dict[str, str], index: str) -> None:
    client = superuser()
    response = client.get(LIST, parameters)
    assert response.context["cl"].result_list
    assert not response.context["cl"].looked

    found = reading(client, address_of(parameters))

    names = {name for scan in found for name in indexes(scan)}
    # The primary key serves as well where its collation is "C".
    assert index in names or (index.endswith("_beginning_idx") and index.replace("beginning_idx", "pkey") in names)
    assert "Seq Scan" not in {scan["Node Type"] for scan in found}
    # A walk looks at 200 rows at first, and at what makes each one match.
    assert sum(map(rows_read, found)) < 1_500


@pytest.mark.parametrize("query", [WORKFLOWS, TOOLS], ids=["workflows", "tools"])
def test_names_are_found_without_reading_their_rows(query: str) -> None:
    assert_few(scans(query % 50))


def test_the_total_is_an_estimate() -> None:
    client = superuser()
    everything = {"backfilled": "with"}
    assert client.get(LIST, everything).context["cl"].total == "about 60,000 runs"
    total = client.get(LIST, {"status": "failed"}).context["cl"].total
    assert 60 <= int(re.sub(r"\D", "", total)) <= 240
    assert client.get(LIST, {"workflow": "rare"}).context["cl"].total == "3 runs"


def test_a_page_takes_as_many_queries_for_any_number_of_runs() -> None:
    client = superuser()
    counts = []
    for parameters in ({}, {"workflow": "rare"}):
        with CaptureQueriesContext(connection) as queries:
            client.get(LIST, parameters)
        counts.append(len(queries))
    # A list that fits on its page needs no estimate; whether there are live runs is asked for all workflows alone.
    assert counts[0] == counts[1] + 2 == 16
