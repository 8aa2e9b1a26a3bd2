"""What a pruning leaves: every moment that can still be asked for is as it was."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING, Any

import pytest
from django.db import models
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from agentstate import state
from agentstate.backfill.verification import verify
from agentstate.models import AgentWorkflowRun, BackfillPass
from agentstate.models.runs import ClockTimestamp
from agentstate.retention import Pruned, PruneOptions, load_archive, prune
from agentstate.retention.archive import NULLABLE_JSON
from agentstate.rollout.bypassing_writes import count_bypassing_writes
from tests import scenes
from tests.examples import when_quick
from tests.factories import ProjectFactory, write_columns
from tests.management.commands import call
from tests.sql import count, dump, scalar, second_connection, sql

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

pytestmark = pytest.mark.django_db(transaction=True)

RUNS, EVENTS = "AgentWorkflowRun", "AgentWorkflowRunEvent"
ACTS = st.sampled_from(["save", "save", "save agentkit", "begin", "save again", "event", "write columns", "reverse"])
MOSTLY_NOT = st.sampled_from([False, False, True])
OPTIONS = st.fixed_dictionaries(
    {
        "keep_last": st.sampled_from([0, 0, 0, 1]),
        "workflow": st.sampled_from([None, None, None, "live", "legacy_snapshot"]),
        "events_only": MOSTLY_NOT,
        "batch_size": st.sampled_from([1, 3, 100]),
    }
)


def act(what: str, number: int, project: str, runs: list[str]) -> None:
    """Do one thing in a project's life; the runs of its saves are added to ``runs``."""
    key, document = ("facts", "coverage")[number % 2], str(number)
    match what:
        case "begin":
            runs += filter(None, [scenes.save(project, key, document, reads_agentkit=True)])
        case "save" | "save agentkit":
            run = scenes.save(project, key, document, reads_agentkit=True, legacy=what == "save")
            AgentWorkflowRun.objects.filter(pk=run).update(status="succeeded", completed_at=ClockTimestamp())
            runs += filter(None, [run])
        case "save again" if runs and AgentWorkflowRun.objects.get(pk=runs[-1]).status == "running":
            scenes.save(project, key, document, reads_agentkit=True, run=runs[-1])
        case "event" if runs:
            sql(
                f"""INSERT INTO "{EVENTS}" (id, run_id, type, payload, created_at)
                VALUES (gen_random_uuid(), %s, 'step', '0.10', clock_timestamp())""",
                runs[-1],
            )
        case "write columns":
            write_columns(project, {key: document})
        case "reverse":
            scenes.reverse(project)


def history_since(project: str, horizon: datetime) -> dict[Any, Any]:
    moments = [moment.at for moment in state.history(project) if moment.at >= horizon]
    return {at: state.at(project, at) for at in [horizon, *moments, timezone.now()]}


def _documents(past: Any) -> Any:
    return past.facts, past.coverage, past.as_of


def begin_dual_writing_now() -> None:
    """Date the toggles of the write gates as if all saves had come before: the rollout counts writes since then."""
    sql('UPDATE "AgentStateFlagChange" SET changed_at = clock_timestamp()')


@when_quick(12)
@given(acts=st.lists(ACTS, min_size=6, max_size=16), late=st.integers(0, 3), options=OPTIONS, dual=MOSTLY_NOT)
def test_no_moment_since_the_cutoff_changes(acts: list[str], late: int, options: dict[str, Any], dual: bool) -> None:
    scenes.forget_everything()
    project, runs, times = ProjectFactory(documents={"facts": '"first"'}).id, list[str](), list[Any]()
    scenes.forward(project, sessions=False)
    for number, what in enumerate(acts):
        times.append(timezone.now())
        act(what, number, project, runs)
    if not dual:
        begin_dual_writing_now()
    before = times[-1 - late]
    standing, clean, bypassed = scenes.standing_of(project), verify().problems, count_bypassing_writes()
    newest = sql(f'SELECT id, legacy_at FROM "{RUNS}" WHERE snapshot_at IS NOT NULL ORDER BY snapshot_at DESC LIMIT 1')
    base = newest and state.at(project, newest[0][1])
    history = history_since(project, before)

    prune(PruneOptions(before, **options))

    assert {at: _documents(past) for at, past in history.items()} == {
        at: _documents(state.at(project, at)) for at in history
    }
    assert scenes.standing_of(project) == standing
    assert verify().problems == clean
    assert count_bypassing_writes() == bypassed
    if standing in ("forked", "agentkit_ahead"):
        assert _documents(state.at(project, newest[0][1])) == _documents(base)


def play(*acts: str) -> tuple[str, list[str]]:
    """Play acts on a project that is in sync, and return it with its runs."""
    project, runs = ProjectFactory(documents={"facts": '"first"'}).id, list[str]()
    scenes.forward(project, sessions=False)
    for number, what in enumerate(acts):
        act(what, number, project, runs)
    begin_dual_writing_now()
    return project, runs


