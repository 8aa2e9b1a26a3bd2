"""Storage by table and by workflow."""

from __future__ import annotations

import pytest
from django.urls import reverse as url_of

from agentstate.admin.storage import sizes
from tests.admin.viewers import superuser, viewer
from tests.factories import EventFactory, RunFactory

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
    for _ in range(100):
        RunFactory(workflow_id="w", error="x" * 1000)
    monkeypatch.setattr(sizes, "PAGES", 8)

    sample = sizes.sample(sizes.tables())

    assert sample is not None
    assert not sample.is_whole
    assert sample.runs < 100


def test_a_sample_that_takes_too_long_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sizes, "_RUNS", "SELECT %s FROM pg_sleep(5)")
    monkeypatch.setattr(sizes, "SECONDS", 0.05)

    assert "Not estimated" in superuser().get(PAGE).content.decode()


def test_only_those_who_may_view_runs_see_the_page() -> None:
    assert viewer("agentsession").get(PAGE).status_code == 403
    assert viewer("agentworkflowrun").get(PAGE).status_code == 200
