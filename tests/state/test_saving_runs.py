"""Which run a save is part of and when, what is refused, and what a transaction around it takes back."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from django.db import transaction
from django.db.models import JSONField, Value
from django.utils import timezone

from agentstate import state
from agentstate.models import AgentWorkflowRun
from agentstate.state import (
    ProjectNotFound,
    UnsuitableDocument,
    UnsuitableRun,
    UnsuitableTransaction,
)
from tests import scenes
from tests.factories import EventFactory, ProjectFactory, RunFactory, write_columns
from tests.flags import rolled_back
from tests.state.projects import (
    BASE,
    GATES,
    SCENES,
    clashing,
    forked,
    in_sync,
    legacy_ahead,
    legacy_ahead_of_a_snapshot,
    open_gates,
    rows_as_they_lie,
    run_of,
)
from tests.state.test_documents import UNSUITABLE

if TYPE_CHECKING:
    from collections.abc import Callable

# -- runs


@pytest.mark.django_db
@pytest.mark.parametrize("writes", ["both", "agentkit"])
def test_outside_a_run_a_save_creates_one(writes: str) -> None:
    project = in_sync()
    open_gates(writes)

    saved = state.save(project, facts=1)

    run = AgentWorkflowRun.objects.get(pk=saved.run_id)
    assert (run.workflow_id, run.status, run.project_id) == ("direct_write", "succeeded", project)
    assert run.started_at == run.completed_at == run.snapshot_at == saved.at
    assert run.input == {"source": "direct_write"}
    assert set(run.result) == {"state"}
    assert run.error is None
    assert len(run.pk) == 24


@pytest.mark.django_db
@pytest.mark.parametrize("result", [None, [1], "odd"], ids=repr)
def test_a_run_whose_result_is_not_an_object_is_saved_into(result: object) -> None:
    project = in_sync()
    run = run_of(project, result=Value(result, JSONField()))
    open_gates()

    state.save(project, run=run, facts=1, coverage=2)

    assert AgentWorkflowRun.objects.get(pk=run).result == {"state": {"facts": 1, "coverage": 2, "eligibility": None}}


@pytest.mark.django_db
@pytest.mark.parametrize("writes", ["both", "agentkit"])
@pytest.mark.parametrize("result", [None, {}, {"output": {"state": 1, "pages": [0.5]}}])
def test_a_run_keeps_its_output(writes: str, result: dict[str, Any] | None) -> None:
    project = in_sync()
    run = run_of(project, result=result)
    before = AgentWorkflowRun.objects.get(pk=run)
    open_gates(writes)

    first = state.save(project, run=run, facts=1)
    second = state.save(project, run=run, coverage=2)

    after = AgentWorkflowRun.objects.get(pk=run)
    assert first.run_id == second.run_id == run
    assert first.at is not None
    assert second.at is not None
    assert first.at < second.at == after.snapshot_at
    assert after.result == (result or {}) | {"state": {"facts": 1, "coverage": 2, "eligibility": None}}
    unchanged = ("workflow_id", "project_id", "status", "input", "error", "started_at", "completed_at")
    assert [getattr(after, name) for name in unchanged] == [getattr(before, name) for name in unchanged]
    assert AgentWorkflowRun.objects.count() == 2


@pytest.mark.django_db
def test_runs_save_alternately() -> None:
    project = in_sync()
    one, other = run_of(project), run_of(project)
    open_gates()

    for number, run in enumerate([one, other, one, other, one]):
        state.save(project, run=run, facts=number)

    homes = scenes.homes_of(project)
    assert homes.in_sync
    assert [each.run for each in homes.snapshots[-2:]] == [other, one]
    assert [each.state["facts"] for each in homes.snapshots[-2:]] == ["3", "4"]


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("status", "fact"),
    [
        ("pending", "it is pending.*resume it first"),
        ("succeeded", "it is succeeded.*save in a new run"),
        ("failed", "it is failed.*save in a new run"),
        ("canceled", "it is canceled.*save in a new run"),
        ("unknown", "there is no such run"),
        ("another project's", "it belongs to the project"),
        ("nobody's", "it belongs to the project None"),
    ],
)
@pytest.mark.parametrize("writes", ["both", "agentkit", "legacy"])
def test_a_run_that_cannot_save_is_refused(status: str, fact: str, writes: str) -> None:
    project = legacy_ahead()
    if status == "unknown":
        run = "unknown"
    elif status == "another project's":
        run = run_of(ProjectFactory().id)
    elif status == "nobody's":
        run = RunFactory(project=None, status="running").pk
    else:
        run = run_of(project, status)
    open_gates(writes)
    before = rows_as_they_lie()

    with pytest.raises(UnsuitableRun, match=fact) as refused:
        state.save(project, run=run, facts=1)

    assert refused.value.run_id == run
    assert rows_as_they_lie() == before


# -- clocks


@pytest.mark.django_db
@pytest.mark.parametrize("writes", GATES)
def test_a_save_is_later_than_every_earlier_one(writes: str) -> None:
    project = in_sync()
    scenes.save(project, "facts", "1", clock_ahead=timedelta(days=1))
    before = scenes.homes_of(project)
    open_gates(writes)

    saved = state.save(project, facts=2)

    assert saved.at == before.clock + timedelta(microseconds=1)
    assert saved.at > timezone.now()


@pytest.mark.django_db
def test_a_save_is_later_than_its_runs_events() -> None:
    project = in_sync()
    run = run_of(project)
    latest = EventFactory(
        run=AgentWorkflowRun.objects.get(pk=run), created_at=timezone.now() + timedelta(hours=1)
    ).created_at
    open_gates()

    saved = state.save(project, run=run, facts=1)

    assert saved.at == latest + timedelta(microseconds=1)
    assert scenes.homes_of(project).in_sync


@pytest.mark.django_db
@pytest.mark.parametrize("writes", GATES)
def test_quick_saves_have_distinct_clock_values(writes: str) -> None:
    project = in_sync()
    open_gates(writes)

    moments = [state.save(project, facts=number).at for number in range(20)]

    assert moments == sorted(set(moments))


# -- what is refused


@pytest.mark.django_db
@pytest.mark.parametrize("writes", GATES)
def test_an_unknown_project_is_not_found(writes: str) -> None:
    open_gates(writes)

    with pytest.raises(ProjectNotFound, match="'nobody'"):
        state.save("nobody", facts=1)

    assert not AgentWorkflowRun.objects.exists()


@pytest.mark.django_db
@pytest.mark.parametrize("documents", [{}, {"rfpNorm": 1}, {"facts": 1, "fact": 2}])
def test_unknown_document_names_are_refused(documents: dict[str, Any]) -> None:
    project = legacy_ahead()
    open_gates()
    before = rows_as_they_lie()

    with pytest.raises(TypeError, match="rfp_norm, facts, coverage, conflict_log, eligibility"):
        state.save(project, **documents)

    assert rows_as_they_lie() == before


@pytest.mark.django_db
@pytest.mark.parametrize(("document", "path", "fact"), UNSUITABLE, ids=[f"{each[1]}-{each[2]}" for each in UNSUITABLE])
def test_what_is_not_json_is_refused_before_anything_is_written(document: object, path: str, fact: str) -> None:
    project = forked()
    open_gates()
    before = rows_as_they_lie()

    with pytest.raises(UnsuitableDocument, match=fact) as refused:
        state.save(project, coverage={"score": 1}, facts=document)

    assert refused.value.path == path
    assert rows_as_they_lie() == before


@pytest.mark.django_db
def test_the_path_starts_with_the_documents_python_name() -> None:
    with pytest.raises(UnsuitableDocument) as refused:
        state.save(legacy_ahead(), conflict_log=[{"next": math.nan}])

    assert refused.value.path == "conflict_log[0].next"


# -- transactions


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("level", ["REPEATABLE READ", "SERIALIZABLE"])
def test_a_transaction_with_an_old_snapshot_is_refused(level: str) -> None:
    project = legacy_ahead()
    open_gates()
    before = rows_as_they_lie()

    with transaction.atomic():
        scenes.run_sql(f"SET TRANSACTION ISOLATION LEVEL {level}")
        with pytest.raises(UnsuitableTransaction, match=level.lower()):
            state.save(project, facts=1)

    assert rows_as_they_lie() == before


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("level", ["REPEATABLE READ", "SERIALIZABLE"])
def test_a_save_outside_a_transaction_sets_its_isolation_level(level: str) -> None:
    project = legacy_ahead()
    open_gates()

    def save() -> None:
        scenes.run_sql(f"SET default_transaction_isolation = '{level.lower()}'")
        state.save(project, facts=1)

    with transaction.atomic():
        write_columns(project, {"coverage": '{"theirs": 1}'})
        thread = scenes.start_and_wait_for_lock(save)
    thread.join()

    loaded = state.load(project)
    assert (loaded.facts, loaded.coverage) == (1, {"theirs": 1})


@pytest.mark.django_db(transaction=True)
def test_a_save_without_autocommit_joins_the_transaction() -> None:
    project = in_sync()
    open_gates()
    before = rows_as_they_lie()

    transaction.set_autocommit(False)
    try:
        state.load(project)
        state.save(project, facts=1)
        assert state.load(project).facts == 1
        transaction.rollback()
    finally:
        transaction.set_autocommit(True)

    assert rows_as_they_lie() == before


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("make", "standing", "together"), SCENES, ids=[each[0].__name__ for each in SCENES])
def test_a_rollback_of_the_callers_transaction_undoes_everything(
    make: Callable[[], str], standing: str, together: dict[bool, dict[str, str]]
) -> None:
    project = make()
    run = run_of(project)
    open_gates()
    before = scenes.everything()

    with rolled_back():
        state.save(project, run=run, facts=1)
        state.save(project, facts=2)

    assert scenes.everything() == before


@pytest.mark.django_db(transaction=True)
def test_a_refused_save_leaves_the_callers_transaction_usable() -> None:
    project = in_sync()
    open_gates()

    with transaction.atomic():
        state.save(project, facts=1)
        with pytest.raises(UnsuitableRun):
            state.save(project, run="unknown", facts=2)
        with pytest.raises(ProjectNotFound):
            state.save("nobody", facts=2)
        state.save(project, coverage=3)

    assert scenes.homes_of(project).columns == BASE | {"facts": "1", "coverage": "3"}


# -- what a deleted project left


def saved_over_in_one_run() -> str:
    """Make a project whose columns hold what its run has saved over since, in the other home only."""
    project = in_sync()
    run = scenes.save(project, "facts", '"first"')
    scenes.save(project, "facts", '"snapshot"', run=run, legacy=False)
    return project


@pytest.mark.django_db
@pytest.mark.parametrize("make", [legacy_ahead, legacy_ahead_of_a_snapshot, forked, clashing, saved_over_in_one_run])
@pytest.mark.parametrize("writes", GATES)
def test_a_deleted_projects_run_can_have_the_snapshots_id(make: Callable[[], str], writes: str) -> None:
    project = make()
    (orphan,) = scenes.one(
        """
        SELECT 'legacy_' || id || '_' || (extract(epoch FROM "stateUpdatedAt") * 1000000)::bigint
        FROM "Project" WHERE id = %s
        """,
        project,
    )
    RunFactory(id=orphan, project=None, state={"facts": "of the deleted one"})
    columns = scenes.homes_of(project).columns
    open_gates(writes)

    state.save(project, conflict_log=1)

    homes = scenes.homes_of(project)
    assert (homes.columns if writes == "legacy" else homes.newest.state)["conflictLog"] == "1"
    assert scenes.standing_of(project) == {"both": "in_sync", "agentkit": "agentkit_ahead"}.get(writes, "legacy_ahead")
    if writes == "both":
        assert columns in [each.state for each in homes.snapshots]
    assert AgentWorkflowRun.objects.get(pk=orphan).project_id is None


@pytest.mark.django_db
def test_a_project_deleted_and_created_again_with_its_clock_is_saved() -> None:
    """Its old snapshot, which nobody owns now, has the id that the new one would get."""
    project = in_sync()
    clock = scenes.homes_of(project).clock
    scenes.run_sql('DELETE FROM "Project" WHERE id = %s', project)
    ProjectFactory(id=project, documents=BASE)
    with scenes.behind_the_trigger():
        scenes.run_sql('UPDATE "Project" SET "stateUpdatedAt" = %s WHERE id = %s', clock, project)
    open_gates()

    state.save(project, facts=1)

    homes = scenes.homes_of(project)
    assert homes.in_sync
    assert homes.columns == BASE | {"facts": "1"}
    assert homes.snapshots[0].at > clock
