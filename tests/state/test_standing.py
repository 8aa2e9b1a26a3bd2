"""A standing is read off three clocks, and off nothing else."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from agentstate.state.homes import COLUMNS_AS_STATE, NEWEST
from agentstate.state.standing import DIFFERENT, EMPTIED, STANDING, Standing
from tests import scenes
from tests.factories import ProjectFactory, RunFactory, write_columns

if TYPE_CHECKING:
    from agentstate.models import Project

pytestmark = pytest.mark.django_db


def ask(expression: str, project: Project) -> object:
    """Return the value of an SQL expression about a project beside its newest snapshot."""
    return scenes.one(f'SELECT {expression} FROM "Project" p {NEWEST} WHERE p.id = %s', project.id)[0]


@pytest.mark.parametrize(
    ("snapshot", "legacy", "standing"),
    [
        (0, 0, Standing.IN_SYNC),
        (1, 0, Standing.AGENTKIT_AHEAD),
        (-1, -1, Standing.LEGACY_AHEAD),
        (1, 1, Standing.LEGACY_AHEAD),
        (1, -1, Standing.FORKED),
        (-1, -2, Standing.FORKED),
    ],
)
def test_two_comparisons_of_clocks_decide(snapshot: int, legacy: int, standing: Standing) -> None:
    """The snapshot's two clocks are given in microseconds after the columns' clock."""
    project = ProjectFactory(documents={"facts": "1"})
    clock = project.state_updated_at
    RunFactory(
        project=project,
        state={},
        started_at=clock + timedelta(microseconds=snapshot),
        legacy_at=clock + timedelta(microseconds=legacy),
    )

    assert ask(STANDING, project) == standing


def test_only_the_newest_snapshot_counts() -> None:
    project = ProjectFactory(documents={"facts": "1"})
    clock = project.state_updated_at
    RunFactory(project=project, state={}, started_at=clock, legacy_at=clock)
    RunFactory(project=project, state={}, started_at=clock + timedelta(seconds=1), legacy_at=clock)
    RunFactory(project=project, state=None, started_at=clock + timedelta(seconds=2))
    RunFactory(state={}, started_at=clock + timedelta(seconds=3))

    assert ask(STANDING, project) == Standing.AGENTKIT_AHEAD


@pytest.mark.parametrize(
    ("documents", "standing"),
    [({}, Standing.EMPTY), ({"facts": "null"}, Standing.LEGACY_AHEAD), ({"facts": "1"}, Standing.LEGACY_AHEAD)],
)
def test_without_a_snapshot_the_columns_decide(documents: scenes.Documents, standing: Standing) -> None:
    project = ProjectFactory(documents=documents)
    RunFactory(project=project, state=None)

    assert ask(STANDING, project) == standing


@pytest.mark.parametrize("status", ["running", "failed", "canceled"])
def test_a_runs_status_does_not_matter(status: str) -> None:
    project = ProjectFactory(documents={"facts": "1"})
    clock = project.state_updated_at
    RunFactory(project=project, state={}, status=status, started_at=clock + timedelta(seconds=1), legacy_at=clock)

    assert ask(STANDING, project) == Standing.AGENTKIT_AHEAD


@pytest.mark.parametrize(
    ("documents", "state", "emptied"),
    [
        ({}, {"facts": 1}, True),
        ({}, {"facts": None}, True),
        ({}, {}, False),
        ({"facts": "null"}, {"facts": 1}, False),
    ],
)
def test_emptied_means_empty_columns_and_a_snapshot_with_content(
    documents: scenes.Documents, state: dict[str, object], emptied: bool
) -> None:
    project = ProjectFactory(documents=documents)
    RunFactory(project=project, state=state)

    assert ask(EMPTIED, project) is emptied


@pytest.mark.parametrize(
    ("documents", "state", "different"),
    [
        ({"facts": "1"}, {"facts": 1}, False),
        ({"facts": "1.0"}, {"facts": 1}, False),
        ({"facts": "null"}, {"facts": None}, False),
        ({}, {}, False),
        ({"facts": "null"}, {}, True),
        ({}, {"facts": None}, True),
        ({"facts": '{"a": null}'}, {"facts": {}}, True),
        ({"facts": "1"}, {"coverage": 1}, True),
    ],
)
def test_equality_is_that_of_jsonb(documents: scenes.Documents, state: dict[str, object], different: bool) -> None:
    project = ProjectFactory(documents=documents)
    RunFactory(project=project, state=state)

    assert ask(DIFFERENT, project) is different


@pytest.mark.parametrize(
    ("documents", "state"),
    [
        ({}, "{}"),
        ({"facts": "null"}, '{"facts": null}'),
        ({"facts": '{"a": null}', "coverage": "0.10"}, '{"facts": {"a": null}, "coverage": 0.10}'),
        (
            dict.fromkeys(("rfpNorm", "facts", "coverage", "conflictLog", "eligibility"), "null"),
            '{"facts": null, "rfpNorm": null, "coverage": null, "conflictLog": null, "eligibility": null}',
        ),
    ],
)
def test_columns_are_read_as_a_state(documents: scenes.Documents, state: str) -> None:
    project = ProjectFactory(documents=documents)

    assert ask(f"({COLUMNS_AS_STATE})::text", project) == state


# -- the clock that the database moves


def test_only_a_change_moves_the_clock() -> None:
    project = ProjectFactory(documents={"facts": '{"a": 1, "b": [0.10]}'})
    clock = project.state_updated_at

    write_columns(project.id, {"facts": '{"b": [0.1], "a": 1.0}', "coverage": None})
    scenes.run_sql("UPDATE \"Project\" SET name = 'other', meta = '{}'")
    assert scenes.homes_of(project.id).clock == clock

    write_columns(project.id, {"coverage": "null"})
    assert scenes.homes_of(project.id).clock > clock


def test_a_clock_that_is_not_later_counts_as_unset() -> None:
    project = ProjectFactory(documents={"facts": "1"})
    clock = project.state_updated_at
    ahead = clock + timedelta(days=1)
    write_columns(project.id, {"facts": "2"}, clock=ahead)
    assert scenes.homes_of(project.id).clock == ahead

    write_columns(project.id, {"facts": "2"}, clock=clock)
    assert scenes.homes_of(project.id).clock == ahead

    write_columns(project.id, {"facts": "3"}, clock=clock)
    assert scenes.homes_of(project.id).clock == ahead + timedelta(microseconds=1)


def test_a_writer_in_the_replica_role_moves_the_clock_too() -> None:
    project = ProjectFactory(documents={"facts": "1"})
    scenes.run_sql("SET LOCAL session_replication_role = replica")

    write_columns(project.id, {"facts": "2"})

    assert scenes.homes_of(project.id).clock > project.state_updated_at
