"""One step down: nobody reads the columns before they hold the newest state."""

from __future__ import annotations

import threading
import time
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest
from django.db import transaction

from agentstate import gates, state
from agentstate.models import RolloutStep
from agentstate.rollout import waiting
from agentstate.rollout.errors import Interrupted, UnsuitablePercent
from agentstate.rollout.freeze import is_frozen
from agentstate.rollout.refusals import NoStage, NoSuchStep
from agentstate.rollout.stages import RolloutState
from agentstate.rollout.steps import StepMonitor, advance, retreat, unfinished_step
from tests import scenes
from tests.factories import ProjectFactory
from tests.faults.processes import wait_until
from tests.flags import turn
from tests.rollout.ladder import WaitRecorder, in_sync, position, saved_in_agentkit_only, stand_at, steps_taken
from tests.sql import second_connection

if TYPE_CHECKING:
    from agentstate.backfill import Progress

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("thawed", "impatient")]


# -- down


def test_the_whole_ladder_down() -> None:
    stand_at("frozen")
    project = ProjectFactory().id
    state.save(project, facts=2)
    descended = []
    while position() != ("legacy", 0):
        retreat()
        descended.append(position())

    assert descended == [
        ("agentkit_only", 100),
        ("agentkit_read", 100),
        ("shadow_read", 0),
        ("dual_write", 0),
        ("legacy", 0),
    ]
    assert not is_frozen()
    assert scenes.homes_of(project).columns == {"facts": "2"}
    assert [(stage, percent) for _, _, stage, percent, _ in steps_taken()] == descended
    assert not RolloutStep.objects.filter(completed_at=None).exists()


def test_from_agentkit_only_all_projects_are_reversed_before_the_step() -> None:
    projects = saved_in_agentkit_only()
    moved: list[Progress] = []

    step = retreat(monitor=StepMonitor(progress=moved.append))

    assert position() == ("agentkit_read", 100)
    assert all(scenes.homes_of(project).in_sync for project in projects)
    assert [(progress.step, progress.done, progress.total) for progress in moved] == [
        ("projects", 0, 3),
        ("projects", 3, 3),
    ]
    assert step.completed_at is not None
    assert step.completed_at > step.at
    assert gates.legacy_writes(projects[0])
    assert gates.agentkit_reads(projects[0])


def test_fewer_can_read_from_the_agentkit_home() -> None:
    stand_at("agentkit_read", 50)

    retreat(percent=Decimal(10))

    assert position() == ("agentkit_read", 10)
    for percent in (10, 50):
        with pytest.raises(UnsuitablePercent):
            retreat(percent=Decimal(percent))


@pytest.mark.parametrize("percent", [None, 10])
@pytest.mark.parametrize("stage", ["agentkit_read", "dual_write"])
def test_a_closing_gate_leaves_no_project_behind(stage: str, percent: int | None) -> None:
    project = saved_in_agentkit_only(1)[0]
    stand_at(stage)

    retreat(percent=Decimal(percent) if percent and stage == "agentkit_read" else None)

    assert scenes.homes_of(project).in_sync
    assert scenes.homes_of(project).columns == {"facts": "2"}


def test_pilots_do_not_read_from_the_agentkit_home_after_its_reads_are_taken_back() -> None:
    stand_at("agentkit_read", 10)
    turn("agentkit_reads", percent=10, project_ids=["p1"])

    retreat()

    assert position() == ("shadow_read", 0)
    assert not gates.agentkit_reads("p1")


@pytest.mark.parametrize("change", ["ENABLE TRIGGER ALL", "DISABLE TRIGGER agentstate_freeze"])
def test_a_leftover_freeze_is_lifted_before_legacy_writes_open(change: str) -> None:
    project = in_sync()
    stand_at("frozen")
    scenes.run_sql(f'ALTER TABLE "Project" {change}')
    assert position() == ("agentkit_only", 100)

    retreat()
    scenes.run_sql('ALTER TABLE "Project" ENABLE TRIGGER ALL')

    state.save(project, facts=3)
    assert scenes.homes_of(project).columns == {"facts": "3"}


# -- the ends of the ladder


@pytest.mark.parametrize(
    ("percent", "error"), [(None, "legacy is the first stage"), (Decimal(5), "has no share. Omit --percent")]
)
def test_there_is_nothing_below_legacy(percent: Decimal | None, error: str) -> None:
    stand_at("legacy")

    with pytest.raises((NoSuchStep, UnsuitablePercent), match=error):
        retreat(percent=percent)


def test_off_the_ladder_there_is_no_step_down() -> None:
    stand_at("dual_write")
    turn("agentkit_writes", percent=50)

    with pytest.raises(NoStage):
        retreat()


# -- waits


