"""One step up: which flags it sets, when it is refused, and what is kept of it."""

from __future__ import annotations

import threading
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from django.db import IntegrityError, connection

from agentstate import gates
from agentstate.actors import acting_as, process_owner
from agentstate.models import Flag, FlagChange, RolloutStep
from agentstate.rollout import flag_lock, steps
from agentstate.rollout.errors import Interrupted, StepInProgress
from agentstate.rollout.freeze import is_frozen
from agentstate.rollout.refusals import ConditionsNotMet, NoStage, NoSuchStep
from agentstate.rollout.steps import StepMonitor, advance
from tests import scenes
from tests.flags import turn
from tests.rollout.ladder import (
    FLAGS,
    conditions,
    found_by_reads,
    in_sync,
    let_time_pass,
    missing,
    position,
    stand_at,
    steps_taken,
)
from tests.sql import second_connection

if TYPE_CHECKING:
    from contextlib import AbstractContextManager


pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("thawed")]


# -- up


@pytest.mark.usefixtures("impatient")
def test_the_whole_ladder_up() -> None:
    project = in_sync()
    climbed = []
    while position() != ("frozen", 100):
        advance()
        climbed.append(position())
        answers = gates.Shares.of(Flag.objects.all()).for_project(project)
        assert answers.agentkit_writes
        assert answers.legacy_writes is (climbed[-1][0] not in ("agentkit_only", "frozen"))

    assert climbed == [
        ("dual_write", 0),
        ("shadow_read", 0),
        ("agentkit_read", 1),
        ("agentkit_read", 10),
        ("agentkit_read", 50),
        ("agentkit_read", 100),
        ("agentkit_only", 100),
        ("frozen", 100),
    ]
    assert is_frozen()
    assert [(stage, percent) for _, _, stage, percent, _ in steps_taken()] == climbed


@pytest.mark.usefixtures("impatient")
def test_a_share_can_be_asked_for() -> None:
    stand_at("shadow_read")

    advance(percent=Decimal("12.5"))
    assert position() == ("agentkit_read", 12.5)
    advance()
    assert position() == ("agentkit_read", 50)
    advance(percent=Decimal(100))
    assert position() == ("agentkit_read", 100)


@pytest.mark.usefixtures("impatient")
def test_only_the_gates_that_differ_are_set_and_pilots_stay() -> None:
    stand_at("shadow_read")
    turn("agentkit_reads", project_ids=["p1"], staff=True, note="Pilots")
    before = FlagChange.objects.count()

    advance()

    assert FlagChange.objects.count() == before + 1
    reads = Flag.objects.get(name="agentkit_reads")
    assert (reads.percent, reads.everyone, reads.project_ids) == (1, None, ["p1"])
    assert (reads.staff, reads.note) == (True, "Pilots")


@pytest.mark.usefixtures("impatient")
def test_shadow_reads_are_switched_off_when_they_do_not_matter_any_more() -> None:
    stand_at("agentkit_read")

    advance()

    assert position() == ("agentkit_only", 100)
    assert Flag.objects.get(name="agentkit_shadow_reads").everyone is False


@pytest.mark.usefixtures("impatient")
def test_the_history_of_the_flags_says_who_took_a_step() -> None:
    stand_at("agentkit_read")
    before = FlagChange.objects.latest("pk").pk

    with acting_as("ada@app-1"):
        advance()

    changes = FlagChange.objects.filter(pk__gt=before)
    assert sorted(change.flag for change in changes) == ["agentkit_shadow_reads", "legacy_writes"]
    assert {change.changed_by for change in changes} == {"ada@app-1"}


@pytest.mark.usefixtures("impatient")
def test_a_step_that_fails_at_its_end_changes_no_flag() -> None:
    stand_at("agentkit_read")
    scenes.run_sql('ALTER TABLE "AgentStateRolloutStep" ADD CONSTRAINT none CHECK (to_stage IS NULL)')
    try:
        with pytest.raises(IntegrityError):
            advance()
    finally:
        scenes.run_sql('ALTER TABLE "AgentStateRolloutStep" DROP CONSTRAINT none')

    assert position() == ("agentkit_read", 100)


# -- what is kept


def test_a_step_is_recorded_with_its_conditions() -> None:
    stand_at("shadow_read")
    let_time_pass(30)
    found_by_reads("compared", 5000, ago=4)

    step = advance(percent=Decimal(5))

    kept = RolloutStep.objects.get()
    assert kept == step
    assert steps_taken() == [("shadow_read", 0, "agentkit_read", 5, "")]
    assert kept.requested_by == process_owner()
    assert kept.completed_at == kept.at
    assert [(condition["name"], condition["holds"]) for condition in kept.conditions] == [
        ("shadow_reads_compared", True),
        ("differences", True),
        ("hours_without_difference", True),
    ]
    assert set(kept.conditions[0]) == {"name", "holds", "figure", "needed", "age_seconds"}


# -- what is refused


