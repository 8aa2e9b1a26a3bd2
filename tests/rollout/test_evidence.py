"""Both sides of each condition."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db.migrations.recorder import MigrationRecorder
from django.utils import timezone

from agentstate.gates import AGENTKIT_READS, AGENTKIT_SHADOW_READS
from agentstate.models import LeftAside
from agentstate.rollout.evidence import ADVICE, DESCRIPTIONS
from tests import scenes
from tests.factories import ProjectFactory, write_columns
from tests.rollout.ladder import FLAGS, conditions, found_by_reads, let_time_pass, missing, on_since, stand_at

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("thawed")]


@pytest.fixture(autouse=True)
def what_is_asked_for(settings: Any) -> None:
    settings.AGENTSTATE_ROLLOUT_LAG_MINUTES = 5
    settings.AGENTSTATE_ROLLOUT_COMPARED = 10
    settings.AGENTSTATE_ROLLOUT_HOURS = 24


def in_sync(**documents: str) -> str:
    project = ProjectFactory(documents=documents or {"facts": "1"}).id
    scenes.forward(project)
    return project


def legacy_ahead_for(minutes: float) -> str:
    project = in_sync()
    write_columns(project, {"facts": "2"})
    let_time_pass(minutes / 60)
    assert scenes.standing_of(project) == "legacy_ahead"
    return project


def leave_aside(project: str, **fields: Any) -> LeftAside:
    now = timezone.now()
    return LeftAside.objects.create(
        project_id=project,
        direction="forward",
        error_class="E",
        error="e",
        first_seen_at=now,
        last_seen_at=now,
        **fields,
    )


def test_every_condition_has_a_meaning() -> None:
    stages = [stage for stage in [*FLAGS, "contracted"] if stage != "legacy"]

    assert {name for stage in stages for name in conditions(stage)} == set(DESCRIPTIONS) == set(ADVICE)


# -- to dual_write


def test_dual_write_needs_the_migrations() -> None:
    assert missing("dual_write") == []

    applied = MigrationRecorder.Migration.objects.filter(app="agentstate").latest("pk")
    applied.delete()
    try:
        assert conditions("dual_write")["unapplied_migrations"][1:4] == (False, 1, 0)
    finally:
        applied.save(force_insert=True)


# -- to shadow_read


def test_shadow_reads_need_clean_homes() -> None:
    project = in_sync()
    assert missing("shadow_read") == []

    scenes.damage(project, facts="2")

    assert conditions("shadow_read")["verification_problems"][1:] == (False, 1, 0, 0)


@pytest.mark.parametrize(("minutes", "too_long"), [(3, []), (7, ["legacy_ahead_too_long"])])
def test_projects_may_be_legacy_ahead_for_a_while(minutes: float, too_long: list[str]) -> None:
    legacy_ahead_for(minutes)

    assert missing("shadow_read") == too_long


def test_a_fork_is_not_allowed() -> None:
    project = in_sync()
    scenes.save(project, "facts", "2", legacy=False)
    write_columns(project, {"coverage": "3"})

    assert missing("shadow_read") == ["verification_problems"]


def test_no_open_entry_is_allowed() -> None:
    entry = leave_aside(in_sync())
    assert missing("shadow_read") == ["left_aside_open"]

    entry.closed_at = timezone.now()
    entry.save()

    assert missing("shadow_read") == []


def test_accepted_projects_are_not_waited_for() -> None:
    project = legacy_ahead_for(7)
    clock = scenes.homes_of(project).clock
    entry = leave_aside(project, accepted_at=timezone.now(), accepted_clock=clock, note="Not wanted any more")
    assert "legacy_ahead_too_long" not in missing("shadow_read")

    entry.accepted_clock = clock - timedelta(seconds=1)
    entry.save()

    assert "legacy_ahead_too_long" in missing("shadow_read")


# -- to agentkit_read


def test_reads_need_enough_comparisons_for_long_enough() -> None:
    stand_at("shadow_read")
    let_time_pass(30)
    found_by_reads("compared", 9, ago=5)
    found_by_reads("lag", 100, ago=5, reason="forked")
    assert missing("agentkit_read", 1) == ["shadow_reads_compared"]

    found_by_reads("compared", 1, ago=6)

    found = conditions("agentkit_read", 1)
    assert {name: condition[1:4] for name, condition in found.items()} == {
        "shadow_reads_compared": (True, 10, 10),
        "differences": (True, 0, 0),
        "hours_without_difference": (True, 30.0, 24),
    }
    assert [condition.age_seconds // 3600 for condition in found.values()] == [30, 30, 30]


@pytest.mark.parametrize(("hours", "too_short"), [(23.9, ["hours_without_difference"]), (24.1, [])])
def test_shadow_reads_must_have_been_on_for_everyone_for_long_enough(hours: float, too_short: list[str]) -> None:
    stand_at("shadow_read")
    let_time_pass(hours)
    found_by_reads("compared", 10, ago=5)

    assert missing("agentkit_read", 10) == too_short


def test_comparisons_from_before_the_first_whole_hour_do_not_count() -> None:
    stand_at("shadow_read")
    let_time_pass(30)
    found_by_reads("compared", 1000, now=on_since(AGENTKIT_SHADOW_READS))

    assert conditions("agentkit_read", 1)["shadow_reads_compared"].figure == 0


def test_without_shadow_reads_for_everyone_there_is_no_evidence() -> None:
    stand_at("dual_write")
    let_time_pass(30)
    found_by_reads("compared", 1000, ago=5)

    found = conditions("agentkit_read", 1)
    assert [condition.age_seconds for condition in found.values()] == [None, None, None]
    assert missing("agentkit_read", 1) == ["shadow_reads_compared", "hours_without_difference"]


def test_a_difference_restarts_the_time() -> None:
    stand_at("shadow_read")
    let_time_pass(50)
    found_by_reads("compared", 1000, ago=40)
    found_by_reads("compared", 10, ago=5)
    found_by_reads("difference", 3, ago=22, reason="facts")
    found = conditions("agentkit_read", 1)
    assert found["differences"][1:4] == (False, 3, 0)
    assert not found["hours_without_difference"].holds
    assert found["shadow_reads_compared"].figure == 10

    let_time_pass(4)

    found = conditions("agentkit_read", 1)
    assert missing("agentkit_read", 1) == []
    assert found["hours_without_difference"].figure < 54
    assert found["shadow_reads_compared"].figure == 10


def test_a_difference_in_the_first_hour_of_shadow_reads_counts() -> None:
    stand_at("shadow_read")
    found_by_reads("difference", ago=0, reason="facts")

    assert conditions("agentkit_read", 1)["differences"].figure == 1


def test_a_difference_from_before_shadow_reads_were_on_for_everyone_does_not_count() -> None:
    found_by_reads("difference", ago=26, reason="facts")
    stand_at("shadow_read")
    let_time_pass(25)
    found_by_reads("compared", 10, ago=5)
    # Counts are of whole hours, so that this one stays 26 hours old.
    found_by_reads("difference", ago=27, reason="facts")

    assert missing("agentkit_read", 1) == []


def test_zero_hours_can_be_required(settings: Any) -> None:
    settings.AGENTSTATE_ROLLOUT_HOURS = 0
    stand_at("shadow_read")
    assert missing("agentkit_read", 1) == ["shadow_reads_compared"]

    now = on_since(AGENTKIT_SHADOW_READS)
    found_by_reads("compared", 10, now=now)
    assert missing("agentkit_read", 1, now=now) == []

    found_by_reads("difference", reason="facts", now=now)
    assert "differences" in missing("agentkit_read", 1, now=now)


# -- to agentkit_only


def test_agentkit_alone_needs_everyones_reads_for_long_enough() -> None:
    stand_at("agentkit_read")
    let_time_pass(23)
    assert missing("agentkit_only") == ["hours_at_100_percent", "hours_without_fallback", "hours_without_escape"]

    let_time_pass(2)

    assert missing("agentkit_only") == []
    now = on_since(AGENTKIT_READS) + timedelta(hours=25)
    assert conditions("agentkit_only", now=now)["hours_at_100_percent"][2:] == (25.0, 24, 25 * 3600)


def test_a_fallback_restarts_the_time() -> None:
    stand_at("agentkit_read")
    let_time_pass(100)
    found_by_reads("fallback", ago=30, reason="no_snapshot")
    assert missing("agentkit_only") == []

    now = timezone.now()
    found_by_reads("fallback", ago=10, reason="no_snapshot", now=now)

    assert missing("agentkit_only") == ["hours_without_fallback"]
    assert 9 <= conditions("agentkit_only", now=now)["hours_without_fallback"].figure < 10


def test_an_accepted_projects_fallback_is_ignored() -> None:
    stand_at("agentkit_read")
    let_time_pass(100)
    found_by_reads("fallback", ago=10, reason="given_up")

    assert missing("agentkit_only") == []


def test_a_host_without_our_settings_can_take_steps(settings: Any) -> None:
    for name in ("LAG_MINUTES", "COMPARED", "HOURS"):
        delattr(settings, f"AGENTSTATE_ROLLOUT_{name}")
    stand_at("shadow_read")

    needs = {name: condition.needed for name, condition in conditions("agentkit_read", 1).items()}
    assert needs == {"shadow_reads_compared": 1_000, "differences": 0, "hours_without_difference": 24}
    assert missing("shadow_read") == []


def test_a_bypassing_write_closes_the_step_while_open_and_for_hours_after(settings: Any) -> None:
    project = in_sync()
    stand_at("agentkit_read")
    let_time_pass(100)
    write_columns(project, {"facts": "2"})
    assert missing("agentkit_only") == ["escapes_open", "hours_without_escape"]

    scenes.forward()
    assert missing("agentkit_only") == ["hours_without_escape"]

    settings.AGENTSTATE_ROLLOUT_HOURS = 0
    assert missing("agentkit_only") == []


def test_an_open_bypassing_write_closes_even_a_step_of_zero_hours(settings: Any) -> None:
    settings.AGENTSTATE_ROLLOUT_HOURS = 0
    project = in_sync()
    stand_at("agentkit_read")
    write_columns(project, {"facts": "2"})

    assert missing("agentkit_only") == ["escapes_open"]


# -- to frozen


def test_the_freeze_needs_hours_without_a_bypassing_write() -> None:
    project = in_sync()
    stand_at("agentkit_only")
    let_time_pass(23)
    assert missing("frozen") == ["hours_without_escape"]

    let_time_pass(2)
    assert missing("frozen") == []

    write_columns(project, {"facts": "2"})
    assert missing("frozen") == ["escapes_open", "hours_without_escape"]


# -- to contracted


def test_dropping_the_columns_needs_clean_homes() -> None:
    project = in_sync()
    stand_at("frozen")
    assert missing("contracted") == []

    scenes.save(project, "facts", "2", legacy=False)
    assert missing("contracted") == [], "agentkit_ahead is what the AgentKit home is there for"

    leave_aside(project)
    assert missing("contracted") == ["left_aside_open"]


def test_dropping_the_columns_allows_no_legacy_ahead() -> None:
    write_columns(in_sync(), {"facts": "2"})

    assert missing("contracted") == ["verification_problems"]


def test_hours_are_rounded_down(settings: Any) -> None:
    settings.AGENTSTATE_ROLLOUT_HOURS = 0.5
    stand_at("agentkit_read")

    now = on_since(AGENTKIT_READS) + timedelta(hours=0.499)
    assert conditions("agentkit_only", now=now)["hours_at_100_percent"][1:4] == (False, 0.4, 0.5)
