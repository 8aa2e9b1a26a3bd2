"""Storage by table and by workflow."""

from __future__ import annotations

import pytest
from django.urls import reverse as url_of

from agentstate.admin.storage import sizes
from tests.admin.viewers import superuser, viewer
from tests.factories import EventFactory, RunFactory
from tests.sql import scalar, sql

pytestmark = pytest.mark.django_db

PAGE = url_of("admin:agentstate_storage_changelist")


def test_each_table_has_its_size_on_disk() -> None:
    tables = {table.name: table for table in sizes.tables()}

    assert {"Project", "AgentWorkflowRun", "AgentStateFlag_users"} <= tables.keys()
    assert all(table.total == table.data + table.indexes > 0 for table in tables.values())


def test_a_small_database_is_shared_out_exactly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sizes, "PAGES", 1_000_000)  # rows of other tests that were rolled back leave pages behind
    large, small = RunFactory(workflow_id="large"), RunFactory(workflow_id="small")
    for run, count, text in ((large, 3, "x" * 1000), (small, 1, "")):
        for _ in range(count):
            EventFactory(run=run, payload={"text": text})

    sample = sizes.sample(sizes.tables())

    assert sample is not None
    assert sample.is_whole
    assert [(each.workflow, each.runs, each.events) for each in sample.workflows] == [("large", 1, 3), ("small", 1, 1)]
    assert sample.workflows[0].size > sample.workflows[1].size


def test_a_large_table_is_estimated_from_some_of_its_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    sql(
        """
        INSERT INTO "AgentWorkflowRun" (id, workflow_id, status, started_at, error)
        SELECT 'run-' || n, 'w', 'failed', now(), repeat('x', 1000) FROM generate_series(1, 400) n
        """
    )
    # Each page is taken with a chance of one half; the runs are on 50 pages and more.
    monkeypatch.setattr(sizes, "PAGES", scalar("SELECT pg_relation_size('\"AgentWorkflowRun\"') / 8192") // 2)

    sample = sizes.sample(sizes.tables())

    assert sample is not None
    assert not sample.is_whole
    assert 0 < sample.runs < 400


def test_a_sample_that_takes_too_long_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sizes, "_RUNS", "SELECT %s FROM pg_sleep(5)")
    monkeypatch.setattr(sizes, "SECONDS", 0.05)

    assert "Not estimated" in superuser().get(PAGE).content.decode()


def test_only_those_who_may_view_runs_see_the_page() -> None:
    assert viewer("agentsession").get(PAGE).status_code == 403
    assert viewer("agentworkflowrun").get(PAGE).status_code == 200
