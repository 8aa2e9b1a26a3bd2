"""Saves beside a project that is deleted, or whose id changes, at the same time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from django.db import transaction

from agentstate import state
from agentstate.state import ProjectNotFound
from tests import scenes
from tests.state.projects import GATES, agentkit_ahead, forked, in_sync, legacy_ahead, open_gates

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.django_db(transaction=True)

DELETE = 'DELETE FROM "Project" WHERE id = %s'
RENAME = """UPDATE "Project" SET id = 'renamed' WHERE id = %s"""


@pytest.mark.parametrize("writes", GATES)
@pytest.mark.parametrize("make", [legacy_ahead, in_sync, agentkit_ahead, forked])
def test_a_save_beside_a_deletion_is_in_the_orphaned_history(make: Callable[[], str], writes: str) -> None:
    project = make()
    open_gates(writes)
    with transaction.atomic():
        state.save(project, facts="saved")
        deletion = scenes.start_and_wait_for_lock(lambda: scenes.run_sql(DELETE, project))
    deletion.join(timeout=60)

    with pytest.raises(ProjectNotFound):
        state.load(project)
    orphans = scenes.rows("SELECT result -> 'state' ->> 'facts', project_id FROM \"AgentWorkflowRun\"")
    assert (("saved", None) in orphans) == (writes != "legacy")


@pytest.mark.parametrize("writes", GATES)
@pytest.mark.parametrize("make", [legacy_ahead, in_sync, agentkit_ahead, forked])
def test_a_save_beside_a_changed_id_follows_it(make: Callable[[], str], writes: str) -> None:
    project = make()
    open_gates(writes, reads_agentkit=writes == "agentkit")
    with transaction.atomic():
        state.save(project, facts="saved")
        change = scenes.start_and_wait_for_lock(lambda: scenes.run_sql(RENAME, project))
    change.join(timeout=60)

    assert state.load("renamed").facts == "saved"
    with pytest.raises(ProjectNotFound):
        state.save(project, facts="again")


@pytest.mark.parametrize("statement", [DELETE, RENAME])
@pytest.mark.parametrize("writes", GATES)
def test_a_save_that_waited_reports_that_the_project_is_gone(writes: str, statement: str) -> None:
    project = in_sync()
    open_gates(writes)
    raised: list[BaseException] = []

    def save() -> None:
        try:
            state.save(project, facts="too late")
        except ProjectNotFound as error:
            raised.append(error)

    with transaction.atomic():
        scenes.run_sql(statement, project)
        saver = scenes.start_and_wait_for_lock(save)
    saver.join(timeout=60)

    assert len(raised) == 1
    assert not scenes.rows("""SELECT FROM "AgentWorkflowRun" WHERE result @> '{"state": {"facts": "too late"}}'""")