def test_the_newest_snapshot_stays_and_older_ones_go() -> None:
    project, runs = play("save", "save", "save")

    assert prune(PruneOptions(timezone.now())).runs == {"legacy_snapshot": 1, "live": 2}

    assert sql(f'SELECT id FROM "{RUNS}"') == [(runs[-1],)]
    assert [moment.run_id for moment in state.history(project)] == [runs[-1]]


def test_the_base_of_a_fork_stays() -> None:
    project, _ = play("save", "save agentkit", "save agentkit", "save agentkit")
    assert prune(PruneOptions(timezone.now())).runs == {"legacy_snapshot": 1}
    write_columns(project, {"eligibility": "true"})

    scenes.forward(project, sessions=False)

    assert scenes.homes_of(project).newest.state == {"facts": "2", "coverage": "3", "eligibility": "true"}


def test_saves_after_the_first_kept_one_of_a_run_are_kept() -> None:
    project, runs = play("begin", "save", "save", "event")
    first_save = state.history(project)[1].at
    AgentWorkflowRun.objects.filter(pk=runs[0]).update(workflow_id="kept")
    scenes.save(project, "eligibility", "1", reads_agentkit=True, run=runs[0])
    before = history_since(project, first_save)

    assert prune(PruneOptions(timezone.now())).runs == {}
    AgentWorkflowRun.objects.get(pk=runs[0]).succeed()
    assert prune(PruneOptions(timezone.now(), workflow="live")).runs == {}

    assert {at: state.at(project, at) for at in before} == before


def test_the_rollouts_evidence_is_kept_until_the_columns_are_dropped() -> None:
    play("save", "write columns", "save", "save")
    sql("UPDATE \"AgentStateFlagChange\" SET changed_at = changed_at - interval '1 day'")
    bypassed = count_bypassing_writes()
    assert bypassed.count

    prune(PruneOptions(timezone.now()))

    assert count_bypassing_writes() == bypassed


def test_unfinished_runs_and_the_newest_of_each_workflow_stay() -> None:
    for number, status in enumerate(["succeeded", "succeeded", "failed", "pending", "running"]):
        project = ProjectFactory(id="p").id if number == 0 else "p"
        AgentWorkflowRun.objects.create(
            project_id=project,
            workflow_id="agent",
            status=status,
            started_at=timezone.now(),
            completed_at=timezone.now() if number < 3 else None,
        )

    assert prune(PruneOptions(timezone.now(), keep_last=4, dry_run=True)).runs == {"agent": 1}
    assert count(RUNS) == 5
    assert prune(PruneOptions(timezone.now(), keep_last=4)).runs == {"agent": 1}
    assert prune(PruneOptions(timezone.now())).runs == {"agent": 2}
    assert sorted(AgentWorkflowRun.objects.values_list("status", flat=True)) == ["pending", "running"]


def test_a_run_that_is_locked_stays_for_the_next_pruning() -> None:
    play("save", "save")
    with second_connection() as other, other.transaction():
        other.execute(f"SELECT FROM \"{RUNS}\" WHERE workflow_id = 'legacy_snapshot' FOR NO KEY UPDATE")
        assert prune(PruneOptions(timezone.now())).runs == {"live": 1}

    assert prune(PruneOptions(timezone.now())).runs == {"legacy_snapshot": 1}
    assert sql('SELECT direction, outcome, runs FROM "AgentStatePass" WHERE direction = %s', "prune") == [
        ("prune", "finished", 1),
        ("prune", "finished", 1),
    ]


def test_an_archive_brings_back_exactly_what_went(tmp_path: Path) -> None:
    project, runs = play("save", "event", "save")
    sql(
        f"""
        INSERT INTO "AgentSession" (id, project_id, agent_run_id, transcript_json, metadata, created_at, updated_at)
        VALUES ('session', %s, %s, '[]', '{{}}', now(), now());
        UPDATE "{EVENTS}" SET parent_id = run_id;
        UPDATE "{RUNS}" SET input = '{{"n": [1e400, 0.10, 12345678901234567890123456789012345678901]}}';
        UPDATE "{RUNS}" SET input = 'null', usage = 'null' WHERE id = %s;
        UPDATE "{EVENTS}" SET payload = 'null' WHERE run_id = %s AND type <> 'state.changed'
        """,
        project,
        *runs[:1] * 3,
    )
    assert count(EVENTS, "payload = 'null'") == 1
    whole = dump(RUNS, EVENTS, "AgentSession")

    pruned = prune(PruneOptions(timezone.now(), archive=tmp_path, batch_size=1))
    assert pruned.runs == {"legacy_snapshot": 1, "live": 1}
    assert (count(RUNS), count("AgentSession", "agent_run_id IS NULL")) == (1, 1)
    assert pruned.archive is not None
    loaded = load_archive(pruned.archive)
    assert dump(RUNS, EVENTS, "AgentSession") == whole
    assert (loaded.runs, loaded.events) == (2, pruned.events.total())

    again = load_archive(pruned.archive)
    assert (again.runs, again.events, again.present) == (0, 0, 2 + loaded.events)
    assert dump(RUNS, EVENTS, "AgentSession") == whole