def test_the_retreat_waits_until_every_process_has_seen_legacy_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "SECONDS_UNTIL_SEEN", 1.0)
    saved_in_agentkit_only(1)

    began = time.monotonic()
    retreat()

    assert time.monotonic() - began >= 1.0


def test_a_clock_that_was_set_back_does_not_prolong_the_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "SECONDS_UNTIL_SEEN", 0.05)
    stop = threading.Event()
    giving_up = threading.Timer(60, stop.set)
    giving_up.start()
    try:
        waiting.wait_until_effective(waiting.server_time() + timedelta(hours=1), lambda _: None, stop)
    finally:
        giving_up.cancel()


def test_the_retreat_waits_for_older_transactions() -> None:
    project = saved_in_agentkit_only(1)[0]
    recorder = WaitRecorder()
    saved, go_on = threading.Event(), threading.Event()

    def save_late() -> None:
        """Read the gates before the step, and commit long after it."""
        with transaction.atomic():
            state.save(project, facts=3)
            saved.set()
            go_on.wait(60)

    late = scenes.start(save_late)
    assert saved.wait(60)
    stepping = scenes.start(lambda: retreat(monitor=recorder.monitor))
    try:
        wait_until(lambda: recorder.waited_for)
        assert position() == ("agentkit_read", 100), "reads stay where the newest state is"
        assert unfinished_step(RolloutState.read().position) is not None
    finally:
        go_on.set()
        late.join(60)
        stepping.join(60)

    assert scenes.homes_of(project).in_sync
    assert scenes.homes_of(project).columns == {"facts": "3"}


def test_the_retreat_waits_for_them_where_legacy_writes_was_opened_by_hand() -> None:
    project = saved_in_agentkit_only(1)[0]
    recorder = WaitRecorder()
    with second_connection() as other:
        other.execute("BEGIN; SELECT 1")
        stand_at("agentkit_read")
        stepping = scenes.start(lambda: retreat(monitor=recorder.monitor))
        wait_until(lambda: recorder.waited_for)
        assert position() == ("agentkit_read", 100), "reads stay where the newest state is"
        other.execute("ROLLBACK")
        stepping.join(60)

    assert position() == ("shadow_read", 0)
    assert scenes.homes_of(project).columns == {"facts": "2"}


def test_a_role_without_statistics_rights_waits_for_every_older_transaction() -> None:
    role = "rollout_operator"
    scenes.run_sql(f"DROP ROLE IF EXISTS {role}; CREATE ROLE {role}")
    try:
        with second_connection() as other:
            other.execute("BEGIN; SELECT 1")
            scenes.run_sql(f"SET ROLE {role}")
            (found,) = waiting._open_transactions(waiting.server_time())
            scenes.run_sql("RESET ROLE")
            assert (found.pid, found.began) == (other.info.backend_pid, None)
            assert str(other.info.backend_pid) in str(found)
    finally:
        scenes.run_sql(f"RESET ROLE; DROP ROLE {role}")


# -- interrupted, and gone on with


def test_an_interrupted_retreat_is_at_a_safe_stage_and_resumes() -> None:
    projects = saved_in_agentkit_only()
    recorder = WaitRecorder()
    with second_connection() as older:
        older.execute("BEGIN; SELECT 1")
        threading.Timer(0.4, recorder.monitor.stop.set).start()
        with pytest.raises(Interrupted, match=r"agentkit_read at 100 percent, which is safe.*retreat to continue"):
            retreat(monitor=recorder.monitor)

    assert position() == ("agentkit_read", 100)
    assert state.load(projects[0]).facts == 2
    with pytest.raises(UnsuitablePercent, match=r"is unfinished\. Run it without --percent"):
        retreat(percent=Decimal(10))

    retreat()

    assert position() == ("agentkit_read", 100)
    assert all(scenes.homes_of(project).in_sync for project in projects)
    assert len(steps_taken()) == 1

    retreat()
    assert position() == ("shadow_read", 0)


def test_after_an_interrupted_retreat_the_operator_can_advance_again() -> None:
    projects = saved_in_agentkit_only()
    recorder = WaitRecorder()
    recorder.monitor.stop.set()
    with pytest.raises(Interrupted):
        retreat(monitor=recorder.monitor)

    advance()

    assert position() == ("agentkit_only", 100)
    assert unfinished_step(RolloutState.read().position) is None
    assert state.load(projects[0]).facts == 2


def test_an_interrupted_pass_stops_the_retreat_after_its_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "SECONDS_UNTIL_SEEN", 0)
    saved_in_agentkit_only()
    stand_at("agentkit_read")
    recorder = WaitRecorder()
    recorder.monitor.stop.set()

    with pytest.raises(Interrupted, match="after the current batch"):
        retreat(monitor=recorder.monitor)

    assert position() == ("agentkit_read", 100)
