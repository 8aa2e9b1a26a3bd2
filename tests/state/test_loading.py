"""Loading answers from the home that the gate names, whatever the other one holds."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from django.contrib.auth.models import AnonymousUser, User
from django.db import DatabaseError, transaction
from django.test import RequestFactory

from agentstate import state
from agentstate.state import ABSENT, ProjectNotFound
from tests import scenes
from tests.factories import ProjectFactory
from tests.flags import turn
from tests.state.loads import (
    STANDINGS,
    documents,
    project_that_is,
    project_with_an_older_snapshot,
    queries,
    without_check_of_snapshots,
    without_runs,
)

if TYPE_CHECKING:
    pass

# -- which home answers

LEGACY = {"facts": "columns", "eligibility": None}
AGENTKIT = {"facts": "snapshot", "eligibility": None}


@pytest.mark.django_db
@pytest.mark.parametrize("writes", [(False, False), (False, True), (True, False), (True, True)], ids=str)
@pytest.mark.parametrize("shadow", [False, True])
@pytest.mark.parametrize(
    ("standing", "reads_agentkit", "source", "content", "fell_back", "behind"),
    [
        ("empty", False, "none", {}, None, False),
        ("empty", True, "none", {}, "no_snapshot", False),
        ("legacy_ahead", False, "legacy", LEGACY, None, False),
        ("legacy_ahead", True, "legacy", LEGACY, "no_snapshot", False),
        ("in_sync", False, "legacy", LEGACY, None, False),
        ("in_sync", True, "agentkit", LEGACY, None, False),
        ("agentkit_ahead", False, "legacy", LEGACY, None, True),
        ("agentkit_ahead", True, "agentkit", AGENTKIT, None, False),
        ("forked", False, "legacy", LEGACY | {"coverage": "columns"}, None, False),
        ("forked", True, "agentkit", AGENTKIT, None, True),
    ],
)
def test_the_gate_decides_which_home_answers(
    standing: str,
    reads_agentkit: bool,
    source: str,
    content: dict[str, Any],
    fell_back: str | None,
    behind: bool,
    writes: tuple[bool, bool],
    shadow: bool,
) -> None:
    project = project_that_is(standing)
    agentkit_writes, legacy_writes = writes
    scenes.open_gates(
        agentkit_writes=agentkit_writes,
        legacy_writes=legacy_writes,
        agentkit_reads=reads_agentkit,
        agentkit_shadow_reads=shadow,
    )
    homes = scenes.homes_of(project)

    loaded = state.load(project)

    assert (loaded.project_id, loaded.source, loaded.standing) == (project, source, standing)
    assert documents(loaded) == content
    assert (loaded.fell_back, loaded.behind) == (fell_back, behind)
    if source == "none":
        assert loaded.as_of is None
    else:
        assert loaded.as_of == (homes.newest.at if source == "agentkit" else homes.clock)


@pytest.mark.django_db
def test_reads_fall_back_while_the_columns_are_ahead_of_a_snapshot() -> None:
    project = project_with_an_older_snapshot()
    scenes.open_gates(agentkit_reads=True)

    loaded = state.load(project)

    assert (loaded.source, loaded.fell_back, loaded.behind) == ("legacy", "legacy_ahead", False)
    assert loaded.facts == "newer"
    assert loaded.as_of == scenes.homes_of(project).clock


@pytest.mark.django_db
def test_a_fork_with_older_columns_answers_from_the_snapshot() -> None:
    project = project_that_is("agentkit_ahead")
    scenes.write_with_clock_set_back(project, {"coverage": '"columns"'})
    assert scenes.standing_of(project) == "forked"

    scenes.open_gates(agentkit_reads=False)
    assert state.load(project).behind
    scenes.open_gates(agentkit_reads=True)
    assert not state.load(project).behind


@pytest.mark.django_db
def test_an_empty_snapshot_is_an_answer() -> None:
    project = project_that_is("empty")
    scenes.save(project, "facts", "1")
    scenes.open_gates(agentkit_reads=True)
    state.save(project, facts=ABSENT)

    loaded = state.load(project)

    assert (loaded.source, loaded.standing, loaded.fell_back) == ("agentkit", "in_sync", None)
    assert documents(loaded) == {}


@pytest.mark.django_db
@pytest.mark.parametrize("reads_agentkit", [False, True])
def test_absent_and_null_are_distinguished(reads_agentkit: bool) -> None:
    project = project_that_is("in_sync")
    scenes.open_gates(agentkit_reads=reads_agentkit)

    loaded = state.load(project)

    assert loaded.eligibility is None
    assert loaded.coverage is ABSENT


@pytest.mark.django_db
@pytest.mark.parametrize("reads_agentkit", [False, True])
def test_digits_are_loaded_unchanged(reads_agentkit: bool) -> None:
    project = ProjectFactory(documents={"coverage": '{"score": 0.10, "was": 0.30000000000000004, "big": 1e400}'})
    scenes.forward(project.id, sessions=False)
    scenes.open_gates(agentkit_reads=reads_agentkit)

    coverage = state.load(project.id).coverage

    assert coverage == {"score": Decimal("0.10"), "was": 0.30000000000000004, "big": 10**400}
    assert str(coverage["score"]) == "0.10"


@pytest.mark.django_db
def test_a_loaded_state_is_immutable() -> None:
    loaded = state.load(project_that_is("in_sync"))

    with pytest.raises(AttributeError):
        loaded.facts = 1  # type: ignore[misc]


@pytest.mark.django_db
def test_an_unknown_project_is_not_found() -> None:
    with pytest.raises(ProjectNotFound, match="No project has the id 'nobody'") as unknown:
        state.load("nobody")

    assert unknown.value.project_id == "nobody"


@pytest.mark.django_db
@pytest.mark.parametrize("project_id", ["", 'o\'neill/%s "ünïcode" \\ {}', "x" * 2000])
def test_a_project_with_an_odd_id_is_loaded(project_id: str) -> None:
    ProjectFactory(id=project_id, documents={"facts": "1"})

    assert state.load(project_id).facts == 1


@pytest.mark.django_db
@pytest.mark.parametrize("name", ["source", "result", "standing", "snapshot_at", "asked", "fell_back"])
def test_other_columns_of_the_legacy_table_do_not_matter(name: str) -> None:
    project = project_that_is("in_sync")
    scenes.run_sql(f'ALTER TABLE "Project" ADD COLUMN "{name}" text')

    assert state.load(project).facts == "columns"


# -- who asks


@pytest.mark.django_db
def test_the_requests_user_counts() -> None:
    project = project_that_is("agentkit_ahead")
    turn("agentkit_reads", staff=True)
    request = RequestFactory().get("/")

    request.user = AnonymousUser()
    assert state.load(project, request).source == "legacy"
    request.user = User(username="someone", is_staff=True)
    assert state.load(project, request).source == "agentkit"
    assert state.load_many([project], request)[project].source == "agentkit"
    assert state.load(project).source == "legacy"


# -- a malformed snapshot


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("malformed", ["[]", "null", '{"state": null}', '{"state": [1]}', '"text"', None])
def test_a_malformed_snapshot_is_judged_by_the_database(malformed: str | None) -> None:
    project = project_that_is("in_sync")
    clock = scenes.homes_of(project).clock
    with without_check_of_snapshots():
        scenes.run_sql('UPDATE "AgentWorkflowRun" SET result = %s::jsonb', malformed)

        scenes.open_gates(agentkit_reads=True)
        loaded = state.load(project)
        assert (loaded.source, loaded.fell_back, loaded.standing) == ("legacy", "malformed", "in_sync")
        assert (loaded.facts, loaded.as_of) == ("columns", clock)

        scenes.open_gates(agentkit_reads=False)
        loaded = state.load(project)
        assert (loaded.source, loaded.fell_back) == ("legacy", None)


@pytest.mark.django_db(transaction=True)
def test_columns_that_answer_for_a_malformed_snapshot_may_be_behind() -> None:
    project = project_that_is("agentkit_ahead")
    scenes.open_gates(agentkit_reads=True)
    with without_check_of_snapshots():
        scenes.run_sql("""UPDATE "AgentWorkflowRun" SET result = '[]' WHERE legacy_at <> snapshot_at""")

        loaded = state.load(project)

    assert (loaded.source, loaded.fell_back, loaded.behind) == ("legacy", "malformed", True)


# -- an error of the new home


@pytest.mark.django_db(transaction=True)
def test_the_columns_answer_when_the_new_home_fails() -> None:
    project, empty = project_that_is("agentkit_ahead"), project_that_is("empty")
    scenes.open_gates(agentkit_reads=True)
    clock = scenes.homes_of(project).clock
    with without_runs():
        loaded, nothing = state.load(project), state.load(empty)
        with pytest.raises(ProjectNotFound):
            state.load("nobody")
        with queries(2):
            both = state.load_many([project, empty, "nobody"])

    assert (loaded.source, loaded.fell_back, loaded.standing, loaded.behind) == ("legacy", "error", None, False)
    assert (documents(loaded), loaded.as_of) == (LEGACY, clock)
    assert (nothing.source, nothing.fell_back, nothing.as_of) == ("none", "error", None)
    assert both == {project: loaded, empty: nothing}


@pytest.mark.django_db(transaction=True)
def test_a_failing_new_home_does_not_fail_a_legacy_read() -> None:
    project = project_that_is("in_sync")
    scenes.open_gates(agentkit_reads=False)
    with without_runs():
        loaded = state.load(project)

    assert (loaded.source, loaded.fell_back, loaded.standing) == ("legacy", None, None)
    assert documents(loaded) == LEGACY


@pytest.mark.django_db(transaction=True)
def test_inside_a_transaction_an_error_is_raised() -> None:
    project = project_that_is("in_sync")
    scenes.open_gates(agentkit_reads=True)
    with without_runs(), pytest.raises(DatabaseError, match="AgentWorkflowRun"), transaction.atomic():
        state.load(project)


# -- many


@pytest.mark.django_db
def test_many_projects_are_loaded_at_once() -> None:
    projects = {standing: project_that_is(standing) for standing in STANDINGS}
    scenes.open_gates(agentkit_reads=True)

    with queries(1):
        loaded = state.load_many([*projects.values(), "nobody", projects["in_sync"]])

    assert {standing: loaded[project].standing for standing, project in projects.items()} == {
        standing: standing for standing in STANDINGS
    }
    assert loaded == {project: state.load(project) for project in projects.values()}


@pytest.mark.django_db
def test_each_of_many_has_its_own_gate() -> None:
    one, other = project_that_is("in_sync"), project_that_is("in_sync")
    turn("agentkit_reads", project_ids=[one])

    loaded = state.load_many([one, other])

    assert (loaded[one].source, loaded[other].source) == ("agentkit", "legacy")


@pytest.mark.django_db
def test_loading_no_projects_is_empty() -> None:
    assert state.load_many([]) == {}
    assert state.load_many(["nobody"]) == {}