def test_events_alone_can_go_and_come_back(tmp_path: Path) -> None:
    _, (run,) = play("begin", "event", "event")
    AgentWorkflowRun.objects.get(pk=run).succeed()
    sql(f'UPDATE "{EVENTS}" SET parent_id = run_id')
    whole = dump(RUNS, EVENTS)

    pruned = prune(PruneOptions(timezone.now(), events_only=True, archive=tmp_path))

    types = sql(f'SELECT type FROM "{EVENTS}" WHERE run_id = %s ORDER BY created_at', run)
    assert types == [("state.changed",), ("run.pruned",)]
    assert scalar(f"SELECT payload FROM \"{EVENTS}\" WHERE type = 'run.pruned'") == '{"events": 2}'
    assert prune(PruneOptions(timezone.now(), events_only=True)).events == {}
    assert pruned.archive is not None
    load_archive(pruned.archive)
    assert dump(RUNS, EVENTS) == whole


def test_an_archive_that_ends_within_a_batch_is_loaded_as_far_as_it_goes(tmp_path: Path) -> None:
    play("save", "save")
    archive = prune(PruneOptions(timezone.now(), archive=tmp_path, batch_size=1)).archive
    assert archive is not None
    archive.write_bytes(archive.read_bytes()[:-20])

    loaded = load_archive(archive)

    assert loaded.cut_short
    assert loaded.runs >= 1


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "does not begin with the manifest"),
        (b"no gzip", "no gzip file"),
        (gzip.compress(b'{"run": {}}\n'), "does not begin with the manifest"),
        (gzip.compress(b'{"agentstate_archive": 2, "columns": {}}\n'), "has the format 2"),
    ],
    ids=["empty", "no gzip", "no manifest", "another format"],
)
def test_an_invalid_archive_is_refused(tmp_path: Path, content: bytes, problem: str) -> None:
    (tmp_path / "file").write_bytes(content)

    ended = call("load_agentkit_archive", str(tmp_path / "file"))

    assert ended.code == 1
    assert problem in ended.stderr


def test_the_commands_count_prune_and_load(tmp_path: Path) -> None:
    play("save", "event", "save")
    hour = "interval '1 hour'"
    sql(
        f"""
        UPDATE "{EVENTS}" SET created_at = created_at - {hour};
        UPDATE "{RUNS}" SET started_at = started_at - {hour}, completed_at = completed_at - {hour},
            snapshot_at = snapshot_at - {hour}, legacy_at = legacy_at - {hour}
        """
    )
    whole, before = dump(RUNS, EVENTS), (count(RUNS), count(EVENTS))
    options = ["--older-than", "30m", "--archive", str(tmp_path)]

    assert "would be deleted" in call("prune_agentkit_history", *options, "--dry-run").stdout
    assert list(tmp_path.iterdir()) == []
    ended = call("prune_agentkit_history", *options)
    assert ended.code == 0
    gone = f"{before[0] - count(RUNS)} runs and {before[1] - count(EVENTS)} events"
    assert f"{gone} deleted" in ended.stdout
    assert f"Kept: {count(RUNS)} other run of that age" in ended.stdout
    (archive,) = tmp_path.iterdir()
    assert ended.lines[-1] == f"Archive: {archive}"
    assert f"{before[1] - count(EVENTS)} events deleted" in call("agentkit_pass", "list").stdout

    assert call("load_agentkit_archive", str(archive)).lines == [f"{gone} loaded."]
    assert dump(RUNS, EVENTS) == whole


def test_an_operator_cancels_a_pruning_between_two_batches() -> None:
    def cancel(_: Pruned) -> None:
        BackfillPass.objects.get(direction="prune").cancel("eve")

    play("save", "save", "save")
    pruned = prune(PruneOptions(timezone.now(), batch_size=1), progress=cancel)
    assert (pruned.runs.total(), pruned.stopped, pruned.canceled_by) == (1, True, "eve")


def test_the_columns_that_may_hold_json_null_are_known() -> None:
    fields = [each for each in AgentWorkflowRun._meta.get_fields() if isinstance(each, models.JSONField)]
    assert [each.column for each in fields] == list(NULLABLE_JSON)


def test_an_archive_that_cannot_be_read_is_reported(tmp_path: Path) -> None:
    ended = call("load_agentkit_archive", str(tmp_path / "nothing"))
    assert (ended.code, ended.stderr.count("No such file")) == (1, 1)
    assert ended.stderr.startswith("The file cannot be read: ")


def test_an_archive_that_cannot_be_written_keeps_the_rows(tmp_path: Path) -> None:
    play("save", "save")
    (tmp_path / "file").touch()

    ended = call("prune_agentkit_history", "--older-than", "1s", "--archive", str(tmp_path / "file"))

    assert (ended.code, count(RUNS)) == (1, 3)
    assert "The archive cannot be written" in ended.stderr