@pytest.mark.parametrize(
    ("stage", "names"),
    [
        ("dual_write", ["verification_problems"]),
        ("shadow_read", ["shadow_reads_compared", "hours_without_difference"]),
        ("agentkit_read", ["hours_at_100_percent", "hours_without_fallback", "hours_without_escape"]),
        ("agentkit_only", ["hours_without_escape"]),
    ],
)
def test_a_step_whose_conditions_are_not_met_changes_nothing_and_names_them(stage: str, names: list[str]) -> None:
    scenes.damage(in_sync(), facts="2")
    stand_at(stage)
    before = FlagChange.objects.count(), position()

    with pytest.raises(ConditionsNotMet) as refusal:
        advance()

    assert [condition.name for condition in refusal.value.conditions if not condition.holds] == names
    assert all(name in str(refusal.value) for name in names)
    assert (FlagChange.objects.count(), position()) == before
    assert not is_frozen()
    assert steps_taken() == []


def test_off_the_ladder_there_is_no_step() -> None:
    stand_at("dual_write")
    turn("legacy_writes", percent=50)

    with pytest.raises(NoStage) as refusal:
        advance()

    assert [str(nearest.position) for nearest in refusal.value.nearest] == ["dual_write"]
    assert refusal.value.nearest[0].differences[0].command == "waffle_flag legacy_writes --everyone"


@pytest.mark.usefixtures("impatient")
def test_a_migration_takes_the_last_step() -> None:
    stand_at("frozen")

    with pytest.raises(NoSuchStep, match=r"AGENTSTATE_CONTRACT=1 manage\.py migrate agentstate_contract") as refusal:
        advance(override="I want it")

    assert [condition.name for condition in refusal.value.conditions] == ["verification_problems", "left_aside_open"]
    assert position() == ("frozen", 100)


# -- override


def test_an_override_takes_the_step_and_is_recorded() -> None:
    stand_at("shadow_read")
    assert missing("agentkit_read", 1) != []

    with acting_as("ada@app-1"):
        advance(override="A throwaway database")

    assert position() == ("agentkit_read", 1)
    step = RolloutStep.objects.get()
    assert (step.override, step.requested_by) == ("A throwaway database", "ada@app-1")
    did_not_hold = [condition["name"] for condition in step.conditions if not condition["holds"]]
    assert did_not_hold == missing("agentkit_read", 1)


def test_an_unneeded_override_is_not_recorded() -> None:
    assert conditions("dual_write")["unapplied_migrations"].holds

    advance(override="To be on the safe side")

    assert steps_taken() == [("legacy", 0, "dual_write", 0, "")]


@pytest.mark.parametrize("stage", list(FLAGS)[:-1])
def test_every_step_can_be_overridden_but_for_the_migrations(stage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agentstate.rollout.waiting.SECONDS_UNTIL_SEEN", 0.05)
    scenes.damage(in_sync(), facts="2")
    stand_at(stage)

    advance(override="A throwaway database")

    assert position() not in (None, (stage, 0))


# -- two at once, and others in between


@pytest.mark.usefixtures("impatient")
def test_one_of_four_concurrent_advances_takes_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    have_seen_the_stage, ended, take_the_lock = threading.Barrier(4), [], steps._one_at_a_time

    def wait_for_the_others() -> AbstractContextManager[None]:
        have_seen_the_stage.wait(timeout=30)
        return take_the_lock()

    def step() -> None:
        try:
            advance()
            ended.append("took it")
        except StepInProgress:
            ended.append("refused")
        finally:
            connection.close()

    monkeypatch.setattr(steps, "_one_at_a_time", wait_for_the_others)
    threads = [threading.Thread(target=step) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(ended) == ["refused", "refused", "refused", "took it"]
    assert position() == ("dual_write", 0)
    assert len(steps_taken()) == 1


@pytest.mark.usefixtures("impatient")
def test_another_operators_step_keeps_ours_out() -> None:
    with second_connection() as other:
        other.execute("SELECT pg_advisory_lock(%s, %s)", steps._LOCK)
        with pytest.raises(StepInProgress, match="Another operator is taking a step"):
            advance()

    advance()
    assert position() == ("dual_write", 0)


@pytest.mark.usefixtures("impatient")
def test_a_flag_changed_between_the_check_and_the_step_refuses_the_step(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    look_at_evidence = steps.Evidence.conditions

    def look_and_let_somebody_toggle(*args: Any) -> Any:
        found = look_at_evidence(*args)
        for is_on in (False, True):
            Flag.objects.filter(name="agentkit_shadow_reads").update(everyone=is_on)
        return found

    stand_at("shadow_read")
    monkeypatch.setattr(steps.Evidence, "conditions", look_and_let_somebody_toggle)

    with pytest.raises(StepInProgress, match="A flag changed after the conditions were read"):
        advance()

    assert position() == ("shadow_read", 0)
    assert steps_taken() == []


@pytest.mark.usefixtures("impatient")
def test_a_flag_that_somebody_keeps_locked_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flag_lock, "TIMEOUT", "50ms")
    stand_at("legacy")
    with second_connection() as other:
        other.execute("""BEGIN; UPDATE "AgentStateFlag" SET note = note WHERE name = 'agentkit_reads'""")
        with pytest.raises(StepInProgress, match="Another transaction has kept a flag locked"):
            advance()
    assert steps_taken() == []


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("stage", ["dual_write", "shadow_read", "agentkit_only"])
def test_an_interruption_while_conditions_are_checked_takes_no_step(stage: str) -> None:
    stand_at(stage)
    before, monitor = position(), StepMonitor()
    monitor.stop.set()

    with pytest.raises(Interrupted):
        advance(monitor=monitor)

    assert position() == before
    assert steps_taken() == []
