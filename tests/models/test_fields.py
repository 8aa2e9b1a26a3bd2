"""Timestamps without time zone that hold UTC, and the auditing queries of the migration plan."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.db import connection
from django.db.models import F, Max, Q
from django.db.models.functions import Now
from django.utils import timezone as django_timezone

from agentstate.models import AgentWorkflowRun, AgentWorkflowRunEvent, Project

pytestmark = pytest.mark.django_db

MOMENT = datetime(2024, 1, 1, 2, 30, 0, 123000, tzinfo=UTC)
NEW_YORK = ZoneInfo("America/New_York")
# From the migration plan, word for word.
SUCCEEDED_RUNS = """\
SELECT project_id, count(*) FROM "AgentWorkflowRun" WHERE status = 'succeeded' GROUP BY 1 ORDER BY 2 DESC;"""
EVENTS_OF_A_RUN = """\
SELECT run_id, type, created_at FROM "AgentWorkflowRunEvent" WHERE run_id = '<runId>' ORDER BY created_at;"""


@pytest.fixture(params=["UTC", "America/New_York", "Asia/Kathmandu"])
def session_zone(request: pytest.FixtureRequest) -> str:
    """The time zone of the database session."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config('TimeZone', %s, true)", [request.param])
    return str(request.param)


@pytest.fixture
def project(session_zone: str) -> Project:
    """A project as Prisma inserts it, in any time zone."""
    rows("""INSERT INTO "Project" (id, "userId", name, "createdAt")
            VALUES ('p', 'u', 'n', '2024-01-01 02:30:00.123') RETURNING 1""")
    return Project.objects.get()


def rows(query: str) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(query)
        return cursor.fetchall()


def stored(project: str = "p") -> str:
    """Return the stored time as text."""
    [(text,)] = rows(f"""SELECT "createdAt"::text FROM "Project" WHERE id = '{project}'""")
    return str(text)


def test_values_are_aware_and_in_utc(project: Project) -> None:
    assert project.created_at == MOMENT
    assert project.created_at.tzinfo is UTC
    assert Project.objects.values_list("created_at", flat=True).get() == MOMENT
    assert Project.objects.aggregate(newest=Max("created_at")) == {"newest": MOMENT}


@pytest.mark.parametrize("zone", [UTC, NEW_YORK, timezone(timedelta(hours=14))], ids=str)
def test_filters_take_aware_times_of_any_zone(project: Project, zone: Any) -> None:
    moment, instant = MOMENT.astimezone(zone), timedelta(milliseconds=1)

    found = Project.objects.filter
    assert found(created_at=moment).exists()
    assert found(created_at__range=(moment, moment)).exists()
    assert found(created_at__in=[moment]).exists()
    assert found(Q(created_at__gt=moment - instant) & Q(created_at__lt=moment + instant)).exists()
    assert not found(Q(created_at__gt=moment) | Q(created_at__lt=moment)).exists()


@pytest.mark.parametrize("zone", [UTC, NEW_YORK, timezone(timedelta(hours=14))], ids=str)
def test_writes_store_utc_whatever_the_zone(session_zone: str, zone: Any) -> None:
    moment = MOMENT.astimezone(zone)
    with django_timezone.override(zone):
        Project.objects.create(id="p", user_id="u", name="n", created_at=moment)
        Project.objects.bulk_create([Project(id="q", user_id="u", name="n", created_at=moment)])
        Project.objects.create(id="r", user_id="u", name="n", created_at=MOMENT - timedelta(days=9))
        Project.objects.filter(id="r").update(created_at=moment)

    assert {stored(project) for project in "pqr"} == {"2024-01-01 02:30:00.123"}
    assert set(Project.objects.values_list("created_at", flat=True)) == {MOMENT}


def test_a_row_that_is_read_and_saved_keeps_its_time(project: Project) -> None:
    project.save()

    assert stored() == "2024-01-01 02:30:00.123"


def test_the_database_sets_a_missing_time() -> None:
    Project.objects.create(id="p", user_id="u", name="n")

    assert abs(Project.objects.get().created_at - datetime.now(UTC)) < timedelta(minutes=5)
    assert Project.objects.filter(created_at__lte=Now() + timedelta(seconds=1)).exists()
    assert Project.objects.filter(created_at__lt=F("state_updated_at") + timedelta(seconds=1)).exists()


def test_the_plans_auditing_queries_run_word_for_word() -> None:
    for project, count in (("p", 1), ("q", 2)):
        Project.objects.create(id=project, user_id="u", name="n")
        for _ in range(count):
            AgentWorkflowRun.objects.create(
                workflow_id="test", project_id=project, status="succeeded", started_at=MOMENT
            )
    run = AgentWorkflowRun.objects.create(id="<runId>", workflow_id="test", status="running", started_at=MOMENT)
    for ordinal, kind in ((2, "later"), (1, "earlier")):
        AgentWorkflowRunEvent.objects.create(
            run=run, type=kind, payload={}, created_at=MOMENT + timedelta(microseconds=ordinal)
        )

    assert rows(SUCCEEDED_RUNS) == [("q", 2), ("p", 1)]
    assert [(run_id, kind) for run_id, kind, _ in rows(EVENTS_OF_A_RUN)] == [
        ("<runId>", "earlier"),
        ("<runId>", "later"),
    ]
