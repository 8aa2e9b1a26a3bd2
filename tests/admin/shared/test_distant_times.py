"""Every page shows a time that PostgreSQL holds and Python does not, as PostgreSQL prints it."""

from __future__ import annotations

import pickle
from datetime import UTC, datetime, timedelta
from html import unescape
from typing import TYPE_CHECKING

import pytest
from django.contrib.admin.utils import quote
from django.db import DataError, connection
from django.urls import reverse as url_of
from django.utils import timezone

from agentstate.distant_times import DistantTime, distant_times
from agentstate.models import (
    AgentSession,
    AgentWorkflowRun,
    AgentWorkflowRunEvent,
    BackfillPass,
    FlagChange,
    LeftAside,
    Project,
    ReadCount,
    ReadDifference,
    RolloutStep,
)
from tests import scenes
from tests.admin.viewers import superuser
from tests.factories import ProjectFactory

if TYPE_CHECKING:
    from django.test import Client

pytestmark = pytest.mark.django_db(transaction=True)

TIMES = ["infinity", "-infinity", "57123-04-05 00:00:00", "0044-03-15 12:00:00 BC", "9999-12-31 23:59:59.999"]
NOW = datetime(2026, 1, 2, tzinfo=UTC)


def distant(table: str, column: str, time: str) -> str:
    """Set a column of all rows to a time, whatever a trigger or a constraint would make of it; return its text."""
    with connection.cursor() as cursor:
        cursor.execute("SET session_replication_role = replica")
        cursor.execute(f'ALTER TABLE "{table}" DISABLE TRIGGER ALL')
        cursor.execute(f'UPDATE "{table}" SET "{column}" = %s', [time])
        cursor.execute(f'ALTER TABLE "{table}" ENABLE TRIGGER ALL')
        cursor.execute("SET session_replication_role = origin")
        cursor.execute(f'SELECT "{column}"::text FROM "{table}" LIMIT 1')
        (text,) = cursor.fetchone()
    return str(text)


def shows(client: Client, text: str, view: str, *args: object) -> None:
    response = client.get(url_of(f"admin:agentstate_{view}", args=args))
    assert response.status_code == 200, view
    assert text in unescape(response.content.decode()), view


@pytest.fixture(autouse=True)
def clock_trigger() -> object:
    """Let the legacy clock's trigger fire for every role again, as it is made."""
    yield
    scenes.run_sql('ALTER TABLE "Project" ENABLE ALWAYS TRIGGER zz_agentstate_state_clock')


def make_run(project: str) -> AgentWorkflowRun:
    run: AgentWorkflowRun = AgentWorkflowRun.objects.create(
        project_id=project,
        workflow_id="live",
        status="succeeded",
        started_at=NOW,
        completed_at=NOW + timedelta(seconds=1),
        snapshot_at=NOW,
        legacy_at=NOW,
        result={"state": {"coverage": {"score": 0.5}}},
    )
    for number in range(2):
        AgentWorkflowRunEvent.objects.create(
            run=run,
            type="state.changed",
            payload={"coverage": {"score": 0.5}},
            created_at=NOW + timedelta(seconds=number),
        )
    return run


