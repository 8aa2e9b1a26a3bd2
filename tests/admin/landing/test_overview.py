"""The app's own page: its lists by group, and the figures above them."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.urls import reverse
from django.utils import timezone

from agentstate.admin.landing import failures
from agentstate.admin.landing.overview import running_runs
from agentstate.models import AgentWorkflowRun
from agentstate.rollout.counting import count_now
from tests.admin.viewers import superuser, viewer
from tests.factories import ProjectFactory
from tests.flags import turn
from tests.rollout.ladder import stand_at
from tests.sql import sql, tell_planner

pytestmark = pytest.mark.django_db

PAGE = reverse("admin:app_list", args=["agentstate"])


def text_of(client: object) -> str:
    response = client.get(PAGE)  # type: ignore[attr-defined]
    assert response.status_code == 200
    return " ".join(response.content.decode().split())


def begin(status: str, hours_ago: float = 1) -> None:
    AgentWorkflowRun.objects.create(
        workflow_id="w", status=status, started_at=timezone.now() - timedelta(hours=hours_ago)
    )


def test_the_lists_are_grouped_by_task() -> None:
    text = text_of(superuser())

    places = [text.index(f">{word}<") for word in ("Watch", "Migrate", "Set up")]
    assert places == sorted(places)
    assert places[0] < text.index("Runs</a>") < places[1] < text.index("Rollout</a>") < places[2]


def test_the_figures_count_running_and_recently_failed_runs() -> None:
    for status, hours_ago in (("running", 30), ("running", 1), ("failed", 1), ("failed", 30), ("succeeded", 1)):
        begin(status, hours_ago)
    turn("legacy_writes", everyone=True)

    text = text_of(superuser())

    runs = reverse("admin:agentstate_agentworkflowrun_changelist")
    assert f'Running now</dt><dd><a href="{runs}?status=running">2</a>' in text
    assert f'last 24 hours</dt><dd><a href="{runs}?status=failed&amp;started_at-within=24h">1</a>' in text
    assert ">legacy</a>" in text
    assert "Saves are refused" not in text


def test_refused_saves_show_a_banner() -> None:
    turn("legacy_writes", everyone=False)

    assert "saving is refused there." in text_of(superuser())


def test_stages_that_no_step_reached_show_a_banner() -> None:
    stand_at("dual_write")

    assert "The flags were set to dual_write by hand; the steps of the rollout reached legacy." in text_of(superuser())


def test_a_viewer_sees_only_the_figures_of_permitted_lists() -> None:
    text = text_of(viewer("agentsession"))

    assert "Sessions</a>" in text
    assert "Running now" not in text
    assert "Rollout" not in text


def test_failures_are_plotted_by_the_hour() -> None:
    for hours_ago in (0.5, 0.6, 23.5):
        begin("failed", hours_ago)

    text = text_of(superuser())

    assert text.count("<rect") == 2
    found = failures.recent_failures()
    assert found is not None
    assert [(hour.x // failures.STEP, hour.count) for hour in found.hours] == [(0, 1), (23, 2)]


def test_more_failures_than_are_counted_are_said_to_be_more(monkeypatch: pytest.MonkeyPatch) -> None:
    for hours_ago in (1, 2, 3):
        begin("failed", hours_ago)
    monkeypatch.setattr(failures, "MOST", 2)

    assert ">2+</a>" in text_of(superuser())


@pytest.mark.django_db(transaction=True)  # the count needs a transaction of its own
def test_the_strip_says_what_the_next_step_lacks_and_how_projects_stand() -> None:
    ProjectFactory()
    turn("legacy_writes", everyone=True)
    assert "all conditions of dual write met" in text_of(superuser())
    assert "not counted yet" in text_of(superuser())

    turn("agentkit_writes", everyone=True)
    count_now()

    text = text_of(superuser())
    assert "0 of 1 in sync" in text
    assert "1 empty" in text
    assert "conditions of shadow read" in text


def test_the_counts_come_from_the_index_of_the_list() -> None:
    sql(
        """
        INSERT INTO "AgentWorkflowRun" (id, workflow_id, status, started_at)
        SELECT 'run-' || n, 'w', CASE WHEN n < 5 THEN 'running' ELSE 'succeeded' END, now()
        FROM generate_series(1, 5000) n
        """
    )
    tell_planner("AgentWorkflowRun")

    plan = running_runs().order_by().values("pk")[:1001].explain()

    assert "AgentWorkflowRun_kind_idx" in plan
