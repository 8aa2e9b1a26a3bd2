"""Both homes side by side."""

from __future__ import annotations

import pytest

from agentstate.state import ProjectNotFound
from agentstate.state.both_homes import DocumentText, both_homes
from agentstate.state.standing import Standing
from tests import scenes
from tests.factories import KEYS, ProjectFactory, write_columns

pytestmark = pytest.mark.django_db(transaction=True)


def in_sync(**documents: str) -> str:
    project = ProjectFactory(documents=documents).id
    scenes.forward(project, sessions=False)
    return project


def test_a_project_without_a_snapshot_has_its_columns() -> None:
    homes = both_homes(ProjectFactory(documents={"facts": "0.10", "coverage": "null"}).id)
    assert (homes.standing, homes.run_id, homes.snapshot_at, homes.has_columns) == ("legacy_ahead", None, None, True)
    assert [pair.key for pair in homes.pairs] == list(KEYS)
    assert [pair.legacy for pair in homes.pairs] == [
        None,
        DocumentText("0.10", 4),
        DocumentText("null", 4),
        None,
        None,
    ]


def test_what_is_in_sync_is_equal() -> None:
    project = in_sync(facts="0.10", coverage="null")
    homes = both_homes(project)
    newest = scenes.homes_of(project).newest
    assert (homes.standing, homes.is_unequal) == ("in_sync", False)
    assert (homes.run_id, homes.snapshot_at, homes.legacy_at) == (newest.run, newest.at, newest.legacy_at)
    assert not any(pair.differs for pair in homes.pairs)


def test_what_somebody_changed_behind_the_triggers_back_is_unequal() -> None:
    project = in_sync(facts="1", coverage="2")
    scenes.damage(project, coverage="3")
    homes = both_homes(project)
    assert (homes.standing, homes.is_unequal) == (Standing.IN_SYNC, True)
    assert [(pair.key, pair.column) for pair in homes.pairs if pair.differs] == [("coverage", "coverageJson")]


def test_a_key_that_is_none_of_the_five_makes_them_unequal() -> None:
    project = in_sync(facts="1")
    scenes.run_sql(
        """UPDATE "AgentWorkflowRun" SET result = '{"state": {"facts": 1, "more": 2}}' WHERE project_id = %s""",
        project,
    )
    homes = both_homes(project)
    assert homes.is_unequal
    assert [(pair.key, pair.column, pair.agentkit) for pair in homes.pairs if pair.differs] == [
        ("more", None, DocumentText("2", 1))
    ]


def test_what_is_behind_differs_and_is_not_unequal() -> None:
    project = in_sync(facts="1")
    write_columns(project, {"facts": "2"})
    homes = both_homes(project)
    assert (homes.standing, homes.is_unequal) == ("legacy_ahead", False)
    assert [pair.key for pair in homes.pairs if pair.differs] == ["facts"]


def test_texts_are_cut_and_their_size_is_told() -> None:
    (pair,) = both_homes(in_sync(facts=f'"{"x" * 1000}"'), keys=["facts"], cut=10).pairs
    assert pair.legacy == pair.agentkit == DocumentText('"' + "x" * 9, 1002)
    assert pair.legacy is not None
    assert pair.legacy.is_cut


def test_no_such_project() -> None:
    with pytest.raises(ProjectNotFound):
        both_homes("nobody")