@pytest.mark.parametrize("time", TIMES)
class TestEachTime:
    def test_of_a_project(self, time: str) -> None:
        project, client = ProjectFactory().pk, superuser()
        made = distant("Project", "createdAt", time)
        shows(client, made, "project_changelist")
        shows(client, made, "project_change", quote(project))

        clock = distant("Project", "stateUpdatedAt", time)
        shows(client, clock, "project_change", quote(project))
        shows(client, made, "project_change", quote(project))

    @pytest.mark.parametrize("column", ["started_at", "completed_at", "snapshot_at", "legacy_at"])
    def test_of_a_run(self, time: str, column: str) -> None:
        project, client = ProjectFactory().pk, superuser()
        run = make_run(project)
        text = distant("AgentWorkflowRun", column, time)
        on_page = text if column in ("started_at", "snapshot_at") else run.pk
        shows(client, text if column == "started_at" else run.pk, "agentworkflowrun_changelist")
        shows(client, on_page, "agentworkflowrun_change", quote(run.pk))
        shows(client, text if column == "snapshot_at" else run.pk, "project_change", quote(project))
        download = client.get(url_of("admin:agentstate_agentworkflowrun_download", args=[quote(run.pk)]))
        assert text in b"".join(download.streaming_content).decode()

    def test_of_an_event(self, time: str) -> None:
        run, client = make_run(ProjectFactory().pk), superuser()
        AgentWorkflowRunEvent.objects.order_by("created_at").first().delete()
        text = distant("AgentWorkflowRunEvent", "created_at", time)
        shows(client, text, "agentworkflowrun_change", quote(run.pk))
        live = client.get(url_of("admin:agentstate_agentworkflowrun_live", args=[quote(run.pk)]))
        assert text in live.content.decode()
        moments = client.get(url_of("admin:agentstate_project_change", args=[quote(run.project_id)]), {"moment": "1"})
        assert moments.status_code == 200

    @pytest.mark.parametrize("column", ["created_at", "updated_at"])
    def test_of_a_session(self, time: str, column: str) -> None:
        client = superuser()
        session = AgentSession.objects.create(project=ProjectFactory(), created_at=NOW, updated_at=NOW)
        text = distant("AgentSession", column, time)
        shows(client, text, "agentsession_changelist")
        shows(client, text, "agentsession_change", quote(session.pk))
        shows(client, session.pk, "project_change", quote(session.project_id))

    @pytest.mark.parametrize("column", ["started_at", "seen_at", "ended_at"])
    def test_of_a_pass(self, time: str, column: str) -> None:
        client = superuser()
        entry = BackfillPass.objects.create(
            direction="forward", requested_by="ada", started_at=NOW, seen_at=NOW, ended_at=NOW
        )
        text = distant("AgentStatePass", column, time)
        shown = text if column == "started_at" else "ada"
        shows(client, shown, "backfillpass_changelist")
        shows(client, text if column != "seen_at" else "ada", "backfillpass_change", entry.pk)
        shows(client, shown, "rollout_changelist")

    @pytest.mark.parametrize("column", ["first_seen_at", "last_seen_at", "accepted_at", "closed_at"])
    def test_of_what_was_left_aside(self, time: str, column: str) -> None:
        client, project = superuser(), ProjectFactory().pk
        entry = LeftAside.objects.create(
            project_id=project, direction="forward", error_class="E", error="e", first_seen_at=NOW, last_seen_at=NOW
        )
        LeftAside.objects.update(note="since I say so")
        text = distant("AgentStateLeftAside", column, time)
        shows(client, text if column in ("last_seen_at", "closed_at") else project, "leftaside_changelist")
        shows(client, text if column.endswith("seen_at") else project, "leftaside_change", entry.pk)
        shows(client, text if column in ("last_seen_at", "accepted_at") else "Projects", "rollout_changelist")

    def test_of_the_rollout(self, time: str) -> None:
        client = superuser()
        step = RolloutStep.objects.create(
            at=NOW, from_stage="legacy", from_percent=0, to_stage="dual_write", to_percent=0, requested_by="ada"
        )
        text = distant("AgentStateRolloutStep", "at", time)
        shows(client, text, "rolloutstep_changelist")
        shows(client, text, "rollout_changelist")
        distant("AgentStateRolloutStep", "completed_at", time)
        shows(client, text, "rolloutstep_change", step.pk)

    def test_of_what_reads_found(self, time: str) -> None:
        ReadDifference.objects.create(at=NOW, project_id="p", state_key="facts", path="facts")
        ReadCount.objects.create(hour=timezone.now(), finding="compared", count=3)
        text = distant("AgentStateReadDifference", "at", time)
        distant("AgentStateReadCount", "hour", time)
        shows(superuser(), text, "rollout_changelist")

    def test_of_a_flag_change(self, time: str) -> None:
        change = FlagChange.objects.create(flag="agentkit_reads", after={"everyone": False}, changed_at=NOW)
        client, text = superuser(), distant("AgentStateFlagChange", "changed_at", time)
        shows(client, text, "flagchange_changelist")
        shows(client, "agentkit_reads", "flagchange_change", change.pk)
        shows(client, text, "rollout_changelist")


def test_a_list_goes_on_after_rows_of_distant_times() -> None:
    """The address of the next page names the row by its time."""
    project, client = ProjectFactory().pk, superuser()
    for number in range(120):
        AgentWorkflowRun.objects.create(
            id=f"r{number:03}", project_id=project, workflow_id="w", status="failed", started_at=NOW
        )
    scenes.run_sql("""UPDATE "AgentWorkflowRun" SET started_at = 'infinity' WHERE id < 'r080'""")

    address, seen = url_of("admin:agentstate_agentworkflowrun_changelist"), []
    while address:
        changes = client.get(address).context["cl"]
        seen += [run.pk for run in changes.result_list]
        address = (
            url_of("admin:agentstate_agentworkflowrun_changelist") + changes.older_link if changes.older_link else ""
        )

    assert sorted(seen) == [f"r{number:03}" for number in range(120)]


def test_outside_a_page_the_connection_reads_times_as_usual() -> None:
    with distant_times():
        (moment,) = scenes.one("SELECT 'infinity'::timestamptz")
        assert scenes.one("SELECT %s", moment) == (moment,)
        assert scenes.one("SELECT '2026-01-02 03:04:05+00'::timestamptz") == (
            datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        )
    with pytest.raises(DataError):
        scenes.one("SELECT 'infinity'::timestamptz")


def test_a_distant_time_is_shown_unchanged() -> None:
    late, early = DistantTime("infinity"), DistantTime("0044-03-15 12:00:00+00 BC")

    assert early < NOW < late
    assert pickle.loads(pickle.dumps(late)).text == "infinity"
    assert (str(late), late.isoformat(), late.astimezone(UTC).text) == ("infinity", "infinity", "infinity")
    assert DistantTime.parse(early.text) == early
    assert DistantTime.parse("2026-01-02") is None


def test_a_distant_time_of_a_project_is_read_as_printed() -> None:
    project = ProjectFactory()
    distant("Project", "createdAt", "infinity")
    with distant_times():
        assert Project.objects.get(pk=project.pk).created_at == DistantTime("infinity")
