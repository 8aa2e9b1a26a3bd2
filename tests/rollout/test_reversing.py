"""What a retreat brings home, and what only a person can: forks, and projects that cannot be moved."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from agentstate.backfill import OtherDirectionRunning
from agentstate.backfill.locks import pass_lock
from agentstate.lock_spaces import DIRECTIONS
from agentstate.models import FlagChange, LeftAside
from agentstate.models.passes import Direction
from agentstate.rollout import flag_lock, waiting
from agentstate.rollout.errors import NeedsPerson, Refused
from agentstate.rollout.stages import RolloutState
from agentstate.rollout.steps import retreat, unfinished_step
from tests import scenes
from tests.factories import write_columns
from tests.faults.processes import wait_until
from tests.rollout.ladder import position, saved_in_agentkit_only, stand_at, steps_taken
from tests.sql import WAITING_FOR_LOCKS, second_connection

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("thawed", "impatient")]


@pytest.fixture
def unmovable() -> Iterator[str]:
    """A project whose columns cannot be written."""
    project = saved_in_agentkit_only(1)[0]
    scenes.run_sql(f"""ALTER TABLE "Project" ADD CONSTRAINT full_up CHECK (id <> '{project}' OR "factsJson" = '1')""")
    yield project
    scenes.run_sql('ALTER TABLE "Project" DROP CONSTRAINT full_up')


# -- forks


def test_forks_are_merged_on_the_way() -> None:
    project = saved_in_agentkit_only(1)[0]
    write_columns(project, {"coverage": "3"})
    assert scenes.standing_of(project) == "forked"

    retreat()

    assert scenes.homes_of(project).in_sync
    assert scenes.homes_of(project).columns == {"facts": "2", "coverage": "3"}


def test_a_clash_needs_a_decision_and_the_retreat_resumes_afterwards() -> None:
    clashing, other = saved_in_agentkit_only(2)
    write_columns(clashing, {"facts": "3"})

    with pytest.raises(NeedsPerson, match=rf"--prefer legacy.*{clashing}") as refusal:
        retreat()

    assert refusal.value.projects == [clashing]
    assert position() == ("agentkit_read", 100)
    assert unfinished_step(RolloutState.read().position) is not None
    assert scenes.homes_of(clashing).columns == {"facts": "3"}
    assert scenes.homes_of(clashing).newest.state == {"facts": "2"}

    scenes.forward(clashing, prefer="agentkit")
    retreat()

    assert position() == ("agentkit_read", 100)
    assert unfinished_step(RolloutState.read().position) is None
    for project in (clashing, other):
        assert scenes.homes_of(project).in_sync
        assert scenes.homes_of(project).columns == {"facts": "2"}


@pytest.mark.parametrize("stage", ["agentkit_read", "dual_write"])
def test_no_gate_is_closed_over_a_clash(stage: str) -> None:
    project = saved_in_agentkit_only(1)[0]
    write_columns(project, {"facts": "3"})
    stand_at(stage)
    before = FlagChange.objects.count()

    with pytest.raises(NeedsPerson):
        retreat()

    assert FlagChange.objects.count() == before
    assert steps_taken() == []


# -- what cannot be moved


def test_a_project_that_cannot_be_moved_is_named_and_keeps_the_reads_where_they_are(unmovable: str) -> None:
    stand_at("agentkit_read")

    with pytest.raises(NeedsPerson, match=rf"left these agentkit_ahead projects aside.*{unmovable}"):
        retreat()

    assert position() == ("agentkit_read", 100)


def test_a_foreign_trigger_that_swallows_updates_is_reported() -> None:
    project = saved_in_agentkit_only(1)[0]
    scenes.run_sql(
        """
        CREATE FUNCTION swallow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
        CREATE TRIGGER swallow BEFORE UPDATE ON "Project" FOR EACH ROW EXECUTE FUNCTION swallow()
        """
    )
    try:
        with pytest.raises(NeedsPerson, match=rf"aside.*{project}"):
            retreat()
        assert "BEFORE UPDATE trigger" in LeftAside.objects.get(project_id=project).error
    finally:
        scenes.run_sql("DROP FUNCTION swallow CASCADE")

    assert position() == ("agentkit_read", 100)


def test_an_accepted_project_is_not_waited_for(unmovable: str) -> None:
    with pytest.raises(NeedsPerson):
        retreat()
    entry = LeftAside.objects.get(project_id=unmovable, direction="reverse")
    entry.accept("Nobody needs it", "ada", clock=scenes.homes_of(unmovable).newest.at)

    retreat()
    retreat()

    assert position() == ("shadow_read", 0)
    assert scenes.standing_of(unmovable) == "agentkit_ahead"


def test_a_running_forward_pass_makes_the_retreat_give_up() -> None:
    saved_in_agentkit_only(1)
    with second_connection() as other:
        other.execute("SELECT pg_advisory_lock_shared(%s, 1)", [DIRECTIONS])
        with pytest.raises(Refused, match="retreat again"):
            retreat()

    retreat()
    assert position() == ("agentkit_read", 100)
    assert steps_taken()[-1] == ("agentkit_only", 100, "agentkit_read", 100, "")


def test_no_forward_pass_runs_between_the_last_check_and_the_gate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "SECONDS_UNTIL_SEEN", 0)
    monkeypatch.setattr(flag_lock, "TIMEOUT", "60s")
    stand_at("agentkit_read")
    with second_connection() as other:
        other.execute("BEGIN")
        other.execute('SELECT FROM "AgentStateFlag" FOR UPDATE')
        thread = scenes.start(retreat)
        wait_until(lambda: scenes.rows(WAITING_FOR_LOCKS))
        with pytest.raises(OtherDirectionRunning), pass_lock(Direction.FORWARD):
            pass
        other.execute("ROLLBACK")
        thread.join(timeout=60)

    assert position() == ("shadow_read", 0)
