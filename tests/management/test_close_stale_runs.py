"""Closing the runs whose process died: which, in what words, and with which exit code."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from django.core.management import CommandError
from django.utils import timezone

from agentstate.management.commands.close_stale_runs import duration
from agentstate.models import AgentWorkflowRun
from agentstate.recording import Recorder, RunFinished, close_stale_runs
from tests.factories import EventFactory, RunFactory
from tests.management.commands import call
from tests.sql import scalar, second_connection, sql

if TYPE_CHECKING:
    from datetime import datetime

pytestmark = pytest.mark.django_db(transaction=True)

CLOSE = "close_stale_runs"
AN_HOUR = timedelta(hours=1)


def ago(**length: float) -> datetime:
    return timezone.now() - timedelta(**length)


def silent_run(**given: object) -> AgentWorkflowRun:
    given = {"status": "running", "started_at": ago(hours=3), "completed_at": None, **given}
    run: AgentWorkflowRun = RunFactory(**given)
    return run


def statuses() -> dict[str, str]:
    return dict(sql('SELECT id, status FROM "AgentWorkflowRun"'))


def test_silent_runs_are_closed_and_named() -> None:
    silent, last_event = silent_run(id="silent", workflow_id="intake", project__id="p 1"), ago(hours=2)
    EventFactory(run=silent, created_at=last_event)
    silent_run(id="without", project=None)
    EventFactory(run=silent_run(id="lives"), created_at=ago(minutes=50))
    silent_run(id="new", started_at=ago(minutes=50))

    ended = call(CLOSE, "--older-than", "1h")

    assert (ended.code, ended.stderr) == (0, "")
    first, second, last = ended.lines
    assert first.startswith("without: draft, no project, last sign of life ")
    assert second == f"silent: intake, project 'p 1', last sign of life {last_event:%F %H:%M}" + second[-7:]
    assert last == "2 runs closed as stale."
    assert statuses() == {"silent": "failed", "without": "failed", "lives": "running", "new": "running"}
    run = AgentWorkflowRun.objects.get(pk="silent")
    assert run.error == (
        "Closed as stale: there was no event and no heartbeat for longer than 1:00:00, so its process is taken for "
        "dead."
    )
    assert run.completed_at > ago(minutes=1)


def test_a_second_call_closes_nothing() -> None:
    silent_run()
    call(CLOSE, "--older-than", "1h")
    rows = sql('SELECT run::text FROM "AgentWorkflowRun" run')
    assert call(CLOSE, "--older-than", "1h").lines == ["0 runs closed as stale."]
    assert sql('SELECT run::text FROM "AgentWorkflowRun" run') == rows


def test_a_dry_run_changes_nothing() -> None:
    silent_run(id="silent")
    rows = sql('SELECT run::text FROM "AgentWorkflowRun" run')
    ended = call(CLOSE, "--older-than", "1h", "--dry-run")
    assert ended.code == 0
    assert ended.lines[0].startswith("silent: ")
    assert ended.lines[-1] == "1 run would be closed as stale."
    assert sql('SELECT run::text FROM "AgentWorkflowRun" run') == rows


@pytest.mark.parametrize("status", ["pending", "succeeded", "failed", "canceled"])
def test_only_running_runs_are_stale(status: str) -> None:
    silent_run(status=status)
    assert call(CLOSE, "--older-than", "1h").lines == ["0 runs closed as stale."]
    assert list(statuses().values()) == [status]


def test_a_snapshot_stays_where_it_is() -> None:
    silent_run(id="silent", state={"facts": 1})
    before = sql('SELECT result::text, snapshot_at, legacy_at FROM "AgentWorkflowRun"')
    call(CLOSE, "--older-than", "1h")
    assert sql('SELECT result::text, snapshot_at, legacy_at FROM "AgentWorkflowRun"') == before


def test_a_heartbeat_keeps_a_run_alive() -> None:
    recorder = Recorder(silent_run(id="silent"))
    recorder.heartbeat()
    assert close_stale_runs(AN_HOUR) == []
    sql("""UPDATE "AgentWorkflowRunEvent" SET created_at = created_at - interval '2 hours'""")
    recorder.heartbeat()
    assert close_stale_runs(AN_HOUR) == []
    assert scalar('SELECT count(*) FROM "AgentWorkflowRunEvent"') == 1


def test_a_run_with_recent_writes_is_not_closed() -> None:
    silent_run(id="silent")
    silent_run(id="other")
    with second_connection() as other:
        other.execute("BEGIN")
        other.execute("""SELECT FROM "AgentWorkflowRun" WHERE id = 'silent' FOR NO KEY UPDATE""")
        assert call(CLOSE, "--older-than", "1h").lines[-1] == "1 run closed as stale."
        other.execute("ROLLBACK")
    assert statuses() == {"silent": "running", "other": "failed"}


def test_a_late_event_is_kept_and_one_after_a_real_end_is_refused() -> None:
    late = Recorder(silent_run(id="late"))
    call(CLOSE, "--older-than", "1h")
    late.event("step", {"page": 1})
    assert sql('SELECT type, payload::text FROM "AgentWorkflowRunEvent"') == [("step", '{"page": 1, "$late": true}')]
    with pytest.raises(RunFinished):
        Recorder(silent_run(status="failed", error="ValueError: Closed as stale")).event("step")


@pytest.mark.parametrize(
    ("text", "length"),
    [
        ("90s", timedelta(seconds=90)),
        ("30m", timedelta(minutes=30)),
        ("1h", AN_HOUR),
        ("2d", timedelta(days=2)),
    ],
)
def test_durations_are_parsed(text: str, length: timedelta) -> None:
    assert duration(text) == length


@pytest.mark.parametrize(
    "text", ["", "1", "h", "0m", "-1h", "1.5h", "1w", "1h30m", "1 h", "٣h", "36501d", "999999999d"]
)
def test_invalid_durations_are_refused(text: str) -> None:
    silent_run(id="silent")
    ended = call(CLOSE, f"--older-than={text}")
    assert ended.code == 1
    assert f"{text!r} is not a duration such as 90s, 30m, 1h or 2d" in ended.stderr
    assert statuses() == {"silent": "running"}


def test_the_longest_duration_is_accepted() -> None:
    assert call(CLOSE, "--older-than", "36500d").lines == ["0 runs closed as stale."]


def test_the_duration_is_required() -> None:
    ended = call(CLOSE)
    assert ended.code == CommandError("").returncode
    assert "--older-than" in ended.stderr
