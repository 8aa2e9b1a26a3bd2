"""The columns go when nothing is lost by it, and stay otherwise."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest
from django.core.management import call_command
from django.db import connection

from agentstate.contract import columns
from agentstate.contract.columns import drop
from agentstate.contract.refusals import NotReady
from agentstate.models import LeftAside
from agentstate.rollout.freeze import THAW, thaw, with_lock_timeout
from agentstate.state.columns import legacy_columns_are_there
from tests import scenes
from tests.contract.scenes import as_somebody_else, columns_return, freeze_columns, projects
from tests.factories import ProjectFactory
from tests.faults.processes import wait_until
from tests.sql import WAITING_FOR_LOCKS, second_connection

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _in_the_end() -> Iterator[None]:
    with columns_return():
        yield


def refusal() -> str:
    """Return why the columns stay, after seeing that nothing has changed."""
    before = scenes.everything()
    with pytest.raises(NotReady) as refused:
        drop()
    assert legacy_columns_are_there()
    assert scenes.everything() == before
    return str(refused.value)


def test_a_frozen_clean_database_loses_its_columns() -> None:
    projects()
    freeze_columns()

    drop()

    assert not legacy_columns_are_there()
    drop()  # killed after the drop, a migration is run again


@pytest.mark.parametrize("legacy_writes", [True, False])
def test_another_stage_is_refused_and_named(legacy_writes: bool) -> None:
    projects()
    scenes.open_gates(
        agentkit_writes=True, agentkit_reads=True, agentkit_shadow_reads=True, legacy_writes=legacy_writes
    )

    stage = "agentkit_read at 100 percent" if legacy_writes else "agentkit_only"
    assert f"the stage is {stage}, and must be frozen" in refusal()


def test_flags_outside_the_stages_are_named() -> None:
    scenes.open_gates(agentkit_writes=False, legacy_writes=False)

    assert "the flags match no stage, and must be frozen" in refusal()


def test_the_findings_of_verification_are_named() -> None:
    made = projects()
    LeftAside.objects.create(
        project_id=made["in_sync"],
        direction="forward",
        error_class="Emptied",
        error="…",
        first_seen_at="2026-01-01T00:00Z",
        last_seen_at="2026-01-01T00:00Z",
    )
    ProjectFactory(documents={"facts": "1"})
    scenes.damage(made["in_sync"], facts='"damaged"')
    freeze_columns()

    text = refusal()
    assert "- 1 legacy_ahead: see manage.py verify_agentkit_state." in text
    assert "- 1 unequal: see" in text
    assert "- 1 left_aside: see" in text
    assert "frozen" not in text


def test_columns_in_no_run_are_named_and_a_reverse_pass_backs_them_up() -> None:
    ahead = projects()["agentkit_ahead"]
    scenes.damage(ahead, facts='"nobody knows this"')
    freeze_columns()

    assert f"- 1 with columns that are in no run, {ahead}: run manage.py reverse_backfill_agentkit_state" in refusal()

    scenes.reverse()
    assert '"nobody knows this"' in [snapshot.state.get("facts") for snapshot in scenes.homes_of(ahead).snapshots]
    drop()


def test_a_run_that_saved_again_still_holds_its_earlier_save() -> None:
    project = ProjectFactory(documents={"facts": "1"}).id
    scenes.forward()
    run = scenes.save(project, "facts", "2")
    scenes.save(project, "facts", "3", legacy=False, run=run)
    freeze_columns()

    drop()

    assert not legacy_columns_are_there()


def test_a_view_of_the_columns_keeps_them() -> None:
    projects()
    freeze_columns()
    scenes.run_sql('CREATE VIEW report AS SELECT id, "coverageJson" FROM "Project"')
    try:
        text = refusal()
        assert "view report depends on column" in text
        assert "CASCADE" not in text
    finally:
        scenes.run_sql("DROP VIEW report")


def test_a_role_that_does_not_own_the_table_is_refused() -> None:
    projects()
    freeze_columns()

    with as_somebody_else() as role:
        assert f'- "Project" belongs to another role than {role}: migrate as its owner' in refusal()


def test_a_lifted_freeze_is_reported() -> None:
    projects()
    freeze_columns()
    with_lock_timeout(thaw)

    assert "the stage is agentkit_only, and must be frozen" in refusal()


def test_writes_made_while_it_waits_for_the_lock_are_kept() -> None:
    project = projects()["in_sync"]
    freeze_columns()
    refused: list[NotReady] = []

    def drop_at_last() -> None:
        try:
            with_lock_timeout(columns._drop)
        except NotReady as error:
            refused.append(error)
        finally:
            connection.close()

    with second_connection() as other:
        other.execute(f"BEGIN; {THAW}")
        other.execute('UPDATE "Project" SET "factsJson" = \'"written"\' WHERE id = %s', [project])
        dropping = threading.Thread(target=drop_at_last)
        dropping.start()
        wait_until(lambda: scenes.rows(WAITING_FOR_LOCKS))
        other.execute("COMMIT")
        dropping.join(60)

    assert "they are no longer frozen" in str(refused)
    assert scenes.homes_of(project).columns["facts"] == '"written"'


def test_our_tables_stay_while_only_they_hold_the_state(capsys: pytest.CaptureFixture[str]) -> None:
    projects()
    freeze_columns()
    drop()

    with pytest.raises(Exception, match="the AgentKit tables alone hold the state"):
        call_command("migrate", "agentstate", "zero", verbosity=0)
