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

from agentstate.admin.run.filters import WORKFLOWS
from agentstate.models import AgentWorkflowRun
from tests import scenes
from tests.admin.viewers import superuser
from tests.sql import tell_planner

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.test import Client

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("many")]

LIST = url_of("admin:agentstate_agentworkflowrun_changelist")
STATUSES = AgentWorkflowRun.Status.values


@pytest.fixture(scope="module")
def many(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    """60,000 runs of 600 projects: one workflow and some statuses are rare."""
    with django_db_blocker.unblock():
        scenes.run_sql(
            """
            INSERT INTO "Project" (id, "userId", name)
            SELECT 'many' || i, 'u', 'Project ' || i FROM generate_series(0, 599) i;
            INSERT INTO "AgentWorkflowRun" (id, workflow_id, project_id, status, started_at, result, snapshot_at,
                                            legacy_at)
            SELECT 'many' || i,
                CASE WHEN i % 20000 = 7 THEN 'rare' WHEN i % 3 = 0 THEN 'draft' ELSE 'legacy_snapshot' END,
                'many' || i % 600,
                CASE WHEN i % 20000 = 7 THEN 'canceled' WHEN i % 5000 = 1 THEN 'running' WHEN i % 500 = 2 THEN 'failed'
                    ELSE 'succeeded' END,
                now() - i * interval '1 minute', CASE WHEN i % 3 > 0 THEN '{"state": {}}'::jsonb END,
                CASE WHEN i % 3 > 0 THEN now() - i * interval '1 minute' END, CASE WHEN i % 3 > 0 THEN now() END
            FROM generate_series(1, 60000) i;
            """
        )
        # An index that has just been filled has a list of pages to look through yet.
        scenes.run_sql('VACUUM ANALYZE "AgentWorkflowRun"')
        scenes.run_sql('ANALYZE "Project"')
        yield
        scenes.run_sql("""DELETE FROM "AgentWorkflowRun" WHERE id LIKE 'many%'""")
        scenes.run_sql("""DELETE FROM "Project" WHERE id LIKE 'many%'""")
        tell_planner("AgentWorkflowRun", "Project")


def scans(plan: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the nodes of a plan that read the table of runs; what the planner saw to be empty never ran."""
    mine = [plan] if plan.get("Relation Name") == "AgentWorkflowRun" and plan["Actual Loops"] else []
    return mine + [scan for child in plan.get("Plans", []) for scan in scans(child)]


def rows_read(scan: dict[str, Any]) -> float:
    """Return how many rows a scan read, those that it threw away too."""
    thrown_away = sum(value for name, value in scan.items() if name.startswith("Rows Removed by"))
    return float((scan["Actual Rows"] + thrown_away) * scan["Actual Loops"])


def explained(sql: str) -> list[dict[str, Any]]:
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {sql}")
        ((plan,),) = cursor.fetchall()
    return scans(plan[0]["Plan"])


def reading(client: Client, address: str) -> list[dict[str, Any]]:
    """Return the scans of runs that a page makes."""
    with CaptureQueriesContext(connection) as queries:
        assert client.get(LIST + address).status_code == 200
    selects = [query["sql"] for query in queries if re.match(r"\s*(\(?SELECT|WITH)", query["sql"])]
    return [scan for sql in selects if "AgentWorkflowRun" in sql for scan in explained(sql)]


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
    "days without runs": {"started_at-until": "2000-01-01"},
    "failed on days without runs": {"status": "failed", "started_at-until": "2000-01-01"},
    "a project": {"q": "many77"},
    "a run": {"q": "many7777"},
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


def test_workflows_are_found_without_reading_their_runs() -> None:
    assert_few(explained(WORKFLOWS))


def test_the_total_is_an_estimate() -> None:
    client = superuser()
    assert client.get(LIST).context["cl"].total == "about 60,000 agent workflow runs"
    total = client.get(LIST, {"status": "failed"}).context["cl"].total
    assert 60 <= int(re.sub(r"\D", "", total)) <= 240
    assert client.get(LIST, {"workflow": "rare"}).context["cl"].total == "3 agent workflow runs"


def test_a_page_takes_as_many_queries_for_any_number_of_runs() -> None:
    client = superuser()
    counts = []
    for parameters in ({}, {"workflow": "rare"}):
        with CaptureQueriesContext(connection) as queries:
            client.get(LIST, parameters)
        counts.append(len(queries))
    # A list that fits on its page needs no estimate.
    assert counts[0] == counts[1] + 1 == 14
