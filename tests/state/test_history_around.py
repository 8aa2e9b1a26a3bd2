"""A bounded part of a project's history, however long that is."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.db.models import JSONField, Value

from agentstate import state
from agentstate.models import Project
from agentstate.state import ProjectNotFound
from agentstate.state.history import around
from agentstate.state.scores import scores
from tests import scenes
from tests.factories import EventFactory, ProjectFactory, RunFactory

pytestmark = pytest.mark.django_db


def project_with_saves(number: int) -> str:
    """Make a project whose history has so many moments."""
    project = ProjectFactory(documents={"coverage": '{"score": 0}'}).id
    scenes.forward(project, sessions=False)
    scenes.open_gates(agentkit_writes=True)
    for save in range(1, number):
        state.save(project, coverage={"score": save / 100})
    return project


def test_the_newest_moment_is_the_default() -> None:
    project = project_with_saves(8)
    whole = state.history(project)

    found = around(project, reach=2)

    assert (found.chosen, found.total) == (8, 8)
    assert found.moments == {6: whole[5], 7: whole[6], 8: whole[7]}


@pytest.mark.parametrize(
    ("number", "chosen", "told"), [(1, 1, [1, 2]), (4, 4, [3, 4, 5]), (99, 6, [5, 6]), (0, 1, [1, 2])]
)
def test_a_moment_is_chosen_by_its_number(number: int, chosen: int, told: list[int]) -> None:
    found = around(project_with_saves(6), number=number, reach=1)
    assert (found.chosen, list(found.moments)) == (chosen, told)


def test_a_moment_is_chosen_by_its_time() -> None:
    project = project_with_saves(4)
    whole = state.history(project)
    microsecond = timedelta(microseconds=1)
    for when, chosen in (
        (whole[1].at, 2),
        (whole[2].at - microsecond, 2),
        (whole[0].at - microsecond, 1),
        (datetime(2999, 1, 1, tzinfo=UTC), 4),
    ):
        assert around(project, when=when).chosen == chosen


def test_a_project_without_history_has_no_moments() -> None:
    assert around(ProjectFactory().id) == ({}, 0, 0)
    with pytest.raises(ProjectNotFound):
        around("nobody")


# -- scores


def told(project: str, **options: int) -> list[object]:
    return [saved.score for saved in scores(project, **options)]


def test_each_save_of_coverage_has_its_score() -> None:
    project = ProjectFactory(documents={"coverage": '{"score": 0.10}'}).id
    scenes.forward(project, sessions=False)
    scenes.open_gates(agentkit_writes=True)
    for coverage in (0.25, "0.85", {"score": "high"}, {}, state.ABSENT, {"score": {"deep": 1}}):
        state.save(project, coverage=coverage)
        state.save(project, facts=[str(coverage)])

    assert [str(score) for score in told(project)] == ["0.10", "0.25", "0.85", "high", "None", "None", "None"]
    assert [saved.at for saved in scores(project)][1:] == [moment.at for moment in state.history(project)[1::2]]


def test_scores_are_those_of_the_newest_saves() -> None:
    project = project_with_saves(6)
    assert told(project, newest=3) == [0.03, 0.04, 0.05]


def test_a_run_that_saves_again_has_all_its_scores() -> None:
    project = project_with_saves(1)
    first = scenes.save(project, "coverage", '{"score": 0.5}')
    scenes.save(project, "coverage", '{"score": 0.75}', run=first)
    assert told(project) == [0, 0.5, 0.75]


def test_an_enormous_text_is_no_score() -> None:
    project = ProjectFactory(documents={"coverage": f'"{"x" * 1_000_000}"'}).id
    scenes.forward(project, sessions=False)
    assert told(project) == [None]


@pytest.mark.parametrize(
    "payload", ["coverage", ["coverage"], [1], 7, None, {"absent": "coverage"}, {"absent": {"coverage": 1}}], ids=repr
)
def test_a_damaged_event_has_no_score(payload: object) -> None:
    project = project_with_saves(2)
    run = RunFactory(project=Project.objects.get(pk=project))
    EventFactory(run=run, type="state.changed", payload=Value(payload, JSONField()))
    assert told(project) == [0, 0.01]
    assert state.at(project, state.history(project)[-1].at).coverage == {"score": 0.01}
