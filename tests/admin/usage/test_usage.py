"""Tokens and cost by workflow and day."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from django.urls import reverse as url_of
from django.utils import timezone

from agentstate.admin.usage import daily
from agentstate.models import AgentWorkflowRun
from tests.admin.viewers import superuser, viewer
from tests.sql import sql, tell_planner

pytestmark = pytest.mark.django_db

PAGE = url_of("admin:agentstate_usage_changelist")
DAY = date(2024, 5, 1)


def ran(day: date, workflow: str = "w", **usage: Any) -> None:
    at = datetime(day.year, day.month, day.day, 23, 59, 59, tzinfo=UTC)
    AgentWorkflowRun.objects.create(workflow_id=workflow, status="succeeded", started_at=at, usage=usage or None)


def text_of(client: Any, **parameters: str) -> str:
    response = client.get(PAGE, parameters)
    assert response.status_code == 200
    return " ".join(response.content.decode().split())


def test_runs_are_added_up_by_workflow_and_day() -> None:
    ran(DAY, requests=1, input_tokens=1000, output_tokens=10, cost_usd=0.25)
    ran(DAY, requests=2, input_tokens=500, output_tokens=20, unpriced_requests=2)
    ran(DAY, "x", requests="odd", input_tokens=None)
    ran(DAY - timedelta(days=40), requests=1, cost_usd=1)
    ran(DAY)

    found = daily.summary(DAY)

    assert [day.day for day in found.days] == [DAY, DAY - timedelta(days=40)]
    w, x = found.days[0].workflows
    assert (w.workflow, w.used.runs, w.used.requests, w.used.input_tokens) == ("w", 2, 3, 1500)
    assert (w.used.output_tokens, w.used.cost) == (30, "$0.25 and 2 unpriced requests")
    assert (x.used.requests, x.used.cost) == (0, "cost unknown")
    assert found.total.cost == "$1.25 and 2 unpriced requests"
    assert (found.next_until, found.is_cut) == (None, False)


@pytest.mark.parametrize("zone", ["UTC", "America/New_York"])
def test_a_days_link_leads_to_the_runs_of_that_day_in_utc(zone: str) -> None:
    for days in (-1, 0, 1):
        ran(DAY + timedelta(days=days), requests=1)
    with timezone.override(zone):
        [of_day] = daily.summary(DAY).days[0].workflows
        runs = superuser().get(of_day.address).context["cl"].result_list
        assert [run.started_at.astimezone(UTC).date() for run in runs] == [DAY]


def test_a_page_ends_at_its_last_day_and_the_next_goes_on_from_there() -> None:
    for number in range(daily.MOST_DAYS + 1):
        ran(DAY - timedelta(days=number), requests=1)

    first = text_of(superuser(), until=f"{DAY}")

    next_day = DAY - timedelta(days=daily.MOST_DAYS)
    assert f'href="?until={next_day}"' in first
    assert f"{next_day}: " not in first
    assert f"{next_day}: cost unknown" in text_of(superuser(), until=f"{next_day}")


def test_a_day_that_takes_too_long_is_named_and_passed() -> None:
    ran(DAY, requests=1)

    found = daily.summary(DAY, seconds=0)

    assert [(day.day, day.is_too_long) for day in found.days] == [(DAY, True)]
    assert (found.is_cut, found.next_until) == (True, DAY - timedelta(days=1))


@pytest.mark.parametrize("until", ["", "nonsense", "0001-01-01", "9999-12-31"])
def test_any_date_gives_a_page(until: str) -> None:
    ran(DAY, requests=1)
    text = text_of(superuser(), until=until)
    assert ("is not a valid date" in text) == (until == "nonsense")


def test_only_those_who_may_view_runs_see_the_page() -> None:
    assert viewer("agentsession").get(PAGE).status_code == 403
    assert "Usage</h1>" in text_of(viewer("agentworkflowrun"))


@pytest.mark.parametrize("statement", [daily._NEWEST, daily._OF_DAY], ids=["newest day", "sums of a day"])
def test_the_sums_come_from_the_index_of_workflows(statement: str) -> None:
    sql(
        """
        INSERT INTO "AgentWorkflowRun" (id, workflow_id, status, started_at, usage)
        SELECT 'run-' || n, 'w' || n % 3, 'succeeded', timestamptz '2024-01-01Z' + n * interval '10 minutes', '{}'
        FROM generate_series(1, 20000) n
        """
    )
    tell_planner("AgentWorkflowRun")

    plan = daily._rows(f"EXPLAIN {statement}", ["w0", "w1", "w2"], 5, DAY, DAY)

    text = "\n".join(line for (line,) in plan)
    assert "AgentWorkflowRun_workflow_idx" in text, text
    assert "Seq Scan" not in text
